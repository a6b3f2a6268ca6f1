"""`draw`: a run's timeline as SVG."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from relay_models.pictures.labels import RowLabel, label_rows, legend, tip
from relay_models.pictures.layout import Bar, BarState, Layout, ticks
from relay_models.pictures.svg import HATCH, Canvas, usable_width
from relay_models.pictures.text import clip_pixels, clock_text, pixels, tick_text

if TYPE_CHECKING:
    from relay_models.records import RunRecord

__all__ = ["draw"]

PAD, ROW, TOP = 20.0, 26.0, 116.0
GAP = 16.0


def draw(
    run: RunRecord, layout: Layout, width: int, title: str, facts: str, link: Callable[[int], str] | None = None
) -> str:
    """Draw the timeline, `width` pixels wide and as high as its rows need; `link` is asked with a call's index."""
    width = usable_width(width, 560)
    canvas = Canvas(width)
    canvas.text(PAD, 34, run.agent_id, "h", room=width - 2 * PAD, size=17.8)
    began = clock_text(run.started_at.nanoseconds)
    canvas.text(PAD, 54, f"{began} · {facts}", "", room=width - 2 * PAD)
    labels = label_rows(layout)
    _legend(canvas, layout, str(run.id))
    if not layout.rows:
        canvas.text(PAD, TOP, "no calls recorded", "m")
        return canvas.finish(TOP + 20, title, facts)

    columns = _columns(labels, width)
    right = sum(size + GAP for size, _, _ in columns)
    widest = max(pixels("".join(_name(label)), 12.5) + 16 * label.depth for label in labels) + 24
    left = PAD + min(widest, max((width - right) * 0.36, 90))
    brace = 14.0 if layout.groups else 4.0
    x0 = left + brace + 4
    x1 = max(width - PAD - right, x0 + 60)
    bottom = TOP + ROW * len(layout.rows)
    scale = (x1 - x0) / layout.span

    _bands(canvas, layout, labels, width)
    _axis(canvas, layout.span, x0, x1, bottom)
    for position, (row, label) in enumerate(zip(layout.rows, labels, strict=True)):
        middle = TOP + ROW * position + ROW / 2
        if label.count:
            indent = 16 * min(label.depth, 6)
            name, count = _name(label, left - PAD - indent - 22)
            _mark(canvas, PAD + indent + 6, middle, label.llm)
            canvas.text(PAD + indent + 18, middle + 4, name, "b" if label.llm else "", tail=count)
        for bar in row.bars:
            leads_to = link(bar.index) if link else ""
            _bar(canvas, bar, x0 + bar.start * scale, x0 + bar.end * scale, middle, x1, leads_to)
        x = width - PAD - right
        for size, to_right, texts in columns:
            x += GAP
            text, kind = texts[position]
            if to_right:
                canvas.text(x + size, middle + 4, text, f"{kind} e n", room=size + GAP / 2)
            else:
                canvas.text(x, middle + 4, text, kind, room=size)
            x += size
    for first, last in layout.groups:
        y1, y2 = TOP + ROW * first + 6, TOP + ROW * last + ROW - 6
        canvas.path(f"M{x0 - 7:.1f} {y1:.1f}h-5V{y2:.1f}h5", "k")
    spoken = [f"{facts}."]
    spoken.extend(" ".join(tip(bar).split("\n")) + "." for bar in layout.bars[:20])
    if len(layout.bars) > 20:
        spoken.append(f"And {len(layout.bars) - 20} more calls.")
    return canvas.finish(bottom + 16, title, "\n".join(spoken))


def _name(label: RowLabel, room: float | None = None) -> tuple[str, str]:
    """Draw the name, with the number of calls if there are several; the name is cut if it does not fit."""
    count = f" ×{label.count:,}" if label.count > 1 else ""
    return label.name if room is None else clip_pixels(label.name, 12.5, room - pixels(count, 12.5)), count


def _columns(labels: list[RowLabel], width: float) -> list[tuple[float, bool, list[tuple[str, str]]]]:
    told = [
        (True, [(label.duration, "") for label in labels], 76.0),
        (True, [(label.tokens, "") for label in labels], 110.0),
        (False, [_note(label) for label in labels], 180.0),
    ]
    columns: list[tuple[float, bool, list[tuple[str, str]]]] = []
    left_over = width * 0.42
    for to_right, texts, most in told:
        size = min(max(pixels(text, 12) for text, _ in texts), most)
        if size <= 0:
            continue
        if size + GAP > left_over:
            if to_right or left_over < 70:
                break
            size = left_over - GAP
        columns.append((size, to_right, texts))
        left_over -= size + GAP
    return columns


