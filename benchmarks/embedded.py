"""The embedded engine beside SQLite by hand and fakeredis, as ratios taken in one run.

    python benchmarks/embedded.py [--runs 100000] [--profile]

Every number is the best of several rounds on the same documents: run documents of about 5 KB, as the store writes them,
with its index. By hand means what one would write for the same answer without the engine: one SQLite table with the
same columns, indexed for the query, with the driver's default settings and the same result taken into Python.

Where the time goes, by ``--profile`` on 100,000 runs:

- newest 50: one SQL statement for the page and one for the count, both over an index of the three columns that the
  engine makes when it is first asked; the rest is redis-py and the reply's maps. Documents are not read.
- GROUPBY: a third fetching rows, a third the groups' counters, a third the quantiles, which are t-digests as on the
  real server and so cannot be left to SQL.
- JSON.SET: a fifth reading the JSON and writing it as RedisJSON does, a third taking the columns out (arrays of tags
  cost the most), a fifth the row of the index, a fifth the row of the key and making both durable, the rest redis-py.
- opening: the schema, and a few samples of the checksums; nothing grows with the file.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import itertools
import json
import pstats
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
from rich.console import Console
from rich.table import Table

from relay_models.embedded import EmbeddedServer

AGENTS = [f"agent-{n}" for n in range(20)]
START = 1_764_000_000_000_000
TEXT = "The quick planner asked the model for one more tool call and cached the answer. "
EXACT = ("TAG", "CASESENSITIVE", "INDEXEMPTY")
TAGS = {"agent_id": ("SORTABLE", "UNF"), "run_id": (), "status": ("SORTABLE", "UNF"), "models[*]": (), "tools[*]": ()}
NUMBERS = ("started_at", "ended_at", "duration", "calls", "total_tokens", "cost", "stored_at")
SCHEMA = [
    *[word for path, more in TAGS.items() for word in (f"$.{path}", "AS", path.removesuffix("[*]"), *EXACT, *more)],
    *[word for name in NUMBERS for word in (f"$.{name}", "AS", name, "NUMERIC", "SORTABLE")],
]


def documents(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run documents of about 5 KB, the same for every contestant."""
    rng = random.Random(7)
    for n in range(count):
        run_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        agent = rng.choice(AGENTS)
        duration = int(rng.lognormvariate(14, 1.2))
        record = {
            "agent_id": agent,
            "run_id": run_id,
            "calls": [
                {"name": f"call-{i}", "started": START + n * 1_000_000 + i, "output": TEXT * rng.randint(6, 14)}
                for i in range(5)
            ],
        }
        yield (
            f"bench@run:{agent}:{run_id}",
            {
                "pk": f"{agent}:{run_id}",
                "agent_id": agent,
                "run_id": run_id,
                "status": rng.choice(["completed", "completed", "completed", "running"]),
                "models": rng.sample(["gpt-4.1", "gpt-4.1-mini", "claude-sonnet", "llama"], 2),
                "tools": rng.sample(["search", "fetch", "sql", "mail"], 2),
                "started_at": START + n * 1_000_003,
                "ended_at": START + n * 1_000_003 + duration,
                "duration": duration,
                "calls": 5,
                "total_tokens": rng.randint(50, 9000),
                "cost": round(rng.random(), 6),
                "stored_at": START + n * 1_000_003,
                "record": json.dumps(record),
            },
        )


def best(action: Callable[[], Any], rounds: int = 7) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


