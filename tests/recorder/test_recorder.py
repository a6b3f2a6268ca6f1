"""The recorder beside the real runtime: the same records, no harm to the agent, nothing lost that could be kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nemo_relay
import pytest
import redis
from nemo_relay import ScopeType, ToolExecutionResult, plugin, scope, tools

from relay_models import RedisBackend
from relay_models.errors import ConnectionFailedError
from relay_models.native import NativeSource
from relay_models.recorder import PLUGIN_KIND, Recorder, component, record_runs, record_runs_in_thread, register_plugin
from relay_models.records import RunRecord, strip_extensions
from relay_models.sync import RedisBackend as SyncBackend
from tests.backend.own_models import AcmeRun
from tests.native.servers import Served
from tests.recorder.agents import SHAPES, Broken, adaptive, ask, plain, run_shapes, runtime


def comparable(runs: list[RunRecord]) -> list[Any]:
    """Runs as JSON values without extensions and ids, which the runtime makes, in the order in which they began."""
    bare = [strip_extensions(run).model_dump(mode="json") for run in runs]
    values = [{key: value for key, value in run.items() if key != "id"} for run in bare]
    return sorted(values, key=lambda run: (run["started_at"], json.dumps(run, sort_keys=True)))


async def native_runs(source: redis.Redis, url: str, agent_id: str, count: int) -> list[RunRecord]:
    """The runs that the runtime's own telemetry has stored, once there are so many."""
    deadline = time.monotonic() + 20
    async with NativeSource(url) as reader:
        while len(runs := await reader.list_runs(agent_id)) < count:
            assert time.monotonic() < deadline, f"{len(runs)} of {count}"
            await asyncio.sleep(0.02)
        return runs


@pytest.mark.parametrize("at_once", [1, 4])
async def test_the_records_are_those_of_the_runtime(
    source: redis.Redis, source_url: str, store: RedisBackend, at_once: int
) -> None:
    agent_id = "librarian: 数据 | {x}"
    names = [*SHAPES, *SHAPES, *SHAPES]
    expected = 3 * (len(SHAPES) - 1 + 1)  # one shape has no run, another has two
    async with runtime(adaptive(source_url, agent_id)), record_runs(store, agent_id) as recorder:
        await run_shapes(names, seed=at_once, at_once=at_once)
        await recorder.flush()
        theirs = await native_runs(source, source_url, agent_id, expected)
    ours = await store.list_runs(agent_id)
    assert len(ours) == expected
    assert comparable(ours) == comparable(theirs)
    assert recorder.stats.stored == expected
    assert (recorder.stats.dropped, recorder.stats.refused, recorder.stats.waiting) == (0, 0, 0)
    assert all(run.id.version == 7 for run in ours)


async def test_a_run_is_in_the_store_at_the_end_of_the_block(store: RedisBackend) -> None:
    async with record_runs(store) as recorder:
        await plain()
        await recorder.flush()
        assert [run.agent_id for run in await store.list_runs("plain")] == ["plain"]
        await plain()
    assert len(await store.list_runs("plain")) == 2
    await plain()  # nobody records any more
    await nemo_relay.subscribers.flush_async()
    assert len(await store.list_runs("plain")) == 2
    await recorder.close()


