"""`KeyListCommands`: COMMAND GETKEYS and GETKEYSANDFLAGS, which find the keys in a command."""

from __future__ import annotations

from typing import Any, Final

from fakeredis._commands import SUPPORTED_COMMANDS
from fakeredis._helpers import SimpleError, SimpleString

from relay_models.embedded.commands.permissions import keys_of
from relay_models.embedded.registry import COMMANDS, check_count, command, split_name
from relay_models.embedded.reply_types import SetReply

__all__ = ["KeyListCommands"]

_FLAGS: Final = {
    "RO access": """
        bitcount bitpos dump expiretime fcall_ro geodist geohash geopos georadius_ro georadiusbymember_ro geosearch get
        getbit getrange hexpiretime hget hgetall hkeys hmget hpexpiretime hpttl hrandfield hscan httl hvals lcs lindex
        lpos lrange mget pexpiretime pttl sdiff sinter sintercard smembers smismember sort_ro srandmember sscan substr
        sunion ttl xinfo|consumers xinfo|groups xinfo|stream xpending xrange xread xreadgroup xrevrange zcount zdiff
        zinter zintercard zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex
        zrevrangebyscore zrevrank zscan zscore zunion copy sort georadius georadiusbymember""",
    "RO": "exists hexists hlen hstrlen llen memory|usage object|encoding object|freq object|idletime object|refcount "
    "scard sismember strlen touch type watch xlen zcard",
    "RW access": "pfcount",
    "RW access delete": """
        blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin getdel lmove lmpop lpop rename renamenx rpop
        rpoplpush smove spop zmpop zpopmax zpopmin""",
    "RW access insert": "pfmerge",
    "RW delete": """
        hdel lrem ltrim srem xautoclaim xdel xgroup|delconsumer xgroup|destroy xtrim zrem zremrangebylex zremrangebyrank
        zremrangebyscore""",
    "RW insert": "append hsetnx linsert lpush lpushx pfadd rpush rpushx sadd xgroup|create xgroup|createconsumer",
    "RW update": """
        expire expireat geoadd hexpire hexpireat hmset hpersist hpexpire hpexpireat hset lset persist pexpire pexpireat
        setrange xack xadd xclaim xgroup|setid zadd""",
    "OW insert": "msetnx setnx",
    "OW update": """
        bitop geosearchstore mset psetex restore sdiffstore set setex sinterstore sunionstore zdiffstore zinterstore
        zrangestore zunionstore""",
    "RM delete": "del unlink",
}
_FIRST: Final = {name: flags for flags, names in _FLAGS.items() for name in names.split()}
"""What a command does with its keys, or with the first of them where that differs. Others read and change them."""
_OTHERS: Final = {
    **dict.fromkeys(("bitop", "geosearchstore", "pfmerge", "sdiffstore", "sinterstore", "sunionstore"), "RO access"),
    **dict.fromkeys(("zdiffstore", "zinterstore", "zrangestore", "zunionstore"), "RO access"),
    **dict.fromkeys(("copy", "georadius", "georadiusbymember", "rename", "sort"), "OW update"),
    **dict.fromkeys(("blmove", "brpoplpush", "lmove", "rpoplpush", "smove"), "RW insert"),
    "renamenx": "OW insert",
}
"""What a command does with its further keys, where that differs."""
_SAMPLE: Final = (b"1", b"1", b"streams", b"1", b"1")
"""Arguments among which every command that has keys finds one."""


def _used(name: str, place: int, args: list[bytes]) -> str:
    found = _FIRST.get(name.replace(" ", "|"), "RW access update")
    if place and name in _OTHERS:
        return _OTHERS[name]
    if name == "set" and b"get" in [arg.lower() for arg in args[2:]]:
        return "RW access update"
    if name == "bitfield" and {b"set", b"incrby"}.isdisjoint(arg.lower() for arg in args[1:]):
        return "RO access"
    return found


class KeyListCommands:
    """Mixed into the engine's sockets."""

    @command("command getkeys", fixed=(bytes,), repeat=(bytes,), categories="@slow @connection")
    def engine_getkeys(self, *words: bytes) -> list[bytes]:
        return _parsed(list(words))[2]

    @command("command getkeysandflags", fixed=(bytes,), repeat=(bytes,), categories="@slow @connection")
    def engine_getkeysandflags(self, *words: bytes) -> list[Any]:
        name, args, keys = _parsed(list(words))
        return [
            [key, SetReply([SimpleString(flag.encode()) for flag in _used(name, place, args).split()])]
            for place, key in enumerate(keys)
        ]


def _parsed(words: list[bytes]) -> tuple[str, list[bytes], list[bytes]]:
    """A command's name, its arguments, and the keys among them."""
    name, args = split_name(words)
    signature = COMMANDS.get(name) or SUPPORTED_COMMANDS.get(name)
    if signature is None:
        raise SimpleError("ERR Invalid command specified")
    if not keys_of(name, _SAMPLE):
        raise SimpleError("ERR The command has no key arguments")
    try:
        check_count(name, signature, args)
    except SimpleError:
        raise SimpleError("ERR Invalid number of arguments specified for command") from None
    keys = keys_of(name, args)
    if keys is None:  # with patterns, for which it may read any key
        stored = [args[at + 1] for at, word in enumerate(args[:-1]) if at and word.lower() == b"store"]
        keys = [args[0], *stored]
    return name, args, [keys[0], keys[-1]] if name == "sort" and len(keys) > 1 else keys
