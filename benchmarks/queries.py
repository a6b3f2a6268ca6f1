"""How fast questions are beside raw commands and beside Python: ``python -m benchmarks.queries``.

One run, one table of ratios. Without ``--url`` it measures the embedded engine in memory (``--path FILE`` for a file),
with ``--url`` any server. The store holds captured runs of several agents, each a minute after the one before. Ways
are measured in turn, round after round; the best round of each counts. What is called raw sends one ready command
through redis-py and decodes nothing, unless ``json.loads`` is named. Where all runs are streamed the table has the
rate, and by how much the process grew meanwhile: that must not depend on the number of runs, so a tenth of them is
exported, too.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from rich.console import Console
from rich.table import Table

from benchmarks.export import Memory
from benchmarks.results import Result, Setup, compared
from benchmarks.store import Ways, captured_texts, verdict
from relay_models import Run
from relay_models.documents import KINDS, Keys
from relay_models.embedded import EmbeddedServer
from relay_models.export import write_parquet
from relay_models.query import every_run
from relay_models.records import RunRecord
from relay_models.sync import RedisBackend

AGENTS = 4
AGENT = "agent-0"
LIMIT = 50
SLOW = timedelta(milliseconds=20)
BEGIN = datetime(2026, 11, 23, 11, 27)  # noqa: DTZ001  # the minute of the capture, as its texts have it


def runs(count: int) -> Iterator[RunRecord]:
    """`count` captured runs with fresh ids, by turns of `AGENTS` agents, each a minute after the one before."""
    texts = captured_texts()
    minute = BEGIN.isoformat(timespec="minutes")
    for number in range(count):
        value = {**texts[number % len(texts)], "id": str(uuid4()), "agent_id": f"agent-{number % AGENTS}"}
        then = (BEGIN + timedelta(minutes=number)).isoformat(timespec="minutes")
        yield RunRecord.model_validate_json(json.dumps(value).replace(minute, then))


def loaded(reply: Any) -> list[Any]:
    """The records in a reply to FT.SEARCH, RESP3, as plain dictionaries."""
    return [json.loads(row[b"extra_attributes"][b"$.record"]) for row in reply[b"results"]]


@dataclass
class Stream:
    """All runs read or written once: how many, in how many seconds, and by how many bytes the process grew."""

    name: str
    count: int
    seconds: float
    grown: int


class Benchmark:
    """The same questions asked in several ways."""

    def __init__(self, url: str | None, path: str | None, count: int, rounds: int) -> None:
        self.count, self.rounds = count, rounds
        self.url = url
        self.prefix = f"bench-{uuid4().hex[:8]}:"
        self.server = None if url else EmbeddedServer(path)
        options: dict[str, Any] = {"protocol": 3}
        self.raw: Any = self.server.client() if self.server else redis.Redis.from_url(url or "", **options)
        self.index = Keys(self.prefix).alias("run")
        self.ways = Ways()
        step = timedelta(microseconds=1)
        self.slow = accumulate(repeat(step), initial=SLOW + step)
        self.streams: list[Stream] = []

    def open(self) -> RedisBackend:
        """The store, opened as users do."""
        return (
            RedisBackend.connect(self.url, self.prefix) if self.url else RedisBackend.from_client(self.raw, self.prefix)
        )

    def run(self) -> None:
        """Measure everything and leave nothing behind."""
        with self.open() as self.store:
            try:
                self.store.store_runs(runs(self.count))
                # First, while the process has had no more memory than storing took.
                with tempfile.TemporaryDirectory() as folder:
                    self.streaming(Path(folder))
                for _ in range(self.rounds):
                    self.finding()
                    self.counting_up()
                    self.scanning()
            finally:
                self.clean()
        self.raw.close()
        if self.server:
            self.server.close()

    def note(self, name: str, work: Callable[[], Any], times: int = 1) -> Any:
        """What `work` gives; its seconds are noted, a single time's."""
        result = work()
        began = time.perf_counter()
        for _ in range(times):
            work()
        self.ways.note(name, time.perf_counter() - began, times)
        return result

    def search(self, *returned: str) -> list[Any]:
        """The question as a command by hand."""
        micros = SLOW // timedelta(microseconds=1)
        return [
            *("FT.SEARCH", self.index, f"@agent_id:{{$agent}} @duration:[({micros} +inf]"),
            *("RETURN", len(returned), *returned, "SORTBY", "started_at", "DESC", "LIMIT", 0, LIMIT),
            *("PARAMS", 2, "agent", AGENT, "TIMEOUT", 0, "DIALECT", 2),
        ]

    def finding(self) -> None:
        """The newest runs of an agent that took long: columns, records, and records that were read.

        A store remembers where the page of a question was, so each is also asked as one that it has not seen.
        """
        question = (Run.agent_id == AGENT) & (Run.duration > SLOW)

        def new() -> Any:
            return (Run.agent_id == AGENT) & (Run.duration > next(self.slow))

        columns = self.search("$.row", "stored_at", "updated_at")
        records = self.search("$.row", "stored_at", "updated_at", "$.record")
        send, find = self.raw.execute_command, self.store.find_runs
        self.note("FT.SEARCH, columns", lambda: send(*columns), 30)
        self.note("find_runs, columns", lambda: find(new(), limit=LIMIT, columns=True), 30)
        page = self.note("find_runs, columns, asked again", lambda: find(question, limit=LIMIT, columns=True), 30)
        self.note("FT.SEARCH, records", lambda: send(*records), 30)
        self.note("FT.SEARCH, records, json.loads", lambda: loaded(send(*records)), 30)
        self.note("find_runs", lambda: find(new(), limit=LIMIT), 30)
        self.note("find_runs, asked again", lambda: find(question, limit=LIMIT), 30)
        self.note("find_runs, records read", lambda: find(new(), limit=LIMIT).records, 30)
        read = find(question, limit=LIMIT).records
        assert [run.run_id for run in page] == [str(record.id) for record in read]
        self.answer = [record.id for record in read]

    def counting_up(self) -> None:
        """Numbers per agent."""
        send, count_up = self.raw.execute_command, self.store.aggregate_runs
        group: list[Any] = ["FT.AGGREGATE", self.index, "*", "GROUPBY", 1, "@agent_id", "REDUCE", "COUNT", 0]
        tail: list[Any] = ["TIMEOUT", 0, "DIALECT", 2]
        sums: list[Any] = ["REDUCE", "AVG", 1, "@duration", "REDUCE", "SUM", 1, "@total_tokens"]
        quantile: list[Any] = ["REDUCE", "QUANTILE", 2, "@duration", "0.95"]
        daily: list[Any] = ["FT.AGGREGATE", self.index, "*", "APPLY", "floor(@started_at/86400000000)", "AS", "day"]
        daily += ["GROUPBY", 1, "@day", "REDUCE", "COUNT", 0, "LIMIT", 0, 10_000]
        self.note("FT.AGGREGATE, sums", lambda: send(*group, *sums, *tail))
        self.note(
            "aggregate_runs, sums",
            lambda: count_up(by="agent_id", metrics=["count", "avg(duration)", "sum(total_tokens)"]),
        )
        self.note("FT.AGGREGATE, by day", lambda: send(*daily, *tail))
        self.note("aggregate_runs, by day", lambda: count_up(every="1d"))
        self.note("FT.AGGREGATE, quantile (an estimate)", lambda: send(*group, *quantile, *tail))
        metrics = ["count", "p95(duration)"]
        self.note("aggregate_runs, p95 (exact)", lambda: count_up(by="agent_id", metrics=metrics))
        self.note(
            "aggregate_runs, p95 (approximate)", lambda: count_up(by="agent_id", metrics=metrics, approximate=True)
        )

    def scanning(self) -> None:
        """The same answer without an index: list the agent's runs, filter and sort them in Python."""
        began = time.perf_counter()
        listed = [
            run for run in self.store.list_runs(AGENT) if (duration := run.duration) is not None and duration > SLOW
        ]
        listed.sort(key=lambda run: run.started_at.nanoseconds, reverse=True)
        found = listed[:LIMIT]
        self.ways.note("list_runs, filtered in Python", time.perf_counter() - began, 1)
        assert [run.id for run in found] == self.answer

    def streaming(self, folder: Path) -> None:
        """All runs, by columns and with their records."""
        tenth = Run.started_at < (BEGIN + timedelta(minutes=self.count // 10)).replace(tzinfo=UTC)
        stream = self.store.stream_runs
        write_parquet((), folder / "nothing.parquet")  # so that no library is loaded later
        streams: list[tuple[str, Callable[[], int]]] = [
            ("stream_runs, columns", lambda: sum(1 for _ in stream(columns=True))),
            ("stream_runs, columns, by duration", lambda: sum(1 for _ in stream(order_by="-duration", columns=True))),
            ("Parquet of a tenth", lambda: write_parquet(stream(tenth, columns=True), folder / "tenth.parquet")),
            ("Parquet, a row per run", lambda: write_parquet(stream(columns=True), folder / "runs.parquet")),
            ("stream_runs, records read", lambda: sum(run.record is not None for run in stream())),
        ]
        for name, work in streams:
            with Memory() as memory:
                began = time.perf_counter()
                count = work()
                seconds = time.perf_counter() - began
            self.streams.append(Stream(name, count, seconds, memory.grown))

    def clean(self) -> None:
        """Drop the indexes and their documents."""
        self.store.delete_runs(every_run())
        for kind in KINDS:
            self.raw.execute_command("FT.DROPINDEX", Keys(self.prefix).index(kind), "DD")


# What is compared with what, and the most that the ratio may be.
COMPARISONS = [
    ("find_runs, columns", "FT.SEARCH, columns", 1.5),
    ("find_runs, columns, asked again", "FT.SEARCH, columns", 1.5),
    ("find_runs", "FT.SEARCH, records", 2.0),
    ("find_runs, asked again", "FT.SEARCH, records", 2.0),
    ("find_runs, records read", "FT.SEARCH, records", None),
    ("find_runs, records read", "FT.SEARCH, records, json.loads", 2.0),
    ("find_runs, records read", "list_runs, filtered in Python", 0.01),
    ("aggregate_runs, sums", "FT.AGGREGATE, sums", None),
    ("aggregate_runs, by day", "FT.AGGREGATE, by day", None),
    ("aggregate_runs, p95 (exact)", "FT.AGGREGATE, quantile (an estimate)", 10.0),
    ("aggregate_runs, p95 (approximate)", "FT.AGGREGATE, quantile (an estimate)", 2.0),
]


def report(benchmark: Benchmark, where: str) -> Iterator[Table]:
    """The table of ratios, and that of streams."""
    title = f"{benchmark.count:,} captured runs of {AGENTS} agents, {where}"
    table = Table(title=f"{title}, best of {benchmark.rounds} rounds")
    for heading in ("relay_models", "ms", "beside", "ms", "ratio", "wanted", ""):
        table.add_column(heading, justify="left" if heading in ("relay_models", "beside", "") else "right")
    best = benchmark.ways.best
    for ours, other, most in COMPARISONS:
        ratio = best[ours] / best[other]
        cells = (f"{ratio:.4f}" if ratio < 0.1 else f"{ratio:.2f}", f"≤ {most:g}" if most else "", verdict(ratio, most))
        table.add_row(ours, f"{best[ours] * 1e3:,.2f}", other, f"{best[other] * 1e3:,.2f}", *cells)
    yield table
    streams = Table("", "runs", "seconds", "runs/s", "memory", title=title)
    for stream in benchmark.streams:
        rate = f"{stream.count / stream.seconds:,.0f}"
        grown = f"+{max(stream.grown, 0) / 1e6:.0f} MB"
        streams.add_row(stream.name, f"{stream.count:,}", f"{stream.seconds:.2f}", rate, grown)
    yield streams


def results(setup: Setup) -> Iterator[Result]:
    """The ratios of queries, and the rates of streams."""
    benchmark = Benchmark(setup.url, setup.path, min(setup.runs, 100_000), setup.rounds)
    benchmark.run()
    yield from compared(benchmark.ways.best, COMPARISONS)
    for stream in benchmark.streams:
        yield Result(stream.name, stream.count / stream.seconds, unit="runs/s")


def main() -> None:
    """Read the arguments, measure, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a real server (a disposable one); without it the embedded engine")
    parser.add_argument("--path", help="the embedded engine's file; without it in memory")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    benchmark = Benchmark(arguments.url, arguments.path, arguments.runs, arguments.rounds)
    benchmark.run()
    where = "a server" if arguments.url else f"embedded in {arguments.path or 'memory'}"
    for table in report(benchmark, where):
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
