"""Failover drills: runs are stored while a primary is lost, and every run that was acknowledged is looked for.

``python -m tests.servers.drills --times 20`` repeats each drill and prints what was stored and lost; ``--load`` stores
from four processes, and adds one in which slots of a plain cluster move to a new primary and another one is promoted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay_models.sync import RedisBackend
from relay_models.transport import ConnectionOptions
from relay_models.transport.sync import open_url
from relay_models.transport.topology import slot_of
from tests.backend.stores import make_run
from tests.servers import redis_stack
from tests.servers.clusters import ClusterSetup
from tests.servers.sentinels import SentinelSetup, wait_until

__all__ = ["Outcome", "drill_cluster_under_load", "drill_sentinel"]

_BATCH = 50
# Stored before and after the primary is lost, at least, by each process.
_ENOUGH = 500
# Lists of a process on a cluster without search.
_LISTS = 40


@dataclass(frozen=True)
class Outcome:
    """What a drill came to.

    Attributes:
        acknowledged: how many runs were.
        lost: how many of them are not there.
        is_exact: whether every list is whole, in its order, without doubles, and every count is right.
        seconds: how long storing took.
    """

    acknowledged: int
    lost: int
    is_exact: bool
    seconds: float


def drill_sentinel(directory: Path, how: str, *, processes: int = 1, rate: float | None = None) -> Outcome:
    """Store runs with ``replicas=1`` on Redis Stack behind sentinels while its primary is lost.

    Args:
        directory: an empty one.
        how: ``"failover"`` by the sentinels' command, or ``"kill"``.
        processes: how many processes store.
        rate: how many runs a second each of them stores at most.
    """
    command, environment = redis_stack.bare_command(redis_stack.unpack())
    with SentinelSetup(directory, 2, command=command, environment=environment) as setup:
        with RedisBackend.connect(setup.url) as backend:
            backend.count_runs()

        def lose() -> None:
            old = setup.primary()
            if how == "kill":
                setup.kill(old)
            else:
                setup.fail_over()
            wait_until(lambda: setup.primary() != old)

        stored, seconds = _while_storing(_store_runs, directory, setup.url, processes, rate, lose)
        lost, is_exact = 0, True
        with RedisBackend.connect(setup.url) as backend:
            for agent, numbers in stored.items():
                found = [run.of_a_later_release["number"] for run in _listed(backend, agent)]
                lost += len(set(numbers) - set(found))
                # What was stored last may not have been acknowledged.
                is_exact &= found == sorted(set(found)) and backend.count_runs(f"agent = {agent}") == len(found)
    return Outcome(sum(map(len, stored.values())), lost, is_exact, seconds)


def drill_cluster_under_load(directory: Path, *, processes: int = 4, rate: float | None = None) -> Outcome:
    """Append to lists on a plain cluster from several processes while slots move to a new primary and one is lost."""
    with ClusterSetup(directory, replicas=1) as setup:

        def change() -> None:
            new = setup.add()
            keys = [f"list:{agent}:{number}" for agent in range(processes) for number in range(0, _LISTS, 4)]
            for slot in sorted({slot_of(key.encode()) for key in keys}):
                owner = next(
                    port for port in setup.primaries[:3] if setup.run(port, "CLUSTER", "COUNTKEYSINSLOT", slot)
                )
                setup.move_slot(slot, owner, new)
            (heir,) = setup.replicas[setup.primaries[1]]
            setup.fail_over(heir)

        stored, seconds = _while_storing(_append, directory, setup.url, processes, rate, change)
        transport = open_url(setup.url)
        lost, is_exact = 0, True
        for agent, numbers in stored.items():
            for place in range(_LISTS):
                found = [int(each) for each in transport.execute("LRANGE", f"list:{agent}:{place}", 0, -1)]
                wanted = [number for number in numbers if number % _LISTS == place]
                lost += len(set(wanted) - set(found))
                # A command whose reply was lost is sent again, so an entry may be there twice; never out of order.
                is_exact &= found == sorted(found) and set(found[: len(wanted)]) <= set(wanted)
        transport.close()
    return Outcome(sum(map(len, stored.values())), lost, is_exact, seconds)


def _listed(backend: RedisBackend, agent: str) -> list[Any]:
    return [run.model_copy() for run in backend.list_runs(agent)]


def _while_storing(
    store: Callable[..., None],
    directory: Path,
    url: str,
    processes: int,
    rate: float | None,
    change: Callable[[], None],
) -> tuple[dict[str, list[int]], float]:
    """Store from other processes while something changes; returns what was acknowledged, by agent, and the seconds."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    counts = [context.Value("q", 0) for _ in range(processes)]
    paths = [directory / f"acknowledged-{number}" for number in range(processes)]
    running = [
        context.Process(target=store, args=(url, str(number), paths[number], rate, counts[number], stop))
        for number in range(processes)
    ]
    began = time.monotonic()
    for process in running:
        process.start()

    def more(than: list[int]) -> bool:
        assert all(process.is_alive() for process in running), "a process that stores has failed"
        return all(count.value >= before + _ENOUGH for count, before in zip(counts, than, strict=True))

    try:
        wait_until(lambda: more([0] * processes), 120)
        began = time.monotonic()
        change()
        now = [count.value for count in counts]
        wait_until(lambda: more(now), 60)
    finally:
        stop.set()
        for process in running:
            process.join(60)
    seconds = time.monotonic() - began
    assert all(process.exitcode == 0 for process in running), "a process that stores has failed"
    return {
        str(number): [int(line) for line in path.read_text().splitlines()] for number, path in enumerate(paths)
    }, seconds


