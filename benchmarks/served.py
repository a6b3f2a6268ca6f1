"""The engine over TCP beside the engine in process and a real server, as ratios taken in one run.

    python -m benchmarks.served [--url redis://localhost:6379]

The engine is served from a file by a process of its own, as ``relay-models serve`` does it. Every contestant gets the
same commands from redis-py, a round each in turn, and the best round counts. With ``--url`` a disposable server with
JSON and search is measured, too: it is in C, and shows how far there is to go.

Where the time goes: redis-py takes a third of a command sent alone and of a pipeline about half; what is left is the
engine's own work (see `benchmarks.embedded`), a tenth for reading requests and writing replies, and the wake-ups of two
processes that wait for each other, which pipelines share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from benchmarks.embedded import CREATE, batches
from benchmarks.results import Result, Setup
from relay_models.embedded import EmbeddedServer

SERVE = """
import sys
from relay_models.embedded import serve
serve(sys.argv[1], port=0, ready=lambda endpoint: print(endpoint.url, flush=True))
"""
ROUNDS = 5
RUNS = 2000

Work = Callable[[Any], int]
"""Sends commands to a client and gives how many."""


def singly(*command: Any, times: int = 1000) -> Work:
    def work(client: Any) -> int:
        for _ in range(times):
            client.execute_command(*command)
        return times

    return work


def piped(*command: Any, times: int = 5000, size: int = 100) -> Work:
    def work(client: Any) -> int:
        for _ in range(times // size):
            pipe = client.pipeline(transaction=False)
            for _ in range(size):
                pipe.execute_command(*command)
            pipe.execute()
        return times

    return work


def workloads() -> dict[str, Work]:
    ((key, text),) = next(batches(1, "-again"))
    query = ("FT.SEARCH", "idx", "@agent_id:{$agent} @duration:[2000000 +inf]", "PARAMS", 2, "agent", "agent-3")
    newest = (*query, "SORTBY", "started_at", "DESC", "LIMIT", 0, 50, "RETURN", 2, "run_id", "duration", "DIALECT", 2)
    return {
        "GET, one at a time": singly("GET", "text"),
        "GET, pipelines of 100": piped("GET", "text"),
        "SET, one at a time": singly("SET", "text", "x" * 100),
        "SET, pipelines of 100": piped("SET", "text", "x" * 100),
        "HSET, pipelines of 100": piped("HSET", "hash", "field", "x" * 100),
        "JSON.SET with index, one at a time": singly("JSON.SET", key, "$", text, times=300),
        "JSON.SET with index, pipelines of 100": piped("JSON.SET", key, "$", text, times=1000),
        "JSON.GET, pipelines of 100": piped("JSON.GET", key, times=2000),
        "FT.SEARCH, newest 50 of an agent": singly(*newest, times=100),
    }


def prepare(client: Any) -> None:
    client.execute_command(*CREATE)
    client.set("text", "x" * 100)
    for batch in batches(RUNS):
        pipe = client.pipeline(transaction=False)
        for key, text in batch:
            pipe.execute_command("JSON.SET", key, "$", text)
        pipe.execute()


def measure(clients: dict[str, Any], work: Work) -> dict[str, float]:
    """The seconds for one command with each client."""
    best = dict.fromkeys(clients, float("inf"))
    for _ in range(ROUNDS):
        for name, client in clients.items():
            begin = time.perf_counter()
            count = work(client)
            best[name] = min(best[name], (time.perf_counter() - begin) / count)
    return best


def measured(url: str | None) -> dict[str, dict[str, float]]:
    """The seconds of each command, by workload and client. What is in the server at `url` is deleted."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVE, str(Path(folder) / "served.db")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        with EmbeddedServer(Path(folder) / "local.db") as local:
            urls = {"served": server.stdout.readline().strip(), **({"real": url} if url else {})}
            clients: dict[str, Any] = {"in process": local.client()}
            connect: Any = redis.Redis.from_url
            clients.update({name: connect(address, protocol=3) for name, address in urls.items()})
            if url:
                clients["real"].flushall()
            for client in clients.values():
                prepare(client)
            found = {name: measure(clients, work) for name, work in workloads().items()}
            if url:
                clients["real"].flushall()
            for client in clients.values():
                client.close()
        server.terminate()
        server.wait()
        server.stdout.close()
    return found


def results(setup: Setup) -> Iterator[Result]:
    """The engine over TCP in ratios to the engine in process, or to a real server."""
    other = "real" if setup.url else "in process"
    for name, best in measured(setup.url).items():
        yield Result(f"served: {name}", best["served"] / best[other], vs="a real server" if setup.url else other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a disposable server with JSON and search; what is in it is deleted")
    parser.add_argument("--json", action="store_true", help="print the seconds as JSON")
    options = parser.parse_args()
    found = measured(options.url)
    if options.json:
        print(json.dumps(found))
        return
    clients = list(next(iter(found.values())))
    table = Table(title=f"{RUNS:,} run documents, each command", title_justify="left")
    for heading in ("", *clients, *(f"served / {name}" for name in clients if name != "served")):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, best in found.items():
        ratios = [f"{best['served'] / best[other]:.2f}" for other in clients if other != "served"]
        table.add_row(name, *(f"{seconds * 1e6:,.0f} µs" for seconds in best.values()), *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
