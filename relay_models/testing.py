"""Helpers for tests: fixtures of an embedded backend with models of your own, and checks of a storage backend.

Example:
    ```python
    import pytest

    from relay_models.testing import STORAGE_CHECKS, backend_fixture, check_storage_backend

    backend = backend_fixture(AcmeRun, Feedback)


    def test_feedback(backend: RedisBackend) -> None:
        backend.collection(Feedback).save(Feedback(run_id=uuid4(), rating=5))


    @pytest.mark.parametrize("check", STORAGE_CHECKS)
    async def test_my_backend(check: str) -> None:
        async with MyBackend() as backend:
            await check_storage_backend(backend, check)
    ```
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from relay_models.backend import RedisBackend, StorageBackend
from relay_models.backend.sync import RedisBackend as SyncBackend
from relay_models.documents import Document
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    MetadataEnvelope,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
)

__all__ = ["STORAGE_CHECKS", "async_backend_fixture", "backend_fixture", "check_storage_backend"]

# Agent ids that a careless key or pattern would mix up.
_AGENTS = ("a", "a:b", "a|b", "*", " a", "a ", "", "数据", "é", 'quo"te', "line\nbreak", "nul\0l")
_START = datetime(2026, 11, 23, 10, tzinfo=UTC)


def _run(agent_id: str, number: int = 0) -> RunRecord:
    return RunRecord.model_validate(
        {
            "id": str(uuid4()),
            "agent_id": agent_id,
            "started_at": f"{_START + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S}.123456789Z",
            "calls": [],
            "of_a_later_release": {"number": number, "none": None},
        }
    )


async def _runs_are_stored_and_loaded_without_loss(backend: StorageBackend) -> None:
    run = _run("agent", 7)
    await backend.store_run(run)
    found = await backend.load_run("agent", run.id)
    assert found is not None, "load_run finds the run that was stored"
    assert found.model_dump_json() == run.model_dump_json(), "a run comes back with every field and digit"
    assert await backend.load_run("agent", str(run.id)) is not None, "a run id may be text"
    assert await backend.load_run("other", run.id) is None, "a run is its agent's"
    assert await backend.load_run("agent", uuid4()) is None, "an absent run loads as None"


async def _runs_keep_their_place_in_the_list(backend: StorageBackend) -> None:
    runs = [_run("agent", number) for number in (5, 1, 9, 3)]
    for run in runs:
        await backend.store_run(run)
    await backend.store_run(runs[1])
    report = await backend.store_runs([runs[0], _run("agent", 11)])
    assert (report.created, report.replaced, report.refused) == (1, 1, []), "store_runs counts new and replaced runs"
    listed = await backend.list_runs("agent")
    assert [run.id for run in listed[:4]] == [run.id for run in runs], "a replaced run keeps its place"
    assert len(listed) == 5, "every run is listed once"
    assert [run.id async for run in backend.iter_runs("agent")] == [run.id for run in listed], (
        "iter_runs lists the same"
    )
    latest = await backend.latest_run("agent")
    assert latest is not None, "latest_run finds a run"
    assert latest.id == listed[4].id, "the latest run is the one that started last"
    assert await backend.list_runs("an agent without runs") == [], "an agent without runs has an empty list"
    assert await backend.latest_run("an agent without runs") is None, "an agent without runs has no latest run"


async def _runs_are_deleted(backend: StorageBackend) -> None:
    run, other = _run("agent"), _run("agent")
    await backend.store_runs([run, other])
    assert await backend.delete_run("agent", run.id), "delete_run says that there was a run"
    assert not await backend.delete_run("agent", run.id), "delete_run says that there was none"
    assert [left.id for left in await backend.list_runs("agent")] == [other.id], "other runs stay"


async def _agents_are_kept_apart(backend: StorageBackend) -> None:
    for number, agent_id in enumerate(_AGENTS):
        await backend.store_runs([_run(agent_id, each) for each in range(1 + number % 3)])
        await backend.store_accumulators(agent_id, AccumulatorState.model_validate({"nodes": {}, "number": number}))
    for number, agent_id in enumerate(_AGENTS):
        assert len(await backend.list_runs(agent_id)) == 1 + number % 3, f"the runs of agent {agent_id!r} are its own"
        found = await backend.load_accumulators(agent_id)
        assert found is not None, f"agent {agent_id!r} has accumulators"
        assert found.model_dump()["number"] == number, f"the accumulators of agent {agent_id!r} are its own"
    summaries = await backend.agents()
    assert [summary.agent_id for summary in summaries] == sorted(_AGENTS), "agents are ordered by name"
    assert [summary.runs for summary in summaries] == [1 + _AGENTS.index(name) % 3 for name in sorted(_AGENTS)], (
        "agents says how many runs there are"
    )
    assert all(summary.running == summary.runs for summary in summaries), "runs without an end are running"


async def _artifacts_are_stored_loaded_and_deleted(backend: StorageBackend) -> None:
    metadata = MetadataEnvelope(agent_id="agent")
    plan = ExecutionPlan(agent_id="agent", parallel_groups=[], metadata_template=metadata)
    await backend.store_plan(plan)
    trie = TrieEnvelope.model_validate(
        {
            "version": "1",
            "generated_at": "2026-11-23T10:00:00.123456789Z",
            "workflow_name": "w",
            "root": {"name": "root", "children": {}, "predictions_by_call_index": {}, "predictions_any_index": None},
        }
    )
    await backend.store_trie("agent", trie)
    accumulators = AccumulatorState.model_validate({"nodes": {}})
    await backend.store_accumulators("agent", accumulators)
    await backend.store_observations("agent", [])
    stability = StabilityAnalysisResult.model_validate(
        {"scores": [], "stable_prefix_length": 0, "total_observations": 0}
    )
    await backend.store_stability("agent", stability)
    stored = {
        "plan": plan,
        "trie": trie,
        "accumulators": accumulators,
        "observations": [],
        "stability": stability,
    }
    for kind, record in stored.items():
        load: Callable[[str], Awaitable[Any]] = getattr(backend, f"load_{kind}")
        delete: Callable[[str], Awaitable[bool]] = getattr(backend, f"delete_{kind}")
        assert await load("agent") == record, f"load_{kind} returns what was stored"
        assert await load("other") is None, f"load_{kind} returns None where there is none"
        assert await delete("agent"), f"delete_{kind} says that there was one"
        assert not await delete("agent"), f"delete_{kind} says that there was none"
        assert await load("agent") is None, f"delete_{kind} deletes"


_CHECKS: dict[str, Callable[[StorageBackend], Awaitable[None]]] = {
    "runs without loss": _runs_are_stored_and_loaded_without_loss,
    "runs in order": _runs_keep_their_place_in_the_list,
    "deleting runs": _runs_are_deleted,
    "agents apart": _agents_are_kept_apart,
    "artifacts": _artifacts_are_stored_loaded_and_deleted,
}

STORAGE_CHECKS = tuple(_CHECKS)
"""The names of the checks, each of which takes an empty backend."""


async def check_storage_backend(backend: StorageBackend, check: str) -> None:
    """Check that a backend does what `StorageBackend` says.

    Args:
        backend: an empty backend of yours; what is stored in it stays.
        check: one of `STORAGE_CHECKS`.

    Raises:
        AssertionError: it does something else; the message says what was expected.
        KeyError: there is no such check.
    """
    await _CHECKS[check](backend)


def backend_fixture(*models: type[Document], **options: Any) -> Any:
    """Make a pytest fixture: a sync backend in memory for each test, which needs no server.

    Args:
        models: a subclass of `Run`, and document classes of your own.
        options: options of `RedisBackend.embedded`.

    Example:
        ``backend = backend_fixture(AcmeRun, Feedback)`` in a test module or a conftest.py
    """
    import pytest  # lazy: only tests have it

    given: Any = models

    @pytest.fixture
    def backend() -> Iterator[SyncBackend[Any]]:
        """A backend in memory."""
        with SyncBackend.embedded(models=given, **options) as opened:
            yield opened

    return backend


def async_backend_fixture(*models: type[Document], **options: Any) -> Any:
    """Make a pytest fixture as `backend_fixture` does, of an asyncio backend; it needs pytest-asyncio.

    Args:
        models: a subclass of `Run`, and document classes of your own.
        options: options of `RedisBackend.embedded`.
    """
    import pytest_asyncio  # lazy: only tests have it

    given: Any = models

    @pytest_asyncio.fixture
    async def backend() -> AsyncIterator[RedisBackend[Any]]:
        """A backend in memory."""
        async with RedisBackend.embedded(models=given, **options) as opened:
            yield opened

    return backend
