"""RESP on the wire: commands and replies as bytes, for servers that tests play."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis

__all__ = ["CommandReader", "array", "bulk", "decoded", "encoded", "packed", "read_reply"]

_INCOMPLETE = object()


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
    if isinstance(value, bytes):
        return bulk(value)
    if isinstance(value, str):
        return bulk(value.encode())
    if isinstance(value, list):
        return array(map(encoded, value), len(value))
    if isinstance(value, dict):
        return b"%%%d\r\n" % len(value) + b"".join(encoded(part) for pair in value.items() for part in pair)
    if isinstance(value, bool):
        return b"#t\r\n" if value else b"#f\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"_\r\n" if value is None else b",%s\r\n" % repr(value).encode()


class CommandReader:
    """The commands of a client, one after the other."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._parser = hiredis.Reader(notEnoughData=_INCOMPLETE)

    async def read(self) -> list[bytes]:
        """The next command. Raises `asyncio.IncompleteReadError` when the client has left."""
        while (command := self._parser.gets()) is _INCOMPLETE:
            self._parser.feed(await _more(self._reader))
        parts: list[bytes] = command
        return parts


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """The bytes of the only reply that is on its way, RESP2 or RESP3."""
    parser = hiredis.Reader(notEnoughData=_INCOMPLETE)
    raw = b""
    while parser.gets() is _INCOMPLETE:
        chunk = await _more(reader)
        parser.feed(chunk)
        raw += chunk
    return raw


async def _more(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(1 << 16)
    if not chunk:
        raise asyncio.IncompleteReadError(b"", None)
    return chunk
