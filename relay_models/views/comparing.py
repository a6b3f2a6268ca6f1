"""`compare_runs`: two runs side by side, their calls aligned."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay_models import Run, RunRecord
from relay_models.columns.kind import Kind
from relay_models.views.calls import MOST_CALLS, CallView, call_views, message_lines
from relay_models.views.columns import known_columns
from relay_models.views.formats import column_text, heading_text, value_text

__all__ = ["CallPair", "Fact", "RunComparison", "compare_runs", "difference_text", "plain_number"]

MOST_LINES = 400
"""Maximum lines of one difference."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A value of each side, and their difference."""

    name: str
    left: str
    right: str
    difference: str = ""
    sure: str = ""
    """How sure the difference is, in words."""

    @property
    def is_estimated(self) -> bool:
        """Whether its values are the server's estimates."""
        return self.name.startswith("≈")


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
            difference = difference_text(one, two)
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


def plain_number(value: Any) -> float:
    """A value as a number: a duration in seconds, None as zero."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value or 0)


def difference_text(left: Any, right: Any) -> str:
    """Format the difference of two values, with how many percent, or times, of the first it is."""
    difference = right - left
    if not difference:
        return "same"
    if isinstance(difference, timedelta):
        text = ("+" if difference > timedelta(0) else "") + value_text(difference)
    else:
        text = ("+" if difference > 0 else "") + value_text(difference)
    base, other = plain_number(left), plain_number(right)
    if not base:
        return text
    # Percentages of more than three digits are hard to read.
    return f"{text} (×{other / base:,.0f})" if other / base >= 10 else f"{text} ({(other - base) / base:+.0%})"
