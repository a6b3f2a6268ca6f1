"""Random commands on strings, lists, hashes, sets, sorted sets, streams, places and HyperLogLogs.

At most one argument of a command is wrong: which of several faults a server names first is not compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

__all__ = ["Commands"]

Words = list[str]

VALUES = (
    *("", "0", "1", "-1", "5", "10", "3.5", "0.1", "1e3", "9223372036854775807", "-9223372036854775808", "abc"),
    *("héllo", "a b", " 1", "01", "inf", "nan", "+5", "0x10", "x" * 30),
)
INTEGERS = ("0", "1", "2", "3", "-1", "-2", "10")
NO_INTEGERS = ("abc", "1.5", "", " 1", "+1", "01", "9223372036854775808")
SCORES = ("1", "2", "3", "1.5", "inf", "-inf", "0", "-1", "1e-7", "0.1", "123456789012345678", "3.0")
IDS = ("1-1", "1-2", "2-0", "2", "3", "5-5", "7", "9-9")
MEMBERS = ("a", "b", "c", "1", "2", "é", "")
FIELDS = ("f", "g", "h", "1", "é", "")


class Commands:
    """A stream of commands.

    Args:
        seed: which commands.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._may_be_wrong = False
        self._makers: list[Callable[[], Words]] = [
            *(self._strings, self._bits, self._lists, self._ends, self._hashes, self._field_times, self._sets),
            *(self._sorted, self._ranges, self._combined, self._streams, self._groups, self._places, self._sketches),
            *(self._keys, self._transactions),
        ]

    def next(self) -> Words:
        """The next command."""
        self._may_be_wrong = self._random.random() < 0.5
        return self._random.choice(self._makers)()

    # Arguments

    def _wrong(self) -> bool:
        if self._may_be_wrong and self._random.random() < 0.3:
            self._may_be_wrong = False
            return True
        return False

    def _one(self, right: Sequence[str], wrong: Sequence[str] = ()) -> str:
        return self._random.choice(wrong if wrong and self._wrong() else right)

    def _words(self, right: str, wrong: str = "") -> str:
        return self._one(right.split(), wrong.split())

    def _some(self, make: Callable[[], str], least: int = 1, most: int = 3) -> Words:
        return [make() for _ in range(self._random.randint(least, most))]

    def _maybe(self, *words: str) -> Words:
        return list(words) if self._random.random() < 0.3 else []

    def _key(self, kind: str) -> str:
        kinds = ("s", "l", "h", "set", "z", "st", "geo", "hll") if self._wrong() else (kind,)
        return f"{self._random.choice(kinds)}:{self._random.choice('12')}"

    def _value(self) -> str:
        return self._random.choice(VALUES)

    def _integer(self) -> str:
        return self._one(INTEGERS, NO_INTEGERS)

    def _score(self) -> str:
        return self._one(SCORES, ("abc", "nan", ""))

    def _member(self) -> str:
        return self._random.choice(MEMBERS)

    def _field(self) -> str:
        return self._random.choice(FIELDS)

    def _id(self) -> str:
        return self._one(IDS, ("abc", "1-abc", "1-18446744073709551616"))

    def _counted(self, kind: str, most: int = 2) -> Words:
        count = self._random.randint(1, most)
        return [self._one([str(count)], ("0", "abc", "-1", "5")), *(self._key(kind) for _ in range(count))]

    def _count(self) -> Words:
        return ["COUNT", self._words("1 2 10", "0 -1 abc")] if self._random.random() < 0.3 else []

    def _pairs(self, first: Callable[[], str], second: Callable[[], str]) -> Words:
        return [word for _ in range(self._random.randint(1, 2)) for word in (first(), second())]

    # Commands

    def _strings(self) -> Words:
        key, number = self._key("s"), self._random.randrange(14)
        times = self._random.choice(
            [
                ["EX", self._words("100000", "0 -1 abc 99999999999999999")],
                ["PX", self._words("100000000", "0 -1 abc")],
                ["EXAT", self._words("4000000000", "0 -1 abc")],
                ["PXAT", self._words("4000000000000", "0 abc")],
            ]
        )
        return [
            lambda: ["SET", key, self._value(), *self._maybe(self._words("NX XX")), *self._maybe(*times)],
            lambda: ["GET", key],
            lambda: ["GETSET", key, self._value()],
            lambda: ["GETDEL", key],
            lambda: ["GETEX", key, *self._maybe(*times)],
            lambda: ["APPEND", key, self._value()],
            lambda: ["STRLEN", key],
            lambda: [self._words("INCRBY DECRBY"), key, self._integer()],
            lambda: ["INCRBYFLOAT", key, self._value()],
            lambda: ["SETRANGE", key, self._words("0 1 5 20", "-1 abc 536870912"), self._value()],
            lambda: ["GETRANGE", key, self._integer(), self._integer()],
            lambda: ["MSET", *self._pairs(lambda: self._key("s"), self._value), *(["s:1"] if self._wrong() else [])],
            lambda: ["MGET", *self._some(lambda: self._key("s"))],
            lambda: [self._words("SETEX PSETEX"), key, self._words("100000000", "0 -1 abc"), self._value()],
        ][number]()

    def _bits(self) -> Words:
        key = self._key("s")
        encoding = self._words("u8 i8 u4 i5 u63 i64 u1", "u64 i65 x8 u0")
        offset = self._words("0 1 8 #0 #1 100", "-1 #-1 abc")
        return self._random.choice(
            [
                lambda: ["SETBIT", key, self._words("0 1 7 8 100", "-1 abc"), self._words("0 1", "2 abc")],
                lambda: ["GETBIT", key, self._words("0 1 7 8 100", "-1 abc")],
                lambda: ["BITCOUNT", key, *self._maybe(self._integer(), self._integer())],
                lambda: ["BITPOS", key, self._words("0 1", "2"), *self._some(self._integer, 0, 2)],
                lambda: ["BITOP", self._words("AND OR XOR", "FOO"), "s:1", *self._some(lambda: self._key("s"))],
                lambda: ["BITOP", self._words("AND NOT"), "s:1"],
                lambda: ["BITFIELD", key, "GET", encoding, offset],
                lambda: ["BITFIELD", key, "OVERFLOW", self._words("SAT FAIL WRAP", "X"), "INCRBY", "i8", "0", "100"],
                lambda: [
                    "BITFIELD_RO",
                    key,
                    *(["SET", "u8", "0", "1"] if self._wrong() else ["GET", encoding, offset]),
                ],
            ]
        )()

    def _lists(self) -> Words:
        key = self._key("l")
        return self._random.choice(
            [
                lambda: [self._words("LPUSH RPUSH LPUSHX RPUSHX"), key, *self._some(self._member)],
                lambda: ["RPUSH", key, *self._some(self._member)],
                lambda: ["LLEN", key],
                lambda: ["LRANGE", key, self._integer(), self._integer()],
                lambda: ["LINDEX", key, self._integer()],
                lambda: ["LSET", key, self._integer(), self._member()],
                lambda: ["LREM", key, self._integer(), self._member()],
                lambda: ["LTRIM", key, self._integer(), self._integer()],
                lambda: ["LINSERT", key, self._words("BEFORE after", "FOO"), self._member(), self._member()],
                lambda: ["LPOS", key, self._member(), "RANK", self._words("1 -1 2", "0 abc -9223372036854775808")],
                lambda: ["LPOS", key, self._member(), self._words("COUNT MAXLEN"), self._words("0 1 2", "-1 abc")],
                lambda: ["SORT", key, "ALPHA", *self._maybe("LIMIT", "0", self._integer()), *self._maybe("DESC")],
            ]
        )()

    def _ends(self) -> Words:
        key, wait, end = self._key("l"), self._words("0.01", "-1 abc"), self._words("LEFT right", "FOO")
        return self._random.choice(
            [
                lambda: [self._words("LPOP RPOP"), key, *self._maybe(self._words("0 1 2 10", "-1 abc"))],
                lambda: ["LMOVE", key, self._key("l"), end, self._words("LEFT RIGHT", "FOO")],
                lambda: ["RPOPLPUSH", key, self._key("l")],
                lambda: ["LMPOP", *self._counted("l"), end, *self._count()],
                lambda: ["BLMPOP", wait, *self._counted("l"), end, *self._count()],
                lambda: [self._words("BLPOP BRPOP"), key, wait],
                lambda: ["EVAL", "return redis.pcall(unpack(ARGV))", "0", "RPOPLPUSH", key, self._key("l")],
            ]
        )()

    def _hashes(self) -> Words:
        key = self._key("h")
        return self._random.choice(
            [
                lambda: ["HSET", key, *self._pairs(self._field, self._value), *(["f"] if self._wrong() else [])],
                lambda: ["HSETNX", key, self._field(), self._value()],
                lambda: ["HGET", key, self._field()],
                lambda: ["HMGET", key, *self._some(self._field)],
                lambda: [self._words("HGETALL HKEYS HVALS HLEN"), key],
                lambda: ["HDEL", key, *self._some(self._field)],
                lambda: ["HINCRBY", key, self._field(), self._integer()],
                lambda: ["HINCRBYFLOAT", key, self._field(), self._value()],
                lambda: [
                    "HSCAN",
                    key,
                    self._words("0", "abc -1"),
                    *self._maybe("COUNT", "100"),
                    *self._maybe("NOVALUES"),
                ],
                lambda: ["HRANDFIELD", key, self._words("0", "abc -9223372036854775808"), *self._maybe("WITHVALUES")],
            ]
        )()

    def _field_times(self) -> Words:
        key, count = self._key("h"), self._random.randint(1, 2)
        number = self._one([str(count)], ("0", "-1", "abc", "5"))
        fields = [self._words("FIELDS fields", "FOO"), number, *(self._field() for _ in range(count))]
        when = self._random.choice(
            [
                ["HEXPIRE", self._words("100000 200000 0", "-1 abc 99999999999999999")],
                ["HPEXPIRE", self._words("100000000 0", "-1 abc")],
                ["HEXPIREAT", self._words("4000000000 1", "-1 abc")],
                ["HPEXPIREAT", self._words("4000000000000 1", "-1 abc 99999999999999999")],
            ]
        )
        if self._random.random() < 0.5:
            condition = self._maybe(self._words("NX XX GT LT gt", "FOO"))
            return [when[0], key, *when[1:], *condition, *fields]
        return [self._words("HTTL HPERSIST"), key, *fields]

    def _sets(self) -> Words:
        key = self._key("set")
        return self._random.choice(
            [
                lambda: ["SADD", key, *self._some(self._member)],
                lambda: ["SREM", key, *self._some(self._member)],
                lambda: [self._words("SMEMBERS SCARD"), key],
                lambda: ["SMISMEMBER", key, *self._some(self._member)],
                lambda: ["SMOVE", key, self._key("set"), self._member()],
                lambda: [self._words("SINTER SUNION SDIFF"), *self._some(lambda: self._key("set"))],
                lambda: [self._words("SINTERSTORE SUNIONSTORE SDIFFSTORE"), key, *self._some(lambda: self._key("set"))],
                lambda: ["SINTERCARD", *self._counted("set"), *self._maybe("LIMIT", self._words("0 1 2", "-1 abc"))],
                lambda: [self._words("SPOP SRANDMEMBER"), key, self._words("0 100", "abc")],
                lambda: ["SSCAN", key, self._words("0", "abc -1"), *self._maybe("COUNT", self._words("100", "0 abc"))],
            ]
        )()

    def _sorted(self) -> Words:
        key = self._key("z")
        options = self._random.choice([[], ["NX"], ["XX"], ["GT"], ["LT"], ["XX", "GT"]])
        return self._random.choice(
            [
                lambda: ["ZADD", key, *options, *self._maybe("CH"), *self._pairs(self._score, self._member)],
                lambda: ["ZINCRBY", key, self._score(), self._member()],
                lambda: ["ZMSCORE", key, *self._some(self._member)],
                lambda: ["ZREM", key, *self._some(self._member)],
                lambda: [self._words("ZRANK ZREVRANK"), key, self._member(), *self._maybe("WITHSCORE")],
                lambda: [self._words("ZPOPMIN ZPOPMAX"), key, *self._maybe(self._words("0 1 2", "-1 abc"))],
                lambda: ["ZMPOP", *self._counted("z"), self._words("MIN MAX", "FOO"), *self._count()],
                lambda: ["BZMPOP", "0.01", *self._counted("z"), self._words("MIN MAX", "FOO"), *self._count()],
                lambda: ["BZPOPMIN", key, self._words("0.01", "-1 abc")],
                lambda: ["ZSCAN", key, self._words("0", "abc -1")],
            ]
        )()

    def _ranges(self) -> Words:
        key = self._key("z")
        low, high = (self._words("0 (0 1 (1 2 -inf +inf (inf 1.5", "abc nan (") for _ in range(2))
        first, last = (self._one(("-", "+", "[a", "(b", "[c", "(", "[é"), ("a", "")) for _ in range(2))
        return self._random.choice(
            [
                lambda: [
                    "ZRANGE",
                    key,
                    self._integer(),
                    self._integer(),
                    *self._maybe("REV"),
                    *self._maybe("WITHSCORES"),
                ],
                lambda: ["ZRANGE", key, low, high, "BYSCORE", *self._maybe("LIMIT", "0", self._integer())],
                lambda: ["ZRANGEBYSCORE", key, low, high, *self._maybe("WITHSCORES")],
                lambda: ["ZREVRANGEBYSCORE", key, low, high, *self._maybe("WITHSCORES")],
                lambda: ["ZCOUNT", key, low, high],
                lambda: ["ZREMRANGEBYSCORE", key, low, high],
                lambda: ["ZREVRANGE", key, self._integer(), self._integer()],
                lambda: ["ZRANGESTORE", self._key("z"), key, self._integer(), self._integer()],
                # An order by text needs equal scores.
                lambda: ["ZADD", "lex", "0", self._member(), "0", self._member()],
                lambda: [self._words("ZRANGEBYLEX ZLEXCOUNT ZREMRANGEBYLEX"), "lex", first, last],
                lambda: ["ZRANGE", "lex", first, last, "BYLEX", *(["WITHSCORES"] if self._wrong() else [])],
            ]
        )()

    def _combined(self) -> Words:
        numbered = self._counted("z", 3)
        command = self._words("ZUNION ZINTER ZDIFF ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZINTERCARD")
        if command.endswith("STORE"):
            numbered = [self._key("z"), *numbered]
        if command == "ZINTERCARD":
            return [command, *numbered, *self._maybe("LIMIT", self._words("0 1", "-1 abc"))]
        weights = [] if "DIFF" in command else self._maybe("AGGREGATE", self._words("SUM MIN max", "FOO"))
        return [command, *numbered, *weights, *([] if command.endswith("STORE") else self._maybe("WITHSCORES"))]

    def _streams(self) -> Words:
        key = self._key("st")
        new_id = f"{self._random.randint(1, 60)}-{self._random.choice('*123')}"
        trim = ["MAXLEN", *self._maybe("="), self._integer()] if self._random.random() < 0.5 else ["MINID", self._id()]
        return self._random.choice(
            [
                lambda: [
                    "XADD",
                    key,
                    *self._maybe("NOMKSTREAM"),
                    self._one([new_id], ("abc", "0-0")),
                    "f",
                    self._value(),
                ],
                lambda: ["XADD", key, new_id, "f", self._value()],
                lambda: ["XLEN", key],
                lambda: ["XRANGE", key, self._one(("-", *IDS)), self._one(("+", *IDS)), *self._count()],
                lambda: ["XREVRANGE", key, "+", self._one(("-", *IDS))],
                lambda: ["XDEL", key, *self._some(self._id)],
                lambda: ["XTRIM", key, *trim],
                lambda: ["XREAD", *self._count(), "STREAMS", key, self._one((*IDS, "$", "0", "+"), (">", "abc", "-"))],
                lambda: ["XREAD", "BLOCK", self._words("5", "-1 abc"), "STREAMS", key, self._words("1-1 + $")],
            ]
        )()

    def _groups(self) -> Words:
        key, group, consumer = self._key("st"), self._words("g1 g2"), self._words("c2 c1")
        return self._random.choice(
            [
                lambda: [
                    "XGROUP",
                    "CREATE",
                    key,
                    group,
                    self._one(("0", "$", *IDS), ("abc",)),
                    *self._maybe("MKSTREAM"),
                ],
                lambda: ["XGROUP", self._words("DESTROY CREATECONSUMER"), key, group, *self._maybe(consumer)],
                lambda: ["XREADGROUP", "GROUP", group, consumer, *self._count(), "STREAMS", key, self._words("> 0")],
                lambda: ["XREADGROUP", "GROUP", group, consumer, "STREAMS", "st:1", "st:2", ">", ">"],
                lambda: ["XACK", key, group, *self._some(self._id)],
                lambda: ["XPENDING", key, group],
                lambda: ["XAUTOCLAIM", key, group, consumer, self._words("0 100000", "abc"), "0", *self._count()],
                lambda: ["XCLAIM", key, group, consumer, self._words("0", "abc"), *self._some(self._id), "JUSTID"],
                lambda: ["XINFO", "GROUPS", key],
            ]
        )()

    def _places(self) -> Words:
        key, unit = self._key("geo"), self._words("m km mi ft", "foo")
        name = self._words("Palermo Catania x y")
        shape = self._random.choice(
            [
                ["BYRADIUS", self._words("1 200 5000", "-1 abc"), unit],
                ["BYBOX", self._words("400 3000", "-1 abc"), "400", unit],
            ]
        )
        center = ["FROMMEMBER", name] if self._random.random() < 0.5 else ["FROMLONLAT", "15", self._words("37 -70 0")]
        shown = [word for word in ("WITHDIST", "WITHCOORD", "WITHHASH") if self._random.random() < 0.4]
        longitude = self._words("13.361389 15.087269 -179.9 0 15.5", "181 abc")
        latitude = self._words("38.115556 37.502669 -70.1 0.5", "86 abc")
        return self._random.choice(
            [
                lambda: ["GEOADD", key, *self._maybe(self._words("NX XX CH")), longitude, latitude, name],
                lambda: ["GEOADD", key, longitude, latitude, name],
                lambda: ["GEODIST", key, name, self._words("Palermo Catania x"), *self._maybe(unit)],
                lambda: [self._words("GEOHASH GEOPOS"), key, *self._some(lambda: self._words("Palermo x y"), 0, 2)],
                lambda: ["GEOSEARCH", key, *center, *shape, *shown, *self._maybe(self._words("ASC DESC"))],
                lambda: ["GEOSEARCHSTORE", self._key("z"), key, *center, *shape, *self._maybe("STOREDIST")],
                lambda: ["GEORADIUS", key, "15", "37", self._words("200", "-1"), unit, *shown, *self._count()],
                lambda: ["GEORADIUSBYMEMBER", key, name, "200", unit],
            ]
        )()

    def _sketches(self) -> Words:
        key = self._key("hll")
        elements = self._some(lambda: str(self._random.randrange(5000)), 0, 6)
        return self._random.choice(
            [
                lambda: ["PFADD", key, *elements],
                lambda: ["PFADD", key, *elements],
                lambda: ["PFCOUNT", *self._some(lambda: self._key("hll"), 1, 2)],
                lambda: ["PFMERGE", key, *self._some(lambda: self._key("hll"), 0, 2)],
                lambda: ["GET", key],
            ]
        )()

    def _keys(self) -> Words:
        key, other = (f"{self._words('s l h set z st geo hll no')}:{self._words('1 2')}" for _ in range(2))
        return self._random.choice(
            [
                lambda: ["TYPE", key],
                lambda: [self._words("DEL UNLINK EXISTS TOUCH"), key, other],
                lambda: ["KEYS", self._words("* s* [a-h]* *:2 [^s]*")],
                lambda: ["DBSIZE"],
                lambda: ["EXPIRE", key, self._words("100000 -1 0", "abc 9223372036854775807"), *self._maybe("NX")],
                lambda: [self._words("TTL PERSIST"), key],
                lambda: ["SCAN", self._words("0", "abc -1"), "COUNT", self._words("1000", "0 abc")],
                lambda: ["MOVE", key, self._words("0", "abc 99")],
                lambda: ["SWAPDB", self._words("0", "abc 99"), "0"],
                lambda: ["WAIT", "0", self._words("1", "-1 abc")],
                lambda: [self._words("OBJECT XINFO XGROUP")],
                lambda: [self._words("SRANDMEMBER SPOP ZPOPMIN LPOP"), self._key("set"), "1", "2"],
            ]
        )()

    def _transactions(self) -> Words:
        return self._random.choice([["MULTI"], ["EXEC"], ["EXEC"], ["DISCARD"], ["WATCH", self._key("h")], ["UNWATCH"]])
