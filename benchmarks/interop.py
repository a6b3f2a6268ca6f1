"""How fast a deployment is imported and what recording costs an agent: ``python -m benchmarks.interop``.

Starts a plain redis-server for NeMo Relay's side. The store is the one at ``--url``, else embedded in memory. The raw
way of an import reads the same keys with MGET and writes ready bytes with pipelined JSON.SET, batch by batch.
"""

import argparse
import asyncio
import gzip
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from rich.console import Console
from rich.table import Table

from benchmarks.results import Result, Setup
from relay_models.documents import Keys, encode_run
from relay_models.native import NativeKeys
from relay_models.native.sync import Follower, import_native
from relay_models.records import RunRecord, from_json, uuid7
from relay_models.sync import RedisBackend

CAPTURE = Path(__file__).parent.parent / "tests" / "data" / "capture.jsonl.gz"
KEYS = NativeKeys()
BATCH = 200


@contextmanager
def plain_redis() -> Iterator[str]:
    """A redis-server without modules; its URL."""
    if shutil.which("redis-server") is None:
        raise SystemExit("needs redis-server (Debian: apt install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        command = ["redis-server", "--port", str(port), "--save", "", "--dir", directory, "--loglevel", "warning"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(port=port) as client:
                while True:
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def fill(url: str, count: int) -> None:
    """`count` runs of five agents with the captured content, as NeMo Relay stores them."""
    with gzip.open(CAPTURE, "rt", encoding="utf-8") as lines:
        values = [json.loads(line) for line in lines]
    runs = [json.loads(value["value"]) for value in values if value["key"].startswith("nemo_relay:runs:")]
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            run = runs[number % len(runs)]
            run_id = str(uuid7())
            text = json.dumps({**run, "id": run_id}, ensure_ascii=False, separators=(",", ":"))
            pipeline.set(KEYS.run(run["agent_id"], run_id), text.encode())
            pipeline.rpush(KEYS.run_index(run["agent_id"]), run_id)
            if number % 500 == 499:
                pipeline.execute()
        pipeline.execute()


def ready_documents(url: str, store: RedisBackend) -> list[list[tuple[bytes, bytes, bytes]]]:
    """Native keys, and for each the key and the document that the store keeps, in batches."""
    keys = Keys(store.key_prefix)
    batches: list[list[tuple[bytes, bytes, bytes]]] = []
    with redis.Redis.from_url(url) as source:
        native = list(source.scan_iter(match=b"nemo_relay:runs:*", count=5000))
        for start in range(0, len(native), BATCH):
            part = native[start : start + BATCH]
            runs = [from_json(RunRecord, text or b"") for text in source.mget(part)]
            documents = [encode_run(run, start + number) for number, run in enumerate(runs)]
            names = [keys.run(run.agent_id, run.id) for run in runs]
            batches.append(list(zip(part, names, documents, strict=True)))
    return batches


def write_raw(url: str, store: RedisBackend, batches: list[list[tuple[bytes, bytes, bytes]]], prefix: bytes) -> float:
    """Read with MGET, write ready bytes with pipelined JSON.SET under a prefix; the seconds that it took."""
    client: Any = store.client
    began = time.perf_counter()
    with redis.Redis.from_url(url) as source:
        for batch in batches:
            source.mget([native for native, _, _ in batch])
            pipeline = client.pipeline(transaction=False)
            for _, key, document in batch:
                pipeline.execute_command("JSON.SET", prefix + key, "$", document)
            pipeline.execute()
    seconds = time.perf_counter() - began
    for batch in batches:
        client.delete(*(prefix + key for _, key, _ in batch))
    return seconds


def open_store(url: str | None) -> RedisBackend:
    """An empty store under a prefix of its own."""
    prefix = f"bench-{uuid4().hex}:"
    return RedisBackend.connect(url, prefix) if url else RedisBackend.embedded(None, prefix)


def remove_store(store: RedisBackend, url: str | None) -> None:
    """Take away all that a store has left on a server."""
    client: Any = store.client
    for name in client.execute_command("FT._LIST") if url else ():
        if name.decode().startswith(store.key_prefix):
            client.execute_command("FT.DROPINDEX", name, "DD")
    for key in client.scan_iter(match=f"{store.key_prefix}*", count=1000) if url else ():
        client.delete(key)
    store.close()


@dataclass
class ImportTimes:
    """Seconds: raw commands, the same where nothing is indexed, an import, a second one, an idle look."""

    raw: float = float("inf")
    bare: float = float("inf")
    ours: float = float("inf")
    second: float = float("inf")
    idle: float = float("inf")


def measure_import(source_url: str, store_url: str | None, count: int, rounds: int) -> ImportTimes:
    """What an import takes, and raw commands for the same."""
    fill(source_url, count)
    best = ImportTimes()
    raw_store = open_store(store_url)
    batches = ready_documents(source_url, raw_store)
    for _ in range(rounds):
        best.bare = min(best.bare, write_raw(source_url, raw_store, batches, b"unindexed-"))
        best.raw = min(best.raw, write_raw(source_url, raw_store, batches, b""))
        store = open_store(store_url)
        began = time.perf_counter()
        report = import_native(source_url, store)
        best.ours = min(best.ours, time.perf_counter() - began)
        assert report.created == count
        assert not report.bad
        began = time.perf_counter()
        assert import_native(source_url, store).runs == 0
        best.second = min(best.second, time.perf_counter() - began)
        follower = Follower(source_url, store)
        follower.look()
        began = time.perf_counter()
        for _ in range(200):
            follower.look()
        best.idle = min(best.idle, (time.perf_counter() - began) / 200)
        follower.close()
        remove_store(store, store_url)
    remove_store(raw_store, store_url)
    return best


def import_table(best: ImportTimes, store_url: str | None, count: int) -> Table:
    """The table of the import's rates."""
    title = f"{count:,} native runs into {store_url or 'the embedded engine'}"
    table = Table("import", "seconds", "runs/s", "of raw", title=title)
    for name, seconds in (
        ("raw: MGET, JSON.SET of ready bytes", best.raw),
        ("the same where nothing is indexed", best.bare),
        ("import_native", best.ours),
    ):
        table.add_row(name, f"{seconds:.2f}", f"{count / seconds:,.0f}", f"{best.raw / seconds:.2f}")
    table.add_row("import_native again, nothing new", f"{best.second:.2f}", "", "")
    table.add_row("one look of an idle follower", f"{best.idle * 1000:.2f} ms", "", "")
    return table


async def agent(calls: int) -> None:
    """An agent whose model and tool answer at once."""
    import nemo_relay
    from nemo_relay import LLMRequest, ScopeType, ToolExecutionResult, codecs, llm, scope, tools

    chat = codecs.OpenAIChatCodec()
    messages: list[Any] = [{"role": "user", "content": "where? " * 40}]
    reply: dict[str, Any] = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "there " * 60}}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100},
    }  # fmt: skip

    async def provider(_: Any) -> Any:
        return reply

    async def tool(_: Any) -> Any:
        return ToolExecutionResult({"found": True})

    for _ in range(calls // 10):
        with scope.scope("bench", ScopeType.Agent):
            for _ in range(5):
                request = LLMRequest({}, {"model": "m", "messages": messages})
                await llm.execute("openai", request, provider, codec=chat, response_codec=chat)
                await tools.execute("find", {"q": 1}, tool)
    await nemo_relay.subscribers.flush_async()


async def measure_recorder(store_url: str | None, calls: int, rounds: int) -> dict[str, float]:
    """Seconds per call: of the agent from its first call until all events are delivered."""
    from relay_models import RedisBackend as AsyncBackend
    from relay_models.recorder import record_runs

    prefix = f"bench-{uuid4().hex}:"
    backend = await (AsyncBackend.connect(store_url, prefix) if store_url else AsyncBackend.embedded(None, prefix))
    off = on = nothing = float("inf")
    import nemo_relay

    async with backend:
        await agent(calls)
        for _ in range(rounds):
            began = time.perf_counter()
            await agent(calls)
            off = min(off, time.perf_counter() - began)
            nemo_relay.subscribers.register("nothing", lambda event: None)
            began = time.perf_counter()
            await agent(calls)
            nothing = min(nothing, time.perf_counter() - began)
            nemo_relay.subscribers.deregister("nothing")
            async with record_runs(backend) as recorder:
                began = time.perf_counter()
                await agent(calls)
                on = min(on, time.perf_counter() - began)
            assert recorder.stats.dropped == 0
            assert recorder.stats.stored == calls // 10
        if store_url:
            for name in await backend.client.execute_command("FT._LIST"):
                if name.decode().startswith(prefix):
                    await backend.client.execute_command("FT.DROPINDEX", name, "DD")
    ways = {"recorder off": off, "a subscriber that does nothing": nothing, "recorder on": on}
    return {name: seconds / calls for name, seconds in ways.items()}


def recorder_table(ways: dict[str, float]) -> Table:
    """The table of what recording costs."""
    table = Table("agent", "µs per call", "more", title="recording, with a model and tools that answer at once")
    for name, seconds in ways.items():
        table.add_row(name, f"{seconds * 1e6:,.0f}", f"+{(seconds - ways['recorder off']) * 1e6:,.0f}")
    return table


def results(setup: Setup) -> Iterator[Result]:
    """The import's rate, and what recording costs."""
    with plain_redis() as source_url:
        best = measure_import(source_url, setup.url, min(setup.runs, 20_000), setup.rounds)
    yield Result("import_native, rate", best.raw / best.ours, vs="MGET and JSON.SET", bar=0.5, at_least=True)
    yield Result("one look of an idle follower", best.idle * 1000, unit="ms")
    ways = asyncio.run(measure_recorder(setup.url, 2_000, setup.rounds))
    yield Result("recording a call", (ways["recorder on"] - ways["recorder off"]) * 1e6, unit="µs")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--url", default=os.environ.get("RELAY_MODELS_TEST_REDIS_URL"), help="a Redis with JSON and search"
    )
    parser.add_argument("--runs", type=int, default=20_000, help="native runs to import")
    parser.add_argument("--calls", type=int, default=2_000, help="calls of the agent that is recorded")
    parser.add_argument("--rounds", type=int, default=3, help="the best one of so many rounds counts")
    options = parser.parse_args()
    console = Console()
    with plain_redis() as source_url:
        best = measure_import(source_url, options.url, options.runs, options.rounds)
    console.print(import_table(best, options.url, options.runs))
    console.print(recorder_table(asyncio.run(measure_recorder(options.url, options.calls, options.rounds))))


if __name__ == "__main__":
    main()
