"""What a cluster costs: routing against one server, and the check after each search.

``python -m benchmarks.cluster`` starts plain Redis servers, one and a cluster of three primaries, and a Redis Stack for
the CPU that a run takes. ``--url redis+cluster://…`` names a disposable cluster with search, on which `find_runs` is
compared with the same FT.AGGREGATE through redis-py.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.results import Result, Setup, results_table
from relay_models import transport as async_transport
from relay_models.sync import RedisBackend
from relay_models.transport.sync import open_url
from tests.backend.stores import make_run
from tests.servers import redis_stack
from tests.servers.clusters import ClusterSetup
from tests.servers.sentinels import SentinelSetup

ENGINES = ("server",)
_BATCHES, _BATCH, _CHECKS = 200, 200, 2000
_RUNS, _FINDS = 5000, 300


def timed(step: Callable[[], None]) -> tuple[float, float]:
    """The seconds that a step takes, and the CPU seconds of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - began, time.process_time() - cpu


def repeat(step: Callable[[], Any], times: int = _CHECKS) -> None:
    """Do something many times."""
    for _ in range(times):
        step()


def store(transport: Any) -> None:
    """Write documents of 2 kB through a pipeline, two batches under way."""
    value = b"x" * 2000
    with transport.conversation() as pipeline:
        for number in range(_BATCHES):
            pipeline.send([("SET", f"run:{number}:{index}", value) for index in range(_BATCH)])
            if number:
                pipeline.receive()
        pipeline.receive()


async def store_async(url: str) -> tuple[float, float]:
    """Do what `store` does through the async transport, twice; the seconds and CPU seconds of the second time."""
    value = b"x" * 2000
    transport = async_transport.open_url(url)
    for _ in range(2):
        began, cpu = time.perf_counter(), time.process_time()
        async with transport.conversation() as pipeline:
            for number in range(_BATCHES):
                await pipeline.send([("SET", f"run:{number}:{index}", value) for index in range(_BATCH)])
                if number:
                    await pipeline.receive()
            await pipeline.receive()
        seconds = time.perf_counter() - began, time.process_time() - cpu
    await transport.close()
    return seconds


def store_runs(directory: Path) -> float:
    """The CPU seconds that storing a run takes."""
    command, environment = redis_stack.bare_command(redis_stack.unpack())
    runs = [make_run("agent", number) for number in range(_RUNS)]
    with (
        SentinelSetup(directory, 0, command=command, environment=environment) as setup,
        RedisBackend.connect(f"redis://127.0.0.1:{setup.primary()}") as backend,
    ):

        def store() -> None:
            backend.store_runs(runs)

        store()
        return timed(store)[1] / _RUNS


def find(url: str) -> tuple[float, float]:
    """The seconds that a page of runs takes, and the same query through redis-py's cluster client, asked in turn."""
    with RedisBackend.connect(url, "benchmark:") as backend:
        backend.store_runs([make_run("agent", number) for number in range(_RUNS)])
        node = backend.client.get_random_node()
        query = ("FT.AGGREGATE", f"{backend.key_prefix}@run", "@agent_id:{agent}")
        order = ("SORTBY", 4, "@started_at", "DESC", "@run_id", "DESC", "MAX", 50, "LIMIT", 0, 50)
        rows = ("LOAD", 2, "@__key", "$.record", "DIALECT", 2)

        def ask() -> Any:
            return backend.client.execute_command(*query, *order, *rows, target_nodes=node)

        def ask_here() -> Any:
            return backend.find_runs("agent = agent", limit=50)

        ways: dict[Callable[[], Any], list[float]] = {ask_here: [], ask: []}
        for _ in range(_FINDS):
            for step, seconds in ways.items():
                seconds.append(timed(step)[0])
        backend.runs.delete("all")
    return median(ways[ask_here]), median(ways[ask])


def measured(directory: Path) -> tuple[dict[str, tuple[float, float]], float]:
    """Seconds, and CPU seconds of this process, of each way; and the CPU seconds that storing a run takes."""
    with ClusterSetup(directory, primaries=1) as single:
        url = f"redis://127.0.0.1:{single.primaries[0]}"
        transport = open_url(url)
        store(transport)
        alone = timed(lambda: store(transport))
        transport.close()
        alone_async = asyncio.run(store_async(url))
    with ClusterSetup(directory, primaries=3) as cluster:
        transport = open_url(cluster.url)
        store(transport)
        routed = timed(lambda: store(transport))
        watch: Any = transport
        check = watch._watch.check
        check()
        checked = timed(lambda: repeat(check))
        ping = timed(lambda: repeat(lambda: transport.execute("PING")))
        transport.close()
        routed_async = asyncio.run(store_async(cluster.url))
    times = {
        "one server": alone,
        "three primaries": routed,
        "one server, async": alone_async,
        "three primaries, async": routed_async,
        "check": checked,
        "ping": ping,
    }
    return times, store_runs(directory)


def results(setup: Setup) -> Iterator[Result]:
    """What routing costs, and the check after each search; on a cluster with search, a page as well."""
    with tempfile.TemporaryDirectory() as directory:
        times, per_run = measured(Path(directory))
    documents = _BATCHES * _BATCH
    for way in ("", ", async"):
        overhead = (times[f"three primaries{way}"][1] - times[f"one server{way}"][1]) / documents
        yield Result(f"routing, CPU per run{way}", overhead / per_run, vs="store_runs on one server", bar=0.15)
    yield Result("routing to three primaries", documents / times["three primaries"][0], unit="documents/s")
    yield Result("check of three primaries", times["check"][0] / _CHECKS * 1e6, unit="µs")
    yield Result("PING", times["ping"][0] / _CHECKS * 1e6, unit="µs")
    if setup.url is not None and "+cluster" in setup.url:
        here, raw = find(setup.url)
        yield Result("find_runs, 50 of an agent", here / raw, vs="FT.AGGREGATE through redis-py", bar=1.3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a disposable Redis Cluster with search")
    Console(width=120).print(results_table(list(results(Setup("server", url=parser.parse_args().url)))))


if __name__ == "__main__":
    main()
