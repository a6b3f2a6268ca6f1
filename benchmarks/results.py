"""`Setup` and `Result`: what a benchmark module is given, and what it gives.

A module of this folder joins ``python -m benchmarks`` by having a function ``results(setup)`` that measures and gives
`Result` values. ``ENGINES`` of the module says which engines it measures; without it, ``("embedded", "server")``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.table import Table

__all__ = ["Engine", "Result", "Setup", "across_engines", "compared", "results_table"]

Engine = Literal["embedded", "server"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured, and with how many runs."""

    engine: Engine
    url: str | None = None
    """The server, which is disposable."""
    path: str | None = None
    """The embedded engine's file; None for memory."""
    runs: int = 100_000
    """The number of runs in the largest store. Modules that need no such store use fewer."""
    rounds: int = 3
    picture: str | None = None
    """Where cost against the number of runs is drawn."""

    @property
    def where(self) -> str:
        """The engine in words."""
        return "a server" if self.url else f"embedded in {self.path or 'memory'}"


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: a ratio to `vs`, or a number with a unit."""

    name: str
    value: float
    vs: str = ""
    unit: str = ""
    """Empty for a ratio."""
    bar: float | None = None
    """What the value may be at most, or at least."""
    at_least: bool = False
    across: float | None = None
    """What the embedded engine's value may be at most in that of a server measured in the same run."""
    module: str = ""
    engine: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether there is a bar that it does not meet."""
        return self.bar is not None and (self.value < self.bar if self.at_least else self.value > self.bar)

    @property
    def text(self) -> str:
        """The value with its unit."""
        value = self.value
        digits = f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"
        return f"{digits} {self.unit}".rstrip()

    @property
    def target(self) -> str:
        """The bar in words; empty where there is none."""
        return "" if self.bar is None else f"{'≥' if self.at_least else '≤'} {self.bar:g}"

    def to_json(self) -> dict[str, Any]:
        """The figure as a JSON object, without what is empty."""
        value = float(f"{self.value:.4g}")
        return {
            name: found for name, found in {**asdict(self), "value": value}.items() if found not in ("", None, False)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Result:
        """A figure from its JSON object."""
        return cls(**value)


def across_engines(results: Sequence[Result]) -> Iterator[Result]:
    """Ratios of the embedded engine to a server, where both were measured."""
    servers = {(each.module, each.name): each for each in results if each.engine == "server"}
    for each in results:
        other = servers.get((each.module, each.name))
        if each.engine == "embedded" and each.across is not None and other is not None:
            ratio = each.value / other.value
            yield Result(each.name, ratio, "a server", bar=each.across, module=each.module, engine="embedded")


def compared(best: Mapping[str, float], comparisons: Iterable[tuple[str, str, float | None]]) -> Iterator[Result]:
    """Ratios of what was measured in turn.

    Args:
        best: seconds by the name of the way.
        comparisons: our way, the other way, and what the ratio may be at most.
    """
    for ours, other, bar in comparisons:
        yield Result(ours, best[ours] / best[other], vs=other, bar=bar)


def results_table(results: Sequence[Result], title: str = "") -> Table:
    """All figures as one table."""
    table = Table(title=title, title_justify="left")
    for heading in ("module", "engine", "", "vs.", "value", "target", ""):
        table.add_column(heading, justify="right" if heading in ("value", "target") else "left")
    last = ""
    for each in results:
        mark = "" if each.bar is None else "[red]missed[/]" if each.is_missed else "[green]met[/]"
        module = "" if each.module == last else each.module
        last = each.module
        table.add_row(module, each.engine, each.name, each.vs, each.text, each.target, mark)
    return table
