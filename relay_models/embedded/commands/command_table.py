"""`describe_command`: what COMMAND says of a command: its flags, where its keys are, and how clusters treat it.

Clients of clusters and proxies find the keys of a command by it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakeredis._commands import SUPPORTED_COMMANDS
from fakeredis._helpers import SimpleString
from fakeredis.model import get_command_info

from relay_models.embedded.commands.permissions import categories_of
from relay_models.embedded.registry import COMMANDS
from relay_models.embedded.reply_types import SetReply
from relay_models.embedded.search.commands import SEARCH_COMMANDS

__all__ = ["command_names", "describe_command", "key_specs"]

_KEYS: Final = {
    "OW insert 1": "setnx",
    "OW insert 1..-1/2": "msetnx",
    "OW update 1": "psetex restore setex",
    "OW update 1..-1/2": "mset",
    "OW update 1, RO access 2": "geosearchstore zrangestore",
    "OW update 1, RO access 2#": "zdiffstore zinterstore zunionstore",
    "OW update 1, RO access 2..-1": "sdiffstore sinterstore sunionstore",
    "OW update 2, RO access 3..-1": "bitop",
    "RM delete 1..-1": "del unlink",
    "RO 1": "hexists hlen hstrlen llen scard sismember strlen type xlen zcard",
    "RO 1..-1": "exists touch watch",
    "RO 2": "memory|usage object|encoding object|freq object|idletime object|refcount",
    "RO access 1": """
        bitcount bitfield_ro bitpos dump expiretime geodist geohash geopos georadius_ro georadiusbymember_ro geosearch
        get getbit getrange hexpiretime hget hgetall hkeys hmget hpexpiretime hpttl hrandfield hscan httl hvals lindex
        lpos lrange pexpiretime pttl smembers smismember srandmember sscan substr ttl xpending xrange xrevrange zcount
        zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex zrevrangebyscore
        zrevrank zscan zscore""",
    "RO access 1#": "sintercard zdiff zinter zintercard zunion",
    "RO access 1, OW update 2": "copy",
    "RO access 1, OW update STORE@5, OW update STOREDIST@5": "georadiusbymember",
    "RO access 1, OW update STORE@6, OW update STOREDIST@6": "georadius",
    "RO access 1, RO access ?": "sort_ro",
    "RO access 1, RO access ?, OW update ?": "sort",
    "RO access 1..-1": "mget sdiff sinter sunion",
    "RO access 1..2": "lcs",
    "RO access 2": "xinfo|consumers xinfo|groups xinfo|stream",
    "RO access 2#": "eval_ro evalsha_ro fcall_ro",
    "RO access STREAMS@1..-1/1/2": "xread",
    "RO access STREAMS@4..-1/1/2": "xreadgroup",
    "RW access 1..-1": "pfcount",
    "RW access delete 1": "getdel hgetdel lpop rpop spop zpopmax zpopmin",
    "RW access delete 1#": "lmpop zmpop",
    "RW access delete 1, OW insert 2": "renamenx",
    "RW access delete 1, OW update 2": "rename",
    "RW access delete 1, RW insert 2": "blmove brpoplpush lmove rpoplpush smove",
    "RW access delete 1..-2": "blpop brpop bzpopmax bzpopmin",
    "RW access delete 2#": "blmpop bzmpop",
    "RW access insert 1, RO access 2..-1": "pfmerge",
    "RW access update 1": """
        decr decrby getex getset hgetex hincrby hincrbyfloat incr incrby incrbyfloat json.resp move setbit zincrby""",
    "RW access update 1..-1/3": "json.mset",
    "RW access update 2": "json.debug",
    "RW access update 2#": "eval evalsha fcall",
    "RW access update variable_flags 1": "bitfield set",
    "RW delete 1": """
        hdel lrem ltrim srem xautoclaim xdel xtrim zrem zremrangebylex zremrangebyrank zremrangebyscore""",
    "RW delete 2": "xgroup|delconsumer xgroup|destroy",
    "RW insert 1": "append hsetnx linsert lpush lpushx pfadd rpush rpushx sadd",
    "RW insert 2": "xgroup|create xgroup|createconsumer",
    "RW update 1": """
        expire expireat geoadd hexpire hexpireat hmset hpersist hpexpire hpexpireat hset hsetex lset persist pexpire
        pexpireat setrange xack xadd xclaim xsetid zadd""",
    "RW update 2": "xgroup|setid",
    "not_key 1": "spublish",
    "not_key 1..-1": "ssubscribe sunsubscribe",
}
"""What commands do with their keys, and where these are: ``first..last/step/part``, each 1 being the first argument.

