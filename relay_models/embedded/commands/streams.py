"""`StreamCommands`: what the engine corrects in fakeredis' commands on streams."""

from __future__ import annotations

import re
from typing import Any

from fakeredis._helpers import SimpleError
from fakeredis._msgs import WRONGTYPE_MSG
from fakeredis.model import XStream

__all__ = ["StreamCommands"]

_OPTIONS = re.compile(rb"((count|block) -?[0-9]+ ?|noack ?)*")


class StreamCommands:
    """Mixed into the engine's sockets; fakeredis' XREAD and XREADGROUP call these methods."""

    _db: Any

    def xread(self, *args: bytes) -> Any:
        self._check_streams(args)
        at = [arg.lower() for arg in args].index(b"streams") + 1 if b"streams" in map(bytes.lower, args) else len(args)
        half = (len(args) - at) // 2
        if b"-" in args[at + half :]:
            raise SimpleError("ERR Invalid stream ID specified as stream command argument")
        if b"+" in args[at + half :]:  # the last entry, which follows the id before it
            ids = [self._before_last(*pair) for pair in zip(args[at : at + half], args[at + half :], strict=False)]
            args = (*args[: at + half], *ids)
        return super().xread(*args)  # type: ignore[misc]

    def xreadgroup(self, *args: bytes) -> Any:
        self._check_streams(args[3:], group=args[1])
        return super().xreadgroup(*args)  # type: ignore[misc]

    def _before_last(self, name: bytes, given: bytes) -> bytes:
        item = self._db.get(name)
        if given != b"+" or item is None or not len(item.value):
            return b"$" if given == b"+" else given
        time, _, number = item.value.last_item_key().partition(b"-")
        if int(number):
            return b"%b-%d" % (time, int(number) - 1)
        return b"%d-%d" % (int(time) - 1, 2**64 - 1)

    def _check_streams(self, args: tuple[bytes, ...], group: bytes | None = None) -> None:
        """Refuse keys that hold something else, which fakeredis reads as streams, or lack the group."""
        words = [arg.lower() for arg in args]
        at = words.index(b"streams") if b"streams" in words else len(words)
        named = args[at + 1 :]
        if not _OPTIONS.fullmatch(b" ".join(words[:at])) or len(named) % 2:
            return  # for which there is another error
        for name in named[: len(named) // 2]:
            item = self._db.get(name)
            if item is not None and type(item.value) is not XStream:
                raise SimpleError(WRONGTYPE_MSG)
            if group is not None and (item is None or item.value.group_get(group) is None):
                key, shown = (part.decode("utf-8", "replace") for part in (name, group))
                raise SimpleError(
                    f"NOGROUP No such key '{key}' or consumer group '{shown}' in XREADGROUP with GROUP option"
                )

    def _xread(self, *args: Any, **options: Any) -> Any:
        # No news is null, for a blocking command and in RESP3 too.
        return super()._xread(*args, **options) or None  # type: ignore[misc]

    def _xreadgroup(
        self,
        consumer: bytes,
        groups: list[Any],
        count: int | None,
        no_ack: bool,
        min_idle_time: int | None,
        first_pass: bool,
    ) -> Any:
        # At its first pass fakeredis takes the entries that are there and then waits for others, and the first change
        # of any key ends the waiting.
        return super()._xreadgroup(consumer, groups, count, no_ack, min_idle_time, False) or None  # type: ignore[misc]
