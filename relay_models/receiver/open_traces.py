"""`OpenTraces`: the spans of recent traces, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay_models.trajectories.otlp import Trace
from relay_models.trajectories.otlp.spans import LogRecord, Span

__all__ = ["OpenTrace", "OpenTraces", "RunKey"]

RunKey = tuple[str, str]
"""Agent and id of a run."""


@dataclass(slots=True)
class OpenTrace(Trace):
    """A trace of which spans have come recently."""

    trace_id: str = ""
    stored: set[RunKey] = field(default_factory=set)
    """Runs of the trace that are in the store."""
    digests: dict[RunKey, bytes | None] = field(default_factory=dict)
    """Of the runs as this receiver has stored them."""
    is_loaded: bool = False
    """Whether what the store has of the trace is known."""


class OpenTraces:
    """Holds the spans of recent traces, so that those that come in later requests complete their runs.

    What is held is stored as well, or will be sent again: the trace that had no new span for the longest time can be
    forgotten.

    Args:
        max_bytes: maximum size of the spans to hold [bytes of the requests].
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._traces: OrderedDict[str, OpenTrace] = OrderedDict()

    def add(self, spans: Iterable[Span], records: Iterable[LogRecord], size: int) -> list[OpenTrace]:
        """Add the spans and log records of a request; the traces that they belong to."""
        items: list[Span | LogRecord] = [*spans, *records]
        share = size // max(1, len(items))
        touched: dict[str, OpenTrace] = {}
        for item in items:
            trace = self._traces.setdefault(item.trace_id, OpenTrace(trace_id=item.trace_id))
            touched[item.trace_id] = trace
            self._traces.move_to_end(item.trace_id)
            is_new = trace.add_span(item) if isinstance(item, Span) else trace.add_record(item)
            if is_new:
                trace.size += share
                self._bytes += share
        return list(touched.values())

    def shrink(self) -> None:
        """Forget the oldest traces while there is too much; never while one of them is being stored."""
        while self._bytes > self._max_bytes and self._traces:
            _, oldest = self._traces.popitem(last=False)
            self._bytes -= oldest.size
