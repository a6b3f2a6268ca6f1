"""`StringCommands`: when strings expire, to the millisecond; fakeredis cuts it to whole seconds."""

from __future__ import annotations

from typing import Any

from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, SimpleString

__all__ = ["StringCommands"]


class StringCommands:
    """Mixed into the engine's sockets; fakeredis' declarations of these commands stand."""

    _db: Any

    def setex(self, key: CommandItem, seconds: int, value: bytes) -> SimpleString:
        reply: SimpleString = super().setex(key, seconds, value)  # type: ignore[misc]
        key.expireat = self._db.time + seconds
        return reply

    def psetex(self, key: CommandItem, ms: int, value: bytes) -> SimpleString:
        reply: SimpleString = super().psetex(key, ms, value)  # type: ignore[misc]
        key.expireat = self._db.time + ms / 1000
        return reply

    def getex(self, key: CommandItem, *args: bytes) -> Any:
        try:
            value = super().getex(key, *args)  # type: ignore[misc]
        except SimpleError as error:
            if key.value is None and error.value.startswith("ERR invalid expire time"):
                return None
            raise
        if len(args) == 2:
            unit, amount = args[0].lower(), int(args[1])
            seconds = amount if unit in (b"ex", b"exat") else amount / 1000
            key.expireat = seconds + (0 if unit.endswith(b"at") else self._db.time)
        return value
