"""Spans over HTTP: stored before they are acknowledged, whatever their order, and refused where there is too much."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from relay_models import RedisBackend
from relay_models.errors import ConnectionFailedError, InvalidConfigurationError
from relay_models.receiver import Limits, SpanStore, serve_receiver
from relay_models.records import CallExtensions, CallRecord, ErrorInfo, RunExtensions, RunRecord
from relay_models.trajectories import to_otlp, to_protobuf

BEGIN = "2026-11-29T17:55:07.000000000Z"


def a_run(calls: int = 3) -> RunRecord:
    """A run whose last call failed."""
    made = [
        CallRecord(
            kind="tool", name=f"tool {number}", started_at=f"2026-11-29T17:55:0{number}Z",
            ended_at=f"2026-11-29T17:55:0{number}.5Z",
            ext=CallExtensions(status="completed", input={"key": "secret", "n": number}),
        )
        for number in range(calls)
    ]  # fmt: skip
    made[-1].ext = CallExtensions(status="failed", error=ErrorInfo(type="TimeoutError", message="late"))
    return RunRecord(
        agent_id="librarian", calls=made, started_at=BEGIN, ended_at="2026-11-29T17:55:09Z",
        ext=RunExtensions(status="completed", session_id="s1"),
    )  # fmt: skip


def parts(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A request per span, children first, as exporters send them."""
    (resource,) = request["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    return [
        {"resourceSpans": [{**resource, "scopeSpans": [{**scope, "spans": [span]}]}]}
        for span in reversed(scope["spans"])
    ]


async def post(url: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request; status, headers and body of the answer."""

    def send() -> tuple[int, dict[str, str], bytes]:
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("POST", where.path, body, {"content-type": "application/json", **named})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(send)


@asynccontextmanager
async def receiving(backend: Any, **options: Any) -> AsyncIterator[str]:
    """The URL of a receiver that runs within the block."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_receiver(backend, port=0, on_ready=ready.set_result, **options))
    done, _ = await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        task.result()
    try:
        yield ready.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def store() -> AsyncIterator[RedisBackend]:
    async with RedisBackend.embedded() as backend:
        yield backend


@pytest.mark.parametrize("form", ["json", "protobuf", "gzip"])
async def test_a_run_is_stored_when_it_is_acknowledged(store: RedisBackend, form: str) -> None:
    request = to_otlp([a_run()])
    body = to_protobuf(request) if form == "protobuf" else json.dumps(request).encode()
    headers = {"content_type": "application/x-protobuf"} if form == "protobuf" else {}
    if form == "gzip":
        body, headers = gzip.compress(body), {"content_encoding": "gzip"}
    async with receiving(store) as url:
        status, answered, content = await post(url, body, **headers)
        assert (status, content) == (200, b"" if form == "protobuf" else b"{}")
        assert answered["content-type"].startswith("application/")
        (stored,) = await store.runs.find("status = completed")
        assert (stored.agent_id, stored.session_id, stored.failed_calls) == ("librarian", "s1", 1)


async def test_spans_come_one_by_one_and_twice(store: RedisBackend) -> None:
    run = a_run()
    async with receiving(store) as url:
        for part in parts(to_otlp([run])):
            for _ in range(2):
                assert (await post(url, json.dumps(part).encode()))[0] == 200
            assert await store.runs.count()
    (stored,) = await store.runs.find()
    record = stored.record
    assert record is not None
    assert (record.agent_id, [call.name for call in record.calls]) == ("librarian", ["tool 0", "tool 1", "tool 2"])
    assert stored.error_types == ["TimeoutError"]


async def test_what_an_earlier_receiver_acknowledged_is_kept(store: RedisBackend) -> None:
    first, second, third, root = parts(to_otlp([a_run()]))
    async with receiving(store) as url:
        for part in (root, first):
            assert (await post(url, json.dumps(part).encode()))[0] == 200
    async with receiving(store) as url:
        for part in (root, second, third):
            assert (await post(url, json.dumps(part).encode()))[0] == 200
    (stored,) = await store.runs.find()
    assert stored.calls == 3
    assert stored.failed_calls == 1


async def test_calls_whose_agent_comes_to_another_receiver_are_not_lost(store: RedisBackend) -> None:
    *calls, root = parts(to_otlp([a_run()]))
    for requests in (calls, [root]):
        async with receiving(store) as url:
            for part in requests:
                assert (await post(url, json.dumps(part).encode()))[0] == 200
    assert sum(run.calls for run in await store.runs.find()) == 3


async def test_no_call_of_a_trace_that_was_forgotten_is_lost(store: RedisBackend) -> None:
    spans = SpanStore(store, max_open_bytes=1)
    *calls, root = parts(to_otlp([a_run()]))
    for part in (root, *calls):
        await spans.add(part, 1000)
    names = [call.name for run in await store.runs.find() for call in run.record.calls]  # type: ignore[union-attr]
    assert sorted(names) == ["tool 0", "tool 1", "tool 2"]


async def test_secrets_are_removed_before_anything_is_stored(store: RedisBackend) -> None:
    async with receiving(store, redact="$.calls[*].relay_models.input.key") as url:
        assert (await post(url, json.dumps(to_otlp([a_run()])).encode()))[0] == 200
    (stored,) = await store.runs.find()
    assert stored.record_json is not None
    assert "secret" not in stored.record_json
    assert stored.record.calls[0].ext.input == {"key": "[redacted]", "n": 0}  # type: ignore[union-attr]


async def test_spans_that_cannot_be_read_are_named_and_the_others_stored(store: RedisBackend) -> None:
    request = to_otlp([a_run()])
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].append({"traceId": "xx", "spanId": "y"})
    async with receiving(store) as url:
        status, _, content = await post(url, json.dumps(request).encode())
    assert status == 200
    assert json.loads(content)["partialSuccess"]["rejectedSpans"] == "1"
    assert await store.runs.count() == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"\xff\xff", {"content_type": "application/x-protobuf"}, 400),
        (b"{}", {"content_type": "text/plain"}, 415),
        (b"{}", {"content_encoding": "br"}, 415),
        (b"no gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"{}")[:-4], {"content_encoding": "gzip"}, 400),
        (b" " * 2000, {}, 413),
        (gzip.compress(b" " * 2000), {"content_encoding": "gzip"}, 413),
    ],
)
async def test_what_is_refused(store: RedisBackend, body: bytes, headers: dict[str, str], status: int) -> None:
    async with receiving(store, limits=Limits(max_request_bytes=1000)) as url:
        assert (await post(url, body, **headers))[0] == status
        assert (await post(url, b"{}"))[0] == 200


