"""`BarChart`: one metric of an aggregate as bars, drawn without matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from relay_models._checks import check_type, shown
from relay_models.errors import InvalidConfigurationError
from relay_models.pictures.charts import OTHER, group_text, read_rows
from relay_models.pictures.picture import Picture, table
from relay_models.pictures.svg import Canvas, usable_width
from relay_models.pictures.text import cells, clip_cells, clip_pixels, duration_text, number_text, pixels, plain

__all__ = ["BarChart"]

PAD, ROW, TOP, HEIGHT = 16.0, 24.0, 40.0, 120.0
MOST_BARS = 40
"""Maximum number of horizontal bars; a chart over time draws all."""


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    value: float | None
    text: str
    link: str


class BarChart(Picture):
    """One metric of an aggregate: columns over time if there are buckets, otherwise one horizontal bar per group.

    Args:
        rows: Rows of an aggregate, or mappings.
        metric: The column to draw; the first number by default.
        title: A headline; the metric's name by default.
        link: Where a click on the bar of a row leads, for pages; an empty text for nowhere.

    Raises:
        InvalidConfigurationError: The rows have no such metric.

    Example:
        ```python
        BarChart(backend.aggregate_runs(every="1h"), "count").save("runs-per-hour.svg")
        ```
    """

    def __init__(
        self,
        rows: Iterable[Any],
        metric: str | None = None,
        *,
        title: str = "",
        link: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        check_type("title", title, str, "text")
        data = read_rows(rows)
        known = data.metrics
        if data.rows and metric is not None and metric not in data.rows[0]:
            raise InvalidConfigurationError(f"no metric {shown(metric)}; there are {', '.join(known)}")
        self.metric = metric or (known[0] if known else "")
        self.headline = title or self.metric
        self.over_time = data.time is not None
        self.bars: list[_Bar] = []
        for row in data.rows:
            value = row.get(self.metric)
            label = _time_text(row[data.time]) if data.time else group_text(row, data.groups)
            self.bars.append(_Bar(label, _number(value), _value_text(value), link(row) if link else ""))
        self.left_out = 0
        if not self.over_time:
            self.left_out = max(0, len(self.bars) - MOST_BARS)
            del self.bars[MOST_BARS:]

    @property
    def title(self) -> str:
        return plain(self.headline)

    def svg(self, *, width: int = 960) -> str:
        width = usable_width(width, 280)
        canvas = Canvas(width)
        canvas.text(PAD, 24, self.headline, "b", room=width - 2 * PAD)
        spoken = "\n".join(f"{bar.label}: {bar.text}." for bar in self.bars[:60])
        if not self.bars:
            canvas.text(PAD, TOP + 12, "no runs match", "m")
            return canvas.finish(TOP + 32, self.title, "no runs match")
        height = self._columns(canvas, width) if self.over_time else self._rows(canvas, width)
        return canvas.finish(height, self.title, spoken)

    def _columns(self, canvas: Canvas, width: float) -> float:
        """Draw columns over time, with the first and the last time below and the greatest value at the top."""
        greatest = max((bar.value or 0 for bar in self.bars), default=0) or 1
        top = max(self.bars, key=lambda bar: bar.value or 0).text
        left, right = PAD, width - PAD
        bottom = TOP + HEIGHT
        canvas.line(left, TOP, right, TOP)
        canvas.line(left, bottom, right, bottom)
        canvas.text(right, TOP - 4, top, "m s e n")
        step = (right - left) / len(self.bars)
        for position, bar in enumerate(self.bars):
            x = left + position * step
            size = max(step - (2 if step > 6 else 0.5), 0.8)
            canvas.open(f"{bar.label}\n{bar.text or 'none'}", bar.link)
            # The whole column is the target of a click, also where the bar is low.
            canvas.rect(x, TOP, size, HEIGHT, "hit")
            if bar.value:
                high = max(HEIGHT * bar.value / greatest, 1.5)
                canvas.rect(x, bottom - high, size, high, "llm")
            canvas.close(bar.link)
        first, last = self.bars[0].label, self.bars[-1].label
        canvas.text(left, bottom + 16, first, "m s n")
        if last != first and pixels(first + last, 11) + 20 < right - left:
            canvas.text(right, bottom + 16, last, "m s e n")
        return bottom + 28

    def _rows(self, canvas: Canvas, width: float) -> float:
        """Draw a bar per group, the first on top."""
        greatest = max((bar.value or 0 for bar in self.bars), default=0) or 1
        labels = min(max(pixels(bar.label, 12) for bar in self.bars) + 10, (width - 2 * PAD) * 0.42)
        texts = max(pixels(bar.text, 12) for bar in self.bars) + 10
        room = max(width - 2 * PAD - labels - texts, 20)
        for position, bar in enumerate(self.bars):
            y = TOP + ROW * position
            canvas.open(f"{bar.label}\n{bar.text or 'none'}", bar.link)
            canvas.rect(PAD, y, width - 2 * PAD, ROW - 2, "hit")
            canvas.text(PAD, y + 15, clip_pixels(plain(bar.label), 12, labels - 8))
            long = room * (bar.value or 0) / greatest
            if bar.value:
                canvas.rect(PAD + labels, y + 4, max(long, 1.5), ROW - 10, "llm", radius=2)
            canvas.text(PAD + labels + long + 6, y + 15, bar.text or "–", "m n")
            canvas.close(bar.link)
        height = TOP + ROW * len(self.bars) + 8
        if self.left_out:
            canvas.text(PAD, height + 8, f"and {self.left_out:,} more", "m s")
            height += 20
        return height

    def details(self) -> str:
        """Return a table of the bars."""
        return table(self.headline, ("", "#" + self.headline), ((plain(bar.label), bar.text) for bar in self.bars))

    def renderable(self, width: int, *, ascii_only: bool = False) -> RenderableType:
        labels = min(max((cells(plain(bar.label)) for bar in self.bars), default=0), width // 3)
        texts = max((cells(bar.text) for bar in self.bars), default=0)
        room = max(width - labels - texts - 3, 4)
        greatest = max((bar.value or 0 for bar in self.bars), default=0) or 1
        lines = [Text(clip_cells(plain(self.headline), width).rstrip(), style="bold")]
        for bar in self.bars:
            drawn = ("#" if ascii_only else "█") * round(room * (bar.value or 0) / greatest)
            lines.append(Text.assemble(clip_cells(plain(bar.label), labels), " ", (drawn, "blue"), " ", bar.text))
        if not self.bars:
            lines.append(Text("no runs match"))
        return Group(*lines)


def _time_text(value: Any) -> str:
    if not isinstance(value, datetime):
        return OTHER
    text = value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")
    return text.removesuffix(" 00:00")


def _number(value: Any) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return None if value is None else float(value)


def _value_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, timedelta):
        return duration_text(round(value / timedelta(microseconds=1)) * 1000)
    return f"{value:,}" if isinstance(value, int) else number_text(value)
