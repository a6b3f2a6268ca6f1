"""`Span`: one span, decoded from OTLP JSON, with the events and log records that say something of it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_models.records import CallRecord, RunRecord
from relay_models.trajectories.otlp.attributes import decode_attributes, decode_value
from relay_models.trajectories.otlp.dialects import SpanEvent, is_telling

__all__ = ["LogRecord", "Span", "parse_logs", "parse_spans"]


# The beginning of the year 10,000 [ns since 1970].
_AFTER_ALL = 253_402_300_800 * 10**9


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
    stored: CallRecord | RunRecord | None = None
    """The call or run that the span was stored as before."""
    is_stub: bool = False
    """Whether only that is known of it."""
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was made of the attributes and events: a trace is built again with each request."""


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
        service = _service(resource_spans)
        for scope_spans in _list(resource_spans.get("scopeSpans")):
            scope = _mapping(scope_spans.get("scope")).get("name")
            for value in _list(scope_spans.get("spans")):
                try:
                    span = _span(value)
                except (ValueError, TypeError, KeyError) as error:
                    problems.append(f"a span cannot be read: {error}")
                    continue
                span.service = service
                span.scope = scope if isinstance(scope, str) else None
                spans.append(span)
    return spans, problems


def _span(value: Mapping[str, Any]) -> Span:
    end, start = _nanoseconds(value.get("endTimeUnixNano")), _nanoseconds(value.get("startTimeUnixNano"))
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
            at = _nanoseconds(event.get("timeUnixNano"))
            events.append(SpanEvent(at, name, decode_attributes(event.get("attributes"))))
    attributes = decode_attributes(value.get("attributes"))
    code = status.get("code")
    # Some writers set only the attribute that the conventions ask of a call that failed.
    is_failed = (
        code in (2, "2", "STATUS_CODE_ERROR")
        or (attributes.get("error.type") is not None and code not in (1, "1", "STATUS_CODE_OK"))
        # Strands and Langfuse, whose spans may then be OK.
        or attributes.get("gen_ai.tool.status") == "error"
        or attributes.get("langfuse.observation.level") == "ERROR"
    )
    message = status.get("message") or attributes.get("langfuse.observation.status_message")
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
        message=str(message) if message else None,
        exception=exception,
        events=events,
    )


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log record that says something of a call, such as a message of its request."""

    trace_id: str
    span_id: str
    event: SpanEvent
    service: str | None = None


def parse_logs(request: Mapping[str, Any]) -> list[LogRecord]:
    """Decode the log records of an export request that say something of calls; all others are passed over.

    Args:
        request: an ExportLogsServiceRequest as OTLP JSON.
    """
    found = []
    for resource_logs in _list(request.get("resourceLogs")):
        service = _service(resource_logs)
        for scope_logs in _list(resource_logs.get("scopeLogs")):
            for value in _list(scope_logs.get("logRecords")):
                try:
                    attributes, body = decode_attributes(value.get("attributes")), decode_value(value.get("body"))
                    name = str(value.get("eventName") or attributes.get("event.name") or "")
                    if not is_telling(name):
                        continue
                    at = _nanoseconds(value.get("timeUnixNano") or value.get("observedTimeUnixNano"))
                    more = body if isinstance(body, dict) else {} if body is None else {"content": body}
                    trace_id, span_id = _identifier(value.get("traceId"), 16), _identifier(value.get("spanId"), 8)
                except (ValueError, TypeError, KeyError):
                    continue  # it belongs to no span
                found.append(LogRecord(trace_id, span_id, SpanEvent(at, name, {**attributes, **more}), service))
    return found


def _service(resource: Mapping[str, Any]) -> str | None:
    try:
        name = decode_attributes(_mapping(resource.get("resource")).get("attributes")).get("service.name")
    except ValueError:
        return None
    return name if isinstance(name, str) else None


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


def _nanoseconds(value: Any) -> int:
    """A time; 0 where there is none, or none that a record can hold."""
    try:
        found = int(value or 0)
    except OverflowError:  # Infinity
        return 0
    return found if 0 <= found < _AFTER_ALL else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
