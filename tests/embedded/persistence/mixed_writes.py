"""Writes of every kind in an order that a seed gives, for tests that end them at any moment and look at what is left.

A step is a list of commands that are sent in one go: one command, a pipeline, or a transaction. Each worker writes keys
and indexes of its own, so that its steps mean the same whatever others do meanwhile.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import redis

Command = tuple[Any, ...]

FAR = 4_000_000_000_000
"""An expiry (ms) that no test lives to see."""

SCRIPT = (
    "redis.call('SET', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], ARGV[1], ARGV[2])"
    " redis.call('JSON.SET', KEYS[3], '$', ARGV[3]) redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])"
    " return redis.call('DEL', KEYS[5])"
)

SCRIPT_KEYS = ("text", "list", "run", "hash", "set")


class Steps:
    """The steps of one worker, which are the same for the same seed and name."""

    def __init__(self, seed: int, name: str) -> None:
        self.rng = random.Random(f"{seed}:{name}")
        self.name = name
        self.indexes = 0
        self.held: list[int] = []  # numbers of the indexes that there are
        self.columns = 0

    def __iter__(self) -> Iterator[tuple[bool, list[Command]]]:
        """Whether a step is a transaction, and its commands."""
        yield False, [self._create()]
        while True:
            shape = self.rng.random()
            if shape < 0.5:
                yield False, [self._command()]
            elif shape < 0.8:
                yield True, [self._command() for _ in range(self.rng.randint(2, 6))]
            else:
                most = 60 if self.rng.random() < 0.3 else 8
                yield False, [self._command() for _ in range(self.rng.randint(2, most))]

    def _key(self, kind: str) -> str:
        return f"{self.name}:{kind}:{self.rng.randrange(25)}"

    def _create(self) -> Command:
        number = self.indexes = self.indexes + 1
        self.held.append(number)
        kind, path = ("JSON", "$.") if self.rng.random() < 0.7 else ("HASH", "")
        prefix = f"{self.name}:{'run' if kind == 'JSON' else 'hash'}:"
        schema = f"{path}n AS n NUMERIC SORTABLE {path}agent AS agent TAG {path}text AS text TEXT"
        return (*f"FT.CREATE {self.name}:idx:{number} ON {kind} PREFIX 1 {prefix} SCHEMA {schema}".split(),)

    def _document(self) -> str:
        rng = self.rng
        document = {
            "n": rng.randrange(100),
            "agent": f"agent-{rng.randrange(5)}",
            "text": f"word{rng.randrange(9)} again",
        }
        return json.dumps({**document, "tags": ["a", "b"], "pad": "x" * rng.choice((10, 10, 700, 9000))})

    def _command(self) -> Command:
        rng, key = self.rng, self._key
        n = rng.randrange(1000)
        choices: list[tuple[int, Any]] = [
            (6, lambda: ("JSON.SET", key("run"), "$", self._document())),
            (2, lambda: ("JSON.MERGE", key("run"), "$", json.dumps({"n": n}))),
            (2, lambda: ("JSON.DEL", key("run"), "$.agent")),
            (5, lambda: ("HSET", key("hash"), "n", n, "agent", f"agent-{n % 5}", f"f{n % 30}", "y" * (n % 300))),
            (2, lambda: ("HDEL", key("hash"), f"f{n % 30}", "agent")),
            (3, lambda: ("SET", key("text"), "z" * rng.choice((1, 50, 5000)))),
            (1, lambda: ("SETRANGE", key("text"), n % 50, "abc")),
            (3, lambda: ("RPUSH", key("list"), n, n + 1)),
            (2, lambda: ("LPUSH", key("list"), n)),
            (2, lambda: (rng.choice(("LPOP", "RPOP")), key("list"))),
            (1, lambda: ("LTRIM", key("list"), 1, -2)),
            (2, lambda: ("SADD", key("set"), n % 40, n)),
            (1, lambda: ("SREM", key("set"), n % 40)),
            (2, lambda: ("ZADD", key("zset"), n / 3, n % 40)),
            (1, lambda: ("ZREM", key("zset"), n % 40)),
            (1, lambda: ("XADD", key("stream"), "MAXLEN", 20, f"{rng.randrange(1, 10**9)}-1", "f", n)),
            (3, lambda: ("DEL", self._key(rng.choice(("run", "hash", "text", "list", "set"))))),
            (1, lambda: ("RENAME", *(f"{self.name}:run:{rng.randrange(25)}" for _ in range(2)))),
            (2, lambda: ("PEXPIREAT", key(rng.choice(("run", "hash", "list"))), FAR + n)),
            (1, lambda: ("PERSIST", key(rng.choice(("run", "hash", "list"))))),
            (1, lambda: ("SET", key("brief"), n, "PXAT", 1_000_000_000_000)),
            (2, lambda: ("EVAL", SCRIPT, 5, *map(key, SCRIPT_KEYS), n, n + 1, self._document())),
            (1, self._change_indexes),
        ]  # fmt: skip
        (make,) = rng.choices([make for _, make in choices], [weight for weight, _ in choices])
        command: Command = make()
        return command

    def _change_indexes(self) -> Command:
        what = self.rng.random()
        if what < 0.4 or not self.held:
            return self._create()
        number = self.rng.choice(self.held)
        if what < 0.7:
            self.columns += 1
            return ("FT.ALTER", f"{self.name}:idx:{number}", "SCHEMA", "ADD", f"more{self.columns}", "TAG")
        self.held.remove(number)
        return ("FT.DROPINDEX", f"{self.name}:idx:{number}", *(("DD",) if what > 0.95 else ()))


def send(client: Any, transaction: bool, commands: list[Command]) -> None:
    """Carry out a step. Errors that a command is answered with are as good as any answer."""
    pipe = client.pipeline(transaction=transaction)
    for command in commands:
        pipe.execute_command(*command)
    pipe.execute(raise_on_error=False)


def contents(client: Any, name: str) -> Any:
    """All that a worker's keys and indexes hold and find."""
    read: dict[bytes, Any] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": lambda key: sorted(client.hgetall(key).items()),
        b"set": lambda key: sorted(client.smembers(key)),
        b"zset": lambda key: [list(pair) for pair in client.zrange(key, 0, -1, withscores=True)],
        b"stream": client.xrange,
        b"ReJSON-RL": lambda key: client.execute_command("JSON.GET", key),
    }
    keys = {}
    for key in sorted(client.scan_iter(f"{name}:*", count=1000)):
        kind = client.type(key)
        keys[key] = (kind, read[kind](key), client.pexpiretime(key))
    indexes = {}
    for index in sorted(client.execute_command("FT._LIST")):
        if not index.startswith(f"{name}:".encode()):
            continue
        info = client.execute_command("FT.INFO", index)
        found = {}
        for query in ("*", "@n:[20 60]", "@agent:{agent\\-1 | agent\\-3}", "word3", "again @n:[-inf 50]"):
            reply = client.execute_command("FT.SEARCH", index, query, "NOCONTENT", "LIMIT", 0, 1000, "DIALECT", 2)
            found[query] = (reply[b"total_results"], sorted(hit[b"id"] for hit in reply[b"results"]))
        indexes[index] = (info[b"attributes"], info[b"num_docs"], found)
    return keys, indexes


