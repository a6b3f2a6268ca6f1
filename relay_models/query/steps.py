"""`Steps`: an exchange with the server as a generator of commands, so that the caller does the I/O and has no logic."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Answer", "Command", "Steps", "aggregate_command"]

Result = TypeVar("Result")

Command = list[Any]
"""A command with its arguments: texts, bytes and numbers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's reply (RESP2 or RESP3, not decoded), and the milliseconds that it took."""

    reply: Any
    elapsed_ms: float = 0.0


Steps = Generator[Command, Answer, Result]
"""Yields commands one at a time, is sent the `Answer` to each or thrown its error, and returns the result."""


def aggregate_command(alias: bytes | str, query: str) -> Command:
    """Return the beginning of an FT.AGGREGATE.

    The dialect comes first: a server with DEFAULT_DIALECT 4 has decided by the first LOAD whether it may leave out rows
    that share a number with others that it sorts by, or crash (RediSearch 2.8 and later).

    Args:
        alias: the index.
        query: which documents.
    """
    return ["FT.AGGREGATE", alias, query, "DIALECT", 2]
