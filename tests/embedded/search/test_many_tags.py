"""Queries for several tags of one field, a few or thousands of them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer

TAGS = ["a", "b", "C", "d e", "ü"]


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    rng = random.Random(3)
    return {
        f"d:{n}": {"one": rng.choice(TAGS), "many": rng.sample(TAGS, rng.randint(0, 4)), "n": n % 3} for n in range(60)
    }


@pytest.fixture(scope="module")
def client(documents: dict[str, dict[str, Any]]) -> Any:
    schema = [
        *("$.one", "AS", "one", "TAG", "$.many[*]", "AS", "many", "TAG", "CASESENSITIVE"),
        *("$.many[*]", "AS", "folded", "TAG", "$.n", "AS", "n", "NUMERIC"),
    ]
    with EmbeddedServer() as server, server.client(decode_responses=True, protocol=2) as client:
        client.execute_command("FT.CREATE", "i", "ON", "JSON", "PREFIX", "1", "d:", "SCHEMA", *schema)
        for key, document in documents.items():
            client.execute_command("JSON.SET", key, "$", json.dumps(document))
        yield client


@pytest.mark.parametrize("seed", range(40))
def test_tags_that_all_must_be_there(client: Any, documents: dict[str, dict[str, Any]], seed: int) -> None:
    rng = random.Random(seed)
    wanted = [(rng.choice(["one", "many", "folded"]), rng.choice(TAGS)) for _ in range(rng.randint(2, 5))]
    number = rng.choice([None, 1])

    def has(document: dict[str, Any], field: str, tag: str) -> bool:
        if field == "many":
            return tag in document["many"]
        held = [document["one"]] if field == "one" else document["many"]
        return tag.lower() in [each.lower() for each in held]

    clauses = [f"@{field}:{{{tag.replace(' ', chr(92) + ' ')}}}" for field, tag in wanted]
    clauses += [] if number is None else [f"@n:[{number} {number}]"]
    query = f"({' '.join(clauses)}) | @one:{{ü}}" if seed % 2 else " ".join(clauses)
    found = client.execute_command("FT.SEARCH", "i", query, "NOCONTENT", "LIMIT", 0, 100, "DIALECT", 2)
    expected = {
        key
        for key, document in documents.items()
        if (all(has(document, *each) for each in wanted) and number in (None, document["n"]))
        or (seed % 2 and document["one"] == "ü")
    }
    assert {*found[1:]} == expected
    assert found[0] == len(expected)


def test_thousands_of_tags(client: Any, documents: dict[str, dict[str, Any]]) -> None:
    others = [f"t{n}" for n in range(5000)]
    count = ("LIMIT", 0, 0, "DIALECT", 2)
    everyone = client.execute_command("FT.SEARCH", "i", f"@many:{{{'|'.join([*others, 'a'])}}}", *count)
    assert everyone == [sum("a" in document["many"] for document in documents.values())]
    every = " ".join(f"@many:{{{tag}}}" for tag in others)
    assert client.execute_command("FT.SEARCH", "i", every, *count) == [0]
    assert client.execute_command("FT.SEARCH", "i", f"-({every})", *count) == [len(documents)]


def test_documents_from_before_the_first_query_are_found_as_those_after_it() -> None:
    lists = [["a", "b"], ["a"], [""], ["", "a"], ["a", ""], ["a", "a", "b"], ["ü", "d e", "a"], [], ["a\0c", "b"]]
    schema = ["$.many[*]", "AS", "many", "TAG", "CASESENSITIVE", "INDEXEMPTY"]
    found = []
    for asked_first in (False, True):
        with EmbeddedServer() as server, server.client(decode_responses=True, protocol=2) as client:
            client.execute_command("FT.CREATE", "i", "ON", "JSON", "PREFIX", "1", "d:", "SCHEMA", *schema)
            client.execute_command("JSON.SET", "d:first", "$", json.dumps({"many": ["z", "y"]}))
            if asked_first:
                client.execute_command("FT.SEARCH", "i", "@many:{z}", "DIALECT", 2)
            for number, tags in enumerate(lists):
                client.execute_command("JSON.SET", f"d:{number}", "$", json.dumps({"many": tags}))
            queries = [f"@many:{{{tag}}}" for tag in ("a", "b", "ü", "d\\ e", "z", '""', "*b*")]
            replies = [client.execute_command("FT.SEARCH", "i", query, "NOCONTENT", "DIALECT", 2) for query in queries]
            found.append((replies, client.execute_command("FT.TAGVALS", "i", "many")))
    assert found[0] == found[1]
    assert [reply[0] for reply in found[0][0][:3]] == [7, 3, 1]
