"""How each type of value is stored in the file: one blob, or a row for each part so that only changes are rewritten."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fakeredis.model import ExpiringMembersSet, Hash, StreamEntryKey, StreamGroup, XStream, ZSet
from fakeredis.model._stream import PelEntry, StreamConsumerInfo, _StreamNode

from relay_models.embedded.json.value import JsonDocument

__all__ = [
    "BLOBS",
    "KINDS",
    "TrackedDict",
    "dump",
    "key_checksum",
    "kind_code",
    "load",
    "pack",
    "pack_json",
    "part_checksum",
    "parts_of",
    "restore",
    "track",
    "unpack",
    "whole",
]

STRING, LIST, SET, ZSET, HASH, JSON, STREAM, PACKED_JSON = range(8)
"""The numbers of the types in the file. PACKED_JSON is JSON whose text is compressed with zlib."""

BLOBS: Final = (STRING, JSON, PACKED_JSON)
"""The types that are one blob in the file, without parts."""

# JSON texts of fewer bytes are not compressed: it would save little.
_LEAST_PACKED: Final = 400

KINDS: Final[dict[type, int]] = {
    bytes: STRING,
    list: LIST,
    ExpiringMembersSet: SET,
    ZSet: ZSET,
    Hash: HASH,
    JsonDocument: JSON,
    XStream: STREAM,
}
_LENGTH: Final = struct.Struct(">I").pack
_DOUBLE: Final = struct.Struct(">d")

Part = tuple[Any, Any, int | None]
"""One row: its name, its value, and when it expires in ms since the epoch."""


def kind_code(value: Any) -> int | None:
    """The number of a value's type in the file, or None for a type that cannot be kept in one."""
    return KINDS.get(type(value))


