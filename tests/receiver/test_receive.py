"""Spans over HTTP: stored before they are acknowledged, whatever their order, and refused where there is too much."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import http.client
import json
import random
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from relay_models import RedisBackend
from relay_models.errors import ConnectionFailedError, InvalidConfigurationError
from relay_models.receiver import Limits, SpanStore, serve_receiver
from relay_models.records import CallExtensions, CallRecord, ErrorInfo, RunExtensions, RunRecord
from relay_models.trajectories import read_runs, to_otlp, to_protobuf
from tests.trajectories.events import nested

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


async def sent(store: RedisBackend, *batches: list[dict[str, Any]], **options: Any) -> None:
    """Send each batch of requests to a receiver of its own."""
    for batch in batches:
        async with receiving(store, **options) as url:
            for part in batch:
                assert (await post(url, json.dumps(part).encode()))[0] == 200


async def stored(store: RedisBackend) -> dict[str, RunRecord]:
    """The runs of the store by agent; there is one of each."""
    found = [run.record for run in await store.runs.find() if run.record is not None]
    by_agent = {run.agent_id: run for run in found}
    assert len(by_agent) == len(found)
    return by_agent


def comparable(run: RunRecord) -> dict[str, Any]:
    value: dict[str, Any] = run.model_dump(mode="json")
    return value


def nested_runs() -> list[RunRecord]:
    """An agent whose tool runs another one, as they are read from spans."""
    runs = [result.run for result in read_runs(nested().lines) if result.run is not None]
    again = [result.run for result in read_runs([json.dumps(to_otlp(runs))]) if result.run is not None]
    return sorted(again, key=lambda run: run.agent_id)


async def test_an_agent_that_comes_after_a_restart_has_its_calls(store: RedisBackend) -> None:
    *calls, root = parts(to_otlp([a_run()]))
    await sent(store, calls)
    assert list(await stored(store)) == ["relay-models"]  # named after the service
    await sent(store, [root])
    (run,) = (await stored(store)).values()
    assert (run.agent_id, len(run.calls)) == ("librarian", 3)
    assert [call.name for call in run.calls] == ["tool 0", "tool 1", "tool 2"]


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_repetition_and_restarts_give_the_same_runs(store: RedisBackend, seed: int) -> None:
    requests = parts(to_otlp(nested_runs()))
    expected = {run.agent_id: comparable(run) for run in nested_runs()}
    draw = random.Random(seed)
    requests += draw.sample(requests, 3)  # delivered twice
    draw.shuffle(requests)
    cuts = sorted(draw.sample(range(1, len(requests)), 3))
    await sent(store, *(requests[start:end] for start, end in zip([0, *cuts], [*cuts, len(requests)], strict=True)))
    assert {agent: comparable(run) for agent, run in (await stored(store)).items()} == expected


async def test_a_span_between_agent_and_call_that_another_receiver_had(store: RedisBackend) -> None:
    """An HTTP request is between: it has come before the restart, or comes after it."""
    request = to_otlp([a_run(1)])
    agent, call = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    between = {**call, "spanId": "b" * 16, "name": "POST", "attributes": []}
    call["parentSpanId"] = between["spanId"]

    def only(span: dict[str, Any]) -> dict[str, Any]:
        return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}

    for batches in ([[call, between], [agent]], [[call], [between], [agent]], [[call], [agent], [between]]):
        async with RedisBackend.embedded() as fresh:
            await sent(fresh, *[[only(span) for span in batch] for batch in batches])
            (run,) = (await stored(fresh)).values()
            assert (run.agent_id, [made.name for made in run.calls]) == ("librarian", ["tool 0"])
            assert run.calls[0].ext is not None
            assert run.calls[0].ext.metadata is None


async def test_calls_that_were_redacted_before_are_not_redacted_again(store: RedisBackend) -> None:
    *calls, root = parts(to_otlp([a_run()]))
    seen: list[int] = []

    def stamp(run: RunRecord) -> RunRecord:
        seen.append(len(run.calls))
        return run

    await sent(store, calls, [root], redact=[stamp, "$.calls[*].relay_models.input.key"])
    (run,) = (await stored(store)).values()
    assert [call.ext.input for call in run.calls[:2] if call.ext] == [{"key": "[redacted]", "n": n} for n in (0, 1)]
    assert seen[-1] == 0
    assert len(run.calls) == 3


def messages_of(request: dict[str, Any], call: str) -> dict[str, Any]:
    """A request of log records with the messages of a call, as OpenTelemetry's own instrumentation sends them."""
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    (span,) = [span for span in spans if span["name"].endswith(call)]
    ids = {"traceId": span["traceId"], "spanId": span["spanId"]}

    def record(name: str, **body: Any) -> dict[str, Any]:
        values = [{"key": key, "value": {"stringValue": text}} for key, text in body.items()]
        at = span["startTimeUnixNano"]
        return {**ids, "timeUnixNano": at, "eventName": name, "body": {"kvlistValue": {"values": values}}}

    records = [record("gen_ai.user.message", content="hi"), record("gen_ai.choice", message="hello")]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [*records, {"body": {"stringValue": "started"}}]}]}]}


