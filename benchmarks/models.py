"""How fast a user's own model is beside redis-om and beside runs: ``python -m benchmarks.models --url …``.

The same ten-field model, eight fields of it indexed, as a `Document` and as redis-om's JsonModel: saved in bulk and one
by one, and found again. Its other two fields are texts, or with ``--parts N`` a list of N nested models and a dict.
Beside it runs, cut to documents of the same size, by their cost per byte. Without ``--url`` it measures the embedded
engine in memory. Ways are measured in turn, round after round; the best round of each counts.

Two things are measured: the time that a user waits, in which client and server work at once where the commands are sent
ahead of the replies, and the processor time of both together, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import redis
from pydantic import BaseModel
from redis_om import EmbeddedJsonModel, Field, JsonModel
from rich.console import Console
from rich.table import Table

from benchmarks.results import Result, Setup
from benchmarks.store import BATCH, captured_runs, verdict
from relay_models import Column, Document, column
from relay_models.documents import Keys
from relay_models.embedded import EmbeddedServer
from relay_models.records import RunRecord
from relay_models.sync import RedisBackend

# Documents that are saved one by one.
_SOME = 500


class Level(Enum):
    """How urgent a ticket is."""

    LOW = "low"
    HIGH = "high"


class Part(BaseModel):
    """A nested value."""

    name: str
    count: int
    at: datetime | None = None


class Ticket(Document):
    """A ticket of a user's."""

    tenant: Column[str] = column()
    owner: Column[UUID] = column()
    level: Column[Level] = column()
    opened: Column[datetime] = column()
    votes: Column[int] = column()
    price: Column[float] = column()
    is_open: Column[bool] = column()
    labels: Column[list[str]] = column()
    subject: str
    body: str


class TicketWithParts(Ticket):
    """The same with nested values."""

    subject: list[Part]  # type: ignore[assignment]
    body: dict[str, Any]  # type: ignore[assignment]


def values(number: int, parts: int) -> dict[str, Any]:
    """The values of one ticket; about 1 KB as it is stored, and 80 bytes more for each of its parts."""
    opened = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    nested = [Part(name=f"part {each}", count=number, at=opened) for each in range(parts)]
    return {
        "tenant": f"tenant-{number % 10}",
        "owner": uuid4(),
        "level": Level.HIGH if number % 3 else Level.LOW,
        "opened": opened,
        "votes": number % 100,
        "price": number / 8,
        "is_open": bool(number % 2),
        "labels": ["red", f"label-{number % 20}"],
        "subject": nested or f"Ticket {number} has a subject",
        "body": {"who": ["a", "b"], "how": {"loud": True}} if parts else "What happened, in some words. " * 8,
    }


def om_model(client: Any, prefix: str, parts: int) -> Any:
    """The same model of redis-om, bound to `client`, with its index made.

    Its booleans, UUIDs and enums are kept as texts: an index of redis-om's takes no others.
    """

    class OmPart(EmbeddedJsonModel):
        name: str
        count: int
        at: datetime | None = None

        class Meta:
            database = client

    # Annotations inside a function must be objects for redis-om, not text.
    fields: dict[str, Any] = {
        "tenant": str, "owner": str, "level": str, "opened": datetime, "votes": int, "price": float, "is_open": str,
        "labels": list[str], "subject": list[OmPart] if parts else str, "body": dict[str, Any] if parts else str,
    }  # fmt: skip
    indexed = [name for name in fields if name not in ("subject", "body")]
    meta = type("Meta", (), {
        "global_key_prefix": prefix, "model_key_prefix": "om", "index_name": f"{prefix}:om:index", "database": client,
    })  # fmt: skip
    sortable = ("opened", "votes", "price")
    namespace: dict[str, Any] = {
        "__module__": __name__, "__qualname__": "OmTicket", "__annotations__": fields, "Meta": meta,
        **{name: Field(index=True, sortable=name in sortable) for name in indexed},
    }  # fmt: skip
    metaclass: Any = type(JsonModel)
    model: Any = metaclass("OmTicket", (JsonModel,), namespace, index=True)
    client.execute_command("FT.CREATE", f"{prefix}:om:index", *model.redisearch_schema().split())
    return model


def om_item(model: Any, number: int, parts: int) -> Any:
    """One ticket of redis-om's."""
    found = values(number, parts)
    if parts:
        found["subject"] = [part.model_dump() for part in found["subject"]]
    found |= {"owner": str(found["owner"]), "level": found["level"].value, "is_open": str(found["is_open"])}
    return model(**found)


def small_runs(count: int, size: int) -> list[RunRecord]:
    """Captured runs whose documents are about as large as a ticket's: each with as many of its calls as fit."""
    runs = []
    for run in captured_runs(count):
        calls = list(run.calls)
        while calls and len(run.model_copy(update={"calls": calls}).model_dump_json()) > size:
            calls.pop()
        runs.append(run.model_copy(update={"calls": calls}))
    return runs


