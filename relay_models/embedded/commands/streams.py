"""`StreamCommands`: what the engine corrects in fakeredis' commands on streams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError
from fakeredis.model import StreamEntryKey, StreamRangeTest, XStream

from relay_models.embedded.registry import command

__all__ = ["StreamCommands", "is_stream_id"]

_STREAM_ID = re.compile(rb"[0-9]{1,20}(-[0-9]{1,20})?\Z")
_GREATEST = 2**64 - 1
_NUMBERED: Final = (b"count", b"block", b"claim")
_NUMBER = re.compile(rb"-?[0-9]{1,18}\Z")
_FIRST: Final = StreamEntryKey(0, 0)
_LAST: Final = StreamEntryKey(2**64 - 1, 2**64 - 1)


class StreamCommands:
    """Mixed into the engine's sockets; fakeredis' XREAD and XREADGROUP call these methods."""

    _db: Any

    def xread(self, *args: bytes) -> Any:
        self._check_streams(args)
        return super().xread(*args)  # type: ignore[misc]

    def xreadgroup(self, word: bytes, group: bytes, consumer: bytes, *args: bytes) -> Any:
        self._check_streams(args, group)
        return super().xreadgroup(word, group, consumer, *args)  # type: ignore[misc]

    def _check_streams(self, args: Sequence[bytes], group: bytes | None = None) -> None:
        """Refuse keys that hold something else or lack the group, where the arguments are right."""
        words = [arg.lower() for arg in args]
        if b"streams" not in words or not _are_options(words[: words.index(b"streams")]):
            return
        if b"block" in words[: words.index(b"streams")] and words[words.index(b"block") + 1].startswith(b"-"):
            raise SimpleError(msgs.TIMEOUT_NEGATIVE_MSG)
        rest = args[words.index(b"streams") + 1 :]
        if len(rest) % 2:
            return
        for key in rest[: len(rest) // 2]:
            item = self._db.get(key)
            if item is not None and type(item.value) is not XStream:
                raise SimpleError(msgs.WRONGTYPE_MSG)
            if group is not None and (item is None or item.value.group_get(group) is None):
                raise _no_group(key, group)

    def _xread(self, streams: list[Any], count: int | None, blocking: bool, first_pass: bool) -> Any:
        if blocking and not first_pass:  # a client that waits goes on to, whatever a key has become
            streams = [(key, start) for key, start in streams if type(self._stream(key)) is XStream]
        # No news is null, for a blocking command and in RESP3 too.
        return super()._xread(streams, count, blocking, first_pass) or None  # type: ignore[misc]

    def _stream(self, key: bytes) -> Any:
        item = self._db.get(key)
        return None if item is None else item.value

    @staticmethod
    def _parse_start_id(key: CommandItem, start: bytes) -> StreamRangeTest:
        stream = key.value
        if start == b"+" and stream is not None and len(stream):
            return StreamRangeTest.decode(stream.last_item_key())
        if start in (b"$", b"+"):
            # The latest ID that there ever was; fakeredis takes that of the last entry which is still there.
            return StreamRangeTest(_FIRST if stream is None else stream.last_id, True)
        _check_ids([start])
        return StreamRangeTest.decode(start, exclusive=True)

    def _xreadgroup(
        self,
        consumer: bytes,
        groups: list[Any],
        count: int | None,
        no_ack: bool,
        min_idle_time: int | None,
        first_pass: bool,
    ) -> Any:
        if not first_pass:
            groups = [self._present_group(*each) for each in groups]
        # At its first pass fakeredis takes the entries that are there and then waits for others, and the first change
        # of any key ends the waiting.
        count = count if count is not None and count > 0 else None  # for Redis, 0 and less are no limit
        active = [(group, group.consumers.get(consumer)) for group, _, _ in groups]
        moments = [(group, -1 if known is None else known.last_success) for group, known in active]
        found = super()._xreadgroup(consumer, groups, count, no_ack, min_idle_time, False)  # type: ignore[misc]
        if not found:  # a consumer that got nothing has not been active
            for group, moment in moments:
                if consumer in group.consumers:
                    group.consumers[consumer].last_success = moment
        return found or None

    def _present_group(self, group: Any, key: bytes, start: bytes) -> tuple[Any, bytes, bytes]:
        """A consumer group as it is now, which may have changed while a client waited for its entries."""
        stream = self._stream(key)
        if stream is not None and type(stream) is not XStream:
            raise SimpleError(msgs.WRONGTYPE_MSG)
        present = None if stream is None else stream.group_get(group.name)
        if present is None:
            raise _no_group(key, group.name)
        return present, key, start

    def xrange(self, key: CommandItem, start: bytes, end: bytes, *args: bytes) -> Any:
        _check_interval(start, end)
        return super().xrange(key, start, end, *args)  # type: ignore[misc]

    def xrevrange(self, key: CommandItem, end: bytes, start: bytes, *args: bytes) -> Any:
        _check_interval(start, end)
        return super().xrevrange(key, end, start, *args)  # type: ignore[misc]

    @command(
        "xclaim",
        fixed=(Key(XStream), bytes, bytes, bytes, bytes),
        repeat=(bytes,),
        flags=msgs.FLAG_DO_NOT_CREATE,
    )
    def engine_xclaim(self, key: CommandItem, group: bytes, consumer: bytes, idle: bytes, *args: bytes) -> Any:
        if key.value is None or key.value.group_get(group) is None:  # before the numbers are looked at
            names = (key.key.decode("utf-8", "replace"), group.decode("utf-8", "replace"))
            raise SimpleError(msgs.XNACK_NOGROUP_MSG.format(*names))
        claimed = self.xclaim(key, group, consumer, Int.decode(idle), *args)  # type: ignore[attr-defined]
        self._touch_streams([key.key])  # type: ignore[attr-defined]
        return claimed

    def xautoclaim(self, key: CommandItem, group: bytes, consumer: bytes, idle: int, start: bytes, *args: bytes) -> Any:
        StreamRangeTest.decode(start)  # before the group is looked for
        return super().xautoclaim(key, group, consumer, idle, start, *args)  # type: ignore[misc]

    def xpending(self, key: CommandItem, group: bytes, *args: bytes) -> Any:
        if key.value is None:  # it has no such group, but errors in the arguments come before that
            key = CommandItem(key.key, self._db, None, default=XStream())
        if len(args) > 4 and args[0].lower() == b"idle":  # fakeredis takes those that were idle for longer
            least = Int.decode(args[1])
            args = (args[0], b"%d" % (least - 1), *args[2:]) if least > 0 else args[2:]
        place = 4 if args and args[0].lower() == b"idle" else 2
        if len(args) > place and Int.decode(args[place]) < 0:
            args = (*args[:place], b"0", *args[place + 1 :])
        return super().xpending(key, group, *args)  # type: ignore[misc]

    def xdel(self, key: CommandItem, *ids: bytes) -> int:
        if self._stream(key.key) is None:
            return 0
        _check_ids(ids)
        deleted: int = super().xdel(key, *ids)  # type: ignore[misc]
        if deleted:
            self._db.notify_watch(key.key)
        return deleted

    def xgroup_destroy(self, key: CommandItem, group: bytes) -> int:
        destroyed: int = super().xgroup_destroy(key, group)  # type: ignore[misc]
        if destroyed:  # those who wait for entries of it are told
            self._db.notify_watch(key.key)
        return destroyed

    def xack(self, key: CommandItem, group: bytes, *ids: bytes) -> int:
        if key.value is None or key.value.group_get(group) is None:
            return 0
        _check_ids(ids)
        return super().xack(key, group, *ids)  # type: ignore[misc, no-any-return]


def _are_options(words: Sequence[bytes]) -> bool:
    """Whether these are options of XREAD or XREADGROUP, with numbers where those belong."""
    rest = iter(words)
    return all(word == b"noack" or (word in _NUMBERED and _NUMBER.match(next(rest, b""))) for word in rest)


def _no_group(key: bytes, group: bytes) -> SimpleError:
    names = (key.decode("utf-8", "replace"), group.decode("utf-8", "replace"))
    return SimpleError(msgs.XREADGROUP_KEY_OR_GROUP_NOT_FOUND_MSG.format(*names))


def is_stream_id(text: bytes) -> bool:
    """Whether a text is the ID of an entry: one number of 64 bits, or two."""
    return _STREAM_ID.match(text) is not None and all(int(part) <= _GREATEST for part in text.split(b"-"))


def _check_ids(ids: Sequence[bytes]) -> None:
    for each in ids:
        if not is_stream_id(each):
            raise SimpleError(msgs.XADD_INVALID_ID)


def _check_interval(start: bytes, end: bytes) -> None:
    """Refuse an interval that begins after the last ID there can be, or ends before the first."""
    for edge, text, limit in (("start", start, _LAST), ("end", end, _FIRST)):
        if text.startswith(b"("):
            if not _STREAM_ID.match(text[1:]):
                raise SimpleError(msgs.XADD_INVALID_ID)
            if StreamEntryKey.parse_str(text[1:]) == limit:
                raise SimpleError(f"ERR invalid {edge} ID for the interval")