``2#`` is the number of the keys that follow it, ``STREAMS@1`` the argument after a word that is looked for from there,
``?`` a place that depends on other arguments. Of `part` arguments to the end, one is a key.
"""
_TIPS: Final = {
    "nondeterministic_output": """
        client|info client|list cluster|count-failure-reports cluster|getkeysinslot cluster|info cluster|links
        cluster|myshardid cluster|nodes cluster|replicas cluster|shards cluster|slaves cluster|slots cluster|bumpepoch
        dump function|stats hrandfield hscan info lastsave latency|doctor latency|graph latency|history latency|latest
        memory|doctor memory|malloc-stats memory|stats object|encoding object|freq object|idletime object|refcount
        pttl scan slowlog|get slowlog|len spop srandmember sscan time ttl xadd xautoclaim xclaim xinfo|consumers
        xpending xtrim zrandmember zscan""",
    "nondeterministic_output_order": """
        command command|docs command|info command|list function|list hgetall hkeys hvals module|list sdiff sinter
        smembers sunion""",
    "request_policy:all_nodes": """
        acl|deluser acl|save acl|setuser client|setinfo client|setname config|resetstat config|rewrite config|set
        latency|doctor latency|graph latency|history latency|latest latency|reset script|flush script|load slowlog|get
        slowlog|len slowlog|reset""",
    "request_policy:all_shards": """
        dbsize flushall flushdb function|delete function|flush function|kill function|load function|restore
        function|stats info keys memory|doctor memory|malloc-stats memory|purge memory|stats ping randomkey
        script|exists script|kill wait""",
    "request_policy:multi_shard": "del exists mget mset touch unlink",
    "request_policy:special": "scan",
    "response_policy:agg_logical_and": "script|exists",
    "response_policy:agg_min": "wait",
    "response_policy:agg_sum": "dbsize del exists latency|reset slowlog|len touch unlink",
    "response_policy:all_succeeded": """
        acl|deluser acl|save acl|setuser client|setinfo client|setname config|resetstat config|rewrite config|set
        flushall flushdb function|delete function|flush function|load function|restore memory|purge mset ping
        script|flush script|load slowlog|reset""",
    "response_policy:one_succeeded": "function|kill script|kill",
    "response_policy:special": """
        function|stats info latency|doctor latency|graph latency|history latency|latest memory|doctor
        memory|malloc-stats memory|stats randomkey scan""",
}
_LATE_TIPS: Final = {"nondeterministic_output": "randomkey", "nondeterministic_output_order": "keys"}
"""Those that Redis names after others."""
_FLAGS: Final = {
    "": "memory|doctor:2 memory|malloc-stats:2 memory|purge:2 memory|stats:2",
    "admin allow_busy loading no_multi noscript stale": "shutdown:-1",
    "admin loading noscript stale": """
        acl|dryrun:-4 config|get:-3 config|resetstat:2 config|rewrite:2 debug:-2 latency|doctor:2 latency|graph:3
        latency|history:3 latency|latest:2 latency|reset:-2 monitor:1""",
    "admin loading stale": "slowlog|get:-2 slowlog|len:2 slowlog|reset:2",
    "admin no_async_loading noscript": "bgrewriteaof:1",
    "admin no_async_loading noscript stale": "replicaof:3 slaveof:3",
    "admin no_async_loading stale": """
        cluster|addslots:-3 cluster|addslotsrange:-4 cluster|bumpepoch:2 cluster|delslots:-3 cluster|delslotsrange:-4
        cluster|failover:-2 cluster|flushslots:2 cluster|forget:3 cluster|meet:-4 cluster|replicate:3
        cluster|saveconfig:2 cluster|set-config-epoch:3 cluster|setslot:-4""",
    "admin noscript": "module|list:2",
    "admin noscript stale": "cluster|reset:-2",
    "admin stale": "cluster|count-failure-reports:3 cluster|replicas:3 cluster|slaves:3",
    "allow_busy fast loading no_auth noscript stale": "quit:-1",
    "allow_busy noscript": "script|kill:2",
    "blocking": "wait:3",
    "denyoom fast write": "xsetid:-3",
    "fast": "asking:1",
    "fast loading noscript stale": "role:1",
    "fast loading stale": "readonly:1 readwrite:1",
    "fast readonly": "bitfield_ro:-2 lolwut:-1 touch:-2",
    "loading noscript stale": "client|caching:3 client|getredir:2 client|tracking:-3 client|trackinginfo:2",
    "loading stale": """
        acl|help:2 client|help:2 cluster|help:2 cluster|shards:2 cluster|slots:2 command|docs:-2 command|getkeys:-3
        command|getkeysandflags:-3 command|help:2 command|list:-2 config|help:2 info:-1 latency|help:2 memory|help:2
        module|help:2 object|help:2 slowlog|help:2 xgroup|help:2 xinfo|help:2""",
    "module readonly": "json.debug:-1 json.resp:-1",
    "movablekeys no_mandatory_keys noscript readonly skip_monitor stale": "eval_ro:-3 evalsha_ro:-3",
    "noscript": "script|debug:3",
    "readonly": "memory|usage:-3 object|encoding:3 object|freq:3 object|idletime:3 object|refcount:3",
    "stale": """
        cluster|countkeysinslot:3 cluster|getkeysinslot:4 cluster|info:2 cluster|keyslot:3 cluster|links:2
        cluster|myid:2 cluster|myshardid:2 cluster|nodes:2""",
}
"""The flags and numbers of arguments of commands that fakeredis does not describe."""


def _by_name(*tables: Mapping[str, str]) -> Mapping[str, list[str]]:
    """What the tables say of each command, in their order."""
    found: dict[str, list[str]] = {}
    for table in tables:
        for what, names in table.items():
            for name in names.split():
                found.setdefault(name, []).append(what)
    return found


_KEYS_OF: Final = _by_name(_KEYS)
_TIPS_OF: Final = _by_name(_TIPS, _LATE_TIPS)
_ARITIES: Final = {
    name: (int(arity), flags.split())
    for flags, names in _FLAGS.items()
    for name, _, arity in (each.partition(":") for each in names.split())
}


@dataclasses.dataclass(frozen=True)
class KeySpec:
    """Some of a command's keys: what it does with them and where they are."""

    flags: tuple[str, ...]
    begin: tuple[str, int] | int | None
    """A place, a word and the place where its search begins, or None for what cannot be said."""
    last: int = 0
    """The last key as seen from the first; -1 is the last argument."""
    step: int = 1
    limit: int = 0
    counted: bool = False

    def described(self) -> dict[str, Any]:
        begin: dict[str, Any] = {"type": b"unknown", "spec": {}}
        find: dict[str, Any] = {"type": b"unknown", "spec": {}}
        if isinstance(self.begin, int):
            begin = {"type": b"index", "spec": {"index": self.begin}}
        elif self.begin is not None:
            word, start = self.begin
            begin = {"type": b"keyword", "spec": {"keyword": word.encode(), "startfrom": start}}
        if self.counted:
            find = {"type": b"keynum", "spec": {"keynumidx": 0, "firstkey": 1, "keystep": self.step}}
        elif self.begin is not None:
            find = {"type": b"range", "spec": {"lastkey": self.last, "keystep": self.step, "limit": self.limit}}
        return {"flags": _statuses(self.flags), "begin_search": begin, "find_keys": find}


