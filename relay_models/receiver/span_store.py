"""`SpanStore`: stores the runs of spans as they come, so that nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from relay_models._checks import check_count
from relay_models.backend import RedisBackend
from relay_models.documents import Run
from relay_models.errors import InvalidRecordError, RelayModelsError
from relay_models.receiver.open_traces import OpenTrace, OpenTraces, RunKey
from relay_models.records import CallRecord, RunRecord, to_json
from relay_models.records.redact import Redactions, as_redactor
from relay_models.trajectories.otlp import parse_logs, parse_spans
from relay_models.trajectories.otlp.spans import LogRecord, Span

__all__ = ["Received", "SpanStore"]


@dataclass(slots=True)
class Received:
    """What became of a request."""

    spans: int = 0
    runs: int = 0
    """Runs stored."""
    rejected: int = 0
    """Spans that cannot be read."""
    problems: list[str] = field(default_factory=list)
    """Why spans or runs were not stored."""


@dataclass(slots=True, eq=False)
class _Request:
    """A request that waits to be stored."""

    spans: list[Span]
    records: list[LogRecord]
    size: int
    received: Received
    is_done: bool = False
    """Whether it is stored, or has failed."""
    failure: RelayModelsError | None = None


class SpanStore:
    """Takes export requests, and has stored what they tell when `add` returns.

    Requests that come while others are being stored wait, and are then stored together.

    Spans of a trace come in any order, in several requests and more than once. After each of them the runs of its
    trace are stored as far as they are known, and replaced when more is known. What was stored of the trace before, by
    a receiver that has ended since, is read again and completed.

    Args:
        backend: the store.
        redact: what removes secrets before a run is stored: JSON paths, functions of a run, or a `Redactor`.
        max_open_bytes: maximum size of the spans that are held for those that come later [bytes].

    Raises:
        InvalidConfigurationError: `redact` cannot work, or `max_open_bytes` is less than 1.
    """

    def __init__(self, backend: RedisBackend, *, redact: Redactions = None, max_open_bytes: int = 64 * 2**20) -> None:
        check_count("max_open_bytes", max_open_bytes)
        self._backend = backend
        self._redact = as_redactor(redact)
        self._traces = OpenTraces(max_open_bytes)
        self._lock = asyncio.Lock()
        self._waiting: list[_Request] = []

    async def add(self, request: Mapping[str, Any], size: int) -> Received:
        """Store the runs of an export request.

        Args:
            request: spans or log records as OTLP JSON.
            size: its size [bytes].

        Returns:
            What was stored and what cannot be.

        Raises:
            StorageError: the store failed; the request has to be sent again.
        """
        spans, problems = parse_spans(request)
        received = Received(len(spans), rejected=len(problems), problems=problems)
        taken = _Request(spans, parse_logs(request), size, received)
        self._waiting.append(taken)
        try:
            async with self._lock:
                if not taken.is_done:
                    await self._store_together([each for each in self._waiting if not each.is_done])
        finally:  # where this one was cancelled, another one stores those that wait
            self._waiting.remove(taken)
        if taken.failure is not None:
            raise taken.failure
        return received

    async def _store_together(self, requests: Sequence[_Request]) -> None:
        """Store the runs of requests, or note why they cannot be stored."""
        failure = None
        try:
            await self._store_traces(requests)
        except RelayModelsError as error:
            failure = error
        for request in requests:
            request.is_done, request.failure = True, failure

    async def _store_traces(self, requests: Sequence[_Request]) -> None:
        """Store each trace once, however many requests have a part of it."""
        told: dict[str, tuple[OpenTrace, list[Received]]] = {}
        for request in requests:
            for trace in self._traces.add(request.spans, request.records, request.size):
                told.setdefault(trace.trace_id, (trace, []))[1].append(request.received)
        try:
            for trace, senders in told.values():
                found = Received()
                await self._store(trace, found)
                for received in senders:
                    received.problems += found.problems
                senders[0].runs += found.runs
        finally:
            # Also where the store is away: what was not acknowledged is sent again.
            self._traces.shrink()

    async def _store(self, trace: OpenTrace, received: Received) -> None:
        if not trace.is_loaded:
            await self._load(trace)
        made: dict[RunKey, RunRecord] = {}
        is_whole = True
        for run in trace.runs(early=True):
            if isinstance(run, str):
                received.problems.append(run)
                is_whole = False
                continue
            allowed = self._redacted(run, trace, received)
            if allowed is not None:
                made[key_of(allowed)] = allowed
        digests = {key: _digest(run) for key, run in made.items()}
        changed = [run for key, run in made.items() if digests[key] is None or trace.digests.get(key) != digests[key]]
        before, trace.stored = trace.stored, trace.stored | made.keys()  # stored or not, where this is interrupted
        report = await self._backend.store_runs(changed, on_refused="skip")
        received.runs += report.stored
        received.problems += [str(refused) for refused in report.refused]
        trace.digests = {} if report.refused else digests
        if is_whole and not report.refused:
            # A run without an agent ends when the span of the agent has come, and its calls are in that one's run.
            for agent_id, run_id in before - made.keys():
                await self._backend.delete_run(agent_id, run_id)
            trace.stored = set(made)

    async def _load(self, trace: OpenTrace) -> None:
        """Take what was stored of the trace before: by a receiver that has ended, or before it was forgotten."""
        found = await self._backend.runs.find(Run.trace_id == trace.trace_id, limit=None, on_corrupt="skip")
        records = [run.record for run in found if run.record is not None]
        trace.add_stored(records)
        trace.stored |= {key_of(record) for record in records}
        trace.is_loaded = True

    def _redacted(self, run: RunRecord, trace: OpenTrace, received: Received) -> RunRecord | None:
        """The run as it may be stored; calls that were stored before have been redacted then."""
        if self._redact is None:
            return run
        before = trace.stubs
        fresh = [call for call in run.calls if _id_of(call) not in before]
        try:
            redacted = self._redact(run.model_copy(update={"calls": fresh}))
        except Exception as error:
            received.problems.append(f"run {run.id} is not stored, its redaction failed: {error}")
            return None
        if redacted is None or len(fresh) == len(run.calls):
            return redacted
        allowed = {_id_of(call): call for call in redacted.calls}
        calls = [call if _id_of(call) in before else allowed.get(_id_of(call)) for call in run.calls]
        return redacted.model_copy(update={"calls": [call for call in calls if call is not None]})


def _digest(run: RunRecord) -> bytes | None:
    """A digest of what is to be stored; None where that will be refused."""
    try:
        return blake2b(to_json(run), digest_size=16).digest()
    except InvalidRecordError:
        return None


def _id_of(call: CallRecord) -> str:
    return str(call.ext.id if call.ext is not None else None)


def key_of(run: RunRecord) -> RunKey:
    """Agent and id of a run."""
    return run.agent_id, str(run.id)
