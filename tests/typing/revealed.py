# What a type checker says of every public method; read by test_typing.py, never run.
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar, reveal_type
from uuid import UUID

from pydantic import ConfigDict

from relay_models import CallRecord, Column, Document, RedisBackend, Run, RunRecord, StorageBackend, column, metadata
from relay_models.sync import RedisBackend as SyncBackend

T = TypeVar("T")


async def runs(backend: RedisBackend, record: RunRecord, run_id: UUID) -> None:
    await backend.store_run(record)
    reveal_type(await backend.store_runs([record]))  # StoreReport
    reveal_type(await backend.load_run("a", run_id))  # RunRecord | None
    reveal_type(await backend.list_runs("a"))  # list[RunRecord]
    reveal_type(backend.iter_runs("a"))  # RowStream[RunRecord]
    reveal_type(await backend.latest_run("a"))  # RunRecord | None
    reveal_type(await backend.delete_run("a", run_id))  # bool
    reveal_type(await backend.trim_runs("a", 5))  # int
    reveal_type(await backend.agents())  # list[AgentSummary]
    page = await backend.find_runs(Run.agent_id == "a", order_by=Run.started_at)
    reveal_type(page)  # Page[Run]
    reveal_type(page[0])  # Run
    reveal_type(page[0].duration)  # timedelta | None
    reveal_type(page[0].record)  # RunRecord | None
    reveal_type(page.rows)  # Sequence[Run]
    reveal_type(page.records)  # list[RunRecord]
    reveal_type(page.next)  # str | None
    reveal_type(page.corrupt)  # tuple[CorruptDocumentError, ...]
    stream = backend.stream_runs("status = running", order_by="-cost")
    reveal_type(stream)  # RowStream[Run]
    reveal_type(stream.corrupt)  # list[CorruptDocumentError]
    async for run in stream:
        reveal_type(run)  # Run
    reveal_type(backend.watch_runs(since=timedelta(hours=1)))  # RowStream[Run]
    reveal_type(await backend.count_runs([Run.calls > 2, "status = running"]))  # int
    rows = await backend.aggregate_runs(by=[Run.agent_id, "models"], every="1d", metrics=["count", "p95(duration)"])
    reveal_type(rows)  # AggregateRows
    reveal_type(rows[0]["count"])  # str | int | float | Decimal | datetime | date | timedelta | Enum | UUID | None
    reveal_type(await backend.delete_runs("all"))  # int
    reveal_type(await backend.delete_agent("a", what="runs"))  # int


async def collections(backend: RedisBackend) -> None:
    reveal_type(backend.runs)  # RunCollection[Run]
    reveal_type(backend.plans)  # Collection[Plan]
    reveal_type(backend.tries)  # Collection[Trie]
    reveal_type(backend.accumulators)  # Collection[Accumulators]
    reveal_type(backend.observations)  # Collection[Observations]
    reveal_type(backend.stability)  # Collection[Stability]
    reveal_type(await backend.plans.find())  # Page[Plan]
    reveal_type((await backend.plans.find()).records)  # list[ExecutionPlan]
    reveal_type(backend.tries.stream())  # RowStream[Trie]
    reveal_type(await backend.tries.get("a"))  # Trie | None
    reveal_type(backend.observations.watch())  # RowStream[Observations]
    reveal_type(await backend.observations.count())  # int
    reveal_type(await backend.stability.aggregate(metrics="count"))  # AggregateRows
    reveal_type(await backend.stability.delete("all"))  # int
    query = Run.find(Run.agent_id == "a").order_by("-duration").limit(3)
    reveal_type(query)  # Find[Run]
    reveal_type(await backend.runs.find(query))  # Page[Run]
    reveal_type(await backend.runs.count(query))  # int
    storage: StorageBackend = backend
    reveal_type(await storage.list_runs("a"))  # list[RunRecord]


