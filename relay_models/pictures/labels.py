"""`RowLabel`: the text next to a row of a timeline, the same in the terminal and in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay_models.pictures.layout import Bar, BarState, Layout, Row
from relay_models.pictures.text import duration_text, number_text, plain

__all__ = ["RowLabel", "label_rows", "legend", "one_line", "outcome", "sum_tokens", "tip"]


@dataclass(frozen=True, slots=True)
class RowLabel:
    """The text left and right of a row."""

    name: str
    """Safe to show, of any length."""
    count: int
    """Calls of that name; 1 for a row of a single call; 0 for a further row of the same name."""
    llm: bool
    depth: int
    duration: str
    tokens: str
    model: str
    warning: str
    """Why the row needs attention; empty if it does not."""


def label_rows(layout: Layout, arrow: str = "→") -> list[RowLabel]:
    """The labels of all rows, in order."""
    return [_label(row, layout.by_name, arrow) for row in layout.rows]


def _label(row: Row, by_name: bool, arrow: str) -> RowLabel:
    bars = row.of_name
    first = row.bars[0]
    if not row.first_of_name:
        return RowLabel("", 0, first.llm, 0, "", "", "", "")
    models = list(dict.fromkeys(plain(bar.model) for bar in bars if bar.model))
    model = models[0] + (f" +{len(models) - 1}" if len(models) > 1 else "") if models else ""
    if by_name:
        known = [bar.duration for bar in bars if bar.duration is not None]
        counts: dict[str, int] = {}
        for bar in bars:
            if warning := ("failed" if bar.error is not None else _warning(bar)):
                counts[warning] = counts.get(warning, 0) + 1
        warning = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        duration = duration_text(sum(known)) if known else ""
        return RowLabel(plain(first.name), len(bars), first.llm, 0, duration, sum_tokens(bars, arrow), model, warning)
    duration = "" if first.duration is None else duration_text(first.duration)
    return RowLabel(
        plain(first.name), 1, first.llm, first.depth, duration, sum_tokens(bars, arrow), model, _warning(first)
    )


def _warning(bar: Bar) -> str:
    if bar.error is not None:
        return f"failed: {one_line(bar.error)}" if bar.error else "failed"
    if bar.state is BarState.UNFINISHED:
        return "unfinished"
    if bar.state is BarState.SILENT:
        return "no answer"
    return plain(bar.finish) if bar.finish else ""


def outcome(bar: Bar) -> str:
    """Describe how the call ended."""
    if bar.error is not None:
        return f"failed: {one_line(bar.error)}" if bar.error else "failed"
    if bar.state is not BarState.FINISHED:
        return str(bar.state)
    return f"ended by {plain(bar.finish)}" if bar.finish else "finished"


def one_line(text: str) -> str:
    """A message, safe to show, with its lines joined."""
    return plain(" ".join(text.split()))


def tip(bar: Bar) -> str:
    """Return the tooltip of a call, with several lines."""
    lines = [
        f"{plain(bar.kind_text)} call {bar.index + 1}: {plain(bar.name)}",
        f"starts at {duration_text(bar.start)}"
        + ("" if bar.duration is None else f", takes {duration_text(bar.duration)}"),
    ]
    if bar.model:
        lines.append(f"model {plain(bar.model)}")
    if bar.prompt_tokens is not None or bar.output_tokens is not None:
        prompt = "?" if bar.prompt_tokens is None else f"{bar.prompt_tokens:,}"
        output = "?" if bar.output_tokens is None else f"{bar.output_tokens:,}"
        lines.append(f"{prompt} prompt tokens, {output} output tokens")
    elif bar.total_tokens is not None:
        lines.append(f"{bar.total_tokens:,} tokens")
    lines.append(outcome(bar))
    return "\n".join(lines)


def sum_tokens(bars: Sequence[Bar], arrow: str = "→") -> str:
    """``prompt→output`` over the calls, or the total where only that is known; empty when nothing is."""
    prompt = [bar.prompt_tokens for bar in bars if bar.prompt_tokens is not None]
    output = [bar.output_tokens for bar in bars if bar.output_tokens is not None]
    if prompt or output:
        left = number_text(sum(prompt)) if prompt else "?"
        return f"{left}{arrow}{number_text(sum(output)) if output else '?'}"
    total = [bar.total_tokens for bar in bars if bar.total_tokens is not None]
    return number_text(sum(total)) if total else ""


def legend(layout: Layout) -> list[tuple[str, str]]:
    """The kinds of bar that occur, as (key, words); keys: llm, tool, failed, open, silent, parallel."""
    bars = layout.bars
    entries = []
    if any(bar.llm for bar in bars):
        entries.append(("llm", "LLM call"))
    if others := sorted({bar.kind for bar in bars if not bar.llm}):
        entries.append(("tool", f"{' or '.join(map(plain, others))} call"))
    if any(bar.state is BarState.FAILED for bar in bars):
        entries.append(("failed", "failed"))
    if any(bar.state is BarState.UNFINISHED for bar in bars):
        entries.append(("open", "unfinished"))
    if any(bar.state is BarState.SILENT for bar in bars):
        entries.append(("silent", "no answer recorded"))
    if layout.groups:
        entries.append(("parallel", "in parallel"))
    return entries
