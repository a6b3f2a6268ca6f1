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

from relay_models.embedded.registry import command, subcommand_error
from relay_models.embedded.reply_types import NullArray

__all__ = ["StreamCommands", "is_stream_id"]

_STREAM_ID = re.compile(rb"[0-9]{1,20}(-[0-9]{1,20})?\Z")
_GREATEST = 2**64 - 1
_NUMBERED: Final = (b"count", b"block", b"claim")
_NUMBER = re.compile(rb"-?[0-9]{1,18}\Z")
_COUNT = re.compile(rb"-?[0-9]{1,19}")
_FIRST: Final = StreamEntryKey(0, 0)
_LAST: Final = StreamEntryKey(2**64 - 1, 2**64 - 1)
_ANY: Final = -(2**62)
"""A minimum idle time, in ms, that every entry has, whatever was done to the clock."""
# How many entries XAUTOCLAIM may be asked for: as many as a 64-bit machine has room for the IDs of.
_CLAIM_LIMIT: Final = (2**63 - 1) // 16
_STREAM_FIELDS: Final = (
    *(b"length", b"radix-tree-keys", b"radix-tree-nodes", b"last-generated-id", b"max-deleted-entry-id"),
    *(b"entries-added", b"recorded-first-entry-id", b"entries", b"groups", b"first-entry", b"last-entry"),
)
"""What Redis 7.4 tells of a stream, in its order."""
_FULL: Final = _STREAM_FIELDS.index(b"first-entry")  # FULL has what comes before


class StreamCommands:
    """Mixed into the engine's sockets; fakeredis' XREAD and XREADGROUP call these methods."""

    _db: Any
    _words: Sequence[bytes]

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
        return _unless_counted(key, args, super().xrange(key, start, end, *args))  # type: ignore[misc]

    def xrevrange(self, key: CommandItem, end: bytes, start: bytes, *args: bytes) -> Any:
        _check_interval(start, end)
        return _unless_counted(key, args, super().xrevrange(key, end, start, *args))  # type: ignore[misc]

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
        claimed = self.xclaim(key, group, consumer, _least(Int.decode(idle)), *_claimed(args))  # type: ignore[attr-defined]
        self._touch_streams([key.key])  # type: ignore[attr-defined]
        return claimed

    def xautoclaim(
        self, key: CommandItem, group: bytes, consumer: bytes, idle_ms: int, start: bytes, *args: bytes
    ) -> Any:
        count = _count(args)
        if any(arg.lower() == b"count" for arg in args) and (count is None or not 1 <= count <= _CLAIM_LIMIT):
            raise SimpleError("ERR COUNT must be > 0")
        first = b"0-0" if start == b"-" else start
        StreamRangeTest.decode(first)  # before the group is looked for
        return super().xautoclaim(key, group, consumer, _least(idle_ms), first, *args)  # type: ignore[misc]

    @command("xpending", fixed=(Key(XStream), bytes), repeat=(bytes,))
    def engine_xpending(self, key: CommandItem, group: bytes, *args: bytes) -> Any:
        if key.value is None:  # it has no such group, but errors in the arguments come before that
            key = CommandItem(key.key, self._db, None, default=XStream())
        if len(args) > 4 and args[0].lower() == b"idle":  # fakeredis takes those that were idle for longer
            least = Int.decode(args[1])
            args = (args[0], b"%d" % (least - 1), *args[2:]) if least > 0 else args[2:]
        place = 4 if args and args[0].lower() == b"idle" else 2
        if len(args) > place and Int.decode(args[place]) < 0:
            args = (*args[:place], b"0", *args[place + 1 :])
        reply = self.xpending(key, group, *args)  # type: ignore[attr-defined]
        if args:  # where the clock was set back, nothing was read in the future
            return [[number, consumer, 0 if idle < -1 else idle, times] for number, consumer, idle, times in reply]
        if not reply[0]:
            return [0, None, None, NullArray()]
        return [*reply[:3], sorted([consumer, b"%d" % count] for consumer, count in reply[3])]

    def xinfo_groups(self, key: CommandItem) -> Any:
        return sorted(super().xinfo_groups(key), key=_name)  # type: ignore[misc]

    def xinfo_consumers(self, key: CommandItem, group: bytes) -> Any:
        consumers = sorted(super().xinfo_consumers(key, group), key=_name)  # type: ignore[misc]
        held = key.value.group_get(group).consumers
        return [
            {
                **each,
                "idle": max(0, each["idle"]),
                "inactive": -1 if held[each["name"]].last_success < 0 else each["inactive"],
            }
            for each in map(_as_map, consumers)
        ]

    def xgroup_createconsumer(self, key: CommandItem, group: bytes, consumer: bytes) -> int:
        created: int = super().xgroup_createconsumer(key, group, consumer)  # type: ignore[misc]
        if created:
            key.value.group_get(group).consumers[consumer].last_success = -1  # it has read nothing yet
        return created

    def xinfo_stream(self, key: CommandItem, *args: bytes) -> Any:
        if key.value is None:
            raise SimpleError(msgs.NO_KEY_MSG)
        if args and (
            len(args) not in (1, 3) or [arg.lower() for arg in args[:2]] not in ([b"full"], [b"full", b"count"])
        ):
            raise subcommand_error(self._words)
        fields = _as_map(super().xinfo_stream(key, *args[:1]))  # type: ignore[misc]
        if not args:
            return {name: fields[name] for name in _STREAM_FIELDS if name in fields}
        count = Int.decode(args[2]) if len(args) == 3 else 10
        count = 10 if count < 0 else count
        stream: Any = key.value
        fields[b"entries"] = fields[b"entries"][: count or None]
        fields[b"groups"] = [
            _described(stream._groups[name], self._trim_aware_lag, count or None)  # type: ignore[attr-defined]
            for name in sorted(stream._groups)
        ]
        return {name: fields[name] for name in _STREAM_FIELDS[:_FULL] if name in fields}

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


