"""Aggregates as charts, drawn with matplotlib (the extra ``plot``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from importlib import import_module
from numbers import Real
from typing import TYPE_CHECKING, Any

from relay_models._checks import check_type
from relay_models.errors import InvalidConfigurationError, MissingExtraError
from relay_models.pictures.text import member_text, number_text, plain
from relay_models.query.aggregate.groups import AggregateRows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ChartData", "as_mapping", "chart", "read_rows"]

MOST_SERIES = 8
MOST_BARS = 40
OTHER = "(none)"

# Colors after Okabe and Ito, distinguishable with all common kinds of color blindness, and a marker and line for each.
COLORS = ("#2f5fd0", "#d97706", "#2e8b57", "#c0263b", "#7b4fb5", "#56b4e9", "#8a6d3b", "#6b7280")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", "-", "--", "-.", ":")
FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Microsoft YaHei",
    "PingFang SC", "Hiragino Sans", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChartData:
    """The rows of an aggregate, and the roles of their columns, inferred from the values."""

    rows: tuple[Mapping[str, Any], ...]
    time: str | None
    """The column of time buckets."""
    groups: tuple[str, ...]
    """The text columns that rows are grouped by."""
    metrics: tuple[str, ...]
    """The columns of numbers and durations."""


def read_rows(rows: Iterable[Any]) -> ChartData:
    """Find out which columns are time, groups and metrics: rows of an aggregate know their groups.

    Raises:
        InvalidConfigurationError: There is no metric to draw.
    """
    check_type("rows", rows, Iterable, "rows of an aggregate")
    # Groups may be numbers, as metrics are; those of a metric have another name than their column.
    columns = rows.columns if isinstance(rows, AggregateRows) else {}
    grouped = {name for name, column in columns.items() if column.name == name}
    read = tuple(as_mapping(row) for row in rows)
    names = list(dict.fromkeys(name for row in read for name in row))
    time: str | None = None
    groups, metrics = [], []
    for name in names:
        kinds: set[type] = {type(row[name]) for row in read if row.get(name) is not None}
        if not kinds:
            continue
        if name in grouped:
            groups.append(name)
        elif any(issubclass(kind, datetime) for kind in kinds):
            if time is None:
                time = name
        elif bool not in kinds and all(issubclass(kind, Real | timedelta) for kind in kinds):
            metrics.append(name)
        else:
            groups.append(name)
    if read and not metrics:
        raise InvalidConfigurationError(f"no metric to draw among {', '.join(names)}")
    return ChartData(read, time, tuple(groups), tuple(metrics))


def chart(rows: Iterable[Any], *, metrics: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw the rows of `aggregate_runs`: lines over time if there are buckets, otherwise one bar per group.

    Each metric has its own panel. Groups differ in color, marker and line style. The figure uses no window and no
    global state: ``figure.savefig("runs.svg")`` writes it, and notebooks show it.

    Args:
        rows: Rows of an aggregate, or mappings.
        metrics: The columns to draw; by default all numbers and durations.
        title: A headline.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InvalidConfigurationError: There is no such metric, or none at all.
    """
    figure_type = _matplotlib()
    data = read_rows(rows)
    shown = list(data.metrics if metrics is None else metrics)
    if unknown := [name for name in shown if name not in data.metrics] if data.rows else []:
        raise InvalidConfigurationError(f"no metric {unknown[0]!r}; there are {', '.join(data.metrics)}")
    if not data.rows:
        figure: Figure = figure_type(figsize=(8, 2), layout="constrained")
        figure.text(0.5, 0.5, "no runs match", ha="center", va="center", color="#646b7a", family=_fonts())
    elif data.time is None:
        figure = _bars(figure_type, data, shown)
    else:
        figure = _lines(figure_type, data, shown, data.time)
    if title:
        figure.suptitle(plain(title), family=_fonts(), parse_math=False)
    return figure


