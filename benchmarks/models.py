"""How fast a user's own model is beside redis-om and beside runs: ``python -m benchmarks.models --url …``.

The same ten-field model, eight fields of it indexed, as a `Document` and as redis-om's JsonModel: saved in bulk and one
by one, and found again. Its other two fields are texts, or with ``--parts N`` a list of N nested models and a dict.
Beside it runs, cut to documents of the same size, by their cost per byte. Without ``--url`` it measures the embedded
engine in memory. Ways are measured in turn, round after round; the best round of each counts. What is measured is the
processor time of client and server together, which other work on the machine does not change much.
"""

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import redis
from pydantic import BaseModel
from redis_om import EmbeddedJsonModel, Field, JsonModel
from rich.console import Console
from rich.table import Table

from benchmarks.store import BATCH, Ways, captured_runs, verdict
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
    subject: str | list[Part]
    body: str | dict[str, Any]


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


class Benchmark:
    """All ways over one server."""

    def __init__(self, url: str | None, count: int, rounds: int, parts: int) -> None:
        self.url, self.count, self.rounds, self.parts = url, count, rounds, parts
        self.ways = Ways()
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
                for name in (f"{prefix}@{Ticket.kind}", Keys(prefix).alias("run"), om._meta.index_name):
                    client.execute_command("FT.DROPINDEX", name, "DD")
                for key in client.scan_iter(match=f"{prefix}*", count=1000):
                    client.delete(key)
        client.close()
        texts.close()
        if server:
            server.close()

    def _measure(self, backend: RedisBackend[Any], client: Any, om: Any) -> None:
        tickets = backend.collection(Ticket)
        first = Ticket(**values(0, self.parts))
        tickets.save(first)
        size = self._size(client, [Keys(backend.key_prefix).item(Ticket.kind, first.pk)])
        tickets.delete("all")
        runs = {"large": captured_runs(self.count // 4), "small": small_runs(self.count // 2, int(size) // 3)}
        for _ in range(self.rounds):
            items = [Ticket(**values(number, self.parts)) for number in range(self.count)]
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
        tickets = backend.collection(Ticket)
        keys = [Keys(backend.key_prefix).item(Ticket.kind, item.pk) for item in items]
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
        start = self._used()
        work()
        self.ways.note(name, self._used() - start, count)

    def _used(self) -> float:
        """Seconds of processor time that client and server have used."""
        if self.url is None:
            return time.process_time()
        used = self.client.info("cpu")
        return time.process_time() + float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def _size(self, client: Any, keys: Sequence[bytes]) -> float:
        """The mean length of documents as JSON text."""
        return sum(len(client.execute_command("JSON.GET", key, "$")) for key in keys) / len(keys)


# What is compared with what, the most that the ratio may be on a real server, and whether by the byte.
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


def report(benchmark: Benchmark, where: str) -> Table:
    """The table of ratios."""
    table = Table(title=f"{benchmark.count} documents of ten fields, best of {benchmark.rounds} rounds, {where}")
    for heading in ("relay_models", "µs CPU each", "beside", "µs CPU each", "", "ratio", "wanted", ""):
        table.add_column(heading, justify="left" if heading in ("relay_models", "beside", "") else "right")
    best = benchmark.ways.best
    for ours, other, most, by_byte in COMPARISONS:
        mine, its = best[ours] * 1e6, best[other] * 1e6
        ratio, unit = mine / its, ""
        if by_byte:
            ratio *= benchmark.bytes[other] / benchmark.bytes[ours]
            unit = f"by byte ({benchmark.bytes[ours]:,.0f} and {benchmark.bytes[other]:,.0f})"
        wanted = f"≤ {most:.3g}" if most else ""
        table.add_row(ours, f"{mine:,.1f}", other, f"{its:,.1f}", unit, f"{ratio:.3f}", wanted, verdict(ratio, most))
    return table


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
    Console(width=130).print(report(benchmark, "a server" if arguments.url else "embedded in memory"))


if __name__ == "__main__":
    main()
