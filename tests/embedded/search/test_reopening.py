"""Indexes, aliases and what was made for queries last as long as the file does."""

from __future__ import annotations

import json
from pathlib import Path

from relay_models.embedded import EmbeddedServer

SCHEMA = (
    "$.tag AS tag TAG CASESENSITIVE INDEXEMPTY $.tags[*] AS tags TAG $.n AS n NUMERIC SORTABLE $.t AS t TEXT SORTABLE"
)


def answers(server: EmbeddedServer) -> list[object]:
    queries = ["*", "@tag:{a}", "@tags:{x}", "@n:[1 5]", "running", "-@tag:{a}"]
    with server.client(protocol=2) as client:
        found = [
            client.execute_command("FT.SEARCH", "alias", query, "SORTBY", "n", "DIALECT", "2") for query in queries
        ]
        found.append(client.execute_command("FT.INFO", "index")[:8])
        return found


def write(server: EmbeddedServer, numbers: range) -> None:
    with server.client() as client:
        for n in numbers:
            document = {"tag": "ab"[n % 2], "tags": ["x", "y"][: n % 3], "n": n, "t": f"it runs {n} times"}
            client.execute_command("JSON.SET", f"doc:{n}", "$", json.dumps(document))


def test_an_index_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with EmbeddedServer(path) as server:
        with server.client() as client:
            client.execute_command("FT.CREATE", "index", "ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", *SCHEMA.split())
            client.execute_command("FT.ALIASADD", "alias", "index")
        write(server, range(6))
        before = answers(server)
    with EmbeddedServer(path) as server:
        assert answers(server) == before
        write(server, range(3, 12))
        after = answers(server)
    with EmbeddedServer() as fresh:
        with fresh.client() as client:
            client.execute_command("FT.CREATE", "index", "ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", *SCHEMA.split())
            client.execute_command("FT.ALIASADD", "alias", "index")
        write(fresh, range(12))
        assert answers(fresh) == after
