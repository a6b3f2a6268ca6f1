"""`compare_runs` and `compare_windows`: two runs call by call, and two sets of runs by their numbers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay_models import Run, RunRecord
from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.views.calls import MOST_CALLS, CallView, call_views, message_lines
from relay_models.views.columns import known_columns
from relay_models.views.formats import column_text, heading_text, value_text

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["CallPair", "Fact", "RunComparison", "compare_runs", "compare_windows"]

MOST_LINES = 400
"""Maximum lines of one difference."""
_MEASURED = (
    "duration", "total_tokens", "input_tokens", "output_tokens", "cost", "estimated_cost", "llm_calls", "tool_calls",
    "failed_calls",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """A value of each side, and their difference."""

    name: str
    left: str
    right: str
    difference: str = ""
    sure: str = ""
    """How sure the difference is, in words."""


@dataclass(frozen=True, slots=True)
class CallPair:
    """A call of each run that do the same, or one that the other run does not have."""

    left: CallView | None
    right: CallView | None
    prompt: tuple[tuple[str, str], ...] = ()
    """Lines of the difference, each with ``+``, ``-`` or a blank."""
    answer: tuple[tuple[str, str], ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both are there, with the same prompt and the same answer."""
        return self.left is not None and self.right is not None and not self.prompt and not self.answer


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs, side by side."""

    facts: tuple[Fact, ...]
    calls: tuple[CallPair, ...]
    left_out: int = 0
    """Calls that are not compared, of the run that has more of them."""


def compare_runs(left: RunRecord, right: RunRecord, document: type[Run] = Run) -> RunComparison:
    """Compare two runs: their columns, and their calls, aligned by kind and name."""
    first, second = document.of(left), document.of(right)
    facts = []
    for name, column in known_columns(document).items():
        one, two = getattr(first, name), getattr(second, name)
        texts = column_text(column, one), column_text(column, two)
        if not any(texts):
            continue
        difference = ""
        if column.ordered and column.kind is not Kind.TIME and one is not None and two is not None:
            difference = _difference(one, two)
        facts.append(Fact(heading_text(column), *texts, difference))
    one_side, other_side = (call_views(record, most=MOST_CALLS) for record in (left, right))
    left_out = max(0, max(len(left.calls), len(right.calls)) - MOST_CALLS)
    return RunComparison(tuple(facts), tuple(_pairs(one_side, other_side)), left_out)


def _pairs(left: Sequence[CallView], right: Sequence[CallView]) -> Iterator[CallPair]:
    one, two = ([f"{call.kind} {call.name}" for call in side] for side in (left, right))
    for kind, a, b, c, d in difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if kind == "equal":
            for first, second in zip(left[a:b], right[c:d], strict=True):
                prompt = _changes(_asked(first), _asked(second))
                yield CallPair(first, second, prompt, _changes(_answered(first), _answered(second)))
            continue
        yield from (CallPair(call, None) for call in left[a:b])
        yield from (CallPair(None, call) for call in right[c:d])


def _asked(call: CallView) -> list[str]:
    lines = message_lines([*call.earlier, *call.messages])
    return lines + (call.input.value.splitlines() if call.input else [])


def _answered(call: CallView) -> list[str]:
    lines = message_lines(call.answer) + (call.output.value.splitlines() if call.output else [])
    return lines + ([f"error: {call.error}"] if call.error else [])


def _changes(left: Sequence[str], right: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if left == right:
        return ()
    lines: list[tuple[str, str]] = []
    for line in difflib.unified_diff(left, right, lineterm="", n=2):
        if line.startswith(("---", "+++")) and len(lines) < 2 and line[3:].strip() == "":
            continue
        sign = line[0] if line[:1] in "+-" else "@" if line.startswith("@@") else " "
        lines.append((sign, "…" if sign == "@" else line[1:]))
        if len(lines) >= MOST_LINES:
            lines.append(("@", "… the rest is left out"))
            break
    return tuple(lines)


def compare_windows(backend: RedisBackend, left: str | None, right: str | None) -> tuple[Fact, ...]:
    """Compare the numbers of the runs that meet two filters, and say how sure the differences of means are.

    The interval is that of Welch's approximation at 95 %, which holds for some tens of runs and more.
    """
    known = known_columns(backend.runs.document)
    one, two = (_measure(backend, where, known) for where in (left, right))
    facts = [Fact("runs", value_text(one["count"]), value_text(two["count"]), _difference(one["count"], two["count"]))]
    for name in (name for name in _MEASURED if name in known):
        column = known[name]
        if not one[f"count({name})"] and not two[f"count({name})"]:
            continue
        for how, words in (("avg", "mean"), ("p50", "median"), ("p95", "p95")):
            a, b = one[f"{how}({name})"], two[f"{how}({name})"]
            facts.append(
                Fact(
                    f"{heading_text(column)}, {words}",
                    column_text(column, a),
                    column_text(column, b),
                    "" if a is None or b is None else _difference(a, b),
                    _certainty(name, one, two, column) if how == "avg" else "",
                )
            )
    return tuple(facts)


def _measure(backend: RedisBackend, where: str | None, known: Mapping[str, Column[Any]]) -> dict[str, Any]:
    """The numbers of the runs that meet a filter.

    A column that some runs have no value for is asked for about those that have one: a server reads the whole document
    of each of the others.
    """
    count = backend.count_runs(where)
    asked: list[tuple[Any, list[str]]] = [(where, ["count"])]
    found: dict[str, Any] = {}
    for name in (name for name in _MEASURED if name in known):
        metrics = [f"count({name})", f"avg({name})", f"stddev({name})", f"p50({name})", f"p95({name})"]
        having: Any = [known[name].present(), *([] if where is None else [where])]
        present = backend.count_runs(having)
        if present == count:
            asked[0][1].extend(metrics)
        elif present:
            asked.append((having, metrics))
        else:
            found |= dict.fromkeys(metrics) | {metrics[0]: 0}
    for filter, metrics in asked:
        found |= dict(backend.aggregate_runs(metrics=metrics, filter=filter)[0].items())
    return found


def _certainty(name: str, one: Any, two: Any, column: Any) -> str:
    counts = [row[f"count({name})"] for row in (one, two)]
    if min(counts) < 2:
        return "too few runs to say"
    means = [_plain_number(row[f"avg({name})"]) for row in (one, two)]
    spreads = [_plain_number(row[f"stddev({name})"]) for row in (one, two)]
    error = math.sqrt(sum(spread**2 / count for spread, count in zip(spreads, counts, strict=True)))
    margin = 1.96 * error
    difference = means[1] - means[0]
    shown = column_text(column, timedelta(seconds=margin) if column.kind is Kind.DURATION else margin)
    words = "clear" if abs(difference) > margin else "may be chance"
    few = ", few runs" if min(counts) < 30 else ""
    return f"{words} (± {shown} at 95 %{few})"


def _plain_number(value: Any) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value or 0)


def _difference(left: Any, right: Any) -> str:
    difference = right - left
    if not difference:
        return "same"
    if isinstance(difference, timedelta):
        text = ("+" if difference > timedelta(0) else "") + value_text(difference)
    else:
        text = ("+" if difference > 0 else "") + value_text(difference)
    base = _plain_number(left)
    return f"{text} ({(_plain_number(right) - base) / base:+.0%})" if base else text