@dataclass(frozen=True, slots=True)
class Cost:
    """What one document costs in one way, in seconds."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        """Processor time of client and server."""
        return self.client + self.server

    def best(self, other: Cost) -> Cost:
        """The less of each."""
        return Cost(min(self.wall, other.wall), min(self.client, other.client), min(self.server, other.server))


class Benchmark:
    """All ways over one server."""

    def __init__(self, url: str | None, count: int, rounds: int, parts: int) -> None:
        self.url, self.count, self.rounds, self.parts = url, count, rounds, parts
        self.model = TicketWithParts if parts else Ticket
        self.ways: dict[str, Cost] = {}
        self.bytes: dict[str, float] = {}

    def run(self) -> None:
        """Measure everything and leave nothing behind."""
        server = None if self.url else EmbeddedServer()
        client: Any = server.client() if server else redis.Redis.from_url(str(self.url))
        options: dict[str, Any] = {"decode_responses": True, "protocol": 2}  # what redis-om reads
        texts: Any = server.client(**options) if server else redis.Redis.from_url(str(self.url), **options)
        self.client = client
        prefix = f"bench-{uuid4().hex[:8]}:"
        with RedisBackend.from_client(client, prefix) as backend:
            om = om_model(texts, prefix.rstrip(":"), self.parts)
            try:
                self._measure(backend, client, om)
            finally:
                for name in (f"{prefix}@{self.model.kind}", Keys(prefix).alias("run"), om._meta.index_name):
                    client.execute_command("FT.DROPINDEX", name, "DD")
                for key in client.scan_iter(match=f"{prefix}*", count=1000):
                    client.delete(key)
        client.close()
        texts.close()
        if server:
            server.close()

    def _measure(self, backend: RedisBackend[Any], client: Any, om: Any) -> None:
        tickets = backend.collection(self.model)
        first = self.model(**values(0, self.parts))
        tickets.save(first)
        size = self._size(client, [Keys(backend.key_prefix).item(self.model.kind, first.pk)])
        tickets.delete("all")
        runs = {"large": captured_runs(self.count // 4), "small": small_runs(self.count // 2, int(size) // 3)}
        for _ in range(self.rounds):
            items = [self.model(**values(number, self.parts)) for number in range(self.count)]
            rivals = [om_item(om, number, self.parts) for number in range(self.count)]
            # Or the collector would walk over all of these in every way's time.
            gc.collect()
            gc.freeze()
            self._ours(backend, client, items)
            self._theirs(client, om, rivals)
            for name, some in runs.items():
                self._runs(backend, client, name, some)
            gc.unfreeze()

    def _ours(self, backend: RedisBackend[Any], client: Any, items: list[Ticket]) -> None:
        tickets = backend.collection(self.model)
        keys = [Keys(backend.key_prefix).item(self.model.kind, item.pk) for item in items]
        self._time("save_many", len(items), lambda: tickets.save_many(items))
        self.bytes["save_many"] = self._size(client, keys[:200])
        documents = [client.execute_command("JSON.GET", key) for key in keys]
        self._time("find", len(items), lambda: tickets.find(limit=None))
        chosen = Ticket.tenant == "tenant-3"
        self._time("find some", self.count // 10, lambda: tickets.find(chosen, limit=None))
        tickets.delete("all")
        self._time("save", _SOME, lambda: [tickets.save(item) for item in items[:_SOME]])
        tickets.delete("all")

        def raw() -> None:
            for start in range(0, len(keys), BATCH):
                pipe = client.pipeline(transaction=False)
                for number in range(start, min(start + BATCH, len(keys))):
                    pipe.execute_command("JSON.SET", keys[number], "$", documents[number])
                pipe.execute()

        self._time("JSON.SET in pipelines", len(keys), raw)
        tickets.delete("all")

    def _theirs(self, client: Any, om: Any, rivals: list[Any]) -> None:
        self._time("redis-om save", len(rivals), lambda: [item.save() for item in rivals])
        self._time("redis-om find().all()", len(rivals), lambda: om.find().all())
        chosen = om.tenant == "tenant-3"
        self._time("redis-om find(…).all()", len(rivals) // 10, lambda: om.find(chosen).all())
        for item in rivals:
            client.delete(item.key())
        self._time("redis-om add", len(rivals), lambda: om.add(rivals))
        for item in rivals:
            client.delete(item.key())

    def _runs(self, backend: RedisBackend[Any], client: Any, name: str, runs: list[RunRecord]) -> None:
        keys = [Keys(backend.key_prefix).run(run.agent_id, run.id) for run in runs[:200]]
        self._time(f"store_runs, {name}", len(runs), lambda: backend.store_runs(runs))
        self.bytes[f"store_runs, {name}"] = self._size(client, keys)
        backend.delete_runs("all")

    def _time(self, name: str, count: int, work: Callable[[], object]) -> None:
        wall, client, server = time.perf_counter(), time.process_time(), self._server_time()
        work()
        used = time.perf_counter() - wall, time.process_time() - client, self._server_time() - server
        cost = Cost(*(seconds / count for seconds in used))
        self.ways[name] = cost.best(self.ways.get(name, cost))

    def _server_time(self) -> float:
        """Seconds of processor time that the server has used; the embedded engine's are the client's."""
        if self.url is None:
            return 0.0
        used = self.client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def _size(self, client: Any, keys: Sequence[bytes]) -> float:
        """The mean length of documents as JSON text."""
        return sum(len(client.execute_command("JSON.GET", key, "$")) for key in keys) / len(keys)


# What is compared with what, the most that the ratio of times may be on a real server, and whether by the byte.
COMPARISONS = [
    ("save_many", "store_runs, small", 1.2, True),
    ("save_many", "store_runs, large", None, True),
    ("save_many", "JSON.SET in pipelines", None, False),
    ("save_many", "redis-om save", 1 / 8, False),
    ("save_many", "redis-om add", None, False),
    ("save", "redis-om save", None, False),
    ("find", "redis-om find().all()", 1 / 4, False),
    ("find some", "redis-om find(…).all()", 1 / 4, False),
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One way in comparison with another: ratios, and the most that they may be."""

    ours: Cost
    other: Cost
    per: float
    """What the ratios are multiplied by: how much longer the documents of the other are."""

    @property
    def wall(self) -> float:
        """The ratio of the times that a user waits."""
        return self.ours.wall / self.other.wall * self.per

    @property
    def cpu(self) -> float:
        """The ratio of processor times."""
        return self.ours.cpu / self.other.cpu * self.per


