"""What scores cost: the number of SQL statements does not grow with the documents."""

from __future__ import annotations

import pytest

from relay_models.embedded import EmbeddedServer


def statements(server: EmbeddedServer, query: str) -> int:
    """How many SQL statements a query with scores runs."""
    client = server.client()
    words = ("WITHSCORES", "NOCONTENT", "LIMIT", "0", "5", "DIALECT", "2")
    client.execute_command("FT.SEARCH", "i", query, *words)  # what queries need is prepared by the first one
    run: list[str] = []
    connection = server._state.connection
    connection.set_trace_callback(run.append)
    try:
        client.execute_command("FT.SEARCH", "i", query, *words)
    finally:
        connection.set_trace_callback(None)
        client.close()
    return len(run)


@pytest.mark.parametrize(
    "query",
    [
        "word @n:[0 100000]",
        "word (@n:[0 5] | @n:[6 100000])",
        "word -@n:[3 4]",
        "word @tag:{odd}",
        "word ismissing(@gone)",
        "word ~other",
    ],
)
def test_a_clause_beside_words_costs_the_same_for_any_number_of_documents(query: str) -> None:
    counts = []
    for number in (10, 200):
        with EmbeddedServer() as server:
            client = server.client()
            schema = ("text", "TEXT", "n", "NUMERIC", "tag", "TAG", "gone", "TAG", "INDEXMISSING")
            client.execute_command("FT.CREATE", "i", "SCHEMA", *schema)
            for at in range(number):
                client.hset(f"d:{at}", mapping={"text": "word", "n": at, "tag": "odd" if at % 2 else "even"})
            counts.append(statements(server, query))
            client.close()
    assert counts[0] == counts[1]
    assert counts[1] < 20
