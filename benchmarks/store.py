"""How fast the store is beside raw commands, NeMo Relay's own layout and redis-om: ``python -m benchmarks.store``.

One run, one table of ratios. Without ``--url`` it measures the embedded engine in memory (``--path FILE`` for a file),
with ``--url`` any server. Every way stores the same captured runs under a prefix of its own and is measured in turn,
round after round; the best round of each counts. What is called raw sends ready bytes through redis-py.
"""

import argparse
import asyncio
import gc
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
import redis.asyncio
from pydantic import TypeAdapter
from redis_om import EmbeddedJsonModel, Field, JsonModel
from rich.console import Console
from rich.table import Table

from relay_models import RedisBackend
from relay_models.documents import KINDS, Keys
from relay_models.embedded import EmbeddedServer
from relay_models.records import RunRecord, from_json
from relay_models.sync import RedisBackend as SyncRedisBackend

CAPTURE = Path(__file__).parent.parent / "tests" / "data" / "capture.jsonl.gz"
AGENT = "benchmark"
BATCH = 200
CALL_FIELDS = (
    *("kind", "name", "started_at", "ended_at", "model_name", "prompt_tokens", "output_tokens", "total_tokens"),
    *("annotated_request", "annotated_response"),
)


@dataclass
class Ways:
    """Seconds per run of each way, the best of all rounds."""

    best: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, seconds: float, runs: int) -> None:
        self.best[name] = min(self.best.get(name, float("inf")), seconds / runs)


def captured_texts() -> list[dict[str, Any]]:
    """The captured runs, as NeMo Relay wrote them."""
    with gzip.open(CAPTURE, "rt", encoding="utf-8") as lines:
        values = [json.loads(line) for line in lines]
    return [json.loads(value["value"]) for value in values if value["key"].startswith("nemo_relay:runs:")]


def captured_runs(count: int) -> list[RunRecord]:
    """`count` runs with the captured content, one agent and fresh ids."""
    texts = captured_texts()
    return [
        from_json(RunRecord, compact({**texts[number % len(texts)], "id": str(uuid4()), "agent_id": AGENT}))
        for number in range(count)
    ]


