"""How fast runs become files, and in how much memory: ``python -m benchmarks.export``.

One run, one table. Without ``--url`` it fills an embedded store in a temporary file, with ``--url`` any server. Each
export streams all runs out of the store; *beside reading* is its time beside that of only reading the same rows, and
*memory* is by how much the process grew meanwhile, which must not depend on the number of runs.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from benchmarks.results import Result, Setup
from benchmarks.store import AGENT, captured_runs
from relay_models.documents import KINDS, Keys
from relay_models.export import write_csv, write_jsonl, write_parquet
from relay_models.records import RunRecord
from relay_models.sync import RedisBackend

CONTENTS = 2_000
"""Different runs; further ones repeat their content under other ids."""


def runs(count: int) -> Iterator[RunRecord]:
    """`count` runs with fresh ids."""
    made = captured_runs(min(count, CONTENTS))
    for number in range(count):
        yield made[number % len(made)].model_copy(update={"id": uuid4()})


class Memory:
    """How much the process grows within a ``with`` block: `grown` is the peak there less what it had before, in bytes.

    Elsewhere than on Linux the peak cannot be forgotten: there it only tells by how much the block passed every peak
    before it.
    """

    grown = 0
    _status, _forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def __enter__(self) -> "Memory":
        if self._forget.exists():
            self._forget.write_text("5", encoding="ascii")
        self._before = self._peak()
        return self

    def __exit__(self, *error: object) -> None:
        self.grown = self._peak() - self._before

    def _peak(self) -> int:
        if self._forget.exists():
            text = self._status.read_text(encoding="ascii")
            return int(text.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def timed(work: Callable[[], int]) -> tuple[int, float, int]:
    """What it gave, the seconds it took, and by how many bytes the process grew."""
    with Memory() as memory:
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
    return result, seconds, memory.grown


@dataclass
class Export:
    """All rows exported once: how many, in how many seconds, and by how many bytes the process grew."""

    name: str
    rows: int
    seconds: float
    grown: int
    beside: float | None
    """Its time in that of reading the same rows."""


def measure(backend: RedisBackend, folder: Path, count: int) -> Iterator[Export]:
    """Fill the store, then export in each format."""
    backend.store_runs(runs(count))

    def rows(columns: bool) -> Iterator[Any]:
        return backend.stream_runs(
            f"agent = {AGENT}", order_by="stored_at", columns=columns, page_size=5_000 if columns else 2_000
        )

    exports: list[tuple[str, bool, Callable[[Iterator[Any]], int]]] = [
        ("read columns", True, lambda found: sum(1 for _ in found)),
        ("Parquet, a row per run", True, lambda found: write_parquet(found, folder / "runs.parquet")),
        ("CSV, a row per run", True, lambda found: write_csv(found, folder / "runs.csv")),
        ("read records", False, lambda found: sum(run.record is not None for run in found)),
        ("JSON lines, whole records", False, lambda found: write_jsonl(found, folder / "runs.jsonl")),
        ("Parquet, a row per call", False, lambda found: write_parquet(found, folder / "calls.parquet", rows="calls")),
    ]
    reading = 0.0
    for name, columns, export in exports:
        written, seconds, grown = timed(lambda export=export, columns=columns: export(rows(columns)))  # type: ignore[misc]
        if name.startswith("read"):
            reading = seconds
        yield Export(name, written, seconds, grown, None if name.startswith("read") else seconds / reading)


def report(exports: Iterable[Export]) -> Table:
    """The table of exports."""
    table = Table("", "rows", "seconds", "rows/s", "vs. reading", "memory")
    for each in exports:
        rate, grown = f"{each.rows / each.seconds:,.0f}", f"+{each.grown / 1e6:.0f} MB"
        beside = "" if each.beside is None else f"{each.beside:.2f} x"
        table.add_row(each.name, f"{each.rows:,}", f"{each.seconds:.1f}", rate, beside, grown)
    return table


def remove(backend: RedisBackend) -> None:
    """Leave nothing on the server."""
    backend.delete_agent(AGENT, what="runs")
    keys = Keys(backend.key_prefix)
    for kind in KINDS:
        backend.client.execute_command("FT.DROPINDEX", keys.index(kind))


def results(setup: Setup) -> Iterator[Result]:
    """The rates of exports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if setup.url:
            backend = RedisBackend.connect(setup.url, f"benchmark-{uuid4().hex}:")
        else:
            backend = RedisBackend.embedded(folder / "store.db")
        try:
            for export in measure(backend, folder, min(setup.runs, 100_000)):
                yield Result(export.name, export.rows / export.seconds, unit="rows/s")
        finally:
            if setup.url:
                remove(backend)
            backend.close()


def main() -> None:
    """Measure on the store that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a server with JSON and search; the embedded engine without it")
    parser.add_argument("--runs", type=int, default=100_000)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.url:
            backend = RedisBackend.connect(arguments.url, f"benchmark-{uuid4().hex}:")
        else:
            backend = RedisBackend.embedded(folder / "store.db")
        try:
            console.print(report(measure(backend, folder, arguments.runs)))
        finally:
            if arguments.url:
                remove(backend)
            backend.close()


if __name__ == "__main__":
    main()
