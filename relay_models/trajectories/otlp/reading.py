"""`SpanReader`: run records from OpenTelemetry spans, GenAI, OpenInference and NeMo Relay's own, as OTLP JSON."""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from relay_models.records import RunRecord, Timestamp
from relay_models.records.extensions import EXTENSIONS_KEY
from relay_models.trajectories.ids import as_uuid, derived_id
from relay_models.trajectories.otlp.attributes import (
    OWN_SERVICE,
    decode_attributes,
    decode_value,
    first_of,
    parsed,
    unflatten,
)
from relay_models.trajectories.otlp.conventions import llm_call, tool_call
from relay_models.trajectories.otlp.dialects import SpanEvent, in_genai_words, is_telling
from relay_models.trajectories.otlp.roles import role_of
from relay_models.trajectories.otlp.twins import without_twins
from relay_models.trajectories.problems import describe

__all__ = ["Span", "SpanReader", "parse_spans", "runs_from_spans"]

# Prefixes of attributes that are metadata of a run, and keys there that have fields of their own.
_METADATA = (
    *("openinference.metadata.", "ai.telemetry.metadata.", "langfuse.trace.metadata."),
    *("langfuse.observation.metadata.", "traceloop.association.properties."),
)
_PEOPLE = frozenset({"session_id", "user_id", "sessionId", "userId", "otel"})
# Requests that a trace waits for more of its spans once its root is there: exporters send in batches.
_SETTLE = 64
# Spans of open traces to hold; beyond it the oldest trace is given out as it is [bytes of the file].
MAX_OPEN_BYTES = 256 * 2**20