def _least(idle_ms: int) -> int:
    """The minimum idle time of entries that are claimed, in ms."""
    return idle_ms if idle_ms > 0 else _ANY


def _claimed(args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The arguments of XCLAIM, refused where one is neither an id nor an option."""
    at = next((at for at, arg in enumerate(args) if not is_stream_id(arg)), len(args))
    while at < len(args):
        word = args[at].upper()
        if word not in (b"FORCE", b"JUSTID", b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID"):
            raise SimpleError(f"ERR Unrecognized XCLAIM option '{args[at].decode('utf-8', 'replace')}'")
        at += 1 if word in (b"FORCE", b"JUSTID") else 2
    return args


def _described(group: Any, trim_aware_lag: bool, count: int | None) -> dict[bytes, Any]:
    """A group as XINFO STREAM FULL tells of it, with this many pending entries of the group and of each consumer."""
    pending = sorted(group.pel.items())
    consumers = [
        {
            b"name": name,
            b"seen-time": consumer.last_attempt,
            b"active-time": consumer.last_success,
            b"pel-count": consumer.pending,
            b"pending": [
                [key.encode(), entry.time_read, entry.times_delivered]
                for key, entry in pending
                if entry.consumer_name == name
            ][:count],
        }
        for name, consumer in sorted(group.consumers.items())
    ]
    return {
        b"name": group.name,
        b"last-delivered-id": group.last_delivered_key.encode(),
        b"entries-read": group.entries_read,
        b"lag": group.lag(trim_aware_lag),
        b"pel-count": len(pending),
        b"pending": [
            [key.encode(), entry.consumer_name, entry.time_read, entry.times_delivered] for key, entry in pending
        ][:count],
        b"consumers": consumers,
    }


def _name(described: Any) -> bytes:
    """The name of a group or consumer, by which Redis orders them."""
    fields = _as_map(described)
    name = fields.get(b"name", fields.get("name"))
    return name if isinstance(name, bytes) else str(name).encode()


def _count(args: tuple[bytes, ...]) -> int | None:
    """The value of COUNT, where it is given."""
    words = [arg.lower() for arg in args]
    at = words.index(b"count") + 1 if b"count" in words else len(words)
    return int(words[at]) if at < len(words) and _COUNT.fullmatch(words[at]) else None


def _unless_counted(key: CommandItem, args: tuple[bytes, ...], reply: Any) -> Any:
    """A reply to XRANGE, which is null where no entry was asked for."""
    count = _count(args)
    return None if key.value is not None and count is not None and count < 1 else reply


def _as_map(flat: Any) -> Any:
    """The names and values of a list as a map, which RESP3 has."""
    return dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