async def artifacts(backend: RedisBackend) -> None:
    reveal_type(await backend.load_plan("a"))  # ExecutionPlan | None
    reveal_type(await backend.load_trie("a"))  # TrieEnvelope | None
    reveal_type(await backend.load_accumulators("a"))  # AccumulatorState | None
    reveal_type(await backend.load_observations("a"))  # list[PromptIR] | None
    reveal_type(await backend.load_stability("a"))  # StabilityAnalysisResult | None
    reveal_type(await backend.delete_plan("a"))  # bool


def synchronously(backend: SyncBackend) -> None:
    reveal_type(backend.find_runs().records)  # list[RunRecord]
    reveal_type(backend.stream_runs())  # RowStream[Run]
    reveal_type(backend.plans.get("a"))  # Plan | None
    reveal_type(backend.find_runs(Run.find()))  # Page[Run]


class AcmeRun(Run):
    tenant: Column[str | None] = column(metadata("tenant"))


class Feedback(Document):
    model_config = ConfigDict(str_strip_whitespace=True)
    run_id: Column[UUID] = column(links=Run)
    rating: Column[int] = column(ge=1, le=5)
    note: str = ""


class Box(Document, Generic[T]):
    item: T
    size: Column[int] = column()


async def models(backend: RedisBackend, url: str) -> None:
    acme = await RedisBackend.connect(url, models=[AcmeRun])
    reveal_type(acme)  # RedisBackend[AcmeRun]
    reveal_type(acme.runs)  # RunCollection[AcmeRun]
    reveal_type(await acme.find_runs(AcmeRun.tenant == "acme"))  # Page[AcmeRun]
    reveal_type((await acme.find_runs())[0].tenant)  # str | None
    reveal_type(AcmeRun.tenant)  # Column[str | None]
    reveal_type(await RedisBackend.connect(url, models=[Feedback]))  # RedisBackend[Run]
    reveal_type(await RedisBackend[AcmeRun].connect(url, models=[AcmeRun, Feedback]))  # RedisBackend[AcmeRun]
    feedback = backend.collection(Feedback)
    reveal_type(feedback)  # ModelCollection[Feedback]
    item = Feedback(run_id=UUID(int=1), rating=5)
    reveal_type(item.rating)  # int
    reveal_type(Box[int](item=1, size=1))  # Box[int]
    reveal_type(await backend.collection(Box[int]).get("a"))  # Box[int] | None
    reveal_type(item.pk)  # str
    reveal_type(item.stored_at)  # datetime | None
    reveal_type(await feedback.save(item))  # bool
    reveal_type(await feedback.save_many([item]))  # StoreReport
    reveal_type(await feedback.get("a"))  # Feedback | None
    reveal_type(await feedback.get_many(["a"]))  # list[Feedback | None]
    reveal_type(await feedback.update(item, rating=4, expect=item))  # Feedback
    reveal_type(await feedback.find(Feedback.rating <= 2, order_by=-Feedback.stored_at))  # Page[Feedback]
    reveal_type(await feedback.linked(item, Feedback.run_id, Run))  # Run | None
    reveal_type(await feedback.values(Feedback.run_id))  # list[UUID]
    reveal_type(await feedback.values("run_id"))  # list[Any]
    bound = backend.bind(Feedback)
    reveal_type(bound(rating=1))  # Feedback
    reveal_type(await bound.get("a"))  # Feedback
    reveal_type(await bound.find().sort_by(Feedback.rating).all())  # list[Feedback]


def models_synchronously(backend: SyncBackend) -> None:
    reveal_type(backend.collection(Feedback).get("a"))  # Feedback | None
    reveal_type(backend.bind(Feedback).find().first())  # Feedback
    reveal_type(SyncBackend.embedded(models=[AcmeRun]).find_runs())  # Page[AcmeRun]


def records() -> None:
    call = CallRecord(kind="tool", name="search", started_at=datetime.now(UTC), ext={"status": "failed"})
    reveal_type(call.kind)  # CallKind
    reveal_type(call.started_at)  # Timestamp
    run = RunRecord(agent_id="planner", calls=[call], ended_at="2026-11-23T11:19:08Z", later_field=1)
    reveal_type(run.calls)  # list[CallRecord]
    reveal_type(run.ext)  # RunExtensions | None