@pytest.mark.parametrize("form", ["json", "protobuf"])
async def test_messages_that_come_as_log_records(store: RedisBackend, form: str) -> None:
    call = CallRecord(
        kind="llm",
        name="openai",
        model_name="m",
        started_at="2026-11-29T17:55:08Z",
        ended_at="2026-11-29T17:55:09Z",
    )
    run = RunRecord(agent_id="a", calls=[call], started_at=BEGIN, ended_at="2026-11-29T17:55:09Z")
    spans = to_otlp([run])
    logs = messages_of(spans, "m")
    llm, agent = parts(spans)

    async def send(url: str, request: dict[str, Any]) -> None:
        url = url.replace("traces", "logs") if "resourceLogs" in request else url
        if form == "protobuf" and "resourceLogs" in request:
            body = json_format.ParseDict(request_with_base64(request), ExportLogsServiceRequest()).SerializeToString()
            assert (await post(url, body, content_type="application/x-protobuf"))[0] == 200
        else:
            assert (await post(url, json.dumps(request).encode()))[0] == 200

    for batches in ([[logs, llm, agent]], [[llm, agent, logs]], [[logs], [llm, agent]], [[llm, agent], [logs, logs]]):
        async with RedisBackend.embedded() as fresh:
            for batch in batches:
                async with receiving(fresh) as url:
                    for request in batch:
                        await send(url, request)
                        assert await fresh.runs.count() == 1  # acknowledged is stored
            (read,) = (await stored(fresh)).values()
            assert read.agent_id == "a"
            (made,) = read.calls
            assert made.annotated_request is not None
            assert made.annotated_response is not None
            assert [message.text for message in made.annotated_request.messages] == ["hi"]
            assert made.annotated_response.text == "hello"
            assert made.ended_at is not None
            assert made.model_name == "m"


def request_with_base64(value: Any) -> Any:
    """OTLP JSON as protobuf's own JSON, which has ids in base64."""
    if isinstance(value, dict):
        ids = {key: value[key] for key in ("traceId", "spanId") if key in value}
        encoded = {key: base64.b64encode(bytes.fromhex(text)).decode() for key, text in ids.items()}
        return {key: request_with_base64(item) for key, item in value.items()} | encoded
    return [request_with_base64(item) for item in value] if isinstance(value, list) else value


async def test_no_call_of_a_trace_that_was_forgotten_is_lost(store: RedisBackend) -> None:
    spans = SpanStore(store, max_open_bytes=1)
    *calls, root = parts(to_otlp([a_run()]))
    for part in (root, *calls):
        await spans.add(part, 1000)
    (run,) = (await stored(store)).values()
    assert [call.name for call in run.calls] == ["tool 0", "tool 1", "tool 2"]


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
        (gzip.compress(b"{}", mtime=0)[:-4], {"content_encoding": "gzip"}, 400),
        (b" " * 2000, {}, 413),
        (gzip.compress(b" " * 2000, mtime=0), {"content_encoding": "gzip"}, 413),
    ],
)
async def test_what_is_refused(store: RedisBackend, body: bytes, headers: dict[str, str], status: int) -> None:
    async with receiving(store, limits=Limits(max_request_bytes=1000)) as url:
        assert (await post(url, body, **headers))[0] == status
        assert (await post(url, b"{}"))[0] == 200


