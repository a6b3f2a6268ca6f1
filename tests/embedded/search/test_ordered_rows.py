"""A SORTBY that SQL carries out gives the rows that sorting them all would give."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def documents() -> dict[bytes, dict[str, Any]]:
    rng = random.Random(5)
    found: dict[bytes, dict[str, Any]] = {}
    for number in range(400):
        document: dict[str, Any] = {"name": rng.choice("abcde"), "n": rng.randrange(20), "m": number}
        if rng.random() < 0.2:
            del document["n"]
        found[b"d:%03d" % number] = document
    return found


def last(value: Any, ascending: bool) -> tuple[bool, Any]:
    """A sort key that puts what is missing last, whichever way."""
    return (value is None, 0 if value is None else value if ascending else -value)


@pytest.mark.parametrize("n_up", [True, False])
@pytest.mark.parametrize("most", [1, 7, 150, 1000])
@pytest.mark.parametrize("condition", [None, "@m % 3 == 0", "exists(@n) && @n != 4"])
def test_the_first_rows(documents: dict[bytes, dict[str, Any]], n_up: bool, most: int, condition: str | None) -> None:
    keep = {
        None: lambda document: True,
        "@m % 3 == 0": lambda document: document["m"] % 3 == 0,
        "exists(@n) && @n != 4": lambda document: document.get("n", 4) != 4,
    }[condition]
    with EmbeddedServer() as server, server.client(protocol=2) as client:
        schema = "$.name AS name TAG CASESENSITIVE SORTABLE UNF $.n AS n NUMERIC SORTABLE $.m AS m NUMERIC SORTABLE"
        client.execute_command("FT.CREATE", "i", "ON", "JSON", "PREFIX", 1, "d:", "SCHEMA", *schema.split())
        for key, document in documents.items():
            client.execute_command("JSON.SET", key, "$", json.dumps(document))
        steps = [] if condition is None else ["LOAD", 1, "@m", "FILTER", condition]
        order = ["SORTBY", 6, "@n", "ASC" if n_up else "DESC", "@name", "ASC", "@m", "ASC"]
        reply = client.execute_command(
            *("FT.AGGREGATE", "i", "@name:{a|b|c|d}", *steps, *order, "MAX", most, "LIMIT", 0, most),
            *("LOAD", 1, "@__key", "DIALECT", 2),
        )
        rows = [dict(zip(row[::2], row[1::2], strict=True))[b"__key"] for row in reply[1:]]
    chosen = [key for key, document in documents.items() if document["name"] != "e" and keep(document)]
    chosen.sort(key=lambda key: (last(documents[key].get("n"), n_up), documents[key]["name"], documents[key]["m"]))
    assert rows == chosen[:most]


@pytest.mark.parametrize(
    ("query", "count"), [("*", 2500), ("@n:[500 +inf]", 2000), ("@n:[2499 2499]", 1), ("@n:[(2499 9999]", 0)]
)
def test_rows_that_are_read_in_chunks(query: str, count: int) -> None:
    with EmbeddedServer() as server, server.client(protocol=2) as client:
        client.execute_command("FT.CREATE", "i", "ON", "JSON", "PREFIX", 1, "d:", "SCHEMA", "$.n", "AS", "n", "NUMERIC")
        with client.pipeline(transaction=False) as pipeline:
            for number in range(2500):
                pipeline.execute_command("JSON.SET", f"d:{number}", "$", json.dumps({"n": number, "m": str(number)}))
            pipeline.execute()
        _, *rows = client.execute_command("FT.AGGREGATE", "i", query, "LOAD", 1, "$.m", "LIMIT", 0, 10_000)
        assert [int(row[1]) for row in rows] == list(range(2500 - count, 2500))