def _statuses(words: Sequence[str]) -> SetReply:
    return SetReply([SimpleString(word.encode()) for word in words])


_PLACE: Final = re.compile(r"(?:(\w+)@)?(\d+)(#?)(?:\.\.(-?\d+)(?:/(\d+))?(?:/(\d+))?)?")


def _key_spec(text: str) -> KeySpec:
    *flags, place = text.split()
    found = _PLACE.fullmatch(place)
    if found is None:
        return KeySpec(tuple(flags), None)
    word, first, counted, last, step, limit = found.groups()
    begin = (word, int(first)) if word else int(first)
    behind = int(last or first)
    return KeySpec(
        tuple(flags),
        begin,
        last=behind if behind < 0 else behind - int(first),
        step=int(step or 1),
        limit=int(limit or 0),
        counted=bool(counted),
    )


@functools.cache
def key_specs(name: str) -> list[KeySpec]:
    """Where a command has its keys. `name` has a ``|`` before a subcommand's."""
    found = _KEYS_OF.get(name)
    if found is not None:
        return [_key_spec(text) for text in found[0].split(",")]
    info = get_command_info(name.encode())
    if info is None or not info[3]:
        return []
    flags, first, last, step = info[2:6]
    return [
        KeySpec(
            ("RO", "access") if b"readonly" in flags else ("RW", "access", "update"),
            first,
            last=last if last < 0 else last - first,
            step=step,
        )
    ]


