"""Documents written, changed and deleted at random: searches must agree with a plain model of what they mean."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import redis
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay_models.embedded import EmbeddedServer

URL = os.environ.get("RELAY_MODELS_TEST_REDIS_URL")

KEYS = [f"{n}" for n in range(6)]
TAGS = ["a", "A", "a|b", "x y", " pad", "ü", "\\", "{x}", "", "数据", "gpt-4.1"]
WORDS = ["cache", "caches", "retry", "budget", "token"]
SCHEMA = "$.tag AS tag TAG CASESENSITIVE INDEXEMPTY INDEXMISSING $.tags[*] AS tags TAG CASESENSITIVE INDEXEMPTY"
SCHEMA += " $.n AS n NUMERIC SORTABLE $.text AS text TEXT NOSTEM"

documents = st.fixed_dictionaries(
    {},
    optional={
        "tag": st.sampled_from(TAGS) | st.none(),
        "tags": st.lists(st.sampled_from(TAGS), max_size=3),
        "n": st.integers(-5, 5) | st.sampled_from([0.5, 1e9, -0.0]) | st.none(),
        "text": st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    },
)
unfit = st.sampled_from([{"n": "five"}, {"tag": 5}, {"text": 1}, {"tags": [1]}, {"n": {}}, {"tag": {}}])

leaves = st.one_of(
    st.tuples(st.just("tag"), st.sampled_from(["tag", "tags"]), st.sampled_from(TAGS)),
    st.tuples(st.just("range"), st.integers(-5, 5), st.integers(0, 6), st.booleans(), st.booleans()),
    st.tuples(st.just("word"), st.sampled_from(WORDS)),
    st.just(("missing",)),
)
trees: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=5,
)


def text_of(tree: Any, params: dict[str, str]) -> str:
    """A query for a tree; its tags go into `params`."""
    kind = tree[0]
    if kind == "tag":
        name = f"p{len(params)}"
        params[name] = tree[2].replace("\\", "\\\\")
        return f"@{tree[1]}:{{${name}}}"
    if kind == "range":
        low, span, below, above = tree[1:]
        return f"@n:[{'(' if below else ''}{low} {'(' if above else ''}{low + span}]"
    if kind == "word":
        return f"@text:{tree[1]}"
    if kind == "missing":
        return "ismissing(@tag)"
    if kind == "not":
        return f"(-({text_of(tree[1], params)}))"
    return f"({text_of(tree[1], params)}{' | ' if kind == 'or' else ' '}{text_of(tree[2], params)})"


def finds(tree: Any, document: dict[str, Any]) -> bool:
    """Whether a tree means a document."""
    kind = tree[0]
    if kind == "tag":
        value = document.get(tree[1])
        return tree[2] in (value if isinstance(value, list) else [value])
    if kind == "range":
        low, span, below, above = tree[1:]
        number = document.get("n")
        if number is None:
            return False
        return bool(
            (number > low if below else number >= low) and (number < low + span if above else number <= low + span)
        )
    if kind == "word":
        return tree[1] in document.get("text", "").split()
    if kind == "missing":
        return "tag" not in document
    if kind == "not":
        return not finds(tree[1], document)
    both = finds(tree[1], document), finds(tree[2], document)
    return any(both) if kind == "or" else all(both)


class Searches(RuleBasedStateMachine):
    """The same commands go to the engine, the model and, where there is one, a real server."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"machine-{uuid.uuid4().hex[:12]}"
        self.server = EmbeddedServer()
        self.clients = [self.server.client(protocol=2)]
        if URL is not None:
            self.clients.append(redis.Redis.from_url(URL, protocol=2))
        self.model: dict[str, dict[str, Any]] = {}
        self.texts: set[str] = set()
        """Keys that hold no JSON, which JSON.SET refuses to overwrite."""

    def run(self, *command: str) -> list[Any]:
        return [client.execute_command(*command) for client in self.clients]

    def key(self, short: str) -> str:
        return f"{self.name}:{short}"

    def set(self, key: str, document: dict[str, Any]) -> None:
        if key in self.texts:
            self.run("DEL", self.key(key))
            self.texts.discard(key)
        self.run("JSON.SET", self.key(key), "$", json.dumps(document))

    @initialize()
    def create(self) -> None:
        self.run("FT.CREATE", self.name, "ON", "JSON", "PREFIX", "1", f"{self.name}:", "SCHEMA", *SCHEMA.split())

    @rule(key=st.sampled_from(KEYS), document=documents)
    def write(self, key: str, document: dict[str, Any]) -> None:
        self.set(key, document)
        self.model[key] = document

    @rule(key=st.sampled_from(KEYS), document=unfit)
    def write_unfit(self, key: str, document: dict[str, Any]) -> None:
        self.set(key, document)
        self.model.pop(key, None)

    @rule(key=st.sampled_from(KEYS), value=st.integers(-5, 5))
    def change(self, key: str, value: int) -> None:
        if key in self.model:
            self.run("JSON.SET", self.key(key), "$.n", str(value))
            self.model[key] = {**self.model[key], "n": value}

    @rule(key=st.sampled_from(KEYS), other=st.sampled_from(KEYS))
    def rename(self, key: str, other: str) -> None:
        if key not in self.model or key == other:
            return
        if URL is not None:
            self.run("DEL", self.key(other))  # over an indexed document the real server leaves that one in the index
        self.run("RENAME", self.key(key), self.key(other))
        self.model[other] = self.model.pop(key)
        self.texts.discard(other)

    @rule(key=st.sampled_from(KEYS))
    def overwrite_with_text(self, key: str) -> None:
        self.run("SET", self.key(key), "text")
        self.model.pop(key, None)
        self.texts.add(key)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, unique=True))
    def delete(self, keys: list[str]) -> None:
        self.run("DEL", *map(self.key, keys))
        for key in keys:
            self.model.pop(key, None)
            self.texts.discard(key)

    @rule(tree=trees)
    def search(self, tree: Any) -> None:
        params: dict[str, str] = {}
        query = text_of(tree, params)
        command = ["FT.SEARCH", self.name, query, "NOCONTENT", "LIMIT", "0", "100", "DIALECT", "2"]
        if params:
            command += ["PARAMS", str(2 * len(params)), *(part for pair in params.items() for part in pair)]
        expected = sorted(self.key(key).encode() for key, document in self.model.items() if finds(tree, document))
        for reply in self.run(*command):
            assert reply[0] == len(expected)
            assert sorted(reply[1:]) == expected

    @rule(descending=st.booleans(), offset=st.integers(0, 3), limit=st.integers(1, 4))
    def page(self, descending: bool, offset: int, limit: int) -> None:
        with_number = {key: document["n"] for key, document in self.model.items() if document.get("n") is not None}
        command = ["FT.SEARCH", self.name, "*", "SORTBY", "n", "DESC" if descending else "ASC", "RETURN", "1", "n"]
        for reply in self.run(*command, "LIMIT", str(offset), str(limit), "DIALECT", "2"):
            assert reply[0] == len(self.model)
            shown = [dict(zip(row[::2], row[1::2], strict=True)).get(b"n") for row in reply[2::2]]
            numbers = sorted(with_number.values(), reverse=descending)[offset : offset + limit]
            assert [float(value) for value in shown if value is not None] == numbers
            assert len(shown) == len(range(len(self.model))[offset : offset + limit])

    @rule()
    def group(self) -> None:
        expected: dict[Any, tuple[int, float]] = {}
        for document in self.model.values():
            tag, number = document.get("tag"), document.get("n")
            count, total = expected.get(tag, (0, 0.0))
            expected[tag] = (count + 1, total + (number or 0))
        reduce = ["REDUCE", "COUNT", "0", "AS", "count", "REDUCE", "SUM", "1", "@n", "AS", "sum"]
        reply = self.run("FT.AGGREGATE", self.name, "*", "GROUPBY", "1", "@tag", *reduce, "DIALECT", "2")[0]
        assert reply[0] == len(expected)
        for row in reply[1:]:
            values = dict(zip(row[::2], row[1::2], strict=True))
            tag = values[b"tag"]
            count, total = expected[None if tag is None else tag.decode()]
            assert int(values[b"count"]) == count
            assert float(values[b"sum"]) == total or values[b"sum"] == b"nan"

    @invariant()
    def counts(self) -> None:
        client = self.clients[0]
        if client.execute_command("FT._LIST"):
            assert client.execute_command("FT.SEARCH", self.name, "*", "LIMIT", "0", "0")[0] == len(self.model)

    def teardown(self) -> None:
        for client in self.clients:
            if self.name.encode() in client.execute_command("FT._LIST"):
                client.execute_command("FT.DROPINDEX", self.name, "DD")
            for key in KEYS:
                client.delete(self.key(key))
            client.close()
        self.server.close()


TestSearches = Searches.TestCase
TestSearches.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
