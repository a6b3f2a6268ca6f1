"""`Timeline`: a run's calls as bars on a time axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from relay_models.documents import record_of
from relay_models.pictures import run_svg, run_text
from relay_models.pictures.labels import one_line, outcome, sum_tokens
from relay_models.pictures.layout import BarState, Layout, Rows, describe_error, lay_out
from relay_models.pictures.picture import Picture, table
from relay_models.pictures.text import duration_text, plain
from relay_models.records import Status

if TYPE_CHECKING:
    from relay_models.documents import Run
    from relay_models.records import RunRecord

__all__ = ["Timeline", "facts"]


class Timeline(Picture):
    """A run's calls as bars on a time axis.

    Args:
        run: The record to draw, or a `Run` that was read with its record.
        rows: ``calls`` for one row per call, ``names`` for one row per name, ``auto`` to choose by their number.
        link: Where a click on the bar of a call leads, by its index from 0, for pages; an empty text for nowhere.

    Raises:
        InvalidConfigurationError: `run` was read with its columns only.
    """

    def __init__(self, run: RunRecord | Run, *, rows: Rows = "auto", link: Callable[[int], str] | None = None) -> None:
        self.run: RunRecord = record_of(run)
        self.link = link
        self.layout: Layout = lay_out(self.run, rows)

    @property
    def title(self) -> str:
        return f"Timeline of run {self.run.id} of agent {plain(self.run.agent_id)}"

    def svg(self, *, width: int = 960) -> str:
        return run_svg.draw(
            self.run, self.layout, width, self.title, " · ".join(facts(self.run, self.layout)), self.link
        )

    def renderable(self, width: int, *, ascii_only: bool = False) -> RenderableType:
        return run_text.draw(self.run, self.layout, width, facts(self.run, self.layout), ascii_only=ascii_only)

    def details(self) -> str:
        """Return a table of all calls with their full names and numbers."""
        heads = ("#No.", "Kind", "Name", "#Starts at", "#Takes", "#Prompt tokens", "#Output tokens", "Model", "Outcome")
        return table("Calls in the order they started", heads, self._rows())

    def _rows(self) -> Iterator[Sequence[str]]:
        for bar in self.layout.bars:
            yield (
                str(bar.index + 1),
                plain(bar.kind_text),
                "\u2003" * bar.depth + plain(bar.name),
                duration_text(bar.start),
                "" if bar.duration is None else duration_text(bar.duration),
                "" if bar.prompt_tokens is None else f"{bar.prompt_tokens:,}",
                "" if bar.output_tokens is None else f"{bar.output_tokens:,}",
                plain(bar.model or ""),
                outcome(bar),
            )


def facts(run: RunRecord, layout: Layout) -> list[str]:
    """Return the parts of the line below the headline: state, time, calls, tokens, cost."""
    bars = layout.bars
    llm = sum(bar.llm for bar in bars)
    tools = sum(bar.kind == "tool" for bar in bars)
    others = len(bars) - llm - tools
    unfinished = sum(bar.state is BarState.UNFINISHED for bar in bars)
    silent = sum(bar.state is BarState.SILENT for bar in bars)
    said = []
    if run.ended_at is None:
        said.append("running" if unfinished or not bars else "no end recorded")
    else:
        said.append(duration_text(max(run.ended_at.nanoseconds - run.started_at.nanoseconds, 0)))
    if run.ext is not None and run.ext.status == Status.FAILED:
        why = one_line(describe_error(run.ext.error))
        said.append(f"run failed: {why}" if why else "run failed")
    said.append(f"{llm:,} LLM call{'' if llm == 1 else 's'}, {tools:,} tool call{'' if tools == 1 else 's'}")
    if others:
        said[-1] += f", {others:,} other"
    if failed := sum(bar.error is not None for bar in bars):
        said.append(f"{failed:,} failed")
    if unfinished:
        said.append(f"{unfinished:,} unfinished")
    if silent:
        said.append(f"{silent:,} without an answer")
    tokens = sum_tokens(bars)
    if tokens:
        said.append(f"{tokens} tokens")
    if costs := run.costs:
        said.append(" + ".join(cost_text(amount, currency) for currency, amount in sorted(costs.items())))
    return said


def cost_text(amount: float, currency: str) -> str:
    """Format an amount of money; small amounts with four decimals."""
    number = f"{amount:,.4f}" if abs(amount) < 1 else f"{amount:,.2f}"
    return f"${number}" if currency == "USD" else f"{number} {plain(currency)}"