def _key_range(specs: list[KeySpec]) -> tuple[int, int, int]:
    """The first key, the last and the step between them, as far as a range can say, as servers before 7 do."""
    if len(specs) == 1 and isinstance(specs[0].begin, int) and not specs[0].counted:
        (only,) = specs
        return specs[0].begin, only.last if only.last < 0 else specs[0].begin + only.last, only.step
    first = last = 0
    for spec in specs:
        if isinstance(spec.begin, int) and not spec.counted and spec.step == 1 and last in (0, spec.begin - 1):
            first = first or spec.begin
            last = spec.last if spec.last < 0 else spec.begin + spec.last
    return first, last, int(bool(first))


@functools.cache
def _served() -> frozenset[str]:
    """The commands that the engine has and something is known of, those of search aside."""
    names = (name.replace(" ", "|") for name in (*COMMANDS, *SUPPORTED_COMMANDS) if name.upper() not in SEARCH_COMMANDS)
    return frozenset(name for name in names if name in _ARITIES or _info(name) is not None)


@functools.cache
def command_names(*, subcommands: bool = False) -> list[bytes]:
    """The names of all commands, and of their subcommands where asked for."""
    names = {name.partition("|")[0] for name in _served()}
    if subcommands:
        names |= _served()
    return [name.encode() for name in (*sorted(names), *SEARCH_COMMANDS)]


def _info(name: str) -> list[Any] | None:
    found: list[Any] | None = get_command_info(name.replace("|", " ").encode())
    return found


@functools.cache
def describe_command(name: str) -> list[Any] | None:
    """One command as COMMAND INFO describes it, or None for an unknown one."""
    declared = SEARCH_COMMANDS.get(name.upper())
    if declared is not None:
        flags = ["write" if declared.writes else "readonly", "module"]
        return _entry(declared.name, declared.arity, flags, declared.categories.split())
    parts = [describe_command(each) for each in sorted(_served()) if each.startswith(f"{name}|")]
    if name not in _served() or (parts and name not in COMMANDS and name not in SUPPORTED_COMMANDS):
        return _entry(name, -2, [], ["@slow"], parts) if parts else None
    categories = sorted(category.decode() for category in categories_of(name.replace("|", " ")))
    info = _info(name)
    if info is not None:
        return _entry(name, info[1], [flag.decode() for flag in info[2]], categories, parts)
    arity, flags = _ARITIES[name]
    return _entry(name, arity, flags, categories)


def _entry(
    name: str, arity: int, flags: Sequence[str], categories: Sequence[str], subcommands: Sequence[Any] = ()
) -> list[Any]:
    specs = key_specs(name)
    return [
        name.encode(),
        arity,
        _statuses(flags),
        *_key_range(specs),
        _statuses(categories),
        SetReply([tip.encode() for tip in _TIPS_OF.get(name, [])]),
        SetReply([spec.described() for spec in specs]),
        SetReply(subcommands),
    ]
