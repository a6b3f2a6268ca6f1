"""RESP on the wire: commands and replies as bytes, for servers that tests play."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import hiredis

__all__ = ["array", "bulk", "decoded", "encoded", "packed", "read_command", "read_reply"]


def packed(command: list[bytes]) -> bytes:
    """A command as a client sends it."""
    return array(map(bulk, command), len(command))


def array(parts: Any, count: int) -> bytes:
    """An array of replies."""
    return b"*%d\r\n" % count + b"".join(parts)


def bulk(value: bytes) -> bytes:
    """A string."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def decoded(reply: bytes) -> Any:
    """A reply as Python values."""
    parser = hiredis.Reader()
    parser.feed(reply)
    return parser.gets()


def encoded(value: Any) -> bytes:
    """Python values as a RESP3 reply."""
    return b"".join(_encoded(value))


def _encoded(value: Any) -> Iterator[bytes]:
    if value is None:
        yield b"_\r\n"
    elif isinstance(value, bool):
        yield b"#t\r\n" if value else b"#f\r\n"
    elif isinstance(value, int):
        yield b":%d\r\n" % value
    elif isinstance(value, float):
        yield b",%s\r\n" % repr(value).encode()
    elif isinstance(value, dict):
        yield b"%%%d\r\n" % len(value)
        yield from itertools.chain.from_iterable(_encoded(part) for pair in value.items() for part in pair)
    elif isinstance(value, list):
        yield b"*%d\r\n" % len(value)
        yield from itertools.chain.from_iterable(map(_encoded, value))
    else:
        yield bulk(value if isinstance(value, bytes) else str(value).encode())


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """The next command of a client."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    parts = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        parts.append((await reader.readexactly(size + 2))[:-2])
    return parts


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """The bytes of one reply, RESP2 or RESP3."""
    line = await reader.readuntil(b"\r\n")
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!":
        return line if rest == b"-1" else line + await reader.readexactly(int(rest) + 2)
    if kind in b"*~>%|":
        count = max(0, int(rest)) * (2 if kind in b"%|" else 1)
        return line + b"".join([await read_reply(reader) for _ in range(count)])
    return line
