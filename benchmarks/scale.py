"""How cost grows with the number of runs: ``python -m benchmarks scale --runs 1000000``.

One store is filled with small runs (1.2 KB) of ten agents, and measured when it has a hundredth, a tenth and all of
them. A figure is a ratio to the same at the size before, to a raw command, or a number with its unit.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from benchmarks.growth_picture import growth_svg
from benchmarks.results import Result, Setup
from relay_models import Run
from relay_models.documents import KINDS, Keys
from relay_models.records import RunRecord, from_json
from relay_models.sync import RedisBackend

# The most that the embedded engine may take, in what a server does.
ACROSS = {"agents": 3.0, "sums by agent": 3.0, "three tags, one of them rare": 5.0}
AGENTS, RARE = 10, 2_000
# Runs that a process makes at once, and how many times as many wait in memory for the embedded engine.
CHUNK, AHEAD = 5_000, 8
# Runs whose storing is timed at each size.
TIMED = 5_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TOOLS = ("search", "fetch", "calc", "db", "mail")
MODELS = ("gpt-4.1", "gpt-4.1-mini", "claude-sonnet-4", "o4-mini")


# A call that stores nothing but its kind, its name and its times has these fields, too.
_EMPTY = ",".join(
    f'"{name}":null' for name in ("metadata_snapshot", "tool_call_count", "annotated_request", "annotated_response")
)
_NO_MODEL = '"model_name":null,"prompt_tokens":null,"output_tokens":null,"total_tokens":null'


def small_texts(first: int, count: int) -> Iterator[str]:
    """Runs of three calls, from the number `first` on, one of them to a tool that one run in two thousand calls."""
    rng = random.Random(first)
    seconds: dict[int, str] = {}

    def text(microseconds: int) -> str:
        whole, rest = divmod(microseconds, 1_000_000)
        if whole not in seconds:
            seconds.clear()
            seconds[whole] = f"{BEGIN + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}"
        return f"{seconds[whole]}.{rest:06}Z"

    for number in range(first, first + count):
        start = number * 1_000_003
        duration = int(rng.lognormvariate(13.5 + number % AGENTS * 0.2, 1.0))
        times = [text(start + duration * place // 3) for place in range(4)]
        names = ("openai", rng.choice(TOOLS), f"rare-{rng.randrange(RARE)}")
        model = (
            f'"model_name":"{rng.choice(MODELS)}","prompt_tokens":{rng.randrange(10, 4000)},'
            f'"output_tokens":{rng.randrange(5, 800)},"total_tokens":{rng.randrange(20, 5000)}'
        )
        calls = ",".join(
            f'{{"kind":"{"tool" if place else "llm"}","name":"{name}","started_at":"{times[place]}",'
            f'"ended_at":"{times[place + 1]}",{_EMPTY},{_NO_MODEL if place else model}}}'
            for place, name in enumerate(names)
        )
        run_id = UUID(int=rng.getrandbits(128), version=4)
        yield (
            f'{{"id":"{run_id}","agent_id":"agent-{number % AGENTS}","calls":[{calls}],'
            f'"started_at":"{times[0]}","ended_at":"{times[3]}"}}'
        )


def small_runs(first: int, count: int) -> Iterator[RunRecord]:
    """The same as records."""
    return (from_json(RunRecord, text) for text in small_texts(first, count))


def texts(first: int, count: int) -> list[str]:
    """The work of a process that makes runs for the embedded engine, which takes them from one process."""
    return list(small_texts(first, count))


def store(url: str, prefix: str, first: int, count: int) -> None:
    """The work of a process that stores runs on a server."""
    with RedisBackend.connect(url, prefix, timeout=None) as backend:
        backend.store_runs(small_runs(first, count))


def best(work: Callable[[], Any], rounds: int) -> float:
    """The shortest of several runs, in seconds; the first is not counted, in which engines make what they need."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


