"""With the real runtime: its event file gives its own records, and it starts from records with extensions."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis
from nemo_relay import LLMRequest, ScopeType, llm, observability, scope

from relay_models.records import CallExtensions, ErrorInfo, RunExtensions, RunRecord, strip_extensions
from relay_models.trajectories import read_runs
from tests.native.conftest import plain_redis, source, source_url
from tests.recorder.agents import SHAPES, adaptive, request, run_shapes, runtime

__all__ = ["plain_redis", "source", "source_url"]

ROOT = Path(__file__).parent.parent.parent
AGENT = "librarian"


def comparable(runs: list[RunRecord]) -> list[Any]:
    """Runs as JSON without extensions and without ids, which the runtime's telemetry makes for itself."""
    values = [strip_extensions(run).model_dump(mode="json") for run in runs]
    for value in values:
        del value["id"]
    return sorted(values, key=lambda value: (value["started_at"], json.dumps(value, sort_keys=True)))


def stored(client: redis.Redis, count: int, prefix: str = "nemo_relay:") -> dict[bytes, RunRecord]:
    """The runs in the runtime's Redis, once all are there."""
    deadline = time.monotonic() + 20
    while len(keys := list(client.scan_iter(f"{prefix}runs:*"))) < count:
        assert time.monotonic() < deadline, f"{len(keys)} of {count}"
        time.sleep(0.02)
    return {key: RunRecord.model_validate_json(client.get(key)) for key in keys}


async def test_events_give_the_records_of_the_telemetry(source: redis.Redis, source_url: str, tmp_path: Path) -> None:
    sink = observability.AtofFileSinkConfig(output_directory=str(tmp_path), filename="events.jsonl")
    config = observability.ObservabilityConfig(atof=observability.AtofConfig(enabled=True, sinks=[sink]))
    names = [*SHAPES, *SHAPES]
    async with runtime(adaptive(source_url, AGENT), observability.ComponentSpec(config)):
        await run_shapes(names, seed=5, at_once=4)
    theirs = await asyncio.to_thread(stored, source, 2 * len(SHAPES))
    results = list(read_runs(tmp_path / "events.jsonl", agent_id=AGENT))
    ours = [result.run for result in results if result.run is not None]
    assert len(ours) == len(results)
    assert comparable(ours) == comparable(list(theirs.values()))
    failed = [call.ext for run in ours for call in run.calls if call.ext is not None and call.ext.status == "failed"]
    assert len(failed) == 2 * 3  # two of the failing agent, one of that without codecs, each twice
    assert {ext.error.type for ext in failed if ext.error is not None} == {"Broken"}
    assert sum(run.ext is not None and run.ext.status == "failed" for run in ours) == 2  # the raising agent
    assert sum(run.ext is not None and run.ext.parent_run_id is not None for run in ours) == 2  # the inner agents


async def test_a_streamed_call_tells_when_its_first_token_came(tmp_path: Path) -> None:
    async def provider(_: LLMRequest) -> AsyncIterator[Any]:
        for _ in range(3):
            await asyncio.sleep(0.002)
            yield {"choices": [{"delta": {"content": "x"}}]}

    sink = observability.AtofFileSinkConfig(output_directory=str(tmp_path), filename="events.jsonl")
    config = observability.ObservabilityConfig(atof=observability.AtofConfig(enabled=True, sinks=[sink]))
    async with runtime(observability.ComponentSpec(config)):
        with scope.scope("streaming", ScopeType.Agent):
            stream = await llm.stream_execute("openai", request("?"), provider, lambda _: None, lambda: {"text": "xxx"})
            async for _ in stream:
                pass
    (run,) = [result.run for result in read_runs(tmp_path / "events.jsonl") if result.run]
    (call,) = run.calls
    assert call.ext is not None
    assert call.ext.time_to_first_token_ms is not None
    assert call.duration is not None
    assert 2 <= call.ext.time_to_first_token_ms <= call.duration.total_seconds() * 1000


def process(url: str, prefix: str, runs: int) -> dict[str, Any]:
    """What a NeMo Relay process of its own tells."""
    command = [sys.executable, "-m", "tests.native.warm_agent", url, prefix, AGENT, str(runs)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    # The runtime may crash at its exit, when its answer has been printed.
    assert done.stdout, done.stderr
    assert "rror" not in done.stderr, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_a_warm_start_from_records_with_extensions(source: redis.Redis, source_url: str) -> None:
    """The runtime learns from the same state in two prefixes; in one of them the records have extensions."""
    process(source_url, "bare:", 8)
    for key in source.scan_iter("bare:*"):
        source.copy(key, b"more:" + key.removeprefix(b"bare:"))
    for key, run in stored(source, 8, "more:").items():
        run.ext = RunExtensions(status="failed", session_id="s", parent_run_id=run.id, metadata={"k": [1, {"x": None}]})
        for call in run.calls:
            call.ext = CallExtensions(status="failed", error=ErrorInfo(type="E"), input={"a": 1}, output=["x"])
        source.set(key, run.model_dump_json())
    bare, more = process(source_url, "bare:", 2), process(source_url, "more:", 2)
    assert more["facts"] == bare["facts"]
    assert more["facts"]["stable_prefix_length"] > 0
    assert more["stored"] == bare["stored"] == 2
    assert len(stored(source, 10, "more:")) == 10
