"""Which shards the coordinator of a cluster's search knows, read from SEARCH.CLUSTERINFO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["coordinated_shards"]

_ALL = (-1, -1)


def coordinated_shards(reply: Any) -> set[tuple[str, int, int]] | None:
    """Return the shards in a reply to SEARCH.CLUSTERINFO, each with a range of slots; None where it has another form.

    Returns:
        The id of each primary with the first and the last slot of each of its ranges, -1 where they are not told.
    """
    try:
        if isinstance(reply, list) and b"slots" in reply:  # before 8.4 in RESP2: the ranges are at the end
            parts = reply[reply.index(b"slots") + 1 :]
            return {shard for part in parts if part is not None for shard in _owners(part)}
        fields = _fields(reply)
        if "shards" in fields:  # 8.4 and later; 8.4 without slots
            found = set()
            for shard in map(_fields, fields["shards"] or ()):
                slots = [int(slot) for slot in shard.get("slots", _ALL)]
                found |= {(_text(shard["id"]), *part) for part in zip(slots[::2], slots[1::2], strict=True)}
            return found
        return {shard for part in fields["slots"] or () for shard in _owners(part)}
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _owners(part: Any) -> Iterator[tuple[str, int, int]]:
    """The primary of a range of slots, as releases before 8.4 describe it: in RESP2 without names."""
    if isinstance(part, Mapping):
        fields = _fields(part)
        first, last, nodes = fields["start"], fields["end"], [list(node.values()) for node in fields["nodes"]]
    else:
        first, last, *nodes = part
    for name, _, _, role in nodes:
        if "master" in _text(role):
            yield _text(name), int(first), int(last)


def _fields(value: Any) -> dict[str, Any]:
    """A map, which RESP2 gives as a list of names and values."""
    pairs = value.items() if isinstance(value, Mapping) else zip(value[::2], value[1::2], strict=True)
    return {_text(name): each for name, each in pairs}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