@dataclass(slots=True)
class Span:
    """One span, decoded."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int | None
    attributes: dict[str, Any]
    failed: bool = False
    message: str | None = None
    exception: dict[str, Any] = field(default_factory=dict)
    service: str | None = None
    scope: str | None = None
    """The library that wrote the span."""
    events: list[SpanEvent] = field(default_factory=list)
    """Events that say something of a call, in order."""


def parse_spans(request: Mapping[str, Any]) -> tuple[list[Span], list[str]]:
    """Decode the spans of an export request.

    Args:
        request: an ExportTraceServiceRequest as OTLP JSON.

    Returns:
        The spans, and why others could not be decoded.
    """
    spans: list[Span] = []
    problems: list[str] = []
    for resource_spans in _list(request.get("resourceSpans")):
        try:
            resource = decode_attributes(_mapping(resource_spans.get("resource")).get("attributes"))
        except ValueError:
            resource = {}
        service = resource.get("service.name")
        for scope_spans in _list(resource_spans.get("scopeSpans")):
            scope = _mapping(scope_spans.get("scope")).get("name")
            for value in _list(scope_spans.get("spans")):
                try:
                    span = _span(value)
                except (ValueError, TypeError, KeyError) as error:
                    problems.append(f"a span cannot be read: {error}")
                    continue
                span.service = service if isinstance(service, str) else None
                span.scope = scope if isinstance(scope, str) else None
                spans.append(span)
    return spans, problems


def _span(value: Mapping[str, Any]) -> Span:
    end = int(value.get("endTimeUnixNano") or 0)
    start = int(value.get("startTimeUnixNano") or 0)
    if start <= 0:
        raise ValueError("it has no start")
    status = _mapping(value.get("status"))
    exception: dict[str, Any] = {}
    events: list[SpanEvent] = []
    for event in _list(value.get("events")):
        name = str(event.get("name") or "")
        if name == "exception":
            exception = decode_attributes(event.get("attributes"))
        elif is_telling(name):
            at = int(event.get("timeUnixNano") or 0)
            events.append(SpanEvent(at, name, decode_attributes(event.get("attributes"))))
    attributes = decode_attributes(value.get("attributes"))
    code = status.get("code")
    # Some writers set only the attribute that the conventions ask of a call that failed.
    is_failed = code in (2, "2", "STATUS_CODE_ERROR") or (
        attributes.get("error.type") is not None and code not in (1, "1", "STATUS_CODE_OK")
    )
    parent = value.get("parentSpanId")
    return Span(
        trace_id=_identifier(value.get("traceId"), 16),
        span_id=_identifier(value.get("spanId"), 8),
        parent_id=_identifier(parent, 8) if parent else None,
        name=str(value.get("name") or ""),
        start=start,
        end=end if end >= start else None,
        attributes=attributes,
        failed=is_failed,
        message=str(status["message"]) if status.get("message") else None,
        exception=exception,
        events=events,
    )


def parse_logs(request: Mapping[str, Any]) -> list[tuple[str, str, SpanEvent]]:
    """Decode the log records of an export request that tell of calls: messages that some libraries write there.

    Args:
        request: an ExportLogsServiceRequest as OTLP JSON.

    Returns:
        The ids of the trace and the span, and what is said of it.
    """
    found = []
    for resource_logs in _list(request.get("resourceLogs")):
        for scope_logs in _list(resource_logs.get("scopeLogs")):
            for value in _list(scope_logs.get("logRecords")):
                try:
                    attributes, body = decode_attributes(value.get("attributes")), decode_value(value.get("body"))
                    name = str(value.get("eventName") or attributes.get("event.name") or "")
                    if not is_telling(name):
                        continue
                    at = int(value.get("timeUnixNano") or value.get("observedTimeUnixNano") or 0)
                    more = body if isinstance(body, dict) else {} if body is None else {"content": body}
                    ids = _identifier(value.get("traceId"), 16), _identifier(value.get("spanId"), 8)
                except (ValueError, TypeError, KeyError):
                    continue  # a record of another kind, which no span belongs to
                found.append((*ids, SpanEvent(at, name, {**attributes, **more})))
    return found


def _identifier(value: Any, size: int) -> str:
    """An id as lower-case hex; also from base64, which generic protobuf writers use."""
    if not isinstance(value, str):
        raise ValueError("it has no id")
    try:
        if len(value) == size * 2:
            return bytes.fromhex(value).hex()
        decoded = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        decoded = b""
    if len(decoded) != size:
        raise ValueError(f"{value[:60]!r} is no id of {size} bytes")
    return decoded.hex()


@dataclass(slots=True)
class _Trace:
    spans: dict[str, Span] = field(default_factory=dict)
    size: int = 0


class SpanReader:
    """Collects spans and builds runs from them, trace by trace.

    Children are exported before their parents, so a trace is held until its root has come, and a little longer for
    batches that come late. A span of an agent is a run; spans of models and tools below it are its calls. Calls below
    no agent make one run per trace, named after the service.

    Args:
        max_open_bytes: maximum size of the spans to hold [bytes, as `add` is told]; beyond it the oldest trace is
            built as it is.
    """

    def __init__(self, *, max_open_bytes: int = MAX_OPEN_BYTES) -> None:
        self._max_open_bytes = max_open_bytes
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        # The number of requests at which each trace with a root is complete.
        self._settling: deque[tuple[int, str]] = deque()
        self._bytes = 0
        self._requests = 0

    def add(self, request: Mapping[str, Any], size: int = 0) -> Iterator[RunRecord | str]:
        """Take an export request.

        Args:
            request: as OTLP JSON.
            size: what it takes [bytes].

        Yields:
            Runs of the traces that are complete; texts that say what could not be read.
        """
        spans, problems = parse_spans(request)
        yield from problems
        self._requests += 1
        for span in spans:
            trace = self._traces.setdefault(span.trace_id, _Trace())
            trace.spans[span.span_id] = span
            share = size // len(spans)
            trace.size += share
            self._bytes += share
            if span.parent_id is None:
                self._settling.append((self._requests + _SETTLE, span.trace_id))
        while self._settling and self._settling[0][0] <= self._requests:
            yield from self._build(self._settling.popleft()[1])
        while self._traces and self._bytes > self._max_open_bytes:
            yield from self._build(next(iter(self._traces)))

    def finish(self) -> Iterator[RunRecord | str]:
        """Build what is left."""
        while self._traces:
            yield from self._build(next(iter(self._traces)))

    def _build(self, trace_id: str) -> Iterator[RunRecord | str]:
        trace = self._traces.pop(trace_id, None)
        if trace is not None:
            self._bytes -= trace.size
            yield from _runs(trace.spans)


def runs_from_spans(spans: list[Span]) -> Iterator[RunRecord | str]:
    """Build runs from all the spans of some traces.

    Yields:
        Runs, parents first within a trace; texts that say which run could not be built.
    """
    traces: dict[str, dict[str, Span]] = defaultdict(dict)
    for span in spans:
        traces[span.trace_id][span.span_id] = span
    for trace in traces.values():
        yield from _runs(trace)


def _runs(spans: dict[str, Span]) -> Iterator[RunRecord | str]:
    roles = {name: role_of(span.attributes) for name, span in spans.items()}
    spans = without_twins(spans, roles)
    for name, span in spans.items():
        if (role := roles[name]) is not None:
            words = in_genai_words(span.attributes, span.events, role, span.start)
            spans[name] = replace(span, attributes=words)
    calls: dict[str | None, list[Span]] = defaultdict(list)
    agents = sorted((span for name, span in spans.items() if roles[name] == "agent"), key=_order)
    for name, span in spans.items():
        if roles[name] in ("llm", "tool"):
            calls[_ancestor(span, spans, roles, ("agent",))].append(span)
    positions: dict[str, int] = {}
    for owner in calls.values():
        owner.sort(key=_order)
        positions |= {span.span_id: index for index, span in enumerate(owner)}
    builder = _RunsOfTrace(spans, roles, positions)
    if orphans := calls.get(None):
        yield builder.run(None, orphans)
    for agent in agents:
        yield builder.run(agent, calls.get(agent.span_id, []))


class _RunsOfTrace:
    def __init__(self, spans: dict[str, Span], roles: dict[str, str | None], positions: dict[str, int]) -> None:
        self._spans, self._roles, self._positions = spans, roles, positions

    def run(self, agent: Span | None, calls: list[Span]) -> RunRecord | str:
        """The run of an agent's span, or of the calls that are below none; or why there is none."""
        extensions: dict[str, Any] = {"source": "otlp"}
        if agent is not None:
            attributes = agent.attributes
            name = attributes.get("gen_ai.agent.name") or agent.name.removeprefix("invoke_agent ")
            identifier, started, ended = _run_id(agent), agent.start, agent.end
            extensions |= self._family(agent)
            error = _error(agent)
            extensions |= {"error": error, "status": _status(agent, error)}
            extensions["metadata"] = _metadata(agent)
        else:
            first, top = calls[0], self._top(calls)
            around = [top] if top is not None else calls
            ends = [span.end for span in around]
            known_ends = [end for end in ends if end is not None]
            identifier, started = derived_id("otlp", first.trace_id), min(span.start for span in (*around, *calls))
            ended = max(known_ends) if len(known_ends) == len(ends) else None
            service = first.service
            named = top or next((span for span in self._spans.values() if span.parent_id is None), first)
            name = named.name if service is None or service.startswith("unknown_service") else service
            extensions["metadata"] = {"otel": {"trace_id": first.trace_id}}
            if top is not None:
                error = _error(top)
                extensions |= {"error": error, "status": _status(top, error)}
        extensions |= self._people(agent, calls)
        value = {
            "id": identifier,
            "agent_id": str(name),
            "calls": [self._call(span, agent) for span in calls],
            "started_at": Timestamp.from_nanoseconds(started).text,
            EXTENSIONS_KEY: _known(extensions),
        }
        if ended is not None:
            value["ended_at"] = Timestamp.from_nanoseconds(ended).text
        try:
            return RunRecord.model_validate(value)
        except ValidationError as error_found:
            return f"the run of trace {(agent or calls[0]).trace_id} is not valid: {describe(error_found)}"

    def _top(self, calls: list[Span]) -> Span | None:
        """The span that encloses all of the calls, such as that of an HTTP request; None where there is none."""
        tops = set()
        for call in calls:
            span, seen = call, {call.span_id}
            while (above := self._spans.get(span.parent_id or "")) is not None and above.span_id not in seen:
                span = above
                seen.add(span.span_id)
            tops.add(span.span_id)
        top = self._spans[tops.pop()]
        return top if not tops and self._roles[top.span_id] is None else None

    def _family(self, agent: Span) -> dict[str, Any]:
        """The run's parent, the call that started it, and its root."""
        parent = _ancestor(agent, self._spans, self._roles, ("agent",))
        if parent is None:
            return {}
        root = parent
        while (above := _ancestor(self._spans[root], self._spans, self._roles, ("agent",))) is not None:
            root = above
        caller = _ancestor(agent, self._spans, self._roles, ("agent", "llm", "tool"))
        return {
            "parent_run_id": _run_id(self._spans[parent]),
            "root_run_id": _run_id(self._spans[root]),
            "parent_call": None if caller is None or caller == parent else self._positions[caller],
        }

    def _people(self, agent: Span | None, calls: list[Span]) -> dict[str, Any]:
        """Session and user, of the agent's span, those above it, or its calls."""
        around: list[Span] = []
        span = agent if agent is not None else self._spans.get(calls[0].parent_id or "")
        while span is not None and span not in around:
            around.append(span)
            span = self._spans.get(span.parent_id or "")
        found = {}
        for name, key in (("session_id", "gen_ai.conversation.id"), ("user_id", "user.id")):
            values = (self._word(span, key) for span in (*around, *calls))
            value = next((value for value in values if value is not None), None)
            found[name] = None if value is None else str(value)
        return found

    def _word(self, span: Span, name: str) -> Any:
        if self._roles[span.span_id] is None:
            return in_genai_words(span.attributes, (), None, span.start).get(name)
        return span.attributes.get(name)

    def _call(self, span: Span, agent: Span | None) -> dict[str, Any]:
        role = self._roles[span.span_id]
        fields, extensions = (tool_call if role == "tool" else llm_call)(span.name, span.attributes)
        error = _error(span)
        caller = _ancestor(span, self._spans, self._roles, ("agent", "llm", "tool"))
        is_call = caller is not None and (agent is None or caller != agent.span_id)
        extensions |= {
            "id": (as_uuid(span.attributes.get("nemo_relay.uuid")) and span.attributes["nemo_relay.uuid"])
            or span.span_id,
            "error": error,
            "status": _status(span, error),
            "parent_call": self._positions.get(caller or "") if is_call else None,
        }
        call = {"kind": role, **fields, "started_at": Timestamp.from_nanoseconds(span.start).text}
        if span.end is not None:
            call["ended_at"] = Timestamp.from_nanoseconds(span.end).text
        return _known({**call, EXTENSIONS_KEY: _known(extensions)})


