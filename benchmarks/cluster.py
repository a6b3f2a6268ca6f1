"""What a cluster costs: routing against one server, and the check after each search.

``python -m benchmarks.cluster`` starts plain Redis servers: one, and a cluster of three primaries.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.results import Result, Setup
from relay_models.transport.sync import open_url
from tests.servers.clusters import ClusterSetup

ENGINES = ("server",)
_BATCHES, _BATCH, _CHECKS = 200, 200, 2000


def timed(step: Callable[[], None]) -> tuple[float, float]:
    """The seconds that a step takes, and the CPU seconds of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - began, time.process_time() - cpu


def repeat(step: Callable[[], Any]) -> None:
    """Do something many times."""
    for _ in range(_CHECKS):
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


def measured() -> dict[str, tuple[float, float]]:
    """Seconds, and CPU seconds of this process."""
    with tempfile.TemporaryDirectory() as directory:
        with ClusterSetup(Path(directory), primaries=1) as single:
            transport = open_url(f"redis://127.0.0.1:{single.primaries[0]}")
            store(transport)
            alone = timed(lambda: store(transport))
            transport.close()
        with ClusterSetup(Path(directory), primaries=3) as cluster:
            transport = open_url(cluster.url)
            store(transport)
            routed = timed(lambda: store(transport))
            watch: Any = transport
            check = watch._watch.check
            check()
            checked = timed(lambda: repeat(check))
            ping = timed(lambda: repeat(lambda: transport.execute("PING")))
            transport.close()
    return {"one server": alone, "three primaries": routed, "check": checked, "ping": ping}


def results(setup: Setup) -> Iterator[Result]:
    """What routing costs, and the check after each search."""
    times = measured()
    documents = _BATCHES * _BATCH
    yield Result(
        "routing to three primaries, CPU", times["three primaries"][1] / times["one server"][1], vs="one server"
    )
    yield Result("routing to three primaries", documents / times["three primaries"][0], unit="documents/s")
    yield Result("check of three primaries", times["check"][0] / _CHECKS * 1e6, unit="µs")


def main() -> None:
    """Print the table."""
    times = measured()
    checked, ping = times["check"], times["ping"]
    documents = _BATCHES * _BATCH
    for name, (seconds, cpu) in ((name, times[name]) for name in ("one server", "three primaries")):
        print(f"{name}: {documents / seconds:,.0f} documents/s, {cpu / documents * 1e6:.1f} µs of CPU each")
    print(f"check of three primaries: {checked[0] / _CHECKS * 1e6:.0f} µs, {checked[1] / _CHECKS * 1e6:.0f} µs of CPU")
    print(f"a PING: {ping[0] / _CHECKS * 1e6:.0f} µs")


if __name__ == "__main__":
    main()
