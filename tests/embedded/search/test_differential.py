"""The engine and a real server, given the same documents and thousands of random queries: every reply is equal.

servers/differences.toml names the kinds of replies that older servers give otherwise.

Runs where RELAY_MODELS_TEST_REDIS_URL names a server with search and JSON. RELAY_MODELS_TEST_QUERIES sets how many
queries there are, RELAY_MODELS_TEST_SEED which.
"""

from __future__ import annotations

import os
import random
import re
import time
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer

from . import generate
from .replies import canonical, encode

URL = os.environ.get("RELAY_MODELS_TEST_REDIS_URL")
QUERIES = int(os.environ.get("RELAY_MODELS_TEST_QUERIES", "600"))
SEED = int(os.environ.get("RELAY_MODELS_TEST_SEED", "1"))

DIFFERENCES = Path(__file__).parents[2] / "servers" / "differences.toml"

pytestmark = pytest.mark.real_server


@dataclass(frozen=True)
class Difference:
    """One named kind of reply that an older server gives otherwise."""

    name: str
    why: str
    versions: list[str]
    ignore: str
    command: str = ""
    engine: str = ""
    server: str = ""

    def covers(self, command: list[str], real: Any, engine: Any) -> bool:
        """Whether the replies to a command differ as this says."""
        text = " ".join([command[0], *command[2:]])
        return (
            re.search(self.command, text) is not None
            and re.search(self.engine, _error(engine)) is not None
            and re.search(self.server, _error(real)) is not None
            and (self.ignore == "reply" or self._rest(real) == self._rest(engine))
        )

    def _rest(self, reply: Any) -> Any:
        if not isinstance(reply, list):
            return reply
        if self.ignore == "total":
            return _loose([0, *reply[1:]])
        return [reply[0], *sorted(map(str, reply[1::2]))]


def _error(reply: Any) -> str:
    return str(reply.get("error", "")) if isinstance(reply, dict) else ""


def named_differences(version: str) -> list[Difference]:
    """The differences that a version of the search module has."""
    entries = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    return [each for each in (Difference(**entry) for entry in entries) if version in each.versions]


class Both:
    """A real server and an engine that get the same commands."""

    def __init__(self, kind: str, protocol: int) -> None:
        assert URL is not None
        self.real = redis.Redis.from_url(URL, protocol=protocol)
        self.server = EmbeddedServer()
        self.engine = self.server.client(protocol=protocol)
        version = next(int(row[b"ver"]) for row in self.real.module_list() if row[b"name"] == b"search")
        self.differences = named_differences(f"{version // 10000}.{version // 100 % 100}")
        self.kind = kind
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.run(generate.create(self.name, kind, f"{self.name}:"))
        # The real server looks for documents that are there in the background; it would read in some of ours twice.
        while self.describe()[b"indexing"]:
            time.sleep(0.01)

    def describe(self) -> dict[bytes, Any]:
        reply = self.real.execute_command("FT.INFO", self.name, NEVER_DECODE=True)
        return dict(zip(reply[::2], reply[1::2], strict=True))

    def run(self, command: list[str]) -> tuple[Any, Any]:
        return self.answer(self.real, command), self.answer(self.engine, command)

    @staticmethod
    def answer(client: Any, command: list[str]) -> Any:
        try:
            return encode(client.execute_command(*command, NEVER_DECODE=True))
        except redis.ResponseError as error:
            return {"error": str(error)}

    def fill(self, rng: random.Random, documents: int) -> None:
        for n in range(documents):
            self.run(generate.write(self.kind, f"{self.name}:{n}", generate.document(rng, n)))

    def close(self) -> None:
        self.real.execute_command("FT.DROPINDEX", self.name, "DD")
        self.real.close()
        self.engine.close()
        self.server.close()


@pytest.fixture(params=["json", "hash"])
def both(request: pytest.FixtureRequest) -> Iterator[Both]:
    pair = Both(request.param, 2)
    try:
        yield pair
    finally:
        pair.close()


def equal(real: Any, engine: Any) -> bool:
    """Equal but for the order of hits, of lists of values, and the last digits that sums may differ in."""
    return bool(_loose(real) == _loose(engine))


def _loose(reply: Any) -> Any:
    if isinstance(reply, list) and reply and isinstance(reply[0], int):
        rows = [sorted(map(str, part), key=str) if _is_list(part) else part for part in map(_sorted_lists, reply[1:])]
        return canonical([reply[0], *rows])
    return reply


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list)


