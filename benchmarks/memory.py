"""What runs cost in the server's memory, and what compression costs in time: ``python -m benchmarks.memory --url URL``.

One run, one table of ratios. Each way stores the same runs under a prefix of its own in a disposable server, which says
by how much its memory grew: documents, indexes and dictionaries, what the allocator rounds up included. Runs are the
captured ones, begun at times of their own, and long ones whose calls repeat the conversation before them; dictionaries
are trained from others. Each way is measured in an empty server, as the server keeps equal texts once. Then ways are
timed in turn, round after round; the best round of each counts.
"""

import argparse
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import redis
from rich.console import Console
from rich.table import Table

from benchmarks.results import Result, Setup, results_table
from benchmarks.store import AGENT, captured_runs, captured_texts, compact
from relay_models.documents import KINDS, Keys
from relay_models.records import RunRecord, Timestamp, from_json, to_json
from relay_models.sync import RedisBackend

ENGINES = ("server",)
PLAIN, PACKED = "bytes of a run with its index", "bytes of a run with its index, compressed"

# Runs that a dictionary is trained from; they are not among those that are measured.
TRAINED = 500
CALLS = 20
# Words that each call adds, which come in no order: about 1.5 KB.
WORDS = 150
RUNS_PER_DAY = (1_000, 10_000, 100_000)
DAYS_KEPT = (7, 30, 90)


def conversation_runs(count: int) -> list[RunRecord]:
    """Runs of 20 calls to models, each of which repeats the messages before it, as agents do."""
    texts = captured_texts()
    calls = [call for text in texts for call in text["calls"] if call.get("annotated_request")]
    vocabulary = sorted({word for call in calls for word in json.dumps(call).split()})
    chance = random.Random(7)
    runs = []
    for number in range(count):
        made: list[Any] = []
        messages: list[Any] = []
        for _ in range(CALLS):
            call = chance.choice(calls)
            messages = [*messages, {"role": "user", "content": " ".join(chance.choices(vocabulary, k=WORDS))}]
            made.append({**call, "annotated_request": {**call["annotated_request"], "messages": messages}})
        text = {**texts[number % len(texts)], "id": str(uuid4()), "agent_id": AGENT, "calls": made}
        runs.append(from_json(RunRecord, compact(text)))
    return runs


