"""`Steps`: a conversation with the server as a generator of commands, so that whoever does the I/O needs no logic."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Answer", "Command", "Steps", "run_steps"]

Result = TypeVar("Result")

Command = list[Any]
"""A command with its arguments: texts, bytes and numbers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server replied (RESP2 or RESP3, nothing decoded), and after how many milliseconds."""

    reply: Any
    elapsed_ms: float = 0.0


Steps = Generator[Command, Answer, Result]
"""Yields commands one at a time, is sent the `Answer` to each, and returns the result."""


def run_steps(steps: Steps[Result], answers: Mapping[str, Any] | None = None) -> Any:
    """The first command of a conversation, for showing it to a person."""
    try:
        return next(steps)
    except StopIteration:
        return None