def _sorted_lists(row: Any) -> Any:
    if not isinstance(row, list):
        return row
    return [sorted(map(str, part)) if isinstance(part, list) else _rounded(part) for part in row]


def _rounded(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+\.[0-9]{8,}", value):
        return f"{float(value):.9g}"
    return value


def compare(both: Both, commands: Iterator[list[str]]) -> None:
    wrong: list[str] = []
    for command in commands:
        real, engine = both.run(command)
        if equal(real, engine) or any(each.covers(command, real, engine) for each in both.differences):
            continue
        wrong.append(f"{command[2:]}\n  real server: {real}\n  engine:      {engine}")
    report = "\n".join(line[:1500] for line in wrong[:12])
    assert not wrong, f"{len(wrong)} differ\n{report}"


def test_random_queries(both: Both) -> None:
    rng = random.Random(SEED)
    both.fill(rng, 80)

    def commands() -> Iterator[list[str]]:
        for _ in range(QUERIES):
            tail = ["SORTBY", "n", "LIMIT", "0", "100", "NOCONTENT", "DIALECT", rng.choice(["1", "2", "2", "3"])]
            yield ["FT.SEARCH", both.name, generate.query(rng), *tail]

    compare(both, commands())


def test_parameters(both: Both) -> None:
    rng = random.Random(SEED + 4)
    both.fill(rng, 40)

    def commands() -> Iterator[list[str]]:
        for _ in range(QUERIES):
            query, params = generate.with_parameters(rng)
            tail = [*params, "DIALECT", rng.choice(["1", "2", "2", "3"])]
            yield ["FT.EXPLAIN", both.name, query, *tail]
            yield ["FT.SEARCH", both.name, query, "SORTBY", "n", "LIMIT", "0", "100", "NOCONTENT", *tail]

    compare(both, commands())


def test_scores(both: Both) -> None:
    rng = random.Random(SEED + 5)
    both.fill(rng, 60)

    def commands() -> Iterator[list[str]]:
        for _ in range(QUERIES // 2):
            words = "|".join(rng.choices(generate.WORDS[:6], k=rng.randint(1, 3)))
            query = rng.choice([words, f"@text:({words})", f"({words})=>{{$weight: {rng.choice(['2', '0.5'])}}}"])
            scorer = rng.choice(["TFIDF", "TFIDF.DOCNORM", "BM25", "BM25STD", "DISMAX", "DOCSCORE"])
            yield ["FT.SEARCH", both.name, query, "WITHSCORES", "NOCONTENT", "SCORER", scorer, "LIMIT", "0", "99"]

    compare(both, commands())


def test_broken_queries(both: Both) -> None:
    rng = random.Random(SEED + 1)
    both.fill(rng, 20)

    def commands() -> Iterator[list[str]]:
        for _ in range(QUERIES):
            tail = ["SORTBY", "n", "LIMIT", "0", "100", "NOCONTENT", "DIALECT", rng.choice(["1", "2", "2", "3"])]
            yield ["FT.SEARCH", both.name, generate.broken(rng), *tail]

    compare(both, commands())


def test_shapes_of_hits(both: Both) -> None:
    rng = random.Random(SEED + 2)
    both.fill(rng, 40)
    names = [name for _, name, _ in generate.SCHEMA[both.kind]]

    def commands() -> Iterator[list[str]]:
        for _ in range(QUERIES // 2):
            fields = rng.sample(names, rng.randint(0, 4))
            tail = rng.choice([[], ["RETURN", str(len(fields)), *fields], ["NOCONTENT"], ["WITHSORTKEYS"]])
            order = ["SORTBY", rng.choice(names), rng.choice(["ASC", "DESC"])]
            limit = ["LIMIT", str(rng.randint(0, 5)), str(rng.randint(1, 50)), "DIALECT", rng.choice(["1", "2", "3"])]
            yield ["FT.SEARCH", both.name, rng.choice(["*", "@n:[3 30]"]), *order, *tail, *limit]

    compare(both, commands())


def test_random_aggregations(both: Both) -> None:
    rng = random.Random(SEED + 3)
    both.fill(rng, 60)

    def commands() -> Iterator[list[str]]:
        for _ in range(QUERIES // 2):
            yield ["FT.AGGREGATE", both.name, "*", *generate.aggregation(rng), "DIALECT", rng.choice(["1", "2", "3"])]

    compare(both, commands())