class Engine:
    """The engine in a file, filled in pipelines of 500."""

    def __init__(self, path: Path, count: int) -> None:
        self.server = EmbeddedServer(path)
        self.client = self.server.client()
        self.run("FT.CREATE", "idx", "ON", "JSON", "PREFIX", "1", "bench@run:", "SCHEMA", *SCHEMA)
        self.seconds = fill_json(self.client, count)

    def run(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    def newest(self) -> Any:
        query = "@agent_id:{$agent} @duration:[2000000 +inf]"
        return self.run(
            "FT.SEARCH", "idx", query, "PARAMS", 2, "agent", "agent-3", "SORTBY", "started_at", "DESC",
            "LIMIT", 0, 50, "RETURN", 3, "run_id", "duration", "total_tokens", "DIALECT", 2,
        )  # fmt: skip

    def within(self, low: int, high: int) -> Any:
        return self.run(
            "FT.SEARCH", "idx", f"@started_at:[{low} {high}]", "SORTBY", "started_at", "DESC", "LIMIT", 0, 50,
            "RETURN", 2, "run_id", "duration", "DIALECT", 2,
        )  # fmt: skip

    def one(self, run_id: str) -> Any:
        return self.run("FT.SEARCH", "idx", "@run_id:{$id}", "PARAMS", 2, "id", run_id, "DIALECT", 2)

    def groups(self) -> Any:
        return self.run(
            "FT.AGGREGATE", "idx", "*", "GROUPBY", 1, "@agent_id", "REDUCE", "COUNT", 0, "AS", "runs",
            "REDUCE", "SUM", 1, "@total_tokens", "AS", "tokens", "REDUCE", "QUANTILE", 2, "@duration", "0.95",
            "AS", "p95", "DIALECT", 2,
        )  # fmt: skip


BATCH = 500


def fill_json(client: Any, count: int) -> float:
    """Store the documents with JSON.SET in pipelines, and give the seconds for one in the median pipeline."""
    times: list[float] = []
    source = documents(count)
    while batch := [(key, json.dumps(document)) for key, document in itertools.islice(source, BATCH)]:
        begin = time.perf_counter()
        pipe = client.pipeline(transaction=False)
        for key, text in batch:
            pipe.execute_command("JSON.SET", key, "$", text)
        pipe.execute()
        times.append((time.perf_counter() - begin) / len(batch))
    return statistics.median(times)


def set_singly(client: Any, count: int = 2000) -> float:
    """Store documents anew with a command each, and give the seconds for one in the median hundred."""
    times: list[float] = []
    ready = [(key, json.dumps(document)) for key, document in documents(count)]
    for start in range(0, count, 100):
        begin = time.perf_counter()
        for key, text in ready[start : start + 100]:
            client.execute_command("JSON.SET", f"{key}-again", "$", text)
        times.append((time.perf_counter() - begin) / 100)
    return statistics.median(times)


class ByHand:
    """One table with the same columns, indexed for the query at hand."""

    def __init__(self, path: Path, count: int) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute(
            "CREATE TABLE runs (key TEXT PRIMARY KEY, agent_id TEXT, run_id TEXT, status TEXT, started_at INTEGER,"
            " ended_at INTEGER, duration INTEGER, total_tokens INTEGER, cost REAL, document TEXT)"
        )
        self.connection.executemany(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    key, d["agent_id"], d["run_id"], d["status"], d["started_at"], d["ended_at"], d["duration"],
                    d["total_tokens"], d["cost"], json.dumps(d),
                )
                for key, d in documents(count)
            ),
        )  # fmt: skip
        self.connection.execute("CREATE INDEX newest ON runs (agent_id, started_at, duration)")
        self.connection.execute("CREATE INDEX grouped ON runs (agent_id, duration, total_tokens)")
        self.connection.commit()

    def newest(self) -> Any:
        found = self.connection.execute(
            "SELECT key, run_id, duration, total_tokens FROM runs WHERE agent_id = ? AND duration >= ?"
            " ORDER BY started_at DESC LIMIT 50",
            ("agent-3", 2_000_000),
        ).fetchall()
        total = self.connection.execute(
            "SELECT count(*) FROM runs WHERE agent_id = ? AND duration >= ?", ("agent-3", 2_000_000)
        ).fetchone()
        return total, found

    def groups(self) -> Any:
        return self.connection.execute(
            "WITH ranked AS (SELECT agent_id, duration, total_tokens,"
            " row_number() OVER (PARTITION BY agent_id ORDER BY duration) AS place,"
            " count(*) OVER (PARTITION BY agent_id) AS size FROM runs)"
            " SELECT agent_id, count(*), sum(total_tokens),"
            " max(CASE WHEN place = max(1, CAST(0.95 * size AS INTEGER)) THEN duration END)"
            " FROM ranked GROUP BY agent_id"
        ).fetchall()


def compare(console: Console, folder: Path, count: int) -> tuple[Engine, ByHand]:
    engine = Engine(folder / f"engine-{count}.db", count)
    hand = ByHand(folder / f"hand-{count}.db", count)
    table = Table(title=f"{count:,} run documents in a file", title_justify="left")
    for heading in ("", "engine", "beside", "ratio", "bar"):
        table.add_column(heading, justify="left" if not heading else "right")
    plain = fakeredis.FakeRedis()
    rows: list[tuple[str, float, float, float]] = [
        ("agent + duration, newest 50 (by hand in SQLite)", best(engine.newest), best(hand.newest), 3),
        ("GROUPBY agent: COUNT, SUM, QUANTILE (by hand in SQLite)", best(engine.groups, 5), best(hand.groups, 5), 4),
        ("JSON.SET with index, in pipelines (fakeredis without)", engine.seconds, fill_json(plain, 10_000), 2),
        ("JSON.SET with index, one at a time (fakeredis without)", set_singly(engine.client), set_singly(plain), 2),
    ]
    for name, ours, theirs, bar in rows:
        ratio = ours / theirs
        mark = "green" if ratio <= bar else "red"
        table.add_row(name, shown(ours), shown(theirs), f"[{mark}]{ratio:.2f}[/]", f"≤ {bar}")
    console.print(table)
    return engine, hand


def shown(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def growth(console: Console, folder: Path, counts: list[int]) -> None:
    """The same narrow question, with the same answer size, of stores of different sizes."""
    table = Table(title="Cost of a query that finds 50 runs, by the size of the store", title_justify="left")
    table.add_column("runs", justify="right")
    table.add_column("newest 50 of a window", justify="right")
    table.add_column("one run by its id", justify="right")
    table.add_column("open", justify="right")
    for count in counts:
        engine = Engine(folder / f"growth-{count}.db", count)
        low, high = START + (count - 50) * 1_000_003, START + count * 1_000_003
        run_id = next(iter(documents(1)))[1]["run_id"]
        found = best(functools.partial(engine.within, low, high), 20)
        one = best(functools.partial(engine.one, run_id), 20)
        engine.server.close()
        begin = time.perf_counter()
        engine.server = EmbeddedServer(folder / f"growth-{count}.db")
        opened = time.perf_counter() - begin
        engine.server.close()
        table.add_row(f"{count:,}", shown(found), shown(one), shown(opened))
    console.print(table)


def profile(console: Console, name: str, action: Callable[[], Any], times: int) -> None:
    console.rule(name)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(times):
        action()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true", help="also show where the time goes")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine, hand = compare(console, folder, options.runs)
        if options.profile:
            profile(console, "newest", engine.newest, 50)
            profile(console, "groups", engine.groups, 2)
        engine.server.close()
        hand.connection.close()
        growth(console, folder, sorted({options.runs // 100, options.runs // 10, options.runs}))


if __name__ == "__main__":
    main()