def _bars(figure_type: Any, data: ChartData, metrics: Sequence[str]) -> Figure:
    """A bar per row, in the order of the rows, the first on top."""
    rows = data.rows[:MOST_BARS]
    labels = [_label(row, data.groups) for row in rows]
    figure: Figure = figure_type(figsize=(2.5 + 3.2 * len(metrics), 1.2 + 0.36 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    places = list(range(len(rows)))
    for metric, panel, color in zip(metrics, panels, _cycled(COLORS, len(metrics)), strict=True):
        values, unit = _numbers([row.get(metric) for row in rows])
        panel.barh(places, [value or 0 for value in values], height=0.68, color=color)
        for place, value in zip(places, values, strict=True):
            text = "–" if value is None else number_text(value)
            panel.annotate(text, (value or 0, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
        panel.set_title(_titled(metric, unit), loc="left", fontsize=10, parse_math=False)
        panel.margins(x=0.22)
        _quiet(panel, "x", whole=not unit and all(value is None or value == int(value) for value in values))
    panels[0].set_yticks(places, labels, family=_fonts(), parse_math=False)
    panels[0].invert_yaxis()
    if len(data.rows) > len(rows):
        figure.text(0.01, 0.005, f"and {len(data.rows) - len(rows):,} more rows", fontsize=8, color="#646b7a")
    return figure


def _lines(figure_type: Any, data: ChartData, metrics: Sequence[str], time: str) -> Figure:
    """A line per group over the buckets."""
    series: dict[str, list[Mapping[str, Any]]] = {}
    for row in data.rows:
        series.setdefault(_label(row, data.groups), []).append(row)
    names = list(series)[:MOST_SERIES]
    figure: Figure = figure_type(figsize=(9, 0.8 + 2.2 * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for metric, panel in zip(metrics, panels, strict=True):
        every, unit = _numbers([row.get(metric) for name in names for row in series[name]])
        scaled = iter(every)
        for position, name in enumerate(names):
            points = sorted(((row[time], next(scaled)) for row in series[name]), key=lambda point: point[0])
            panel.plot(
                [when for when, _ in points],
                [float("nan") if value is None else value for _, value in points],
                color=COLORS[position % len(COLORS)], marker=MARKERS[position % len(MARKERS)],
                linestyle=LINES[position % len(LINES)], markersize=4, linewidth=1.6, label=name or metric,
            )  # fmt: skip
        panel.set_title(_titled(metric, unit), loc="left", fontsize=10, parse_math=False)
        panel.margins(y=0.12)
        known = [value for value in every if value is not None]
        panel.set_ylim(bottom=0 if min(known, default=0) >= 0 else None)
        _quiet(panel, "y", whole=not unit and all(value == int(value) for value in known))
    if data.groups:
        handles, labels = panels[0].get_legend_handles_labels()
        legend = figure.legend(
            handles, labels, loc="outside right upper", frameon=False, prop={"family": _fonts(), "size": 9}
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        if len(series) > len(names):
            figure.text(
                0.99, 0.005, f"and {len(series) - len(names):,} more groups", fontsize=8, ha="right", color="#646b7a"
            )
    dates = import_module("matplotlib.dates")
    locator = dates.AutoDateLocator()
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    return figure


def as_mapping(row: Any) -> Mapping[str, Any]:
    """Return a row of an aggregate as a mapping of column names to values."""
    if isinstance(row, Mapping):
        return row
    for name in ("to_dict", "_asdict"):
        if callable(make := getattr(row, name, None)):
            made: Mapping[str, Any] = make()
            return made
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    raise InvalidConfigurationError(
        f"a chart is made of rows of an aggregate or of mappings, not of {type(row).__name__}"
    )


def _label(row: Mapping[str, Any], groups: Sequence[str]) -> str:
    label = plain(group_text(row, groups))
    return label if len(label) <= 40 else label[:39] + "…"


def group_text(row: Mapping[str, Any], groups: Iterable[str]) -> str:
    """What the values that a row is grouped by are called."""
    values = (row.get(name) for name in groups)
    return " · ".join(
        OTHER if value is None else member_text(value) if isinstance(value, Enum) else str(value) for value in values
    )


def _numbers(values: Sequence[Any]) -> tuple[list[float | None], str]:
    """Return values as floats, durations in the unit that suits the largest, and the unit."""
    spans = [value for value in values if isinstance(value, timedelta)]
    if not spans:
        return [None if value is None else float(value) for value in values], ""
    largest = max(abs(span.total_seconds()) for span in spans)
    unit, size = next(
        (u, s) for u, s in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 0.0)) if largest >= s
    )
    size = size or 1e-6
    return [None if value is None else value.total_seconds() / size for value in values], unit


def _titled(metric: str, unit: str) -> str:
    return f"{plain(metric)} ({unit})" if unit else plain(metric)


def _quiet(panel: Any, grid: str, whole: bool = False) -> None:
    """Reduce the axes to the useful lines and short numbers; integers where all values are integers."""
    ticker = import_module("matplotlib.ticker")
    axis = panel.xaxis if grid == "x" else panel.yaxis
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number_text(round(value, 9))))
    if whole:
        axis.get_major_locator().set_params(integer=True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    panel.grid(axis=grid, color="#d9dde5", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=9)


def _cycled(colors: Sequence[str], count: int) -> list[str]:
    return [colors[position % len(colors)] for position in range(count)]


def _matplotlib() -> Any:
    try:
        return import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise MissingExtraError(
            "charts need matplotlib, which is not installed: pip install 'relay-models[plot]'", name="matplotlib"
        ) from error


def _fonts() -> list[str]:
    """Return the installed fonts of `FONTS`; matplotlib warns about missing ones."""
    known = set(import_module("matplotlib.font_manager").get_font_names())
    return [name for name in FONTS if name in known]