def _store_runs(url: str, agent: str, path: Path, rate: float | None, count: Any, stop: Any) -> None:
    """Store runs of one agent in batches, and note those that were acknowledged."""
    with RedisBackend.connect(url, replicas=1, timeout=20, replica_timeout=20) as backend, path.open("w") as noted:
        began, number = time.monotonic(), 0
        while not stop.is_set():
            batch = range(number, number + _BATCH)
            backend.store_runs([make_run(agent, each) for each in batch])
            noted.writelines(f"{each}\n" for each in batch)
            number += _BATCH
            count.value = number
            if rate:
                time.sleep(max(0.0, began + number / rate - time.monotonic()))


def _append(url: str, agent: str, path: Path, rate: float | None, count: Any, stop: Any) -> None:
    """Append numbers to lists in batches, and note those that were acknowledged."""
    transport = open_url(url, ConnectionOptions(timeout=20, replicas=0))
    with path.open("w") as noted:
        began, number = time.monotonic(), 0
        while not stop.is_set():
            batch = range(number, number + _BATCH)
            replies = transport.pipeline([("RPUSH", f"list:{agent}:{each % _LISTS}", each) for each in batch])
            assert not [reply for reply in replies if isinstance(reply, Exception)]
            noted.writelines(f"{each}\n" for each in batch)
            number += _BATCH
            count.value = number
            if rate:
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
    transport.close()


def main() -> None:
    """Repeat the drills and print their outcomes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=20, help="how often each drill is repeated")
    parser.add_argument("--load", action="store_true", help="store 2,000 a second from each of four processes")
    parser.add_argument("--only", choices=("failover", "kill", "reshard"), help="one of the drills")
    arguments = parser.parse_args()
    options: dict[str, Any] = {"processes": 4, "rate": 2000.0} if arguments.load else {}
    drills: dict[str, Callable[[Path], Outcome]] = {
        how: lambda directory, how=how: drill_sentinel(directory, how, **options) for how in ("failover", "kill")
    }
    if arguments.load:
        drills["reshard"] = lambda path: drill_cluster_under_load(path, **options)
    for name, drill in drills.items():
        if arguments.only not in (None, name):
            continue
        outcomes = []
        for _ in range(arguments.times):
            with tempfile.TemporaryDirectory() as directory:
                outcomes.append(drill(Path(directory)))
            if outcomes[-1].lost or not outcomes[-1].is_exact:
                print(f"{name}: {outcomes[-1]}", flush=True)
        total, seconds = sum(each.acknowledged for each in outcomes), sum(each.seconds for each in outcomes)
        print(
            f"{name}: {len(outcomes)} times, {total:,} acknowledged, {sum(each.lost for each in outcomes)} lost, "
            f"{sum(not each.is_exact for each in outcomes)} times a list or a count was wrong, "
            f"{total / seconds:,.0f} a second",
            flush=True,
        )


if __name__ == "__main__":
    main()
