"""`Layout`: the rows and times of a run's timeline. No drawing, no I/O.

Times are in nanoseconds since the run's origin, its earliest instant. There are two layouts:

* ``calls``: one row per call, in the order they started. Calls that a tool made (an agent used as a tool) are
  indented under it; tools that ran at the same time share a group.
* ``names``: one row per name, for runs with many calls. Overlapping calls of one name are put on separate
  rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from relay_models.records import Status

if TYPE_CHECKING:
    from relay_models.records import CallRecord, ErrorInfo, RunRecord

__all__ = ["Bar", "BarState", "Layout", "Row", "Rows", "describe_error", "lay_out", "ticks"]

Rows = Literal["auto", "calls", "names"]

MANY_CALLS = 48
"""Number of calls from which ``auto`` uses one row per name."""

MOST_LANES = 16
"""Maximum number of rows per name; further overlapping calls are drawn over each other."""


class BarState(StrEnum):
    """What is known about how a call ended."""

    FINISHED = "finished"
    FAILED = "failed"
    """The source of the run said that it failed; see `Bar.error`."""
    UNFINISHED = "unfinished"
    """No end is recorded: still running, or lost when the process stopped."""
    SILENT = "no answer recorded"
    """An LLM call that ended without tokens and without a response: how it went is not known."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One call on the time axis."""

    index: int
    """The call's position in the run, from 0."""
    kind: str
    """``llm``, ``tool``, or a kind of a later release."""
    name: str
    start: int
    """Nanoseconds from the origin."""
    end: int
    """Nanoseconds from the origin; never before `start`. For an unfinished call the end of the axis."""
    state: BarState
    depth: int
    """How many tool calls enclose this one."""
    group: int | None
    """Tools that ran at the same time share this number."""
    model: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    finish: str | None
    """The finish reason, if it is not the usual one: length, content_filter, or one of the provider's."""
    error: str | None = None
    """Why it failed, such as ``TimeoutError: no answer within 5 s``; empty where the source does not say."""

    @property
    def llm(self) -> bool:
        """Whether it is an LLM call; everything else is drawn as a tool call."""
        return self.kind == "llm"

    @property
    def kind_text(self) -> str:
        """The kind as text for a heading or a cell."""
        return "LLM" if self.llm else self.kind

    @property
    def duration(self) -> int | None:
        """Nanoseconds; None while unfinished."""
        return None if self.state is BarState.UNFINISHED else self.end - self.start


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the picture: one bar, or several of one name."""

    bars: tuple[Bar, ...]
    first_of_name: bool = True
    """False for the additional rows of a name whose calls overlap."""
    of_name: tuple[Bar, ...] = ()
    """All bars of the name, on any row (only if `first_of_name`)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A run ready to be drawn."""

    rows: tuple[Row, ...]
    bars: tuple[Bar, ...]
    span: int
    """Nanoseconds from the origin to the end of the axis; at least 1."""
    finished: bool
    by_name: bool
    groups: tuple[tuple[int, int], ...]
    """The first and last row of each group of parallel tools (``calls`` only)."""


def lay_out(run: RunRecord, rows: Rows = "auto") -> Layout:
    """Assign a run's calls to rows. A running run ends at its last known instant."""
    origin, span = _extent(run)
    starts = [max(call.started_at.nanoseconds - origin, 0) for call in run.calls]
    ends = [
        span if call.ended_at is None else max(call.ended_at.nanoseconds - origin, start)
        for call, start in zip(run.calls, starts, strict=True)
    ]
    order = sorted(range(len(starts)), key=lambda index: (starts[index], index))
    depths = _depths(run.calls, starts, ends, order)
    groups = _groups(run.calls, starts, ends, depths, order)
    bars = tuple(_bar(run.calls[i], i, starts[i], ends[i], depths[i], groups.get(i)) for i in order)
    by_name = rows == "names" or (rows == "auto" and len(bars) >= MANY_CALLS)
    placed = _rows_by_name(bars) if by_name else tuple(Row((bar,), of_name=(bar,)) for bar in bars)
    spans = () if by_name else _group_spans(bars)
    return Layout(placed, bars, span, run.ended_at is not None, by_name, spans)


