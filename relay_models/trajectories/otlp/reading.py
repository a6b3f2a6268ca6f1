"""`SpanReader`: run records from OpenTelemetry spans, GenAI, OpenInference and other libraries' own, as OTLP JSON."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any

from relay_models.records import RunRecord
from relay_models.trajectories.otlp.spans import parse_logs, parse_spans
from relay_models.trajectories.otlp.traces import Trace

__all__ = ["SpanReader"]

# Requests that a trace waits for more of its spans once its root is there: exporters send in batches.
_SETTLE = 64
# Spans of open traces to hold; beyond it the oldest trace is given out as it is [bytes of the file].
MAX_OPEN_BYTES = 256 * 2**20


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
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        # The number of the request in which something of each trace came last.
        self._newest: dict[str, int] = {}
        # The same of what was given out by `settle`; traces of which the root has come.
        self._given: dict[str, int] = {}
        self._rooted: set[str] = set()
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
        records = parse_logs(request)
        yield from problems
        self._requests += 1
        share = size // max(1, len(spans) + len(records))
        for span in spans:
            trace = self._trace(span.trace_id, share)
            trace.add_span(span)
            if span.parent_id is None:
                self._rooted.add(span.trace_id)
                self._settling.append((self._requests + _SETTLE, span.trace_id))
        for record in records:
            self._trace(record.trace_id, share).add_record(record)
        while self._settling and self._settling[0][0] <= self._requests:
            _, trace_id = self._settling.popleft()
            settled = self._newest.get(trace_id, 0) + _SETTLE
            if settled > self._requests:  # more of it has come since
                self._settling.append((settled, trace_id))
            else:
                yield from self._build(trace_id)
        while self._traces and self._bytes > self._max_open_bytes:
            yield from self._build(next(iter(self._traces)))

    def _trace(self, trace_id: str, share: int) -> Trace:
        trace = self._traces.setdefault(trace_id, Trace())
        trace.size += share
        self._bytes += share
        self._newest[trace_id] = self._requests
        return trace

    def settle(self) -> Iterator[RunRecord | str]:
        """Build the traces of which the root has come; spans that come later build them again."""
        for trace_id, trace in self._traces.items():
            if trace_id in self._rooted and self._given.get(trace_id) != self._newest[trace_id]:
                self._given[trace_id] = self._newest[trace_id]
                yield from trace.runs()

    def finish(self) -> Iterator[RunRecord | str]:
        """Build what is left."""
        while self._traces:
            yield from self._build(next(iter(self._traces)))

    def _build(self, trace_id: str) -> Iterator[RunRecord | str]:
        trace = self._traces.pop(trace_id, None)
        if trace is not None:
            self._bytes -= trace.size
            self._rooted.discard(trace_id)
            if self._given.pop(trace_id, None) != self._newest.pop(trace_id):
                yield from trace.runs()
            if lost := trace.homeless:
                yield f"{lost} log records belong to spans of the trace {trace_id} that are not in the file"
