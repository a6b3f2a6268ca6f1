"""Groups that SQL computes are those of the rows in Python, which FT.PROFILE goes through."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer

VALUES: list[Any] = [None, 0, 1, 2.5, -3, 7, 1e15, 12345678]
TAGS: list[Any] = ["red", "green", "", "true", True, None, ["red", "blue"], "späte"]
LISTS: list[Any] = [
    ["one"], ["one", "two"], ["two", "", "one", "one"], ["späte", '"'],
    [], None, ["a\0b"], ["one", None], [1], "one", {"x": "one"}, [["one"]],
]  # fmt: skip
"""Lists whose text is in the columns, and others."""


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "hostile"])
def client(request: pytest.FixtureRequest) -> Any:
    """Documents with one number and one tag each, or with everything that can be in their place."""
    rng = random.Random(3)
    with EmbeddedServer() as server:
        client: Any = server.client(protocol=3)
        client.execute_command(
            *("FT.CREATE", "idx", "ON", "JSON", "SCHEMA"),
            *("$.t", "AS", "t", "TAG", "CASESENSITIVE", "INDEXEMPTY", "INDEXMISSING", "SORTABLE", "UNF"),
            *("$.u", "AS", "u", "TAG", "CASESENSITIVE", "INDEXEMPTY"),
            *("$.n", "AS", "n", "NUMERIC", "INDEXMISSING", "SORTABLE"),
            *("$.m", "AS", "m", "NUMERIC"),
            *("$.l[*]", "AS", "l", "TAG", "CASESENSITIVE", "INDEXEMPTY"),
        )  # fmt: skip
        for number in range(300):
            document: dict[str, Any] = {"t": f"t{number % 4}", "u": f"u{number % 3}", "n": number, "m": number % 7}
            if request.param:
                document = {"t": rng.choice(TAGS), "u": rng.choice(TAGS[:5]), "n": rng.choice(VALUES)}
                document["m"] = rng.choice(VALUES)
                document["l"] = rng.choice(LISTS)
                document = {name: value for name, value in document.items() if rng.random() < 0.8}
            elif number % 5:
                document["l"] = LISTS[number % 4]
            client.execute_command("JSON.SET", f"d{number}", "$", json.dumps(document))
        yield client


GROUPS = [
    ["GROUPBY", 1, "@t", "REDUCE", "COUNT", 0, "AS", "c"],
    ["GROUPBY", 1, "@u", "REDUCE", "COUNT", 0, "AS", "c", "REDUCE", "SUM", 1, "@n", "AS", "s"],
    ["GROUPBY", 2, "@t", "@u", "REDUCE", "MIN", 1, "@n", "AS", "lo", "REDUCE", "MAX", 1, "@m", "AS", "hi"],
    ["GROUPBY", 0, "REDUCE", "AVG", 1, "@n", "AS", "a", "REDUCE", "COUNT_DISTINCT", 1, "@n", "AS", "d"],
    ["GROUPBY", 1, "@n", "REDUCE", "COUNT", 0, "AS", "c", "SORTBY", 2, "@c", "DESC", "MAX", 5],
    ["APPLY", "exists(@n)", "AS", "has", "GROUPBY", 1, "@t", "REDUCE", "SUM", 1, "@has", "AS", "s"],
    ["APPLY", "floor(@n/7)", "AS", "span", "GROUPBY", 1, "@span", "REDUCE", "COUNT", 0, "AS", "c"],
    ["FILTER", "exists(@n)", "APPLY", "floor(log2(@n)*32)", "AS", "i", "GROUPBY", 2, "@t", "@i",
     "REDUCE", "COUNT", 0, "AS", "c", "REDUCE", "MIN", 1, "@n", "AS", "lo"],
    ["APPLY", "@t == 'red'", "AS", "red", "GROUPBY", 1, "@u", "REDUCE", "SUM", 1, "@red", "AS", "s"],
    ["APPLY", "exists(@t) && @t == 'red'", "AS", "red", "GROUPBY", 1, "@u", "REDUCE", "SUM", 1, "@red", "AS", "s"],
    ["APPLY", "exists(@t) && @u == 'red'", "AS", "red", "GROUPBY", 1, "@t", "REDUCE", "SUM", 1, "@red", "AS", "s"],
    ["APPLY", "exists(@n) && @n == '7'", "AS", "seven", "GROUPBY", 1, "@u", "REDUCE", "SUM", 1, "@seven", "AS", "s"],
    ["APPLY", "upper(@t)", "AS", "big", "GROUPBY", 1, "@big", "REDUCE", "COUNT", 0, "AS", "c"],
    ["FILTER", "@n > 2", "GROUPBY", 1, "@t", "REDUCE", "QUANTILE", 2, "@n", "0.5", "AS", "q"],
    ["GROUPBY", 1, "@t", "REDUCE", "QUANTILE", 2, "@n", "0.5", "AS", "q", "REDUCE", "COUNT", 0, "AS", "c",
     "REDUCE", "QUANTILE", 3, "@n", "0.9", "7", "AS", "r", "REDUCE", "STDDEV", 1, "@m", "AS", "d",
     "REDUCE", "QUANTILE", 2, "@n", "0.99", "AS", "s"],
    ["LOAD", 3, "$.l", "AS", "g", "GROUPBY", 1, "@g", "REDUCE", "COUNT", 0, "AS", "c",
     "REDUCE", "SUM", 1, "@n", "AS", "s"],
    ["LOAD", 3, "$.l", "AS", "g", "FILTER", "exists(@n)", "GROUPBY", 2, "@g", "@t", "REDUCE", "COUNT", 0, "AS", "c"],
    ["LOAD", 1, "$.l", "GROUPBY", 1, "@$.l", "REDUCE", "QUANTILE", 2, "@n", "0.5", "AS", "q"],
    ["GROUPBY", 0, "REDUCE", "QUANTILE", 3, "@n", "0.9", "10", "AS", "r", "REDUCE", "STDDEV", 1, "@n", "AS", "d"],
    ["GROUPBY", 2, "@u", "@t", "REDUCE", "QUANTILE", 2, "@n", "0.25", "AS", "q", "REDUCE", "SUM", 1, "@m", "AS", "s"],
    ["APPLY", "@n*2", "AS", "double", "APPLY", "exists(@double)", "AS", "e", "GROUPBY", 1, "@e",
     "REDUCE", "COUNT", 0, "AS", "c"],
    ["APPLY", "floor(@t/2)", "AS", "unused", "GROUPBY", 1, "@u", "REDUCE", "COUNT", 0, "AS", "c"],
    ["APPLY", "floor(@t/2)", "AS", "x", "FILTER", "@u == 'none'", "GROUPBY", 1, "@x", "REDUCE", "COUNT", 0, "AS", "c"],
    ["FILTER", "exists(@n)", "FILTER", "@n + 1 > 2", "GROUPBY", 1, "@u", "REDUCE", "COUNT", 0, "AS", "c"],
]  # fmt: skip


@pytest.mark.parametrize("query", ["*", "@m:[1 5]", "ismissing(@n)", "-ismissing(@t)"])
@pytest.mark.parametrize("steps", GROUPS, ids=lambda steps: " ".join(map(str, steps[:5])))
def test_groups_are_those_of_the_rows(client: Any, query: str, steps: list[Any]) -> None:
    def answer(*command: Any) -> Any:
        try:
            return client.execute_command(*command, *steps, "DIALECT", 2)
        except redis.ResponseError as error:
            return str(error)

    found = answer("FT.AGGREGATE", "idx", query)
    wanted = answer("FT.PROFILE", "idx", "AGGREGATE", "QUERY", query)
    if isinstance(found, str) or isinstance(wanted, str):
        assert found == wanted
        return
    results = wanted[b"Results"] if b"Results" in wanted else wanted[b"results"]
    assert found[b"results"] == (results[b"results"] if isinstance(results, dict) else results)


def test_a_rare_tag_is_where_an_intersection_begins() -> None:
    rng = random.Random(1)
    held: dict[str, tuple[list[str], str]] = {}
    with EmbeddedServer() as server:
        client: Any = server.client(protocol=2)
        schema = [part for path, name in (("$.t[*]", "t"), ("$.u", "u"), ("$.id", "id"))
                  for part in (path, "AS", name, "TAG", "CASESENSITIVE")]  # fmt: skip
        client.execute_command("FT.CREATE", "idx", "ON", "JSON", "SCHEMA", *schema)
        pipe = client.pipeline(transaction=False)
        for number in range(1500):
            tags = rng.sample(["a", "b", "c"], 2) + ([f"rare{number % 50}"] if number % 3 else [])
            held[f"d{number}"] = (tags, rng.choice("xy"))
            document = {"t": tags, "u": held[f"d{number}"][1], "id": f"id{number}"}
            pipe.execute_command("JSON.SET", f"d{number}", "$", json.dumps(document))
        pipe.execute()
        for query, fits in (
            ("@t:{a} @t:{rare7}", lambda tags, u: {"a", "rare7"} <= set(tags)),
            ("@t:{a} @t:{b} @u:{x} @t:{rare7}", lambda tags, u: {"a", "b", "rare7"} <= set(tags) and u == "x"),
            ("@t:{rare7} -@t:{a}", lambda tags, u: "rare7" in tags and "a" not in tags),
            ("@t:{rare7} (@t:{a} | @u:{y})", lambda tags, u: "rare7" in tags and ("a" in tags or u == "y")),
            ("(@t:{rare7} @u:{x}) | (@t:{rare8} @t:{b})",
             lambda tags, u: ("rare7" in tags and u == "x") or {"rare8", "b"} <= {*tags}),
            ("@t:{a} @t:{b}", lambda tags, u: {"a", "b"} <= set(tags)),
            ("@t:{a} @t:{nothing}", lambda tags, u: False),
        ):  # fmt: skip
            reply = client.execute_command("FT.SEARCH", "idx", query, "NOCONTENT", "LIMIT", 0, 2000, "DIALECT", 2)
            assert {key.decode() for key in reply[1:]} == {key for key, values in held.items() if fits(*values)}, query
        for value in "xy":
            reply = client.execute_command("FT.SEARCH", "idx", f"@u:{{{value}}} @id:{{id7}}", "NOCONTENT", "DIALECT", 2)
            assert reply[1:] == ([b"d7"] if held["d7"][1] == value else [])
