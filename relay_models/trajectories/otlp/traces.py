"""`Trace`: the spans of one trace that have come so far, with what was stored of it before, and the runs they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from relay_models.records import CallExtensions, CallRecord, RunRecord, Status
from relay_models.trajectories.otlp.span_ids import call_span_id, otel_of, run_span_id
from relay_models.trajectories.otlp.spans import LogRecord, Span
from relay_models.trajectories.otlp.trace_runs import runs_of_trace

__all__ = ["Trace"]

_OPERATIONS = {"llm": "chat", "tool": "execute_tool"}


@dataclass(slots=True)
class Trace:
    """What is known of a trace. Spans and log records may come in any order, and more than once."""

    spans: dict[str, Span] = field(default_factory=dict)
    size: int = 0
    """Size of what has come [bytes of the requests]."""
    loose: RunRecord | None = None
    """The run of the calls below no agent, as it was stored before."""
    _records: dict[str, list[LogRecord]] = field(default_factory=dict)
    _joined: dict[str, tuple[Span, int, Span]] = field(default_factory=dict)
    """Spans with their log records: the span, how many records, and both together."""

    def add_span(self, span: Span) -> bool:
        """Add a span; whether it is a new one."""
        before = self.spans.get(span.span_id)
        if before is not None and before.stored is not None:
            span.stored = before.stored
        self.spans[span.span_id] = span
        return before is None

    def add_record(self, record: LogRecord) -> bool:
        """Add a log record; whether it is a new one."""
        records = self._records.setdefault(record.span_id, [])
        if any(record.event == other.event for other in records):
            return False
        records.append(record)
        return True

    def add_stored(self, runs: Iterable[RunRecord]) -> None:
        """Add the runs of the trace as they were stored before: their calls stay, unless their spans come again."""
        by_id = {run.id: run for run in runs}
        for run in by_id.values():
            for span in _stubs(run, by_id):
                if (known := self.spans.get(span.span_id)) is None:
                    self.spans[span.span_id] = span
                else:
                    known.stored = span.stored
            if "span_id" not in otel_of(run):
                self.loose = run

    @property
    def stubs(self) -> dict[str, CallRecord]:
        """Calls of which only the stored record is known, by their ids."""
        found = {}
        for span in self.spans.values():
            record = span.stored
            if span.is_stub and isinstance(record, CallRecord) and span.span_id not in self._records:
                found[str(record.ext.id if record.ext is not None else None)] = record
        return found

    @property
    def homeless(self) -> int:
        """Log records whose spans have not come."""
        return sum(len(records) for span_id, records in self._records.items() if span_id not in self.spans)

    def runs(self, *, early: bool = False) -> Iterator[RunRecord | str]:
        """Build the runs.

        Args:
            early: whether log records whose spans have not come make calls that are running.

        Yields:
            Runs, parents first; texts that say which run could not be built.
        """
        spans = dict(self.spans)
        for span_id, records in self._records.items():
            span = spans.get(span_id)
            if span is None and early:
                span = _early(records)
            if span is not None:
                spans[span_id] = self._with_records(span, records)
        yield from runs_of_trace(spans, self.loose)

    def _with_records(self, span: Span, records: list[LogRecord]) -> Span:
        """A span with its log records as events; the same one as long as there is nothing new."""
        known = self._joined.get(span.span_id)
        if known is not None and known[0] is span and known[1] == len(records):
            known[2].stored = span.stored
            return known[2]
        joined = replace(span, events=[*span.events, *(record.event for record in records)], cache={})
        self._joined[span.span_id] = span, len(records), joined
        return joined


def _early(records: list[LogRecord]) -> Span:
    """The span of which only log records have come."""
    first = records[0]
    told = {name: value for name, value in first.event.attributes.items() if name.startswith("gen_ai.")}
    return Span(
        trace_id=first.trace_id,
        span_id=first.span_id,
        parent_id=None,
        name="",
        start=max(1, min(record.event.time for record in records)),
        end=None,
        attributes={"gen_ai.operation.name": "chat", **told},
        service=first.service,
    )


def _stubs(run: RunRecord, known: Mapping[UUID, RunRecord]) -> Iterator[Span]:
    """Spans of a stored run and of its calls, with their places in the trace."""
    otel = otel_of(run)
    trace_id, run_span = otel["trace_id"], otel.get("span_id")
    if run_span is not None:
        told: dict[str, str | None] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": run.agent_id,
            "nemo_relay.uuid": str(run.id),
        }
        above = otel.get("parent_span_id")
        if (ext := run.ext) is not None:
            told |= {"gen_ai.conversation.id": ext.session_id, "user.id": ext.user_id}
            parent_run = known.get(ext.parent_run_id) if ext.parent_run_id is not None else None
            if above is None and parent_run is not None:
                index = ext.parent_call
                is_call = index is not None and index < len(parent_run.calls)
                above = call_span_id(parent_run, index or 0) if is_call else run_span_id(parent_run)
        yield _stub(trace_id, run_span, above, run.agent_id, run, told)
    for index, call in enumerate(run.calls):
        more = call.ext or CallExtensions()
        parent, own = run_span, (more.metadata or {}).get("otel")
        if isinstance(own, dict) and isinstance(own.get("parent_span_id"), str):
            parent = own["parent_span_id"]
        elif more.parent_call is not None and more.parent_call < len(run.calls):
            parent = call_span_id(run, more.parent_call)
        told = {"gen_ai.operation.name": _OPERATIONS.get(call.kind, "chat")}
        yield _stub(trace_id, call_span_id(run, index), parent, call.name, call, told)


def _stub(
    trace_id: str,
    span_id: str,
    parent: str | None,
    name: str,
    record: RunRecord | CallRecord,
    told: dict[str, str | None],
) -> Span:
    ext = record.ext
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent,
        name=name,
        start=record.started_at.nanoseconds,
        end=None if record.ended_at is None else record.ended_at.nanoseconds,
        attributes=told,
        failed=ext is not None and ext.status == Status.FAILED,
        stored=record,
        is_stub=True,
    )
