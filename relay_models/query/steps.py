"""`Steps`: an exchange with the server as a generator of commands, so that the caller does the I/O and has no logic."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Answer", "Command", "Steps"]

Result = TypeVar("Result")

Command = list[Any]
"""A command with its arguments: texts, bytes and numbers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's reply (RESP2 or RESP3, not decoded), and the milliseconds that it took."""

    reply: Any
    elapsed_ms: float = 0.0


Steps = Generator[Command, Answer, Result]
"""Yields commands one at a time, is sent the `Answer` to each, and returns the result."""
