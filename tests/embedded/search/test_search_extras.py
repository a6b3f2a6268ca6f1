"""What of search stands beside queries: synonyms, expanders, dictionaries, profiles, and what the engine refuses."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread


def keys(client: Any, query: str, *options: str) -> list[bytes]:
    return sorted(client.execute_command("FT.SEARCH", "words", query, "NOCONTENT", "DIALECT", "2", *options)[1:])


@pytest.fixture
def client(server: EmbeddedServer) -> Any:
    client = server.client(protocol=2)
    client.execute_command("FT.CREATE", "words", "SCHEMA", "t", "TEXT", "u", "TEXT", "NOSTEM")
    client.hset("d1", mapping={"t": "a boy ran", "u": "kid"})
    client.hset("d2", mapping={"t": "the child runs"})
    return client


def test_words_of_a_group_find_each_other(client: Any) -> None:
    assert keys(client, "boy") == [b"d1"]
    assert client.execute_command("FT.SYNUPDATE", "words", "young", "Boy", "child", "kid") == b"OK"
    assert keys(client, "boy") == keys(client, "CHILD") == keys(client, "@t:kid") == [b"d1", b"d2"]
    assert keys(client, "@u:child") == [], (
        "in fields without stems a word has no other forms (8.0; 2.10 looks for synonyms)"
    )
    assert keys(client, "@u|t:child") == [b"d1", b"d2"]
    assert keys(client, "boy running") == [b"d2"], "stems and synonyms go together"
    assert keys(client, '"child ran"') == [], "an exact phrase is taken as it is written"
    assert keys(client, "boy", "VERBATIM") == [b"d1"]
    client.hset("d3", mapping={"t": "kid's play"})
    assert keys(client, "boy") == [b"d1", b"d2", b"d3"]
    client.hset("d2", mapping={"t": "nobody runs"})
    assert keys(client, "boy") == [b"d1", b"d3"]


def test_groups_grow_and_are_told(client: Any, server: EmbeddedServer) -> None:
    client.execute_command("FT.ALIASADD", "alias", "words")
    client.execute_command("FT.SYNUPDATE", "words", "one", "boy", "child")
    client.execute_command("FT.SYNUPDATE", "alias", "two", "child", "boy")
    client.execute_command("FT.SYNUPDATE", "words", "one", "boy", "nino")
    expected = {b"boy": [b"one", b"two"], b"child": [b"one", b"two"], b"nino": [b"one"]}
    flat = client.execute_command("FT.SYNDUMP", "words")
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == expected
    assert server.client(protocol=3).execute_command("FT.SYNDUMP", "words") == expected
    with pytest.raises(redis.ResponseError, match="Unknown index name"):
        client.execute_command("FT.SYNUPDATE", "absent", "one", "x")
    with pytest.raises(redis.ResponseError, match="absent: no such index"):
        client.execute_command("FT.SYNDUMP", "absent")


def test_documents_that_are_there_may_be_left_as_they_are(client: Any) -> None:
    client.execute_command("FT.SYNUPDATE", "words", "g", "SKIPINITIALSCAN", "boy", "child")
    assert keys(client, "boy") == [b"d1"]
    client.hset("d2", "u", "written again")
    assert keys(client, "boy") == [b"d1", b"d2"]


def test_the_expander_says_how_words_are_expanded(client: Any) -> None:
    client.execute_command("FT.SYNUPDATE", "words", "g", "runs", "jog")
    client.hset("d3", mapping={"t": "running"})
    assert keys(client, "runs") == [b"d2", b"d3"]
    assert keys(client, "jog", "EXPANDER", "DEFAULT") == [b"d2"]
    assert keys(client, "jog", "EXPANDER", "SYNONYM") == [b"d2"]
    assert keys(client, "jog", "EXPANDER", "SBSTEM") == []
    assert keys(client, "runs", "EXPANDER", "SBSTEM") == [b"d2", b"d3"]
    assert keys(client, "runs", "EXPANDER", "SYNONYM") == [b"d2"]
    assert keys(client, "running", "EXPANDER", "none of them") == [b"d3"]


def test_synonyms_are_marked_as_found(client: Any) -> None:
    client.execute_command("FT.SYNUPDATE", "words", "g", "boy", "child")
    reply = client.execute_command("FT.SEARCH", "words", "boy", "RETURN", "1", "t", "HIGHLIGHT", "SORTBY", "u", "DESC")
    assert [fields[-1] for fields in reply[2::2]] == [b"a <b>boy</b> ran", b"the <b>child</b> runs"]


def test_explained_as_the_real_server_does(client: Any) -> None:
    client.execute_command("FT.SYNUPDATE", "words", "g1", "boy", "child")
    client.execute_command("FT.SYNUPDATE", "words", "g2", "child", "kid")
    lines = client.execute_command("FT.EXPLAINCLI", "words", "@t:child", "DIALECT", "2")
    fields = [b"  @t:child", b"  @t:~g1(expanded)", b"  @t:~g2(expanded)", b"  @t:+child(expanded)"]
    assert lines == [b"@t:UNION {", *fields, b"}", b""]


def test_synonyms_and_dictionaries_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with EmbeddedServer(path) as server:
        client = server.client(protocol=2)
        client.execute_command("FT.CREATE", "words", "SCHEMA", "t", "TEXT")
        client.execute_command("FT.SYNUPDATE", "words", "\xe9", "\xc9T\xc9", "summer")
        client.execute_command("FT.DICTADD", "d", "a", "b")
    with EmbeddedServer(path) as server:
        client = server.client(protocol=2)
        client.hset("d1", "t", "\xe9t\xe9")
        assert keys(client, "summer") == [b"d1"]
        assert client.execute_command("FT.DICTDUMP", "d") == [b"a", b"b"]


def test_dictionaries(client: Any) -> None:
    assert client.execute_command("FT.DICTADD", "d", "b", "a", "A", "a", "two words", "", "x" * 256) == 4
    assert client.execute_command("FT.DICTADD", "d", "a", "c") == 1
    assert client.execute_command("FT.DICTDUMP", "d") == [b"A", b"a", b"b", b"c", b"two words"]
    assert client.execute_command("FT.DICTDEL", "d", "a", "absent") == 1
    assert client.execute_command("FT.DICTDEL", "absent", "a") == 0
    assert client.execute_command("FT.DICTDUMP", "absent") == []
    client.flushall()
    assert client.execute_command("FT.DICTDUMP", "d") == []


def types(iterator: dict[str, Any]) -> Any:
    children = iterator.get("Child iterators", [iterator["Child iterator"]] if "Child iterator" in iterator else [])
    return (iterator["Type"], [types(child) for child in children]) if children else iterator["Type"]


def test_a_profile_shows_what_each_part_finds(server: EmbeddedServer) -> None:
    client = server.client(protocol=3, decode_responses=True)
    client.execute_command("FT.CREATE", "i", "SCHEMA", "t", "TEXT", "n", "NUMERIC", "g", "TAG")
    for number in range(6):
        client.hset(
            f"d{number}", mapping={"t": "odd runs" if number % 2 else "even", "n": number, "g": f"a{number},b{number}"}
        )
    query = "(runs @n:[1 4]) | od* -@g:{a0|b1}"
    reply = client.execute_command("FT.PROFILE", "i", "SEARCH", "QUERY", query, "DIALECT", "2")
    assert reply["Results"] == client.execute_command("FT.SEARCH", "i", query, "DIALECT", "2")
    [shard] = reply["Profile"]["Shards"]
    assert reply["Profile"]["Coordinator"] == {}
    root = shard["Iterators profile"]
    assert types(root) == (
        "UNION",
        [
            ("INTERSECT", [("UNION", ["TEXT", "TEXT"]), "NUMERIC"]),
            ("INTERSECT", ["TEXT", ("NOT", [("UNION", ["TAG", "TAG"])])]),
        ],
    )
    words, numbers = root["Child iterators"][0]["Child iterators"]
    assert [words["Counter"], numbers["Counter"], numbers["Term"]] == [3, 4, "1 - 4"]
    assert root["Counter"] == reply["Results"]["total_results"] == 3
    assert [step["Type"] for step in shard["Result processors profile"]] == ["Index", "Scorer", "Sorter", "Loader"]
    assert 0 <= shard["Parsing time"] <= shard["Total profile time"]


def test_a_profile_of_an_aggregation_counts_the_rows_of_each_step(client: Any) -> None:
    group = "GROUPBY 1 @u REDUCE COUNT 0 AS n FILTER @n>5"
    command = ["FT.PROFILE", "words", "AGGREGATE", "LIMITED", "QUERY", "*un*", *group.split(), "DIALECT", "2"]
    results, profile = client.execute_command(*command)
    assert results[1:] == []
    assert [profile[0], profile[2:]] == [b"Shards", [b"Coordinator", []]]
    shard = dict(zip(profile[1][0][::2], profile[1][0][1::2], strict=True))
    steps = [(step[1], step[5]) for step in shard[b"Result processors profile"]]
    assert steps == [(b"Index", 1), (b"Grouper", 1), (b"Filter", 0)]
    assert shard[b"Iterators profile"][-1] == b"The number of iterators in the union is 2"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("words COUNT QUERY x", "No `SEARCH` or `AGGREGATE` provided"),
        ("words SEARCH LIMITED x", "The QUERY keyword is expected"),
        ("words SEARCH QUERY", "wrong number of arguments"),
        ("words AGGREGATE QUERY x WITHCURSOR", "FT.PROFILE does not support cursor"),
        ("absent SEARCH QUERY x", "absent: no such index"),
    ],
)
def test_refused_profiles(client: Any, command: str, message: str) -> None:
    with pytest.raises(redis.ResponseError, match=message):
        client.execute_command("FT.PROFILE", *command.split())


@pytest.mark.parametrize(
    "command",
    [
        "FT.CREATE x SCHEMA v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2",
        "FT.CREATE x SCHEMA g GEO",
        "FT.CREATE x SCHEMA g GEOSHAPE",
        "FT.CREATE x SCHEMA t TEXT PHONETIC dm:en",
        "FT.CREATE x LANGUAGE chinese SCHEMA t TEXT",
        "FT.SEARCH words x LANGUAGE chinese",
        "FT.SEARCH words x GEOFILTER g 1 1 1 km",
        "FT.SEARCH words *=>[KNN+2+@v+$b] PARAMS 2 b x DIALECT 2",
        "FT.SUGADD s a 1",
        "FT.SPELLCHECK words x",
    ],
)
def test_what_is_not_covered_says_so(client: Any, command: str) -> None:
    with pytest.raises(redis.ResponseError, match="not supported by the embedded engine"):
        client.execute_command(*(word.replace("+", " ") for word in command.split()))


def test_an_index_that_could_not_be_made_says_why_when_it_is_asked(client: Any) -> None:
    """Some libraries swallow the error of FT.CREATE and go on."""
    with pytest.raises(redis.ResponseError, match=r"^GEO fields"):
        client.execute_command("FT.CREATE", "places", "SCHEMA", "g", "GEO")
    with pytest.raises(redis.ResponseError, match=r"No such index places \(GEO fields are not supported"):
        client.execute_command("FT.SEARCH", "places", "*")
    client.execute_command("FT.CREATE", "places", "SCHEMA", "g", "TEXT")
    assert client.execute_command("FT.SEARCH", "places", "*", "LIMIT", "0", "0") == [2]
    client.execute_command("FT.DROPINDEX", "places")
    with pytest.raises(redis.ResponseError, match=r"No such index places$"):
        client.execute_command("FT.SEARCH", "places", "*")


def test_sets_are_sets_on_the_wire(server: EmbeddedServer) -> None:
    commands = ["FT.CREATE i SCHEMA g TAG", "FT._LIST", "FT.TAGVALS i g", "FT.DICTDUMP d", "SADD s a", "SPOP s 1"]
    with (
        serving_in_thread(server) as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as connection,
        connection.makefile("rwb") as stream,
    ):
        stream.write(b"HELLO 3\r\n" + b"".join(command.encode() + b"\r\n" for command in commands) + b"QUIT\r\n")
        stream.flush()
        replies = stream.read()
    assert replies.endswith(b"+OK\r\n~1\r\n$1\r\ni\r\n~0\r\n~0\r\n:1\r\n~1\r\n$1\r\na\r\n+OK\r\n")