def _note(label: RowLabel) -> tuple[str, str]:
    text = " · ".join(part for part in (label.warning, label.model) if part)
    return text, "w" if label.warning else "m"


def _bands(canvas: Canvas, layout: Layout, labels: list[RowLabel], width: float) -> None:
    """Draw a faint band behind every other call, or behind every other name with all its rows."""
    shaded = False
    for position, label in enumerate(labels):
        if label.count:
            shaded = not shaded
        if shaded:
            canvas.rect(PAD / 2, TOP + ROW * position, width - PAD, ROW, "band")


def _axis(canvas: Canvas, span: int, x0: float, x1: float, bottom: float) -> None:
    for mark in ticks(span, max(int((x1 - x0) / 60), 1)):
        x = x0 + mark * (x1 - x0) / span
        canvas.line(x, TOP - 6, x, bottom)
        text = tick_text(mark)
        if x + pixels(text, 11) / 2 <= x1 + 30:
            canvas.text(x, TOP - 12, text, "m s c n")


def _mark(canvas: Canvas, x: float, y: float, llm: bool) -> None:
    """Draw a filled diamond for an LLM call, a hatched square for a tool."""
    if llm:
        canvas.path(f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z", "llm")
    else:
        canvas.rect(x - 4.5, y - 4.5, 9, 9, "tool", fill=HATCH)


def _bar(canvas: Canvas, bar: Bar, x: float, end: float, middle: float, limit: float, link: str) -> None:
    half = 8.0 if bar.llm else 5.0
    radius = 3.0 if bar.llm else 0.0
    long = max(end - x, 2.5)
    x = min(x, limit - 2.5)
    canvas.open(tip(bar), link)
    if link:
        # The whole height of the row is the target of a click, and no less than its width on a touch screen.
        canvas.rect(min(x, limit - 2.5) - 3, middle - ROW / 2, max(long, 2.5) + 6, ROW, "hit", radius=3)
    if bar.state is BarState.UNFINISHED:
        kind = "llm open" if bar.llm else "tool open"
        fill = "" if bar.llm else HATCH
        head = min(7.0, long)
        body = long - head
        points = f"h{body:.1f}l{head:.1f} {half:.1f}l{-head:.1f} {half:.1f}h{-body:.1f}z"
        canvas.path(f"M{x:.1f} {middle - half:.1f}{points}", kind, fill=fill)
    elif bar.state is BarState.SILENT:
        long = max(long, 4.0)
        canvas.rect(x, middle - half + 1, long, half * 2 - 2, "silent", radius=radius)
        if long >= 14:
            centre = x + long / 2
            canvas.path(f"M{centre - 3:.1f} {middle - 3:.1f}l6 6m0 -6l-6 6", "silent")
    elif bar.state is BarState.FAILED:
        canvas.rect(x, middle - half, long, half * 2, "failed", radius=min(radius, long / 2))
    elif bar.start == bar.end:
        size = 5.0
        kind, fill = ("llm", "") if bar.llm else ("tool", HATCH)
        canvas.path(f"M{x:.1f} {middle - size:.1f}l{size} {size}l-{size} {size}l-{size} -{size}z", kind, fill=fill)
    elif bar.llm:
        canvas.rect(x, middle - half, long, half * 2, "llm", radius=min(radius, long / 2))
    elif long < 4:
        canvas.rect(x, middle - half, long, half * 2, "toolfill")
    else:
        canvas.rect(x, middle - half, long, half * 2, "tool", fill=HATCH)
    canvas.close(link)


def _legend(canvas: Canvas, layout: Layout, run_id: str) -> None:
    x, y = PAD, 76.0
    for key, words in legend(layout):
        if key == "llm":
            _mark(canvas, x + 6, y, True)
            canvas.rect(x + 16, y - 6, 22, 12, "llm", radius=3)
        elif key == "tool":
            _mark(canvas, x + 6, y, False)
            canvas.rect(x + 16, y - 4, 22, 8, "tool", fill=HATCH)
        elif key == "failed":
            canvas.rect(x + 12, y - 5, 26, 10, "failed")
        elif key == "open":
            canvas.path(f"M{x + 10:.1f} {y - 5:.1f}h22l6 5l-6 5h-22z", "llm open")
        elif key == "silent":
            canvas.rect(x + 12, y - 5, 26, 10, "silent", radius=3)
        else:
            canvas.path(f"M{x + 38:.1f} {y - 6:.1f}h-5v12h5", "k")
        canvas.text(x + 44, y + 4, words, "m")
        x += 44 + pixels(words, 12) + 18
    room = canvas.width - PAD - x
    if pixels(run_id, 11) <= room:
        canvas.text(canvas.width - PAD, y + 4, run_id, "m s e n")
