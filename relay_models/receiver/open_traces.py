"""`OpenTraces`: the spans of recent traces, in bounded memory, and the runs that they make."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay_models.records import RunRecord
from relay_models.trajectories.otlp.reading import Span, runs_from_spans

__all__ = ["OpenTrace", "OpenTraces", "RunKey", "united"]

RunKey = tuple[str, str]
"""Agent and id of a run."""


@dataclass(slots=True)
class OpenTrace:
    """A trace of which spans have come recently."""

    spans: dict[str, Span] = field(default_factory=dict)
    size: int = 0
    stored: set[RunKey] = field(default_factory=set)
    """Runs of the trace that have been stored since it was opened."""
    earlier: dict[RunKey, RunRecord] = field(default_factory=dict)
    """Runs as they were stored before the trace was opened; their calls are kept."""

    def runs(self) -> tuple[list[RunRecord], list[str]]:
        """The runs that the spans make, and why others cannot be made."""
        runs: list[RunRecord] = []
        problems: list[str] = []
        for found in runs_from_spans(list(self.spans.values())):
            if isinstance(found, str):
                problems.append(found)
            else:
                runs.append(found)
        return runs, problems


class OpenTraces:
    """Holds the spans of recent traces, so that those that come in later requests complete their runs.

    What is held is stored as well: the trace that had no new span for the longest time can be forgotten.

    Args:
        max_bytes: maximum size of the spans to hold [bytes of the requests].
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._traces: OrderedDict[str, OpenTrace] = OrderedDict()

    def add(self, spans: Iterable[Span], size: int) -> list[OpenTrace]:
        """Add the spans of a request; the traces that they belong to."""
        spans = list(spans)
        touched: dict[str, OpenTrace] = {}
        for span in spans:
            trace = touched[span.trace_id] = self._traces.setdefault(span.trace_id, OpenTrace())
            self._traces.move_to_end(span.trace_id)
            if span.span_id not in trace.spans:
                share = size // len(spans)
                trace.size += share
                self._bytes += share
            trace.spans[span.span_id] = span
        return list(touched.values())

    def shrink(self) -> None:
        """Forget the oldest traces while there is too much; to be called once everything is stored."""
        while self._bytes > self._max_bytes and self._traces:
            _, oldest = self._traces.popitem(last=False)
            self._bytes -= oldest.size


def united(run: RunRecord, earlier: RunRecord) -> tuple[RunRecord, dict[int, int]]:
    """Add the calls of an earlier version of a run that the new one lacks.

    Returns:
        The run, and the new index of each of its calls that has another.
    """
    mine = {call.ext.id for call in run.calls if call.ext is not None}
    lacking = [call for call in earlier.calls if call.ext is not None and call.ext.id not in mine]
    if not lacking:
        return run, {}
    calls = [(call, run, index) for index, call in enumerate(run.calls)]
    calls += [(call, earlier, index) for index, call in enumerate(earlier.calls) if call in lacking]
    calls.sort(key=lambda item: item[0].started_at.nanoseconds)
    places = {(owner is run, index): place for place, (_, owner, index) in enumerate(calls)}
    moved = []
    for call, owner, _ in calls:
        ext = call.ext
        if ext is not None and ext.parent_call is not None:
            parent = places.get((owner is run, ext.parent_call))
            call = call.model_copy(update={"ext": None})
            call.ext = ext.model_copy(update={"parent_call": parent})
        moved.append(call)
    started = min(run.started_at, earlier.started_at, key=lambda time: time.nanoseconds)
    both = run.model_copy(update={"calls": moved, "started_at": started})
    return both, {index: place for (own, index), place in places.items() if own and index != place}
