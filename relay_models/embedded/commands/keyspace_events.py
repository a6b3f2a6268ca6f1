"""`command_events`: the keyspace events of a command, by the names that Redis gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from relay_models.embedded.commands.permissions import categories_of

__all__ = ["KeyspaceEvent", "command_events", "event_classes", "event_classes_text"]

ALL: Final = b"g$lshzxetd"
"""The classes that ``A`` stands for."""
_LETTERS: Final = frozenset(b"A" + ALL + b"KEmn")


class KeyspaceEvent(NamedTuple):
    """What happened to a key."""

    kind: bytes
    """The letter of its class."""
    name: bytes
    key: bytes


_NAMES: Final = {
    other: name
    for name, others in {
        "expire": "expireat pexpire pexpireat",
        "hexpire": "hexpireat hpexpire hpexpireat",
        "hset": "hmset hsetnx",
        "incrby": "decr decrby incr",
        "lpop": "blpop",
        "lpush": "lpushx",
        "pfadd": "pfmerge",
        "rpop": "brpop",
        "rpush": "rpushx",
        "set": "bitop getset mset msetnx psetex setex setnx",
        "setbit": "bitfield",
        "sortstore": "sort georadius georadiusbymember",
        "zadd": "geoadd",
        "zincr": "zincrby",
        "zpopmax": "bzpopmax",
        "zpopmin": "bzpopmin",
    }.items()
    for other in others.split()
}
"""Events that are not named after their command."""
_SILENT: Final = frozenset(
    (
        "eval", "evalsha", "exec", "fcall", "flushall", "flushdb", "pfcount", "swapdb", "xack", "xautoclaim", "xclaim",
        "xreadgroup",
    )
)  # fmt: skip
"""Commands that may write but have no event of their own."""
_CHANGED_NOTHING: Final = frozenset(
    (
        "copy", "expire", "expireat", "hdel", "hsetnx", "linsert", "lpushx", "lrem", "move", "msetnx", "persist",
        "pexpire", "pexpireat", "pfadd", "renamenx", "rpushx", "sadd", "setnx", "setrange", "smove", "srem",
        "xdel", "xgroup createconsumer", "xgroup destroy", "xtrim", "zrem", "zremrangebylex", "zremrangebyrank",
        "zremrangebyscore",
    )
)  # fmt: skip
"""Commands that changed nothing where they reply 0 or less."""
_MOVING: Final = frozenset(("blmove", "brpoplpush", "lmove", "rpoplpush", "smove"))
_POPPING_ONE: Final = frozenset(("blmpop", "bzmpop", "lmpop", "zmpop", "blpop", "brpop", "bzpopmax", "bzpopmin"))
_REMOVING: Final = ("del", "json.", "move_from", "rename_from")
"""The events after which Redis does not say that a key is gone."""
_POPPING: Final = frozenset(("lpop", "rpop", "spop", "zpopmax", "zpopmin"))
_TTL_WORDS: Final = frozenset((b"ex", b"px", b"exat", b"pxat"))
_CLASSES: Final = {
    b"@keyspace": b"g", b"@hash": b"h", b"@list": b"l", b"@set": b"s", b"@sortedset": b"z", b"@geo": b"z",
    b"@stream": b"t", b"@json": b"d", b"@string": b"$", b"@bitmap": b"$", b"@hyperloglog": b"$",
}  # fmt: skip


def event_classes(text: bytes) -> frozenset[int]:
    """The classes that ``notify-keyspace-events`` names. Raises `ValueError` where it has other letters."""
    if not _LETTERS.issuperset(text):
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return frozenset(text.replace(b"A", ALL))


def event_classes_text(text: bytes) -> bytes:
    """The same setting as CONFIG GET shows it."""
    wanted = event_classes(text)
    single = bytes(letter for letter in ALL + b"n" if letter in wanted)
    return (b"A" if wanted.issuperset(ALL) else single) + bytes(letter for letter in b"KEm" if letter in wanted)


def command_events(
    name: str, args: Sequence[bytes], result: Any, existed: Mapping[bytes, bool], exist: Mapping[bytes, bool]
) -> list[KeyspaceEvent]:
    """The events of a command that succeeded, in Redis's order.

    `existed` says which of its keys there were before, `exist` which of the keys that changed there are now.
    """
    if b"@write" not in categories_of(name) or name in _SILENT:
        return []
    if name in _CHANGED_NOTHING and isinstance(result, int) and result <= 0:
        return []
    if name in _POPPING and not result:
        return []
    found: list[KeyspaceEvent] = []
    for key, kind, event in _steps(name, args, result, existed, exist):
        new = KeyspaceEvent(b"n", b"new", key)
        if not existed.get(key) and exist.get(key) and new not in found:
            found.append(new)
        if event:
            found.append(KeyspaceEvent(kind, event.encode(), key))
        if existed.get(key) and exist.get(key) is False and not event.startswith(_REMOVING):
            found.append(KeyspaceEvent(b"g", b"del", key))
    return found


def _steps(
    name: str, args: Sequence[bytes], result: Any, existed: Mapping[bytes, bool], exist: Mapping[bytes, bool]
) -> Iterator[tuple[bytes, bytes, str]]:
    """The key, the class and the name of each event; an empty name where there is none but that of its removal."""
    kind = next((letter for category, letter in _CLASSES.items() if category in categories_of(name)), b"g")
    words = [arg.lower() for arg in args]
    event = _NAMES.get(name, name.replace(" ", "-"))
    if name in ("rename", "renamenx"):
        yield args[1], b"g", ""  # only whether it is new
        yield args[0], b"g", "rename_from"
        yield args[1], b"g", "rename_to"
    elif name == "copy":
        yield args[1], b"g", "copy_to"
    elif name == "move":
        yield args[0], b"g", "move_from"
    elif name in _MOVING:
        if result is not None:
            yield from _moved(name, words, args, kind)
    elif name in _POPPING_ONE:
        if isinstance(result, (list, tuple)) and result:
            ends = {b"left": "lpop", b"right": "rpop", b"min": "zpopmin", b"max": "zpopmax"}
            end = next((ends[word] for word in words if word in ends), event)
            yield result[0], kind, end if "mpop" in name else event
    elif name == "getex":
        if result is not None and len(args) > 1 and args[0] in exist:
            yield args[0], b"g", "persist" if words[1] == b"persist" else "expire" if exist[args[0]] else ""
    elif name.startswith(("hexpire", "hpexpire", "hpersist")):
        replies = result if isinstance(result, list) else []
        if 1 in replies or 2 in replies:
            yield args[0], b"h", event if 1 in replies else "hdel"
    elif name.startswith("x"):
        yield args[0], b"t", event
    else:
        yield from _written(name, words, kind, event, existed, exist)


def _moved(name: str, words: Sequence[bytes], args: Sequence[bytes], kind: bytes) -> Iterator[tuple[bytes, bytes, str]]:
    if name == "smove":
        yield args[0], kind, "srem"
        yield args[1], kind, "sadd"
        return
    ends = words[2:4] if name.endswith("move") else (b"right", b"left")
    taken, put = (end[:1].decode() for end in ends)
    yield args[1], kind, f"{put}push"
    yield args[0], kind, f"{taken}pop"


def _written(
    name: str,
    words: Sequence[bytes],
    kind: bytes,
    event: str,
    existed: Mapping[bytes, bool],
    exist: Mapping[bytes, bool],
) -> Iterator[tuple[bytes, bytes, str]]:
    """The events of a command that writes the keys that changed, and no others."""
    if name == "zadd" and b"incr" in words:
        event = "zincr"
    for key, exists in exist.items():
        if name in ("del", "unlink", "getdel"):
            if existed.get(key):
                yield key, b"g", "del"
        elif event == "expire" or event == "persist" or event == "restore":
            yield key, b"g", event if exists else ""
        elif exists or not (name.endswith("store") or event in ("set", "sortstore")):
            yield key, kind, event
        else:
            yield key, kind, ""
        if name in ("setex", "psetex") or (name == "set" and exists and not _TTL_WORDS.isdisjoint(words[2:])):
            yield key, b"g", "expire"