def compact(value: Any) -> str:
    """JSON text without spaces and escapes, as NeMo Relay writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def om_model(client: Any, prefix: str) -> Any:
    """A run as a redis-om user would declare it, bound to `client`, with its index made."""

    class OmCall(EmbeddedJsonModel):
        kind: str
        name: str
        started_at: str
        ended_at: str | None = None
        model_name: str | None = None
        prompt_tokens: int | None = None
        output_tokens: int | None = None
        total_tokens: int | None = None
        annotated_request: dict[str, Any] | None = None
        annotated_response: dict[str, Any] | None = None

        class Meta:
            database = client

    # Annotations inside a function must be objects for redis-om, not text.
    fields: dict[str, Any] = {
        "agent_id": str,
        "run_id": str,
        "started_at": str,
        "duration": float,
        "calls": list[OmCall],
    }
    meta = type(
        "Meta",
        (),
        {
            "global_key_prefix": prefix,
            "model_key_prefix": "om",
            "index_name": f"{prefix}:om:index",
            "database": client,
        },
    )
    namespace = {
        "__module__": __name__,
        "__qualname__": "OmRun",
        "__annotations__": fields,
        "Meta": meta,
        "agent_id": Field(index=True),
        "run_id": Field(index=True),
        "started_at": Field(index=True),
        "duration": Field(index=True, sortable=True),
    }
    metaclass: Any = type(JsonModel)
    model: Any = metaclass("OmRun", (JsonModel,), namespace, index=True)
    client.execute_command("FT.CREATE", f"{prefix}:om:index", *model.redisearch_schema().split())
    return model


def om_objects(model: Any, runs: Sequence[RunRecord]) -> list[Any]:
    """`runs` as redis-om models, made before the clock starts."""
    objects = []
    for run in runs:
        value = json.loads(run.model_dump_json())
        calls = [{name: item for name, item in call.items() if name in CALL_FIELDS} for call in value["calls"]]
        objects.append(
            model(agent_id=AGENT, run_id=value["id"], started_at=value["started_at"], duration=1.0, calls=calls)
        )
    return objects


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


class Benchmark:
    """All ways over one server."""

    def __init__(self, url: str | None, path: str | None, count: int, rounds: int) -> None:
        self.url, self.count, self.rounds = url or "", count, rounds
        self.server = None if url else EmbeddedServer(path)
        self.some = min(500, count)
        self.token = f"bench-{uuid4().hex[:8]}"
        self.ways = Ways()
        self.memory: dict[str, float] = {}

    def client(self) -> Any:
        """A synchronous client."""
        options: dict[str, Any] = {"protocol": 3}
        return redis.Redis.from_url(self.url, **options) if self.server is None else self.server.client()

    def async_client(self) -> Any:
        """An asynchronous client."""
        options: dict[str, Any] = {"protocol": 3}
        return redis.asyncio.Redis.from_url(self.url, **options) if self.server is None else self.server.async_client()

    def store(self, prefix: str) -> SyncRedisBackend:
        """A store, opened as users do."""
        return (
            SyncRedisBackend.connect(self.url, prefix) if self.url else SyncRedisBackend.from_client(self.raw, prefix)
        )

    async def async_store(self, prefix: str) -> RedisBackend:
        """The same, asynchronous."""
        if self.url:
            return await RedisBackend.connect(self.url, prefix)
        return await RedisBackend.from_client(self.araw, prefix)

    async def run(self) -> None:
        """Measure everything and leave nothing behind."""
        self.runs = captured_runs(self.count)
        self.raw, self.araw = self.client(), self.async_client()
        prefixes = {name: f"{self.token}-{name}:" for name in ("ours", "raw", "bulk")}
        stores = {name: await self.async_store(prefix) for name, prefix in prefixes.items()}
        with self.store(prefixes["ours"]) as sync_store:
            self.om = om_model(self.raw, self.token)
            try:
                await stores["bulk"].store_runs(self.runs)
                key_of = Keys(prefixes["bulk"]).run
                self.keys = [key_of(AGENT, run.id) for run in self.runs]
                pipe = self.raw.pipeline(transaction=False)
                for key in self.keys:
                    pipe.execute_command("JSON.GET", key)
                self.documents = [bytes(document) for document in pipe.execute()]
                self.texts = [run.model_dump_json().encode() for run in self.runs]
                # As an application makes them: objects all through, none of them still JSON text.
                self.objects = [TypeAdapter(RunRecord).validate_json(text) for text in self.texts[: self.some]]
                # Or the collector would walk over these millions of objects again and again, in every way's time.
                gc.collect()
                gc.freeze()
                for _ in range(self.rounds):
                    await self.one_by_one(stores, sync_store, prefixes)
                    await self.in_bulk(stores, sync_store, prefixes)
                    await self.listing(stores["bulk"], sync_store)
                await self.sizes()
            finally:
                await self.clean(prefixes)
        for store in stores.values():
            await store.close()
        await self.araw.aclose()
        self.raw.close()
        if self.server:
            self.server.close()

    async def empty(self, store: Any) -> None:
        """Make room for the next way, untimed."""
        await store.delete_agent(AGENT, what="runs")

    async def one_by_one(self, stores: dict[str, Any], sync_store: Any, prefixes: dict[str, str]) -> None:
        """One run per call."""
        some = self.some
        key_of = Keys(prefixes["raw"]).run
        keys = [key_of(AGENT, run.id) for run in self.runs[:some]]

        async def raw_async() -> None:
            for key, document in zip(keys, self.documents, strict=False):
                await self.araw.execute_command("JSON.SET", key, "$", document)

        async def raw_sync() -> None:
            for key, document in zip(keys, self.documents, strict=False):
                self.raw.execute_command("JSON.SET", key, "$", document)

        async def ours_async() -> None:
            for run in self.runs[:some]:
                await stores["ours"].store_run(run)

        async def ours_sync() -> None:
            for run in self.runs[:some]:
                sync_store.store_run(run)

        async def ours_objects() -> None:
            for run in self.objects:
                sync_store.store_run(run)

        async def relay() -> None:
            for run, text in zip(self.runs[:some], self.texts, strict=False):
                pipe = self.raw.pipeline(transaction=True)
                pipe.set(f"{self.token}-native:runs:{AGENT}:{run.id}", text)
                pipe.rpush(f"{self.token}-native:one:{AGENT}", str(run.id))
                pipe.execute()

        for name, work, store in (
            ("JSON.SET, async", raw_async, stores["raw"]),
            ("store_run, async", ours_async, stores["ours"]),
            ("JSON.SET", raw_sync, stores["raw"]),
            ("store_run", ours_sync, stores["ours"]),
            ("store_run, made in Python", ours_objects, stores["ours"]),
            ("MULTI SET RPUSH", relay, None),
        ):
            self.ways.note(name, await timed(work), some)
            if store:
                await self.empty(store)

    async def in_bulk(self, stores: dict[str, Any], sync_store: Any, prefixes: dict[str, str]) -> None:
        """All runs at once."""
        key_of = Keys(prefixes["raw"]).run
        pairs = [(key_of(AGENT, run.id), document) for run, document in zip(self.runs, self.documents, strict=True)]
        objects = om_objects(self.om, self.runs[: min(300, self.count)])

        async def raw_sync() -> None:
            for start in range(0, self.count, BATCH):
                pipe = self.raw.pipeline(transaction=False)
                for key, document in pairs[start : start + BATCH]:
                    pipe.execute_command("JSON.SET", key, "$", document)
                pipe.execute()

        async def raw_async() -> None:
            for start in range(0, self.count, BATCH):
                pipe = self.araw.pipeline(transaction=False)
                for key, document in pairs[start : start + BATCH]:
                    pipe.execute_command("JSON.SET", key, "$", document)
                await pipe.execute()

        async def ours_async() -> None:
            await stores["ours"].store_runs(self.runs)

        async def ours_sync() -> None:
            sync_store.store_runs(self.runs)

        async def om() -> None:
            for each in objects:
                each.save()

        for name, work, store in (
            ("JSON.SET in pipelines", raw_sync, stores["raw"]),
            ("store_runs", ours_sync, stores["ours"]),
            ("JSON.SET in pipelines, async", raw_async, stores["raw"]),
            ("store_runs, async", ours_async, stores["ours"]),
            ("redis-om save", om, None),
        ):
            self.ways.note(name, await timed(work), len(objects) if work is om else self.count)
            if store:
                await self.empty(store)

    async def listing(self, store: Any, sync_store: Any) -> None:
        """Everything back, as the runs of one agent."""
        native = f"{self.token}-native"
        if not self.raw.exists(f"{native}:runs_index:{AGENT}"):
            pipe = self.raw.pipeline(transaction=False)
            for run, text in zip(self.runs, self.texts, strict=True):
                pipe.set(f"{native}:runs:{AGENT}:{run.id}", text)
                pipe.rpush(f"{native}:runs_index:{AGENT}", str(run.id))
            pipe.execute()
        with self.store(f"{self.token}-bulk:") as bulk:

            async def raw_sync() -> None:
                for start in range(0, self.count, 500):
                    self.raw.execute_command("JSON.MGET", *self.keys[start : start + 500], "$")

            async def ours_sync() -> None:
                assert len(bulk.list_runs(AGENT)) == self.count

            async def ours_async() -> None:
                assert len(await store.list_runs(AGENT)) == self.count

            async def relay() -> None:
                for run_id in self.raw.lrange(f"{native}:runs_index:{AGENT}", 0, -1):
                    json.loads(self.raw.get(f"{native}:runs:{AGENT}:{run_id.decode()}"))

            async def om() -> None:
                found = self.om.find(self.om.agent_id == AGENT).all()
                self.om_found = len(found)

            for name, work in (
                ("JSON.MGET", raw_sync),
                ("list_runs", ours_sync),
                ("list_runs, async", ours_async),
                ("LRANGE, GET per run, json.loads", relay),
                ("redis-om find().all()", om),
            ):
                seconds = await timed(work)
                self.ways.note(name, seconds, self.om_found if work is om else self.count)

    async def sizes(self) -> None:
        """Bytes on the server, where it can tell."""
        try:
            ours = [self.raw.execute_command("MEMORY USAGE", key, "SAMPLES", 0) for key in self.keys[:200]]
            theirs = [
                self.raw.execute_command("MEMORY USAGE", f"{self.token}-native:runs:{AGENT}:{run.id}", "SAMPLES", 0)
                for run in self.runs[:200]
            ]
        except redis.ResponseError:
            return
        if all(ours) and all(theirs):
            self.memory = {"Run document": sum(ours) / len(ours), "NeMo Relay's string": sum(theirs) / len(theirs)}

    async def clean(self, prefixes: dict[str, str]) -> None:
        """Drop the indexes and their documents, and the other keys."""
        for prefix in prefixes.values():
            for kind in KINDS:
                self.raw.execute_command("FT.DROPINDEX", Keys(prefix).index(kind), "DD")
        self.raw.execute_command("FT.DROPINDEX", f"{self.token}:om:index", "DD")
        for key in list(self.raw.scan_iter(match=f"{self.token}*", count=1000)):
            self.raw.delete(key)


# What is compared with what, and the most that the ratio may be on a real server.
COMPARISONS = [
    ("store_run", "JSON.SET", 1.5),
    ("store_run, async", "JSON.SET, async", 1.5),
    ("store_run, made in Python", "JSON.SET", None),
    ("store_run", "MULTI SET RPUSH", None),
    ("store_runs", "JSON.SET in pipelines", 2.0),
    ("store_runs, async", "JSON.SET in pipelines, async", 2.0),
    ("store_runs", "redis-om save", 0.1),
    ("list_runs", "JSON.MGET", 4.0),
    ("list_runs, async", "JSON.MGET", 4.0),
    ("list_runs", "LRANGE, GET per run, json.loads", 0.5),
    ("list_runs", "redis-om find().all()", None),
]


def verdict(ratio: float, most: float | None) -> str:
    """Whether a ratio is as wanted, in a word."""
    return "" if most is None else "reached" if ratio <= most else "missed"


def report(benchmark: Benchmark, where: str) -> Table:
    """The table of ratios."""
    table = Table(title=f"{benchmark.count} captured runs, best of {benchmark.rounds} rounds, {where}")
    for heading in ("relay_models", "µs per run", "beside", "µs per run", "ratio", "wanted", ""):
        table.add_column(heading, justify="left" if heading in ("relay_models", "beside", "") else "right")

    def row(ours: str, mine: float, other: str, its: float, most: float | None) -> None:
        ratio = mine / its
        cells = (f"{ratio:.2f}", f"≤ {most:g}" if most else "", verdict(ratio, most))
        table.add_row(ours, f"{mine:,.1f}", other, f"{its:,.1f}", *cells)

    best = benchmark.ways.best
    for ours, other, most in COMPARISONS:
        row(ours, best[ours] * 1e6, other, best[other] * 1e6, most)
    if benchmark.memory:
        (ours, mine), (other, its) = benchmark.memory.items()
        row(f"{ours}, bytes", mine, f"{other}, bytes", its, 1.3)
    return table


def main() -> None:
    """Read the arguments, measure, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a real server (a disposable one); without it the embedded engine")
    parser.add_argument("--path", help="the embedded engine's file; without it in memory")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    benchmark = Benchmark(arguments.url, arguments.path, arguments.runs, arguments.rounds)
    asyncio.run(benchmark.run())
    where = "a server" if arguments.url else f"embedded in {arguments.path or 'memory'}"
    Console(width=120).print(report(benchmark, where))


if __name__ == "__main__":
    main()
