"""Every type of query node means something to every part of the engine that goes through a query."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import relay_models.embedded.search
from relay_models.embedded import EmbeddedServer
from relay_models.embedded.search.syntax import nodes
from relay_models.embedded.search.syntax.nodes import DefaultVisitor, Node, NodeVisitor

# (type, query in dialect 2, other arguments, found)
QUERIES: list[tuple[type[Node], str, tuple[str, ...], set[str]]] = [
    (nodes.Token, "alpha", (), {"d:1", "d:2"}),
    (nodes.Prefix, "alp*", (), {"d:1", "d:2"}),
    (nodes.Pattern, "w'*pha'", (), {"d:1", "d:2"}),
    (nodes.Fuzzy, "%alpho%", (), {"d:1", "d:2"}),
    (nodes.Phrase, '"alpha beta"', (), {"d:1"}),
    (nodes.Union, "beta|gamma", (), {"d:1", "d:2"}),
    (nodes.Not, "-beta", (), {"d:2", "d:3"}),
    (nodes.Optional, "alpha ~beta", (), {"d:1", "d:2"}),
    (nodes.Numeric, "@n:[2 3]", (), {"d:2", "d:3"}),
    (nodes.Tag, "@tag:{red | bl*}", (), {"d:1", "d:2"}),
    (nodes.Missing, "ismissing(@tag)", (), {"d:3"}),
    (nodes.Everything, "*", (), {"d:1", "d:2", "d:3"}),
    (nodes.Ids, "*", ("INKEYS", "2", "d:1", "d:3"), {"d:1", "d:3"}),
]
each_type = pytest.mark.parametrize(
    ("query", "options", "found"), [case[1:] for case in QUERIES], ids=[case[0].__name__ for case in QUERIES]
)


@pytest.fixture
def client() -> Iterator[redis.Redis[Any]]:
    with EmbeddedServer() as server:
        client = server.client(protocol=3, decode_responses=True)
        schema = ("text", "TEXT", "n", "NUMERIC", "tag", "TAG", "INDEXMISSING")
        client.execute_command("FT.CREATE", "i", "PREFIX", "1", "d:", "SCHEMA", *schema)
        client.hset("d:1", mapping={"text": "alpha beta", "n": 1, "tag": "red"})
        client.hset("d:2", mapping={"text": "alpha gamma", "n": 2, "tag": "blue"})
        client.hset("d:3", mapping={"text": "delta", "n": 3})
        yield client
        client.close()


def concrete(of: type[Any]) -> Iterator[type[Any]]:
    for each in of.__subclasses__():
        if not inspect.isabstract(each):
            yield each
        yield from concrete(each)


def load_all() -> None:
    package = relay_models.embedded.search
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def test_every_type_of_node_is_tried_below() -> None:
    load_all()
    assert set(concrete(Node)) == {case[0] for case in QUERIES}


@pytest.mark.parametrize("kind", [case[0] for case in QUERIES], ids=lambda kind: kind.__name__)
def test_every_visitor_has_a_method_for_every_type(kind: type[Node]) -> None:
    load_all()
    visitors = list(concrete(NodeVisitor))
    assert len(visitors) > 10
    for visitor in visitors:
        method = getattr(visitor, f"visit_{kind.__name__.lower()}")
        assert method is not getattr(NodeVisitor, method.__name__), visitor


@pytest.mark.parametrize("kind", [case[0] for case in QUERIES], ids=lambda kind: kind.__name__)
def test_a_node_reaches_the_method_of_its_type(kind: type[Node]) -> None:
    class Names(DefaultVisitor[str]):
        def visit_other(self, node: Node) -> str:
            return inspect.stack()[1].function

    assert Names().visit(kind.__new__(kind)) == f"visit_{kind.__name__.lower()}"


def ids(reply: Any) -> set[str]:
    return {result["id"] for result in reply["results"]}


@each_type
def test_it_is_searched(client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str]) -> None:
    reply = client.execute_command("FT.SEARCH", "i", query, *options, "NOCONTENT", "DIALECT", "2")
    assert ids(reply) == found


@each_type
@pytest.mark.parametrize("scorer", ["BM25STD", "TFIDF", "DISMAX"])
def test_it_is_scored(
    client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str], scorer: str
) -> None:
    words = ("WITHSCORES", "SCORER", scorer, "NOCONTENT", "DIALECT", "2")
    reply = client.execute_command("FT.SEARCH", "i", query, *options, *words)
    assert ids(reply) == found
    assert all(result["score"] >= 0 for result in reply["results"])


@each_type
def test_it_is_highlighted(client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str]) -> None:
    reply = client.execute_command("FT.SEARCH", "i", query, *options, "HIGHLIGHT", "DIALECT", "2")
    texts = {result["id"]: result["extra_attributes"]["text"] for result in reply["results"]}
    assert texts.keys() == found
    plain = {"d:1": "alpha beta", "d:2": "alpha gamma", "d:3": "delta"}
    for key, text in texts.items():
        assert text.replace("<b>", "").replace("</b>", "") == plain[key]


@each_type
def test_it_is_aggregated(client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str]) -> None:
    reply = client.execute_command("FT.AGGREGATE", "i", query, *options, "LOAD", "1", "@__key", "DIALECT", "2")
    assert {result["extra_attributes"]["__key"] for result in reply["results"]} == found


@each_type
def test_it_is_explained(client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str]) -> None:
    assert client.execute_command("FT.EXPLAIN", "i", query, *options, "DIALECT", "2").strip()


@each_type
def test_it_is_profiled(client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str]) -> None:
    reply = client.execute_command("FT.PROFILE", "i", "SEARCH", "QUERY", query, *options, "DIALECT", "2")
    tree = reply["Profile"]["Shards"][0]["Iterators profile"]
    assert tree["Counter"] == len(found)


@each_type
def test_it_stands_in_a_phrase(client: redis.Redis[Any], query: str, options: tuple[str, ...], found: set[str]) -> None:
    words = ("SLOP", "5", "INORDER", "NOCONTENT", "DIALECT", "2")
    text = "alpha" if query == "*" else f"alpha ({query})"  # the star stands alone
    reply = client.execute_command("FT.SEARCH", "i", text, *options, *words)
    assert ids(reply) <= {"d:1", "d:2"}


def test_where_a_range_is_wrong() -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.execute_command("FT.CREATE", "i", "SCHEMA", "n", "NUMERIC")
        for query, place in (("@n:[a (7]", "6 near a"), ("@n:[a 7]", "7 near 7"), ("@n:[1 (a]", "7 near a")):
            with pytest.raises(redis.ResponseError, match=f"^Syntax error at offset {place}$"):
                client.execute_command("FT.SEARCH", "i", query, "DIALECT", 2)