class Slow:
    """A store that waits until it is let go, or fails."""

    def __init__(self, inner: RedisBackend, *, stores_first: bool = False) -> None:
        self._inner = inner
        self._stores_first = stores_first
        self.entered, self.let_go = asyncio.Event(), asyncio.Event()
        self.fails = False

    async def store_runs(self, runs: Any, **options: Any) -> Any:
        if self._stores_first:
            await self._inner.store_runs(runs, **options)
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
    limits = Limits(max_request_bytes=len(body), max_waiting_bytes=len(body) * 5 // 2)
    async with receiving(slow, limits=limits) as url:
        first = asyncio.create_task(post(url, body))
        await slow.entered.wait()
        status, headers, _ = await post(url, body)
        assert (status, headers["retry-after"]) == (429, "1")
        slow.let_go.set()
        assert (await first)[0] == 200
        assert (await post(url, body))[0] == 200
    assert await store.runs.count() == 1


async def test_requests_that_wait_are_stored_together(store: RedisBackend) -> None:
    """And each sender is told what became of its own."""
    slow = Slow(store)
    spans = SpanStore(slow)  # type: ignore[arg-type]
    *calls, root = parts(to_otlp([a_run()]))
    odd = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xx"}]}]}]}
    first = asyncio.create_task(spans.add(root, 100))
    await slow.entered.wait()
    others = [asyncio.create_task(spans.add(request, 100)) for request in (*calls, odd)]
    cancelled = asyncio.create_task(spans.add(calls[0], 100))
    await asyncio.sleep(0)
    cancelled.cancel()
    slow.let_go.set()
    received = await asyncio.gather(first, *others)
    assert [each.rejected for each in received] == [0, 0, 0, 0, 1]
    assert sum(each.runs for each in received) == 2  # the first, and all the others together
    (run,) = (await stored(store)).values()
    assert len(run.calls) == 3


async def test_a_run_that_did_not_change_is_not_stored_again(store: RedisBackend) -> None:
    spans = SpanStore(store)
    request = to_otlp(nested_runs())
    assert (await spans.add(request, 100)).runs == 2
    assert (await spans.add(request, 100)).runs == 0
    *_, last = parts(request)
    last["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["endTimeUnixNano"] = "1893456000000000000"
    assert (await spans.add(last, 100)).runs == 1


@pytest.mark.parametrize("wrong", [{"max_waiting": 0}, {"max_request_bytes": 2**27}])
def test_limits_that_cannot_work(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidConfigurationError, match="max_waiting"):
        Limits(**wrong)


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


async def test_a_receiver_that_is_cancelled_answers_what_it_is_storing(store: RedisBackend) -> None:
    slow = Slow(store)
    body = json.dumps(to_otlp([a_run()])).encode()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_receiver(slow, port=0, on_ready=ready.set_result))  # type: ignore[arg-type]
    sent = asyncio.create_task(post(await ready, body))
    await slow.entered.wait()
    task.cancel()
    await asyncio.sleep(0)
    slow.let_go.set()
    assert (await sent)[0] == 200
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.runs.count() == 1


@pytest.mark.parametrize("fault", ["cancelled", "the store is away"])
async def test_a_request_that_was_interrupted_can_be_sent_again(store: RedisBackend, fault: str) -> None:
    """Also where the store had it already: calls that then find their agent are not in two runs."""
    slow = Slow(store, stores_first=True)
    spans = SpanStore(slow)  # type: ignore[arg-type]
    *calls, root = parts(to_otlp([a_run()]))
    adding = asyncio.create_task(spans.add(calls[0], 100))
    await slow.entered.wait()
    if fault == "cancelled":
        adding.cancel()
    else:
        slow.fails = True
        slow.let_go.set()
    with pytest.raises((asyncio.CancelledError, ConnectionFailedError)):
        await adding
    slow.fails = False
    slow.let_go.set()
    for part in (root, *calls):
        await spans.add(part, 100)
    (run,) = (await stored(store)).values()
    assert (run.agent_id, len(run.calls)) == ("librarian", 3)


async def test_what_is_held_is_bounded_while_the_store_is_away() -> None:
    """Senders send again what was not acknowledged, so that nothing of it needs to be kept."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise ConnectionFailedError("away")

    spans = SpanStore(Away(), max_open_bytes=400_000)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for _ in range(60):
            request = to_otlp([a_run()])
            for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
                span["attributes"].append({"key": "much", "value": {"stringValue": random.randbytes(10_000).hex()}})
            with pytest.raises(ConnectionFailedError):
                await spans.add(request, 80_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2_000_000


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
