"""With the real runtime: what one process learned is another one's after import and export."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis

from relay_models import RedisBackend
from relay_models.native import NativeKeys, export_native, import_native
from relay_models.records import AccumulatorState, CallExtensions, RunExtensions, from_json
from tests.native.servers import PlainRedis
from tests.native.test_import import assert_same

ROOT = Path(__file__).parent.parent.parent
AGENT = "librarian: a|b {c} 数据"
RUNS = 12


async def process(url: str, prefix: str, runs: int = RUNS) -> dict[str, Any]:
    """What a NeMo Relay process of its own tells."""
    command = [sys.executable, "-m", "tests.native.warm_agent", url, prefix, AGENT, str(runs)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    # Not the exit code: a process with the runtime may crash at its very end, after everything was written.
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def samples(client: redis.Redis, keys: NativeKeys) -> dict[str, int]:
    """How many samples each path's accumulators have."""
    state = from_json(AccumulatorState, client.get(keys.artifact("accumulators", AGENT)))
    return {path: node.all_output_tokens.count for path, node in state.nodes.items()}


async def test_another_process_goes_on_where_the_first_one_was(
    source: redis.Redis, source_url: str, store: RedisBackend, plain_redis: PlainRedis
) -> None:
    first = await process(source_url, "old:")
    assert first["facts"]["stable_prefix_length"] == 0
    assert first["stored"] == RUNS
    report = await import_native(source_url, store, native_prefix="old:")
    assert report.bad == []
    assert report.runs == RUNS
    await assert_same(source, store, NativeKeys("old:"))

    target_url = f"{plain_redis.url}/5"
    with plain_redis.client(db=5) as target:
        target.flushdb()
        await export_native(store, target_url, native_prefix="new: ")
        old, new = NativeKeys("old:"), NativeKeys("new: ")
        for key in source.scan_iter():
            moved = b"new: " + key.removeprefix(b"old:")
            if source.type(key) == b"list":
                assert target.lrange(moved, 0, -1) == source.lrange(key, 0, -1)
            else:
                assert json.loads(target.get(moved)) == json.loads(source.get(key))
        # Exported with extensions, as no release of the runtime knows them: they do not matter to it either.
        for run in await store.list_runs(AGENT):
            run.ext = RunExtensions(status="failed", session_id="s")
            run.calls[0].ext = CallExtensions(status="failed", input={"a": 1})
            await store.store_run(run)
        await export_native(store, target_url, native_prefix="new: ", strip=False)
        extended = [json.loads(target.get(key)) for key in target.scan_iter("new: runs:*")]
        assert all(run["relay_models"]["session_id"] == "s" for run in extended)
        before = samples(source, old)
        assert before[""] == 2 * RUNS

        # A third process, on the first one's own state, says what "as if it were its own" is.
        own, taken_over = await process(source_url, "old:", 1), await process(target_url, "new: ", 1)
        assert taken_over["facts"] == own["facts"]
        assert taken_over["facts"]["stable_prefix_length"] > 0
        assert samples(target, new) == samples(source, old) == {path: count + 2 for path, count in before.items()}
        assert target.llen(new.run_index(AGENT)) == RUNS + 1