class Scale:
    """One store that grows."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self.rounds = setup.rounds
        self.prefix = f"bench-{uuid4().hex[:8]}:"
        self.url = setup.url
        self.path = None if setup.url else (setup.path or str(folder / "scale.db"))
        if setup.url:
            # To drop a million documents takes a server longer than a command may take otherwise.
            self.store = RedisBackend.connect(setup.url, self.prefix, timeout=None)
        else:
            assert self.path is not None
            self.store = RedisBackend.embedded(self.path, self.prefix)
        self.client: Any = self.store.client
        self.count = 0

    def grow(self, count: int) -> None:
        """Store more runs, up to `count`. Several processes make them, and store them, too, where there is a server."""
        waiting: deque[Future[Any]] = deque()
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            for first in range(self.count, count, CHUNK):
                size = min(CHUNK, count - first)
                if self.url:
                    waiting.append(pool.submit(store, self.url, self.prefix, first, size))
                else:
                    waiting.append(pool.submit(texts, first, size))
                if len(waiting) > AHEAD:
                    self._receive(waiting.popleft())
            while waiting:
                self._receive(waiting.popleft())
        self.count = count

    def rate(self) -> float:
        """The runs per second with which this process stores more runs.

        As many are stored before them: the engine writes its log back to the file after a while, so that the first
        runs would leave that to later ones, and the last runs do the work of the first.
        """
        for _ in range(2):
            runs = list(small_runs(self.count, TIMED))
            began = time.perf_counter()
            self.store.store_runs(runs)
            took = time.perf_counter() - began
            self.count += TIMED
        return TIMED / took

    def _receive(self, job: Future[Any]) -> None:
        """Wait for a job, and store the runs that it made."""
        made = job.result()
        if made is not None:
            self.store.store_runs(from_json(RunRecord, text) for text in made)

    def measure(self) -> dict[str, float]:
        """Seconds of each question."""
        store, rounds = self.store, self.rounds
        rare = Run.tools.has("rare-1") & Run.tools.has("search") & Run.models.has("gpt-4.1")
        ninety_fifth = ["count", "p95(duration)"]
        minimum = iter(range(1, 1_000_000))
        index = Keys(self.prefix).alias("run")
        raw = ["FT.AGGREGATE", index, "*", "GROUPBY", 1, "@agent_id", "REDUCE", "COUNT", 0]
        raw += ["REDUCE", "SUM", 1, "@total_tokens", "TIMEOUT", 0, "DIALECT", 2]
        questions: dict[str, Callable[[], Any]] = {
            "FT.AGGREGATE, sums by agent": lambda: self.client.execute_command(*raw),
            "agents": store.agents,
            "sums by agent": lambda: store.aggregate_runs(by="agent_id", metrics=["count", "sum(total_tokens)"]),
            "p95 by agent": lambda: store.aggregate_runs(by="agent_id", metrics=ninety_fifth),
            "p95 by agent, approximate": lambda: store.aggregate_runs(
                by="agent_id", metrics=ninety_fifth, approximate=True
            ),
            "sums by model": lambda: store.aggregate_runs(by="models", metrics=["count", "sum(total_tokens)"]),
            "p95 by model": lambda: store.aggregate_runs(by="models", metrics=ninety_fifth),
            "distinct models by agent": lambda: store.aggregate_runs(by="agent_id", metrics=["distinct(models)"]),
            "three tags, one of them rare": lambda: store.count_runs(rare),
            "count of an agent": lambda: store.count_runs(Run.agent_id == "agent-1"),
            "newest 50 of an agent": lambda: store.find_runs(Run.agent_id == "agent-1", limit=50, columns=True),
            "slowest 50 of an agent, a new question": lambda: store.find_runs(
                (Run.agent_id == "agent-1") & (Run.duration > timedelta(microseconds=next(minimum))),
                order_by="-duration", limit=50, columns=True,
            ),
        }  # fmt: skip
        return {name: best(question, rounds) for name, question in questions.items()}

    def close(self, keep: bool) -> None:
        """Close the store, and leave nothing on a server."""
        if not keep:
            for kind in KINDS:
                self.client.execute_command("FT.DROPINDEX", Keys(self.prefix).index(kind), "DD")
        self.store.close()


def results(setup: Setup) -> Iterator[Result]:
    """The figures at the largest size, and the picture of how they grew."""
    sizes = sorted({max(setup.runs // 100, 1000), max(setup.runs // 10, 1000), setup.runs})
    found: dict[int, dict[str, float]] = {}
    rates: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        scale = Scale(setup, Path(folder))
        try:
            for size in sizes:
                scale.grow(size)
                found[size] = scale.measure()
                # With the SQL indexes that the questions made, at each size the same.
                rates[size] = scale.rate()
        finally:
            scale.close(keep=scale.path is not None)
        if scale.path is not None:
            yield Result(
                f"file, bytes per run at {sizes[-1]:,}", os.path.getsize(scale.path) / scale.count, unit="bytes"
            )
    last, first = found[sizes[-1]], sizes[0]
    of_size = f"{sizes[-1]:,} runs"
    yield Result(
        f"rate of store_runs at {of_size}",
        rates[sizes[-1]] / rates[first],
        f"at {first:,}",
        "",
        None if setup.url else 0.8,
        True,
    )
    raw = "FT.AGGREGATE, sums by agent"
    for name in (
        "agents", "sums by agent", "p95 by agent", "p95 by agent, approximate", "sums by model", "p95 by model",
        "distinct models by agent",
    ):  # fmt: skip
        yield Result(f"{name}, {of_size}", last[name] / last[raw], vs=raw)
    for name, seconds in last.items():
        yield Result(f"{name}, {of_size}", seconds * 1e3, unit="ms", across=ACROSS.get(name))
    if setup.picture:
        path = Path(setup.picture)
        if setup.engine == "server":
            path = path.with_stem(f"{path.stem}-server")
        path.write_text(
            growth_svg(
                found, f"Time of a question by the number of runs, {setup.where if setup.url else 'embedded in a file'}"
            ),
            encoding="utf-8",
        )