class Slow:
    """A store that waits until it is let go, or fails."""

    def __init__(self, inner: RedisBackend) -> None:
        self._inner = inner
        self.entered, self.let_go = asyncio.Event(), asyncio.Event()
        self.fails = False

    async def store_runs(self, runs: Any, **options: Any) -> Any:
        self.entered.set()
        await self.let_go.wait()
        if self.fails:
            raise ConnectionFailedError("away")
        return await self._inner.store_runs(runs, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_senders_are_asked_to_wait_while_too_much_is_to_be_stored(store: RedisBackend) -> None:
    slow = Slow(store)
    body = json.dumps(to_otlp([a_run()])).encode()
    limits = Limits(max_waiting_bytes=len(body) * 5 // 2)
    async with receiving(slow, limits=limits) as url:
        first = asyncio.create_task(post(url, body))
        await slow.entered.wait()
        status, headers, _ = await post(url, body)
        assert (status, headers["retry-after"]) == (429, "1")
        slow.let_go.set()
        assert (await first)[0] == 200
        assert (await post(url, body))[0] == 200
    assert await store.runs.count() == 1


async def test_a_request_is_not_acknowledged_while_the_store_is_away(store: RedisBackend) -> None:
    slow = Slow(store)
    slow.fails = True
    slow.let_go.set()
    body = json.dumps(to_otlp([a_run()])).encode()
    async with receiving(slow) as url:
        status, headers, _ = await post(url, body)
        assert (status, headers["retry-after"]) == (503, "1")
        slow.fails = False
        assert (await post(url, body))[0] == 200
    assert await store.runs.count() == 1


async def test_a_token_is_asked_for(store: RedisBackend) -> None:
    async with receiving(store, token="t0k3n") as url:
        assert (await post(url, b"{}"))[0] == 401
        assert (await post(url, b"{}", authorization="Bearer other"))[0] == 401
        assert (await post(url, b"{}", authorization="Bearer t0k3n"))[0] == 200


async def test_beyond_the_loopback_a_token_is_needed(store: RedisBackend) -> None:
    with pytest.raises(InvalidConfigurationError, match="token"):
        await serve_receiver(store, host="0.0.0.0", port=0)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    command = [sys.executable, "-m", "relay_models.cli"]
    with subprocess.Popen(
        [*command, "receive", "--path", str(path), "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    ) as receiver:
        try:
            assert receiver.stdout is not None
            url = json.loads(receiver.stdout.readline())["url"]
            assert asyncio.run(post(url, json.dumps(to_otlp([a_run()])).encode()))[0] == 200
        finally:
            receiver.terminate()
    listed = subprocess.run(
        [*command, "runs", "list", "--failed", "--path", str(path), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [run["agent_id"] for run in json.loads(listed.stdout)] == ["librarian"]
    with socket.socket() as closed:
        assert closed.connect_ex((urlsplit(url).hostname, urlsplit(url).port)) != 0