def compare(benchmark: Benchmark) -> Iterator[tuple[str, str, float | None, bool, Comparison]]:
    """Our way, the other, the bar, whether it is by the byte, and what was measured."""
    for ours, other, most, by_byte in COMPARISONS:
        per = benchmark.bytes[other] / benchmark.bytes[ours] if by_byte else 1.0
        yield ours, other, most, by_byte, Comparison(benchmark.ways[ours], benchmark.ways[other], per)


def report(benchmark: Benchmark, where: str) -> Table:
    """The table of times and ratios."""
    table = Table(
        title=f"{benchmark.count} documents of ten fields, best of {benchmark.rounds} rounds, {where}",
        caption="µs for each document: waited / processor time of client + server",
    )
    headings = ("relay_models", "µs", "vs.", "µs", "", "time", "CPU", "at most", "")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("relay_models", "vs.", "") else "right")
    for ours, other, most, by_byte, found in compare(benchmark):
        unit = f"by byte ({benchmark.bytes[ours]:,.0f} and {benchmark.bytes[other]:,.0f})" if by_byte else ""
        # What costs what by the byte is a matter of work; how long a user waits, of time.
        ratio = found.cpu if by_byte else found.wall
        table.add_row(
            *(ours, shown(found.ours), other, shown(found.other), unit, f"{found.wall:.3f}", f"{found.cpu:.3f}"),
            *(f"{most:.3g}" if most else "", verdict(ratio, most)),
        )
    return table


def shown(cost: Cost) -> str:
    """A cost in microseconds."""
    return f"{cost.wall * 1e6:,.1f} / {cost.client * 1e6:,.1f} + {cost.server * 1e6:,.1f}"


def results(setup: Setup) -> Iterator[Result]:
    """The ratios of saving and finding documents of a user's own model: times, by byte those of processor time."""
    benchmark = Benchmark(setup.url, min(setup.runs, 4000), setup.rounds, 0)
    benchmark.run()
    for ours, other, most, by_byte, found in compare(benchmark):
        bar = most if setup.url else None
        if by_byte:
            yield Result(ours, found.cpu, vs=f"{other}, CPU by byte", bar=bar)
        else:
            yield Result(ours, found.wall, vs=other, bar=bar)
            yield Result(ours, found.cpu, vs=f"{other}, CPU")


def main() -> None:
    """Read the arguments, measure, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a real server (a disposable one); without it the embedded engine")
    parser.add_argument("--parts", type=int, default=0, help="nested models in each document")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    benchmark = Benchmark(arguments.url, arguments.documents, arguments.rounds, arguments.parts)
    benchmark.run()
    Console(width=170).print(report(benchmark, "a server" if arguments.url else "embedded in memory"))


if __name__ == "__main__":
    main()