class TrackedDict(dict[Any, Any]):
    """A dictionary that records which of its names changed since it was last written."""

    __slots__ = ("changed",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.changed: set[Any] = set()

    def __setitem__(self, name: Any, value: Any) -> None:
        self.changed.add(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: Any) -> None:
        super().__delitem__(name)
        self.changed.add(name)

    def pop(self, name: Any, *default: Any) -> Any:
        if name in self:
            self.changed.add(name)
        return super().pop(name, *default)

    def popitem(self) -> tuple[Any, Any]:
        name, value = super().popitem()
        self.changed.add(name)
        return name, value

    def setdefault(self, name: Any, default: Any = None) -> Any:
        if name not in self:
            self.changed.add(name)
        return super().setdefault(name, default)

    def update(self, *args: Any, **named: Any) -> None:
        for name, value in dict(*args, **named).items():
            self[name] = value

    def clear(self) -> None:
        self.changed.update(self)
        super().clear()

    def copy(self) -> dict[Any, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def members(value: Any) -> Any:
    """The dictionary that holds a value's members."""
    if type(value) is ZSet:
        return value._bylex
    return value._values_dict if type(value) is XStream else value._values


def track(value: Any) -> None:
    """Let `value` record its changes from now on."""
    if type(value) is ZSet:
        value._bylex = TrackedDict(value._bylex)
    elif type(value) is XStream:
        value._values_dict = TrackedDict(value._values_dict)
    else:
        value._values = TrackedDict(value._values)
    if type(value) is Hash:
        value._expirations = TrackedDict(value._expirations)


def whole(kind: int, value: Any) -> bytes:
    """The content of the key's own row."""
    if kind == STRING:
        return value  # type: ignore[no-any-return]
    if kind == JSON:
        return value.text  # type: ignore[no-any-return]
    return _stream_state(value) if kind == STREAM else b""


def parts_of(kind: int, value: Any, names: Iterable[Any] | None = None) -> Iterator[Part | tuple[Any]]:
    """The rows of a value's members, all or those named. A deleted name is given alone."""
    held = members(value)
    for name in held if names is None else names:
        if name not in held:
            yield (_part_name(kind, name),)
            continue
        content = held[name]
        if kind == HASH:
            yield name, content, value._expirations.get(name)
        elif kind == SET:
            yield name, None, content
        elif kind == ZSET:
            yield name, content, None
        else:
            yield _part_name(kind, name), pack(content), None


def key_checksum(key: bytes, kind: int, expire: float | None, content: bytes) -> int:
    """The checksum of a key's own row."""
    about = zlib.crc32(key, kind)
    if expire is not None:
        about = zlib.crc32(_DOUBLE.pack(expire), about)
    return zlib.crc32(content, about)


def part_checksum(part: Any, value: Any, expire: int | None) -> int:
    """The same for the row of a part."""
    about = zlib.crc32(part) if type(part) is bytes else zlib.crc32(b"%d" % part)
    if type(value) is bytes:
        about = zlib.crc32(value, about)
    elif value is not None:
        about = zlib.crc32(_DOUBLE.pack(value + 0.0), about)  # SQLite has no negative zero
    return about if expire is None else zlib.crc32(b"%d" % expire, about)


def pack_json(text: bytes) -> tuple[int, bytes]:
    """The type and the content with which a JSON text is stored: compressed where that makes it smaller."""
    if len(text) >= _LEAST_PACKED:
        # The quickest level: the others take longer and make 2 % of difference.
        packed = zlib.compress(text, 1)
        if len(packed) < len(text):
            return PACKED_JSON, packed
    return JSON, text


def _part_name(kind: int, name: Any) -> Any:
    return struct.pack(">QQ", name.ts, name.seq) if kind == STREAM else name


def restore(kind: int, content: bytes, rows: sqlite3.Cursor | Iterable[tuple[Any, Any, Any]]) -> Any:
    """The value of a key from its own row and the rows of its parts, in their order."""
    if kind == STRING:
        return content
    if kind == JSON:
        return JsonDocument(content)
    if kind == PACKED_JSON:
        return JsonDocument(zlib.decompress(content))
    if kind == LIST:
        return [value for _, value, _ in rows]
    if kind == SET:
        return ExpiringMembersSet(TrackedDict({name: expire for name, _, expire in rows}))
    if kind == ZSET:
        zset = ZSet()
        scores = {name: float(score) for name, score, _ in rows}
        zset._bylex = TrackedDict(scores)
        zset._byscore.update((score, name) for name, score in scores.items())
        return zset
    if kind == HASH:
        fields = Hash()
        fields._values = TrackedDict()
        for name, value, expire in rows:
            dict.__setitem__(fields._values, name, value)
            if expire is not None:
                fields._expirations[name] = expire
                fields._schedule_expiry(name, expire)
        fields._expirations = TrackedDict(fields._expirations)
        return fields
    return _restore_stream(content, rows)


def dump(value: Any) -> bytes:
    """A value as one byte string, for `load`. The type must have a `kind_code`."""
    kind = kind_code(value)
    if kind is None:
        raise ValueError(f"a {type(value).__name__} has no encoding")
    pieces = [b"%d" % kind, whole(kind, value)]
    if kind == LIST:
        pieces += value
    elif kind not in (STRING, JSON):
        for part in parts_of(kind, value):
            name, content, expire = part  # type: ignore[misc]
            pieces += [name, _scalar(content), _scalar(expire)]
    return pack(pieces)


def load(packed: bytes) -> Any:
    """The value from the output of `dump`. Raises `ValueError` for anything else."""
    try:
        code, content, *pieces = unpack(packed)
        kind = int(code)
        if kind == LIST:
            return restore(kind, content, [(None, element, None) for element in pieces])
        rows = [
            (pieces[at], _unscalar(kind, pieces[at + 1]), _unscalar(ZSET, pieces[at + 2]))
            for at in range(0, len(pieces), 3)
        ]
        return restore(kind, content, rows)
    except (struct.error, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError("not a dumped value") from error


def _scalar(value: Any) -> bytes:
    return b"" if value is None else value if type(value) is bytes else repr(value).encode()


def _unscalar(kind: int, text: bytes) -> Any:
    if kind in (HASH, STREAM):
        return text
    return None if not text else float(text) if kind == ZSET and not text.lstrip(b"-").isdigit() else int(text)


def pack(items: Iterable[bytes]) -> bytes:
    """Several byte strings as one."""
    pieces: list[bytes] = []
    for item in items:
        pieces += (_LENGTH(len(item)), item)
    return b"".join(pieces)


def unpack(packed: bytes) -> list[bytes]:
    """The byte strings from the output of `pack`."""
    items: list[bytes] = []
    position = 0
    while position < len(packed):
        (length,) = struct.unpack_from(">I", packed, position)
        items.append(packed[position + 4 : position + 4 + length])
        position += 4 + length
    return items


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _stream_state(stream: XStream) -> bytes:
    """Everything of a stream except its entries, as JSON with bytes as Latin-1 text."""
    return json.dumps(
        {
            "last": stream._last_id,
            "deleted": stream._max_deleted_id,
            "added": stream._entries_added,
            "idmp": [stream._idmp_duration, stream._idmp_max_size, stream._iids_added, stream._iids_duplicates],
            "seen": [
                [_text(producer), [[_text(name), entry] for name, entry in known.items()]]
                for producer, known in stream._idmp_map.items()
            ],
            "nodes": [
                [
                    node.master_id,
                    [_text(f) for f in node.master_fields],
                    node.last_id,
                    node.live,
                    node.deleted,
                    node.lp_bytes,
                ]
                for node in stream._nodes
            ],
            "groups": [_group_state(group) for group in stream._groups.values()],
        },
        separators=(",", ":"),
    ).encode()


def _group_state(group: StreamGroup) -> list[Any]:
    return [
        _text(group.name),
        group.last_delivered_key,
        group.entries_read,
        [[_text(c.name), c.pending, c.last_attempt, c.last_success] for c in group.consumers.values()],
        [[key, _text(entry.consumer_name), entry.time_read, entry.times_delivered] for key, entry in group.pel.items()],
    ]


def _restore_stream(content: bytes, rows: Iterable[tuple[Any, Any, Any]]) -> XStream:
    state = json.loads(content)
    stream = XStream()
    entries = {StreamEntryKey(*struct.unpack(">QQ", name)): unpack(value) for name, value, _ in rows}
    stream._values_dict = TrackedDict(entries)
    stream._ids = sorted(entries)
    stream._last_id = StreamEntryKey(*state["last"])
    stream._max_deleted_id = StreamEntryKey(*state["deleted"])
    stream._entries_added = state["added"]
    stream._idmp_duration, stream._idmp_max_size, stream._iids_added, stream._iids_duplicates = state["idmp"]
    stream._idmp_map = {
        producer.encode("latin-1"): {name.encode("latin-1"): StreamEntryKey(*entry) for name, entry in known}
        for producer, known in state["seen"]
    }
    stream._nodes = [
        _StreamNode(
            StreamEntryKey(*master), [f.encode("latin-1") for f in fields], StreamEntryKey(*last), live, gone, size
        )
        for master, fields, last, live, gone, size in state["nodes"]
    ]
    for name, delivered, read, consumers, pending in state["groups"]:
        group = StreamGroup(stream, name.encode("latin-1"), StreamEntryKey(*delivered), read)
        for consumer, count, attempt, success in consumers:
            info = StreamConsumerInfo(consumer.encode("latin-1"))
            info.pending, info.last_attempt, info.last_success = count, attempt, success
            group.consumers[info.name] = info
        for key, consumer, read_at, times in pending:
            group.pel[StreamEntryKey(*key)] = PelEntry(consumer.encode("latin-1"), read_at, times)
        stream._groups[group.name] = group
    return stream
