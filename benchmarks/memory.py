"""What runs cost in the server's memory, and what compression costs in time: ``python -m benchmarks.memory --url URL``.

One run, one table of ratios. Each way stores the same runs under a prefix of its own in a disposable server, which says
by how much its memory grew: documents, indexes and dictionaries, what the allocator rounds up included. Runs are the
captured ones, and long ones whose calls repeat the conversation before them. Ways are timed in turn, round after round;
the best round of each counts.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import redis
from rich.console import Console
from rich.table import Table

from benchmarks.store import AGENT, captured_runs, captured_texts, verdict
from relay_models.documents import KINDS, Keys
from relay_models.records import RunRecord, from_json, to_json
from relay_models.sync import RedisBackend

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
        runs.append(from_json(RunRecord, json.dumps(text)))
    return runs


class Benchmark:
    """All ways of keeping runs on one server."""

    def __init__(self, url: str, rounds: int) -> None:
        self.url, self.rounds = url, rounds
        self.client: Any = redis.Redis.from_url(url)
        self.token = f"bench-{uuid4().hex[:8]}"

    def used(self) -> int:
        """Bytes that the server uses, once it has nothing more to do."""
        found = [0, 1]
        while found[-1] != found[-2]:
            time.sleep(0.3)
            found.append(int(self.client.info("memory")["used_memory"]))
        return found[-1]

    def plain_strings(self, runs: Sequence[RunRecord]) -> float:
        """Bytes per run as NeMo Relay's plain strings."""
        texts = [to_json(run) for run in runs]
        before = self.used()
        for start in range(0, len(runs), 200):
            pipe = self.client.pipeline(transaction=False)
            for run, text in zip(runs[start : start + 200], texts[start : start + 200], strict=True):
                pipe.set(f"{self.token}-native:runs:{AGENT}:{run.id}", text)
            pipe.execute()
        grown = self.used() - before
        self.clean(f"{self.token}-native:")
        return grown / len(runs)

    def measure(self, name: str, runs: Sequence[RunRecord], **options: Any) -> tuple[float, float, float]:
        """Bytes per run in a store, and the best seconds per run of storing and of listing them."""
        prefix = f"{self.token}-{name}:"
        stored = listed = float("inf")
        with RedisBackend.connect(self.url, prefix, **options) as store:
            if options:
                # As in a store that has been in use: the dictionary is there.
                store.store_runs(runs)
                if store.compression.status().dictionaries == ():
                    store.compression.train(size=16 * 1024)
                store.delete_agent(AGENT, what="runs")
            before = self.used()
            for number in range(self.rounds):
                if number:
                    store.delete_agent(AGENT, what="runs")
                stored = min(stored, seconds(lambda: store.store_runs(runs)))
                if not number:
                    grown = self.used() - before
                listed = min(listed, seconds(lambda: store.list_runs(AGENT)))
        self.clean(prefix)
        return grown / len(runs), stored / len(runs), listed / len(runs)

    def clean(self, prefix: str) -> None:
        """Drop indexes and keys."""
        for kind in KINDS:
            for compressed in (False, True):
                try:
                    self.client.execute_command("FT.DROPINDEX", Keys(prefix).index(kind, compressed=compressed), "DD")
                except redis.ResponseError:
                    continue
        for key in list(self.client.scan_iter(match=f"{prefix}*", count=1000)):
            self.client.delete(key)


def seconds(work: Callable[[], Any]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(benchmark: Benchmark, captured: Sequence[RunRecord], conversations: Sequence[RunRecord]) -> list[Table]:
    """The table of ratios, and what runs per day need."""
    ratios = Table(title=f"{len(captured):,} captured runs and {len(conversations):,} of {CALLS} calls")
    for heading in ("", "per run", "beside", "per run", "ratio", "wanted", ""):
        ratios.add_column(heading, justify="left" if heading in ("", "beside") else "right")

    def row(what: str, mine: float, other: str, its: float, most: float) -> None:
        ratio = mine / its
        cells = (f"{ratio:.2f}", f"≤ {most:g}", verdict(ratio, most))
        ratios.add_row(what, f"{mine:,.1f}", other, f"{its:,.1f}", *cells)

    string = benchmark.plain_strings(captured)
    plain = benchmark.measure("plain", captured)
    packed = benchmark.measure("packed", captured, compression="zstd")
    long_string = benchmark.plain_strings(conversations)
    long_packed = benchmark.measure("long", conversations, compression="zstd")
    row("run with its index, bytes", plain[0], "NeMo Relay's string", string, 1.25)
    row("the same, compressed", packed[0], "NeMo Relay's string", string, 0.6)
    row(f"run of {CALLS} calls, compressed", long_packed[0], "NeMo Relay's string", long_string, 0.1)
    row("store_runs, compressed, µs", packed[1] * 1e6, "store_runs", plain[1] * 1e6, 1.5)
    row("list_runs, compressed, µs", packed[2] * 1e6, "list_runs", plain[2] * 1e6, 1.3)
    need = Table(title="memory by runs per day: plain / compressed")
    need.add_column("runs per day", justify="right")
    for days in DAYS_KEPT:
        need.add_column(f"kept {days} days", justify="right")
    for count in RUNS_PER_DAY:
        cells = [f"{size(plain[0] * count * days)} / {size(packed[0] * count * days)}" for days in DAYS_KEPT]
        need.add_row(f"{count:,}", *cells)
    return [ratios, need]


def size(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{count / 1e6:.2g} MB"


def main() -> None:
    """Read the arguments, measure, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True, help="a real server (a disposable one, with nothing else in it)")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--long-runs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    benchmark = Benchmark(arguments.url, arguments.rounds)
    captured, conversations = captured_runs(arguments.runs), conversation_runs(arguments.long_runs)
    for table in report(benchmark, captured, conversations):
        Console(width=120).print(table)
    benchmark.client.close()


if __name__ == "__main__":
    main()
