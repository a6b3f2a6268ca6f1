"""Pages that are made from an index's rows alone are those that the documents give."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer

SCHEMA = (
    *("$.n", "AS", "n", "NUMERIC", "SORTABLE", "$.m", "AS", "m", "NUMERIC"),
    *("$.t", "AS", "t", "TAG", "CASESENSITIVE", "INDEXEMPTY", "SORTABLE", "UNF"),
    *("$.tags[*]", "AS", "tags", "TAG", "CASESENSITIVE"),
)
ABSENT = object()
NUMBERS = [
    0,
    1,
    -1,
    -0.0,
    0.1,
    1.5,
    1e-7,
    1e15,
    1e16,
    1e300,
    2**53 + 1,
    2**62,
    2**63,
    2**64 - 1,
    -(2**63),
    None,
    ABSENT,
]
TEXTS = ["a", "A", "ä", "", " a ", "a,b", "true", "false", True, False, None, ABSENT]


def documents() -> list[dict[str, Any]]:
    """Documents with each number and each text, some of them twice."""
    found = []
    for place in range(2 * len(NUMBERS)):
        document = {
            "n": NUMBERS[place % len(NUMBERS)],
            "m": NUMBERS[(place * 5 + 2) % len(NUMBERS)],
            "t": TEXTS[place % len(TEXTS)],
            "tags": ["x", "y"][: place % 3],
        }
        found.append({name: value for name, value in document.items() if value is not ABSENT})
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with EmbeddedServer(tmp_path_factory.mktemp("pages") / "state.db") as server:
        client = server.client()
        client.execute_command("FT.CREATE", "idx", "ON", "JSON", "PREFIX", 1, "d:", "SCHEMA", *SCHEMA)
        for number, document in enumerate(documents()):
            client.execute_command("JSON.SET", f"d:{number:02}", "$", json.dumps(document))
        assert client.execute_command("FT.INFO", "idx")[b"hash_indexing_failures"] == 0
        yield server


def without_sort_keys(reply: Any, protocol: int) -> Any:
    if protocol == 3:
        for hit in reply[b"results"]:
            del hit[b"sortkey"]
        return reply
    return [part for place, part in enumerate(reply) if place % 3 != 2]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("sort", ["n", "t"])
@pytest.mark.parametrize(
    "query", ["*", "@t:{a | A | true}", "@n:[-1 1e16]", "@t:{a} @n:[-inf inf]", "@t:{a} @m:[0 inf]"]
)
@pytest.mark.parametrize("limit", [(0, 100), (3, 5), (0, 1), (90, 5)])
def test_rows_tell_what_documents_do(
    filled: EmbeddedServer, query: str, sort: str, direction: str, protocol: int, limit: tuple[int, int]
) -> None:
    client = filled.client(protocol=protocol)

    def ask(*options: Any) -> Any:
        order = ("SORTBY", sort, direction, "LIMIT", *limit, "DIALECT", 2)
        return client.execute_command("FT.SEARCH", "idx", query, *options, *order)

    # A path is read from the document; a name is taken from the row where that tells.
    for names in (("n",), ("t", "n"), ("m", "t", "n", "__key")):
        by_path = [part for name in names for part in (f"$.{name}" if name != "__key" else name, "AS", name)]
        assert ask("RETURN", len(names), *names) == ask("RETURN", len(by_path), *by_path)
    # The key that is sorted by is given only by the way that reads every document.
    assert ask() == without_sort_keys(ask("WITHSORTKEYS"), protocol)
    keys = [hit[b"id"] for hit in ask()[b"results"]] if protocol == 3 else ask()[1::2]
    found = ask("NOCONTENT")
    assert ([hit[b"id"] for hit in found[b"results"]] if protocol == 3 else found[1:]) == keys


def fields_of(reply: Any, protocol: int) -> list[Any]:
    """The rows of FT.AGGREGATE, each with its fields in order."""
    if protocol == 3:
        return [list(row[b"extra_attributes"].items()) for row in reply[b"results"]]
    return [list(zip(row[::2], row[1::2], strict=True)) for row in reply[1:]]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("order", [("@n", "ASC"), ("@n", "DESC", "@t", "ASC"), ("@t", "ASC", "@n", "DESC")])
@pytest.mark.parametrize("query", ["*", "@t:{a | A | true}", "@n:[-1 1e16]", "@t:{a} @m:[0 inf]"])
@pytest.mark.parametrize("most", [1, 5, 100])
@pytest.mark.parametrize(
    "loaded",
    [
        (),
        ("@m", "@__key"),
        ("$.m", "$.n", "AS", "also", "@t"),
        ("$.none", "$.tags", "$.t", "@__key", "AS", "t2"),
        ("$.tags[0]", "@n", "$..n"),
    ],
)
def test_aggregations_show_what_documents_hold(
    filled: EmbeddedServer, query: str, order: tuple[str, ...], most: int, protocol: int, loaded: tuple[str, ...]
) -> None:
    client = filled.client(protocol=protocol)
    load = ("LOAD", len(loaded), *loaded) if loaded else ()
    head = ("FT.AGGREGATE", "idx", query)
    tail = ("SORTBY", len(order), *order, "MAX", most, *load, "DIALECT", 2)
    page = client.execute_command(*head, *tail)
    # What a cursor gives is made row by row.
    by_rows, cursor = client.execute_command(*head, *tail, "WITHCURSOR", "COUNT", 1000)
    assert cursor == 0
    assert fields_of(page, protocol) == fields_of(by_rows, protocol)
    assert (page[b"total_results"] if protocol == 3 else page[0]) >= len(fields_of(page, protocol))


def test_counting_follows_writes(filled: EmbeddedServer) -> None:
    """The SQL indexes that queries make are kept in step."""
    client = filled.client()
    ask = ("FT.SEARCH", "idx", "@t:{a} @m:[0 inf]", "SORTBY", "n", "RETURN", 1, "n", "DIALECT", 2)
    before = client.execute_command(*ask)[b"total_results"]
    client.execute_command("JSON.SET", "d:new", "$", '{"t": "a", "m": 5, "n": -7}')
    reply = client.execute_command(*ask)
    assert reply[b"total_results"] == before + 1
    assert b"d:new" in [hit[b"id"] for hit in reply[b"results"]]
    client.delete("d:new")
    assert client.execute_command(*ask)[b"total_results"] == before


@pytest.mark.parametrize(
    ("command", "total"),
    [
        ("FT.SEARCH i * WITHOUTCOUNT SORTBY n LIMIT 5 3 DIALECT 2", 3),
        ("FT.SEARCH i * SORTBY n LIMIT 38 3 DIALECT 4", 2),
        ("FT.SEARCH i * WITHCOUNT SORTBY n LIMIT 5 3 DIALECT 4", 40),
        ("FT.SEARCH i * WITHOUTCOUNT LIMIT 0 0 DIALECT 2", 0),
        ("FT.SEARCH i * WITHOUTCOUNT DIALECT 2", 10),
        ("FT.AGGREGATE i * WITHOUTCOUNT SORTBY 2 @n DESC LIMIT 2 4 DIALECT 2", 4),
        ("FT.AGGREGATE i * SORTBY 2 @n DESC MAX 4 DIALECT 4", 4),
        ("FT.AGGREGATE i * LOAD 1 @n GROUPBY 1 @n REDUCE COUNT 0 DIALECT 4", 14),
        ("FT.AGGREGATE i @n:[99,100] WITHOUTCOUNT SORTBY 2 @n DESC DIALECT 2", 0),
    ],
)
def test_totals_where_nothing_is_counted(command: str, total: int) -> None:
    """As RediSearch 8.0.2 gives them."""
    with EmbeddedServer() as server, server.client() as client:
        schema = ("$.n", "AS", "n", "NUMERIC", "SORTABLE")
        client.execute_command("FT.CREATE", "i", "ON", "JSON", "PREFIX", 1, "d:", "SCHEMA", *schema)
        for number in range(40):
            client.execute_command("JSON.SET", f"d:{number:02}", "$", json.dumps({"n": number // 3}))
        assert client.execute_command(*command.split())[b"total_results"] == total