def expected(seed: int, name: str, done: int) -> Iterator[Any]:
    """What may be there after `done` steps were acknowledged: exactly these, or some of the next one's commands, too.

    A transaction is there whole or not at all.
    """
    from relay_models.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        client = server.client()
        steps = iter(Steps(seed, name))
        for _ in range(done):
            send(client, *next(steps))
        yield contents(client, name)
        transaction, commands = next(steps)
        for part in [commands] if transaction else [[command] for command in commands]:
            send(client, transaction, part)
            yield contents(client, name)


def check(client: Any, seed: int, name: str, done: int) -> Any:
    """See that a worker's state is one that may be there, and give it."""
    found = contents(client, name)
    nearest = None
    for state in expected(seed, name, done):
        if state == found:
            return found
        nearest = nearest or state
    keys, indexes = found
    wanted_keys, wanted_indexes = nearest
    wrong = {key: (keys.get(key), wanted_keys.get(key)) for key in {*keys, *wanted_keys}}
    wrong |= {name: (indexes.get(name), wanted_indexes.get(name)) for name in {*indexes, *wanted_indexes}}
    differing = {key: pair for key, pair in wrong.items() if pair[0] != pair[1]}
    raise AssertionError(f"{name} after {done} steps (seed {seed}): {differing}"[:4000])


def run(client: Any, seed: int, name: str, acknowledge: Any) -> None:
    """Carry out steps until the connection ends, and tell of each that it was acknowledged."""
    for transaction, commands in Steps(seed, name):
        try:
            send(client, transaction, commands)
        except redis.ConnectionError:
            return
        acknowledge()