def distinct(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Runs that each began at a time of its own, as real ones do."""
    moved = []
    for number, run in enumerate(runs):
        value = json.loads(to_json(run))
        for name in ("started_at", "ended_at"):
            if value.get(name):
                value[name] = str(Timestamp(Timestamp(value[name]).datetime + timedelta(microseconds=number * 7919)))
        moved.append(from_json(RunRecord, compact(value)))
    return moved


class Way:
    """A store, how much the server's memory grows by its runs, and the best seconds of storing and listing them."""

    def __init__(
        self, url: str, prefix: str, runs: Sequence[RunRecord], trained: Sequence[RunRecord], compressed: bool
    ) -> None:
        self.runs = runs
        self.grown = 0.0
        self.stored = self.listed = float("inf")
        self.store = RedisBackend.connect(url, prefix, compression="zstd" if compressed else None)
        self.dictionary = 0
        if compressed:
            # As in a store that has been in use: its dictionary is there, trained from runs of before.
            with RedisBackend.embedded(compression="zstd") as other:
                other.store_runs(trained)
                if not other.compression.status().dictionaries:
                    other.compression.train()
                self.dictionary = copy_dictionary(other, self.store)

    def measure(self) -> None:
        """Store and list the runs once more."""
        self.store.delete_agent(AGENT, what="runs")
        self.stored = min(self.stored, seconds(lambda: self.store.store_runs(self.runs)) / len(self.runs))
        self.listed = min(self.listed, seconds(lambda: self.store.list_runs(AGENT)) / len(self.runs))


def copy_dictionary(source: RedisBackend, target: RedisBackend) -> int:
    """Copy what records are compressed with to another store, as a restored dump does; return its bytes."""
    ours, theirs = Keys(source.key_prefix), Keys(target.key_prefix)
    settings = source.transport.execute("JSON.GET", ours.compression)
    name = json.loads(settings)["dictionary"]
    content = source.transport.execute("JSON.GET", ours.dictionary(name))
    target.transport.execute("JSON.SET", theirs.dictionary(name), "$", content)
    target.transport.execute("JSON.SET", theirs.compression, "$", settings)
    return len(content)


class Benchmark:
    """All ways of keeping runs on one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = redis.Redis.from_url(url)
        self.token = f"bench-{uuid4().hex[:8]}"

    def used(self) -> int:
        """Bytes that the server uses, once it has nothing more to do."""
        found = [0, 1]
        while found[-1] != found[-2]:
            time.sleep(0.3)
            found.append(int(self.client.info("memory")["used_memory"]))
        return found[-1]

    def strings(self, runs: Sequence[RunRecord]) -> float:
        """Bytes per run as NeMo Relay's plain strings."""
        texts = [to_json(run) for run in runs]
        before = self.used()
        for start in range(0, len(runs), 200):
            pipe = self.client.pipeline(transaction=False)
            for run, text in zip(runs[start : start + 200], texts[start : start + 200], strict=True):
                pipe.set(f"{self.token}:runs:{AGENT}:{run.id}", text)
            pipe.execute()
        grown = self.used() - before
        self.clean()
        return grown / len(runs)

    def way(self, runs: Sequence[RunRecord], trained: Sequence[RunRecord], *, compressed: bool) -> Way:
        """A store with runs, and how much memory they take."""
        way = self.open(runs, trained, compressed=compressed)
        before = self.used() - way.dictionary
        way.store.store_runs(runs)
        way.grown = (self.used() - before) / len(runs)
        way.store.close()
        self.clean()
        return way

    def open(self, runs: Sequence[RunRecord], trained: Sequence[RunRecord], *, compressed: bool) -> Way:
        """An empty store."""
        return Way(self.url, f"{self.token}-{compressed}:", runs, trained, compressed)

    def clean(self) -> None:
        """Drop indexes and keys."""
        for prefix, kind in itertools.product((f"{self.token}-False:", f"{self.token}-True:"), KINDS):
            for compressed in (False, True):
                with suppress(redis.ResponseError):
                    self.client.execute_command("FT.DROPINDEX", Keys(prefix).index(kind, compressed=compressed), "DD")
        for key in list(self.client.scan_iter(match=f"{self.token}*", count=1000)):
            self.client.delete(key)


def seconds(work: Callable[[], Any]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(benchmark: Benchmark, count: int, long_count: int, rounds: int) -> Iterator[Result]:
    """What runs take and what compression costs, as ratios; bytes of runs as numbers."""
    captured = distinct(captured_runs(count + TRAINED))
    trained, captured = captured[:TRAINED], captured[TRAINED:]
    conversations = conversation_runs(2 * long_count)
    trained_long, conversations = conversations[:long_count], conversations[long_count:]
    string, long_string = benchmark.strings(captured), benchmark.strings(conversations)
    plain = benchmark.way(captured, trained, compressed=False).grown
    packed = benchmark.way(captured, trained, compressed=True).grown
    long = benchmark.way(conversations, trained_long, compressed=True).grown
    yield Result(PLAIN, plain, unit="bytes")
    yield Result(PACKED, packed, unit="bytes")
    beside = "NeMo Relay's string"
    yield Result("run with its index", plain / string, vs=beside, bar=1.25)
    yield Result("run with its index, compressed", packed / string, vs=beside, bar=0.6)
    yield Result(f"run of {CALLS} calls, compressed", long / long_string, vs=beside, bar=0.1)
    plainly, compressed = timed = [benchmark.open(captured, trained, compressed=each) for each in (False, True)]
    for way in timed * rounds:
        way.measure()
    yield Result("store_runs, compressed", compressed.stored / plainly.stored, vs="store_runs", bar=1.5)
    yield Result("list_runs, compressed", compressed.listed / plainly.listed, vs="list_runs", bar=1.3)
    for way in timed:
        way.store.close()


def results(setup: Setup) -> Iterator[Result]:
    """What runs take, and what compression costs."""
    benchmark = Benchmark(str(setup.url))
    try:
        yield from measured(benchmark, min(setup.runs, 5000), 100, setup.rounds)
    finally:
        benchmark.clean()
        benchmark.client.close()


def needed(plain: float, packed: float) -> Table:
    """The memory that runs per day need, plain and compressed, of so many bytes per run."""
    table = Table(title="memory by runs per day: plain / compressed")
    table.add_column("runs per day", justify="right")
    for days in DAYS_KEPT:
        table.add_column(f"kept {days} days", justify="right")
    for runs in RUNS_PER_DAY:
        table.add_row(
            f"{runs:,}", *(f"{size(plain * runs * days)} / {size(packed * runs * days)}" for days in DAYS_KEPT)
        )
    return table


def size(count: float) -> str:
    """Bytes as people say them."""
    return f"{float(f'{count / 1e9:.2g}'):g} GB" if count >= 1e9 else f"{float(f'{count / 1e6:.2g}'):g} MB"


def main() -> None:
    """Read the arguments, measure, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True, help="a real server (a disposable one, with nothing else in it)")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = list(results(Setup("server", url=arguments.url, runs=arguments.runs, rounds=arguments.rounds)))
    values = {each.name: each.value for each in found}
    console = Console(width=120)
    console.print(results_table(found))
    console.print(needed(values[PLAIN], values[PACKED]))


if __name__ == "__main__":
    main()