def _extent(run: RunRecord) -> tuple[int, int]:
    """Return the earliest instant of the run (epoch nanoseconds) and the length of the axis."""
    instants = [run.started_at.nanoseconds]
    if run.ended_at is not None:
        instants.append(run.ended_at.nanoseconds)
    unfinished = run.ended_at is None
    for call in run.calls:
        instants.append(call.started_at.nanoseconds)
        if call.ended_at is None:
            unfinished = True
        else:
            instants.append(call.ended_at.nanoseconds)
    origin, last = min(instants), max(instants)
    span = last - origin
    # An unfinished bar that started at the last known instant would be invisible.
    return origin, max(span + (span // 16 or 1_000_000 if unfinished else 0), 1)


def _depths(calls: Sequence[CallRecord], starts: list[int], ends: list[int], order: list[int]) -> list[int]:
    """Return the nesting depth of each call: by its parent where the source told it, else by time.

    An LLM call within a tool call was made by that tool. A tool call within another may as well be its parallel
    neighbour; it counts as nested only after the outer one has made an LLM call, which then asked for it.
    """
    depths = [0] * len(calls)
    parents = [None if call.ext is None else call.ext.parent_call for call in calls]
    if any(parent is not None for parent in parents):
        for index, parent in enumerate(parents):
            # A parent begins before its calls; anything else is not one.
            if parent is not None and parent < index:
                depths[index] = depths[parent] + 1
        return depths
    open_tools: list[int] = []
    asked: set[int] = set()
    for index in order:
        open_tools = [tool for tool in open_tools if calls[tool].ended_at is not None and ends[tool] > starts[index]]
        llm = calls[index].kind == "llm"
        for tool in reversed(open_tools):
            inside = starts[tool] < starts[index] and ends[index] <= ends[tool] and calls[index].ended_at is not None
            if inside and (llm or tool in asked):
                depths[index] = depths[tool] + 1
                if llm:
                    asked.add(tool)
                break
        if not llm:
            open_tools.append(index)
    return depths


def _groups(
    calls: Sequence[CallRecord], starts: list[int], ends: list[int], depths: list[int], order: list[int]
) -> dict[int, int]:
    """Number the sets of tool calls of one depth that overlapped in time."""
    groups: dict[int, int] = {}
    reach: dict[int, tuple[int, list[int]]] = {}
    number = 0
    for index in order:
        if calls[index].kind == "llm":
            continue
        end, members = reach.get(depths[index], (-1, []))
        if starts[index] < end:
            if len(members) == 1:
                number += 1
                groups[members[0]] = number
            groups[index] = groups[members[0]]
            members.append(index)
            reach[depths[index]] = (max(end, ends[index]), members)
        else:
            reach[depths[index]] = (ends[index], [index])
    return groups


def _bar(call: CallRecord, index: int, start: int, end: int, depth: int, group: int | None) -> Bar:
    llm = call.kind == "llm"
    ext = call.ext
    error = describe_error(ext.error) if ext is not None and ext.status == Status.FAILED else None
    if call.ended_at is None:
        state = BarState.UNFINISHED
    elif error is not None:
        state = BarState.FAILED
    elif ext is not None and ext.output is not None:
        state = BarState.FINISHED
    elif llm and call.annotated_response is None and call.output_tokens is None and call.total_tokens is None:
        state = BarState.SILENT
    else:
        state = BarState.FINISHED
    reason = call.finish_reason
    finish = None if reason in (None, "complete", "tool_use") else reason
    return Bar(
        index, str(call.kind), call.name, start, end, state, depth, group,
        call.model_name, call.prompt_tokens, call.output_tokens, call.total_tokens, finish, error,
    )  # fmt: skip


def describe_error(error: ErrorInfo | None) -> str:
    """An error as ``type: message``, as far as it is known."""
    return "" if error is None else ": ".join(part for part in (error.type or error.category, error.message) if part)


def _rows_by_name(bars: Sequence[Bar]) -> tuple[Row, ...]:
    names: dict[tuple[bool, str], list[Bar]] = {}
    for bar in bars:
        names.setdefault((bar.llm, bar.name), []).append(bar)
    rows: list[Row] = []
    for _, members in sorted(names.items(), key=lambda item: not item[0][0]):
        lanes: list[list[Bar]] = []
        for bar in members:
            for lane in lanes:
                if lane[-1].end <= bar.start:
                    lane.append(bar)
                    break
            else:
                if len(lanes) < MOST_LANES:
                    lanes.append([bar])
                else:
                    min(lanes, key=lambda lane: lane[-1].end).append(bar)
        rows.extend(
            Row(tuple(lane), position == 0, tuple(members) if position == 0 else ())
            for position, lane in enumerate(lanes)
        )
    return tuple(rows)


def _group_spans(bars: Sequence[Bar]) -> tuple[tuple[int, int], ...]:
    spans: dict[int, tuple[int, int]] = {}
    for row, bar in enumerate(bars):
        if bar.group is not None:
            spans[bar.group] = (spans.get(bar.group, (row, row))[0], row)
    return tuple(spans.values())


_SECOND = 1_000_000_000
_LONG_STEPS = [
    s * _SECOND for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
]


def ticks(span: int, count: int) -> list[int]:
    """Return about `count` round instants from 0 to `span` nanoseconds; never more than that, besides 0."""
    smallest = span / max(count, 1)
    if smallest <= _SECOND:
        step = _round_step(smallest, 1)
    else:
        step = next((s for s in _LONG_STEPS if s >= smallest), 0) or _round_step(smallest, 86_400 * _SECOND)
    return list(range(0, span + 1, step))


def _round_step(smallest: float, unit: int) -> int:
    """The first of 1, 2, 5, 10, 20, 50 and so on units that is not below `smallest`."""
    while True:
        for factor in (1, 2, 5):
            if unit * factor >= smallest:
                return unit * factor
        unit *= 10