class Away:
    """A store that is away for a while, and slow."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.stored: list[RunRecord] = []

    async def store_runs(self, records: Any, **options: Any) -> Any:
        await asyncio.sleep(0.01)
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionFailedError("away")
        self.stored += records

        class Report:
            stored = len(records)
            refused: tuple[()] = ()

        return Report()


def test_a_refused_run_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def record() -> Recorder:
        async with await RedisBackend.embedded(models=[AcmeRun]) as store, record_runs(store, "nowhere") as recorder:
            await plain()
        return recorder

    with SyncBackend.embedded(models=[AcmeRun]) as store, record_runs_in_thread(store, "nowhere") as threaded:
        asyncio.run(plain())
    for stats in (asyncio.run(record()).stats, threaded.stats):
        assert (stats.refused, stats.stored) == (1, 0)
        assert "AcmeRun.region" in str(stats.last_error)
    assert caplog.text.count("no region") == 2


async def test_runs_are_kept_while_the_store_is_away() -> None:
    away = Away(failures=3)
    async with record_runs(away) as recorder:
        for _ in range(5):
            await plain()
    assert len(away.stored) == len({run.id for run in away.stored}) == 5
    stats = recorder.stats
    assert (stats.stored, stats.dropped, stats.failed_attempts, stats.last_error) == (5, 0, 3, "away")


async def test_what_had_to_be_dropped_is_counted() -> None:
    away = Away(failures=10**9)
    began = time.monotonic()
    async with record_runs(away, max_waiting=3, flush_timeout=0.3) as recorder:
        for _ in range(5):
            await plain()
        await nemo_relay.subscribers.flush_async()
        assert recorder.stats.waiting == 3
        assert recorder.stats.dropped == 2
    assert recorder.stats.dropped == 5
    assert recorder.stats.waiting == 0
    assert time.monotonic() - began < 5


async def test_the_agent_never_notices(store: RedisBackend, caplog: pytest.LogCaptureFixture) -> None:
    def bad_naming(name: str) -> str:
        raise KeyError(name)

    async with record_runs(store, bad_naming) as recorder:
        await plain()
        await ask()
    assert recorder.stats.dropped == 1
    assert "could not be recorded" in caplog.text


async def test_a_cancelled_block_stores_what_has_happened(store: RedisBackend) -> None:
    begun = asyncio.Event()

    async def recorded() -> None:
        async with record_runs(store):
            await plain()
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(recorded())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await store.list_runs("plain")) == 1


class SwallowsCancellation:
    """A store that is away, and loses a cancellation, as `asyncio.wait_for` of Python 3.11 can."""

    def __init__(self) -> None:
        self.attempts = 0
        self.entered = asyncio.Event()

    async def store_runs(self, records: Any, **options: Any) -> Any:
        self.attempts += 1
        self.entered.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise ConnectionFailedError("away")


async def test_a_swallowed_cancellation_ends_a_recorder() -> None:
    away = SwallowsCancellation()
    async with asyncio.timeout(20), record_runs(away, flush_timeout=0.05) as recorder:
        await plain()
    assert away.attempts == 1
    assert (recorder.stats.dropped, recorder.stats.waiting) == (1, 0)


async def test_a_block_that_is_cancelled_while_it_ends_counts_what_it_drops() -> None:
    away = SwallowsCancellation()

    async def recorded() -> None:
        async with record_runs(away, flush_timeout=60) as recorder:
            stats.append(recorder)
            await plain()

    stats: list[Recorder] = []
    task = asyncio.create_task(recorded())
    await away.entered.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (stats[0].stats.dropped, stats[0].stats.waiting) == (1, 0)


async def test_two_recorders_do_not_disturb_each_other(store: RedisBackend) -> None:
    async with record_runs(store, "one") as one, record_runs(store, "two") as two:
        await plain()
    assert one.stats.stored == two.stats.stored == 1
    assert {agent.agent_id for agent in await store.agents()} == {"one", "two"}


def test_from_a_thread_with_a_synchronous_store() -> None:
    with SyncBackend.embedded() as store:
        with record_runs_in_thread(store, "a") as recorder:
            asyncio.run(plain())
        assert [run.agent_id for run in store.list_runs("a")] == ["a"]
        assert recorder.stats.stored == 1
    assert all(not thread.name.startswith("relay_models.recorder") for thread in threading.enumerate())


async def test_a_threaded_recorder_that_is_closed_in_an_event_loop_has_every_run() -> None:
    with SyncBackend.embedded() as store:
        for number in range(10):
            with record_runs_in_thread(store, f"agent {number}") as recorder:
                await plain()
            assert (recorder.stats.stored, recorder.stats.dropped, recorder.stats.open) == (1, 0, 0)


async def test_a_call_that_does_not_end_keeps_no_recorder_from_closing(store: RedisBackend) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    async def hang(arguments: Any) -> ToolExecutionResult:
        has_begun.set()
        await asyncio.to_thread(may_end.wait, 60)
        return ToolExecutionResult(arguments)

    async def other() -> None:
        with scope.scope("other", ScopeType.Agent):
            await tools.execute("hang", {}, hang)

    with ThreadPoolExecutor() as executor, SyncBackend.embedded() as kept:
        hanging = executor.submit(asyncio.run, other())
        try:
            await asyncio.to_thread(has_begun.wait, 60)
            async with record_runs(store, "a", flush_timeout=0.5) as recorder:
                await plain()
            with record_runs_in_thread(kept, "a", flush_timeout=0.5) as threaded:
                await plain()
        finally:
            may_end.set()
        hanging.result()
    assert (recorder.stats.stored, threaded.stats.stored) == (1, 1)


def test_an_outage_of_a_real_server_is_sat_out(tmp_path: Path) -> None:
    server = Served(tmp_path)
    try:
        server.start()
        with SyncBackend.connect(server.url, "rec:", retries=0) as store:
            with record_runs_in_thread(store, "a") as recorder:
                asyncio.run(plain())
                server.kill()
                for _ in range(3):
                    asyncio.run(plain())
                server.start()
            assert recorder.stats.dropped == 0
            runs = store.list_runs("a")
            assert len(runs) == len({run.id for run in runs}) == 4
    finally:
        server.kill()


async def test_as_a_component_of_the_runtime(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with runtime(component(path=str(path), key_prefix="p:", agent_id="configured")):
        assert PLUGIN_KIND in plugin.list_kinds()
        await plain()
    register_plugin()
    deadline = time.monotonic() + 10
    while any(thread.name.startswith("relay_models.recorder") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    async with await RedisBackend.embedded(path, "p:") as store:
        assert [run.agent_id for run in await store.list_runs("configured")] == ["configured"]


async def test_a_component_knows_own_columns(tmp_path: Path) -> None:
    path, columns = tmp_path / "runs.db", "tests.backend.own_models:AcmeRun"
    async with runtime(component(path=str(path), agent_id="configured", models=[columns])):
        await plain()
    deadline = time.monotonic() + 10
    while any(thread.name.startswith("relay_models.recorder") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    async with await RedisBackend.embedded(path, models=[AcmeRun]) as store:
        assert [run.region for run in await store.runs.find()] == ["eu"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "url or path"),
        ({"path": "p", "models": ["no_such_module"]}, "no_such_module"),
        ({"path": "p", "models": "tests.backend.own_models"}, "models"),
        ({"path": "p", "models": [1]}, "names of modules"),
        ({"url": "redis://h", "path": "p"}, "url or path"),
        ({"url": "http://h"}, "redis://"),
        ({"url": "redis://h", "max_waiting": "many"}, "max_waiting"),
        ({"path": "p", "max_waiting": True}, "max_waiting"),
        ({"path": "p", "redact": "$.a"}, "redact"),
        ({"path": "p", "redact": ["$..["]}, "JSON path"),
        ({"path": "p", "keep_io": 1}, "keep_io"),
    ],
)
async def test_a_wrong_configuration_is_refused_by_the_runtime(config: dict[str, Any], said: str) -> None:
    report = plugin.validate_exact(plugin.PluginConfig(components=[component(**config)]))["config"]
    assert any(each["level"] == "error" and said in each["message"] for each in report["diagnostics"])


def test_runs_are_stored_at_the_exit_of_a_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    script = """
import asyncio, sys
from relay_models.recorder import ThreadedRecorder
from relay_models.sync import RedisBackend
from tests.recorder.agents import plain
ThreadedRecorder(lambda: RedisBackend.embedded(sys.argv[1]), "a").start()
asyncio.run(plain())
"""
    # The exit code says nothing: a process with the runtime may crash at its very end, after everything was written.
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    with SyncBackend.embedded(path) as store:
        assert len(store.list_runs("a")) == 1


async def test_recorders_start_and_close_by_hand(store: RedisBackend) -> None:
    recorder = Recorder(store, "by hand")
    await recorder.start()
    await plain()
    await recorder.close()
    await recorder.close()
    assert len(await store.list_runs("by hand")) == 1


def test_the_tested_runtime_is_the_one_that_is_named() -> None:
    from importlib.metadata import version

    documented = (Path(__file__).parents[2] / "docs" / "guides" / "nemo-relay.md").read_text(encoding="utf-8")
    assert f"`nemo-relay` {version('nemo-relay')}" in documented or f"and {version('nemo-relay')}" in documented


async def test_failures_and_io_are_recorded_and_secrets_are_not(store: RedisBackend) -> None:
    def without_tools(run: RunRecord) -> RunRecord | None:
        return None if run.agent_id == "private" else run

    names = iter(["public", "private"])
    redact = ["$.calls[*].relay_models.input", without_tools]
    async with record_runs(store, lambda _: next(names), redact=redact, max_text_length=100) as recorder:
        await failing()
        await failing()
    assert (recorder.stats.stored, recorder.stats.withheld, recorder.stats.dropped) == (1, 1, 0)
    (run,) = await store.runs.find()
    assert run.agent_id == "public"
    assert run.failed_calls == 1
    record = run.record
    assert record is not None
    failed = record.calls[-1].ext
    assert failed is not None
    assert failed.error is not None
    assert failed.input == {}
    assert record.ext is not None
    assert record.ext.redacted == ["$.calls[*].relay_models.input"]


async def test_a_run_whose_redaction_fails_is_not_stored(store: RedisBackend, caplog: pytest.LogCaptureFixture) -> None:
    def fails(run: RunRecord) -> RunRecord:
        raise RuntimeError("no")

    async with record_runs(store, redact=fails) as recorder:
        await plain()
    assert (recorder.stats.stored, recorder.stats.withheld) == (0, 1)
    assert "redaction failed" in caplog.text


def test_input_and_output_are_left_out_on_request() -> None:
    with SyncBackend.embedded() as store:
        with record_runs_in_thread(store, "a", keep_io=False, redact="$..nothing"):
            asyncio.run(failing())
        (run,) = store.list_runs("a")
    assert all(call.ext is not None and call.ext.input is None and call.ext.output is None for call in run.calls)
    assert any(call.ext is not None and call.ext.status == "failed" for call in run.calls)


async def failing() -> None:
    """An agent whose tool fails."""

    async def search(arguments: Any) -> Any:
        raise Broken(f"no shelf for {arguments}")

    with scope.scope("librarian", ScopeType.Agent), contextlib.suppress(Exception):
        await tools.execute("search", {"title": "secret"}, search)
