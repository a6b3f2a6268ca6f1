"""Whatever is done to the keys, the index finds exactly those that hold documents now."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.embedded import EmbeddedServer

key = st.sampled_from(["doc:a", "doc:b", "doc:c", "else"])
number = st.sampled_from(["1", "2", "3"])
document = number.map(lambda n: f'{{"n":{n}}}')

MAKE = "redis.call('DEL', KEYS[1]) redis.call('JSON.SET', KEYS[1], '$', ARGV[1])"

COMMANDS = st.one_of(
    st.tuples(st.just("JSON.SET"), key, st.just("$"), document),
    st.tuples(st.just("JSON.SET"), key, st.just("$"), document, st.sampled_from(["NX", "XX"])),
    st.tuples(st.just("JSON.SET"), key, st.just("$.n"), number),
    st.tuples(st.just("JSON.MERGE"), key, st.just("$"), document),
    st.tuples(st.just("JSON.DEL"), key, st.sampled_from(["$", "$.n"])),
    st.tuples(st.just("DEL"), key, key),
    st.tuples(st.just("RENAME"), key, key),
    st.tuples(st.just("COPY"), key, key, st.just("REPLACE")),
    st.tuples(st.just("SET"), key, number),
    st.tuples(st.just("PEXPIREAT"), key, st.just("1")),
    st.tuples(st.just("EXPIRE"), key, st.just("1000")),
    st.tuples(st.just("MOVE"), key, st.just("1")),
    st.tuples(st.just("EVAL"), st.just(MAKE), st.just("1"), key, document),
    st.just(("SWAPDB", "0", "1")),
    st.just(("MULTI",)),
    st.just(("EXEC",)),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(COMMANDS, max_size=40))
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_index_follows(
    tmp_path_factory: pytest.TempPathFactory, kind: str, requests: list[tuple[Any, ...]]
) -> None:
    path = None if kind == "memory" else tmp_path_factory.mktemp("engine") / "state.db"
    with EmbeddedServer(path) as server:
        client = server.client()
        connection = client.connection_pool.get_connection()
        client.execute_command(
            *["FT.CREATE", "idx", "ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", "$.n", "AS", "n", "NUMERIC"]
        )
        for request in [*requests, ("DISCARD",)]:
            connection.send_command(*request)
            with contextlib.suppress(redis.ResponseError):
                connection.read_response()
        agree(client)
    if path is not None:
        with EmbeddedServer(path) as server:
            agree(server.client())


def agree(client: Any) -> None:
    """For each number, the documents that have it are those that the index finds."""
    held: dict[bytes, bytes] = {}
    for name in client.scan_iter("doc:*"):
        if client.type(name) == b"ReJSON-RL":
            held[name] = client.execute_command("JSON.GET", name, "$.n")
    for n in (1, 2, 3):
        reply = client.execute_command("FT.SEARCH", "idx", f"@n:[{n} {n}]", "NOCONTENT", "DIALECT", "2")
        found = {hit[b"id"] for hit in reply[b"results"]}
        assert found == {name for name, text in held.items() if text == b"[%d]" % n}
    assert client.execute_command("FT.SEARCH", "idx", "*", "DIALECT", "2")[b"total_results"] == len(held)
