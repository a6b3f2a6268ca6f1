"""What this library needs to know about commands: which ones write, which ones have a key, and where."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Part", "is_search", "is_write", "key_of", "name_of", "one_key_of"]

Part = bytes | str | int

# Commands that change nothing in the data set; all others are taken to be writes.
_READS = frozenset(
    [
        *("ASKING", "AUTH", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO", "EXISTS", "GET", "HELLO"),
        *("INFO", "LATENCY", "LINDEX", "LLEN", "LRANGE", "MEMORY", "MGET", "MODULE", "PEXPIRETIME", "PING", "PTTL"),
        *("ROLE", "SCAN", "SEARCH.CLUSTERINFO", "SENTINEL", "SLOWLOG", "STRLEN", "TIME", "TTL", "TYPE", "WAIT"),
        *("JSON.ARRLEN", "JSON.GET", "JSON.MGET", "JSON.OBJKEYS", "JSON.STRLEN", "JSON.TYPE"),
        *("FT.AGGREGATE", "FT.CONFIG", "FT.CURSOR", "FT.EXPLAIN", "FT.INFO", "FT.PROFILE", "FT.SEARCH"),
        *("FT.TAGVALS", "FT._LIST"),
    ]
)
# Commands that go to any server: they have no key.
_KEYLESS = frozenset(
    [
        *("ACL", "AUTH", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO", "HELLO", "INFO", "LATENCY"),
        *("MEMORY", "MODULE", "PING", "PUBLISH", "ROLE", "SCAN", "SLOWLOG", "TIME", "WAIT"),
    ]
)
# Commands that take several keys.
_SEVERAL_KEYS = frozenset(("MGET", "DEL", "EXISTS", "UNLINK", "JSON.MGET"))
# Scripts: the script, how many keys, the keys.
_SCRIPTS = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"))
# Searches, whose answer is put together from all shards.
_SEARCHES = frozenset(("FT.SEARCH", "FT.AGGREGATE", "FT.TAGVALS", "FT.CURSOR", "FT.PROFILE"))


def name_of(command: Sequence[Part]) -> str:
    """Return the name of a command in upper case."""
    name = command[0]
    if isinstance(name, str):
        return name.upper()
    return (name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)).upper()


def is_write(command: Sequence[Part]) -> bool:
    """Return whether a command may change the data set."""
    return name_of(command) not in _READS


def is_search(command: Sequence[Part]) -> bool:
    """Return whether the answer to a command is put together from all shards of a cluster."""
    return name_of(command) in _SEARCHES


def one_key_of(command: Sequence[Part]) -> bytes | None:
    """Return the key of a command that goes to the server that has it; None where it has none, or several."""
    if len(command) > 2 and name_of(command) in _SEVERAL_KEYS:
        return None
    return key_of(command)


def key_of(command: Sequence[Part]) -> bytes | None:
    """Return the first key of a command, None where it has none."""
    name = name_of(command)
    if len(command) < 2 or name.startswith("FT.") or name in _KEYLESS:
        return None
    at = 1
    if name in _SCRIPTS:
        at = 3
        if len(command) <= at or not int(command[2]):
            return None
    key = command[at]
    return key if isinstance(key, bytes) else str(key).encode()
