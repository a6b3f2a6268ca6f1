"""The embedded engine beside SQLite by hand and fakeredis, as ratios taken in one run.

    python -m benchmarks.embedded [--runs 100000] [--profile]

Run documents of about 5 KB, as the store writes them, with its index. By hand means what one would write for the same
answer without the engine: one SQLite table with the same columns, indexed for the query and told which index to take,
with the driver's default settings and the same result taken into Python. (Left to itself SQLite takes the index of the
range for the page, too, and sorts what it finds, which is twenty times as slow at 100,000 runs: it would flatter us.)

Queries are the best of several rounds. Writes go into the full file, turn and turn about with fakeredis, and count as a
whole: checkpoints, transactions and the collector's pauses are in. The last row is what they cost when queries have
made the SQL indexes that answer them.

Where the time goes, by ``--profile`` on 100,000 runs:

- newest 50: the page is one SQL statement over an index of the three columns, the count another over an index of two;
  the engine makes both when it is first asked. SQL is half, reading the command a sixth, making the reply's maps a
  fifth, the rest redis-py. Documents are not read.
- newest 50, whole: the same, and a look into the cache of keys or the file for each text. No JSON is parsed.
- GROUPBY: a third fetching rows, a third the groups' counters, a third the quantiles, which are t-digests as on the
  real server and so cannot be left to SQL.
- JSON.SET: a tenth reading the JSON and writing it as RedisJSON does, a tenth taking the columns out, a seventh the row
  of the index, a tenth the row of the key, a twentieth finding out that it is new, a fifth the transactions and the
  checkpoints (one for each 8,000 pages of 4 KiB; a document takes three of them, most of them pages of indexes that it
  falls into), a third redis-py and the way through the command table.
- JSON.SET one at a time: a tenth is the redo log, one write(2) for each; redis-py is a quarter.
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
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
from rich.console import Console
from rich.table import Table

from benchmarks.results import Result, Setup
from relay_models.embedded import EmbeddedServer

ENGINES = ("embedded",)
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
        self.run(*CREATE)
        fill(self.client, count)

    @classmethod
    def opened(cls, path: Path) -> Engine:
        """One that was filled before."""
        engine = cls.__new__(cls)
        engine.server = EmbeddedServer(path)
        engine.client = engine.server.client()
        return engine

    def run(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    def newest(self) -> Any:
        query = "@agent_id:{$agent} @duration:[2000000 +inf]"
        return self.run(
            "FT.SEARCH", "idx", query, "PARAMS", 2, "agent", "agent-3", "SORTBY", "started_at", "DESC",
            "LIMIT", 0, 50, "RETURN", 3, "run_id", "duration", "total_tokens", "DIALECT", 2,
        )  # fmt: skip

    def newest_whole(self) -> Any:
        query = "@agent_id:{$agent} @duration:[2000000 +inf]"
        return self.run(
            "FT.SEARCH", "idx", query, "PARAMS", 2, "agent", "agent-3", "SORTBY", "started_at", "DESC",
            "LIMIT", 0, 50, "DIALECT", 2,
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
CREATE = ("FT.CREATE", "idx", "ON", "JSON", "PREFIX", "1", "bench@run:", "SCHEMA", *SCHEMA)


def send(client: Any, batch: list[tuple[str, str]]) -> None:
    """Store documents in one pipeline."""
    pipe = client.pipeline(transaction=False)
    for key, text in batch:
        pipe.execute_command("JSON.SET", key, "$", text)
    pipe.execute()


def send_singly(client: Any, batch: list[tuple[str, str]]) -> None:
    for key, text in batch:
        client.execute_command("JSON.SET", key, "$", text)


def batches(count: int, suffix: str = "") -> Iterator[list[tuple[str, str]]]:
    """Keys and texts of documents, as many as go into one pipeline."""
    source = documents(count)
    while batch := [(key + suffix, json.dumps(document)) for key, document in itertools.islice(source, BATCH)]:
        yield batch


def fill(client: Any, count: int) -> None:
    for batch in batches(count):
        send(client, batch)


def set_in_turn(
    clients: list[Any], write: Callable[[Any, list[tuple[str, str]]], None], suffix: str, count: int = 10_000
) -> list[float]:
    """Store the same new documents with each client, a batch each in turn; the seconds for one, all told."""
    seconds = [0.0] * len(clients)
    for batch in batches(count, suffix):
        for number, client in enumerate(clients):
            begin = time.perf_counter()
            write(client, batch)
            seconds[number] += time.perf_counter() - begin
    return [each / count for each in seconds]


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
        self.connection.execute("CREATE INDEX ranged ON runs (agent_id, duration, total_tokens)")
        self.connection.commit()

    def newest(self) -> Any:
        found = self.connection.execute(
            "SELECT key, run_id, duration, total_tokens FROM runs INDEXED BY newest"
            " WHERE agent_id = ? AND duration >= ? ORDER BY started_at DESC LIMIT 50",
            ("agent-3", 2_000_000),
        ).fetchall()
        return self.count(), found

    def newest_whole(self) -> Any:
        found = self.connection.execute(
            "SELECT key, document FROM runs INDEXED BY newest WHERE agent_id = ? AND duration >= ?"
            " ORDER BY started_at DESC LIMIT 50",
            ("agent-3", 2_000_000),
        ).fetchall()
        return self.count(), found

    def count(self) -> Any:
        return self.connection.execute(
            "SELECT count(*) FROM runs INDEXED BY ranged WHERE agent_id = ? AND duration >= ?", ("agent-3", 2_000_000)
        ).fetchone()

    def groups(self) -> Any:
        return self.connection.execute(
            "WITH ranked AS (SELECT agent_id, duration, total_tokens,"
            " row_number() OVER (PARTITION BY agent_id ORDER BY duration) AS place,"
            " count(*) OVER (PARTITION BY agent_id) AS size FROM runs)"
            " SELECT agent_id, count(*), sum(total_tokens),"
            " max(CASE WHEN place = max(1, CAST(0.95 * size AS INTEGER)) THEN duration END)"
            " FROM ranked GROUP BY agent_id"
        ).fetchall()


Row = tuple[str, float, float, float | None]
"""What is compared, the engine's seconds, the others', and the bar."""


def compare(folder: Path, count: int) -> tuple[Engine, ByHand, list[Row]]:
    """The engine in ratios to fakeredis and to SQLite by hand."""
    engine = Engine(folder / f"engine-{count}.db", count)
    hand = ByHand(folder / f"hand-{count}.db", count)
    plain = fakeredis.FakeRedis()
    rows: list[Row] = []
    for name, write in (("in pipelines", send), ("one at a time", send_singly)):
        ours, theirs = set_in_turn([engine.client, plain], write, f"-{write.__name__}")
        rows.append((f"JSON.SET with index, {name} (fakeredis without)", ours, theirs, 2))
    rows += [
        ("agent + duration, newest 50 (by hand in SQLite)", best(engine.newest, 50), best(hand.newest, 50), 3),
        (
            "the same, whole documents (by hand in SQLite)",
            best(engine.newest_whole, 50),
            best(hand.newest_whole, 50),
            3,
        ),
        ("GROUPBY agent: COUNT, SUM, QUANTILE (by hand in SQLite)", best(engine.groups, 5), best(hand.groups, 5), 4),
    ]
    ours, theirs = set_in_turn([engine.client, plain], send, "-later")
    rows.append(("JSON.SET in pipelines, with what the queries had made (fakeredis without)", ours, theirs, None))
    return engine, hand, rows


def comparison_table(count: int, rows: list[Row]) -> Table:
    """The ratios as a table."""
    table = Table(title=f"{count:,} run documents in a file", title_justify="left")
    for heading in ("", "engine", "vs.", "ratio", "bar"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, ours, theirs, bar in rows:
        ratio = ours / theirs
        mark = "dim" if bar is None else "green" if ratio <= bar else "red"
        wanted = "" if bar is None else f"≤ {bar}"
        table.add_row(name, shown(ours), shown(theirs), f"[{mark}]{ratio:.2f}[/]", wanted)
    return table


def results(setup: Setup) -> Iterator[Result]:
    """The ratios to fakeredis and to SQLite by hand."""
    with tempfile.TemporaryDirectory() as name:
        engine, hand, rows = compare(Path(name), min(setup.runs, 100_000))
        engine.server.close()
        hand.connection.close()
    for what, ours, theirs, bar in rows:
        text, _, other = what.partition(" (")
        yield Result(text, ours / theirs, vs=other.rstrip(")"), bar=bar)


def durability(console: Console, folder: Path) -> None:
    """What it costs to make each change durable by itself, beside an engine that forgets."""
    table = Table(title="JSON.SET with index, one at a time, by what it survives", title_justify="left")
    for heading in ("", "each", "ratio"):
        table.add_column(heading, justify="left" if not heading else "right")
    servers = {
        "nothing (in memory)": EmbeddedServer(),
        "the process's death (sync='process')": EmbeddedServer(folder / "process.db"),
        "the loss of power (sync='power')": EmbeddedServer(folder / "power.db", sync="power"),
    }
    for server in servers.values():
        server.client().execute_command(*CREATE)
    seconds = set_in_turn([server.client() for server in servers.values()], send_singly, "", 2000)
    for name, each in zip(servers, seconds, strict=True):
        table.add_row(name, shown(each), f"{each / seconds[0]:.2f}")
    console.print(table)
    for server in servers.values():
        server.close()


def shown(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def growth(console: Console, folder: Path, counts: list[int]) -> None:
    """The same narrow question, with the same answer size, of stores of different sizes."""
    table = Table(title="Cost of a query that finds 50 runs, by the size of the store", title_justify="left")
    table.add_column("runs", justify="right")
    table.add_column("newest 50 of a window", justify="right")
    table.add_column("one run by its id", justify="right")
    table.add_column("open", justify="right")
    table.add_column("memory", justify="right")
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
        table.add_row(f"{count:,}", shown(found), shown(one), shown(opened), memory(folder / f"growth-{count}.db"))
    console.print(table)


MEMORY = """
import re, sys
from pathlib import Path
from benchmarks.embedded import Engine
engine = Engine.opened(Path(sys.argv[1]))
for _ in range(3):
    engine.newest(), engine.newest_whole(), engine.groups()
status = Path("/proc/self/status")
print(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1] if status.exists() else 0)
"""


def memory(path: Path) -> str:
    """The most that a process takes that opens a file and queries it, or a dash where the system does not tell."""
    run = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True)
    return f"{int(run.stdout) // 1024} MiB" if int(run.stdout) else "-"


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
        engine, hand, rows = compare(folder, options.runs)
        console.print(comparison_table(options.runs, rows))
        if options.profile:
            profile(console, "newest", engine.newest, 50)
            profile(console, "groups", engine.groups, 2)
            more = list(itertools.chain(*batches(2000, "-profiled")))
            profile(console, "JSON.SET in a pipeline", lambda: send(engine.client, more), 1)
            profile(console, "JSON.SET one at a time", lambda: send_singly(engine.client, more), 1)
        engine.server.close()
        hand.connection.close()
        durability(console, folder)
        growth(console, folder, sorted({options.runs // 100, options.runs // 10, options.runs}))


if __name__ == "__main__":
    main()
