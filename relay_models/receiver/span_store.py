"""`SpanStore`: stores the runs of spans as they come, so that nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_models.backend import RedisBackend
from relay_models.receiver.open_traces import OpenTrace, OpenTraces, RunKey, united
from relay_models.records import RunRecord
from relay_models.records.redact import Redactions, as_redactor
from relay_models.trajectories.otlp import parse_spans

__all__ = ["Received", "SpanStore"]

# Maximum size of the spans that are held for those that come later [bytes of the requests].
_MAX_OPEN_BYTES = 64 * 2**20


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


class SpanStore:
    """Takes export requests, one at a time, and has stored what they tell when `add` returns.

    Spans of a trace come in any order and in several requests. After each of them the runs of its trace are stored
    as far as they are known, and replaced when more is known. The calls of a run that was stored before, by a
    receiver that has ended since, are kept.

    Args:
        backend: the store.
        redact: what removes secrets before a run is stored: JSON paths, functions of a run, or a `Redactor`.
        max_open_bytes: maximum size of the spans that are held for those that come later [bytes].

    Raises:
        InvalidConfigurationError: `redact` cannot work.
    """

    def __init__(
        self, backend: RedisBackend, *, redact: Redactions = None, max_open_bytes: int = _MAX_OPEN_BYTES
    ) -> None:
        self._backend = backend
        self._redact = as_redactor(redact)
        self._traces = OpenTraces(max_open_bytes)
        self._lock = asyncio.Lock()

    async def add(self, request: Mapping[str, Any], size: int) -> Received:
        """Store the runs of an export request.

        Args:
            request: as OTLP JSON.
            size: its size [bytes].

        Returns:
            What was stored and what cannot be.

        Raises:
            StorageError: the store failed; the request has to be sent again.
        """
        spans, problems = parse_spans(request)
        received = Received(len(spans), rejected=len(problems), problems=problems)
        async with self._lock:
            for trace in self._traces.add(spans, size):
                await self._store(trace, received)
            self._traces.shrink()
        return received

    async def _store(self, trace: OpenTrace, received: Received) -> None:
        runs, problems = trace.runs()
        received.problems += problems
        allowed = [it for run in runs if (it := self._redacted(run, received)) is not None]
        made = {key_of(run): run for run in await self._with_earlier_calls(trace, allowed)}
        report = await self._backend.store_runs(list(made.values()), on_refused="skip")
        received.runs += report.stored
        received.problems += [str(refused) for refused in report.refused]
        # A run without an agent ends when the span of the agent has come, and its calls are in that one's run.
        for agent_id, run_id in trace.stored - made.keys() - trace.earlier.keys():
            await self._backend.delete_run(agent_id, run_id)
        trace.stored = set(made)

    def _redacted(self, run: RunRecord, received: Received) -> RunRecord | None:
        if self._redact is None:
            return run
        try:
            return self._redact(run)
        except Exception as error:
            received.problems.append(f"run {run.id} is not stored, its redaction failed: {error}")
            return None

    async def _with_earlier_calls(self, trace: OpenTrace, runs: list[RunRecord]) -> list[RunRecord]:
        found: dict[str, RunRecord] = {}
        moved: dict[str, dict[int, int]] = {}
        for run in runs:
            key = key_of(run)
            if key not in trace.stored and key not in trace.earlier:
                earlier = await self._backend.load_run(*key)
                if earlier is not None:
                    trace.earlier[key] = earlier
            if (earlier := trace.earlier.get(key)) is not None:
                run, moved[key[1]] = united(run, earlier)
            found[key[1]] = run
        for run_id, run in found.items():
            ext = run.ext
            places = {} if ext is None else moved.get(str(ext.parent_run_id), {})
            if ext is not None and ext.parent_call in places:
                found[run_id] = run.model_copy()
                found[run_id].ext = ext.model_copy(update={"parent_call": places[ext.parent_call]})
        return list(found.values())


def key_of(run: RunRecord) -> RunKey:
    """Agent and id of a run."""
    return run.agent_id, str(run.id)