def _ancestor(
    span: Span, spans: Mapping[str, Span], roles: Mapping[str, str | None], wanted: tuple[str, ...]
) -> str | None:
    """The id of the nearest span above that is one of the wanted."""
    seen = {span.span_id}
    above = span.parent_id
    while above is not None and above in spans and above not in seen:
        if roles[above] in wanted:
            return above
        seen.add(above)
        above = spans[above].parent_id
    return None


def _order(span: Span) -> tuple[int, str]:
    return span.start, span.span_id


def _run_id(span: Span) -> UUID:
    """The uuid of NeMo Relay's scope, told or hidden in the ids of a root; else derived from the ids."""
    told = as_uuid(span.attributes.get("nemo_relay.uuid"))
    if told is not None:
        return told
    if span.trace_id.endswith(span.span_id):  # NeMo Relay's: the trace is the root scope, the span its second half
        return UUID(span.trace_id)
    return derived_id("otlp", span.trace_id, span.span_id)


def _error(span: Span) -> dict[str, Any] | None:
    if not span.failed:
        return None
    category, kind = span.attributes.get("error.type"), span.exception.get("exception.type")
    kind = kind or span.attributes.get("nemo_relay.end.metadata.exception.type")
    category = category or span.attributes.get("openinference.metadata.error.type")
    message = span.message or span.exception.get("exception.message")
    error = {"type": kind or category, "message": message, "category": category if kind else None}
    return {name: str(value) for name, value in error.items() if value is not None}


def _status(span: Span, error: dict[str, Any] | None) -> str:
    return "failed" if error is not None else "running" if span.end is None else "completed"


def _metadata(span: Span) -> dict[str, Any]:
    otel = {"trace_id": span.trace_id, "span_id": span.span_id}
    if span.service is not None and span.service != OWN_SERVICE and not span.service.startswith("unknown_service"):
        otel["service"] = span.service
    metadata: dict[str, Any] = {"otel": otel}
    other = unflatten(span.attributes, "nemo_relay.start.metadata.")
    told = parsed(first_of(span.attributes, ("metadata", "langfuse.trace.metadata")))
    told = dict(told) if isinstance(told, dict) else {}
    for prefix in _METADATA:
        told |= unflatten(span.attributes, prefix)
    for name, value in (told | other).items():
        if name not in _PEOPLE and not name.startswith(("otel.", "error.", "exception.")):
            metadata[name] = value
    return metadata


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
