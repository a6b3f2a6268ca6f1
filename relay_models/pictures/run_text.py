"""`draw`: a run's timeline in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from relay_models.pictures.labels import RowLabel, label_rows, legend
from relay_models.pictures.layout import Bar, BarState, Layout, Row, ticks
from relay_models.pictures.text import cells, clip_cells, clock_text, join_facts, plain, tick_text

if TYPE_CHECKING:
    from relay_models.records import RunRecord

__all__ = ["draw"]

LLM, TOOL, BAD, DIM = "bright_blue", "dark_orange", "red", "bright_black"


class _Glyphs:
    """The characters of bars. LLM calls fill the line, tool calls its lower half."""

    def __init__(self, ascii_only: bool) -> None:
        if ascii_only:
            self.full, self.left, self.right = {True: "#", False: "="}, {True: "#", False: "="}, {True: "#", False: "="}
            self.open, self.head, self.silent, self.instant = "-", ">", "?", {True: "|", False: "|"}
            self.mark, self.tick, self.brace = {True: "*", False: "-"}, ".", ("/", "|", "\\")
            self.arrow, self.times, self.dot = "->", " x", " | "
        else:
            self.full, self.left, self.right = (
                {True: "█", False: "▄"}, {True: "▐", False: "▗"}, {True: "▌", False: "▖"},
            )  # fmt: skip
            self.open, self.head, self.silent, self.instant = "┄", "▶", "▒", {True: "◆", False: "◇"}
            self.mark, self.tick, self.brace = {True: "◆", False: "◇"}, "·", ("╭", "│", "╰")
            self.arrow, self.times, self.dot = "→", " ×", " · "


def draw(run: RunRecord, layout: Layout, width: int, facts: list[str], *, ascii_only: bool = False) -> Group:
    """Draw the timeline in `width` cells; columns on the right that do not fit are dropped."""
    glyphs = _Glyphs(ascii_only)
    lines = _headline(run, facts, width, glyphs)
    if not layout.rows:
        lines.append(Text("no calls recorded", style=DIM))
        return Group(*lines)
    labels = label_rows(layout, glyphs.arrow)
    braces = _braces(layout, glyphs)
    longest = max(cells(_name(label, glyphs)) for label in labels)
    columns = _columns(labels, glyphs, width)
    right = sum(size + 2 for size, _, _ in columns)
    left = min(longest, max((width - right) * 2 // 5, 10))
    room = max(width - left - right - 3, 4)
    names = [_name(label, glyphs, left) for label in labels]
    marks = ticks(layout.span, max(room // 9, 1))
    at = [min(mark * room // layout.span, room - 1) for mark in marks]
    lines.append(_axis(left, room, marks, at, glyphs))
    previous_kind: bool | None = None
    for position, (row, label, name, brace) in enumerate(zip(layout.rows, labels, names, braces, strict=True)):
        if layout.by_name and previous_kind is not None and label.count and previous_kind != label.llm:
            lines.append(Text(""))
        previous_kind = label.llm if label.count else previous_kind
        line = Text(no_wrap=True, overflow="crop", end="")
        line.append(clip_cells(name, left), style=LLM if label.llm else TOOL)
        line.append(f" {brace} ", style=DIM)
        line.append_text(_bars(row, layout.span, room, at, glyphs))
        for size, justify_right, texts in columns:
            text, style = texts[position]
            cut = clip_cells(text, size)
            if justify_right and cells(text) <= size:
                cut = " " * (size - cells(text)) + text
            line.append("  ").append(cut, style=style)
        line.rstrip()
        line.end = "\n"
        lines.append(line)
    lines.append(_legend(layout, glyphs, width))
    return Group(*lines)


def _headline(run: RunRecord, facts: list[str], width: int, glyphs: _Glyphs) -> list[Text]:
    run_id = str(run.id)
    agent = clip_cells(plain(run.agent_id), min(cells(plain(run.agent_id)), max(width - len(run_id) - 2, 12)))
    top = Text(agent, style="bold", overflow="fold")
    top.append("  " if cells(agent) + 2 + len(run_id) <= width else "\n")
    top.append(run_id, style=DIM)
    began = clock_text(run.started_at.nanoseconds)
    facts = [fact.replace("→", glyphs.arrow) for fact in facts]
    return [top, Text(join_facts([began, *facts], width, glyphs.dot), overflow="fold"), Text("")]


def _name(label: RowLabel, glyphs: _Glyphs, room: int | None = None) -> str:
    """Return the name left of the bars; if it does not fit, the name is cut and the count stays."""
    if not label.count:
        return ""
    count = f"{glyphs.times}{label.count:,}" if label.count > 1 else ""
    before = "  " * min(label.depth, 6) + f"{glyphs.mark[label.llm]} "
    if room is None or cells(before + label.name + count) <= room:
        return before + label.name + count
    return before + clip_cells(label.name, room - cells(before + count)) + count


def _braces(layout: Layout, glyphs: _Glyphs) -> list[str]:
    braces = [" "] * len(layout.rows)
    for first, last in layout.groups:
        for row in range(first, last + 1):
            braces[row] = glyphs.brace[0 if row == first else 2 if row == last else 1]
    return braces


def _columns(labels: list[RowLabel], glyphs: _Glyphs, width: int) -> list[tuple[int, bool, list[tuple[str, str]]]]:
    """Return (width, right-aligned, (text, style) of each row) of the columns that fit in half of the width."""
    told = [
        (True, [(label.duration, "") for label in labels], 10),
        (True, [(label.tokens, "") for label in labels], 16),
        (False, [(_note(label, glyphs), BAD if label.warning else DIM) for label in labels], max(width // 4, 10)),
    ]
    columns: list[tuple[int, bool, list[tuple[str, str]]]] = []
    left_over = width // 2
    for to_right, texts, most in told:
        size = min(max(cells(text) for text, _ in texts), most)
        if size == 0:
            continue
        if size + 2 > left_over:
            if to_right or left_over < 10:
                break
            size = left_over - 2
        columns.append((size, to_right, texts))
        left_over -= size + 2
    return columns


def _note(label: RowLabel, glyphs: _Glyphs) -> str:
    return glyphs.dot.join(part for part in (label.warning, label.model) if part)


def _axis(left: int, room: int, marks: list[int], at: list[int], glyphs: _Glyphs) -> Text:
    line = [" "] * (left + 3 + room)
    free = 0
    for mark, cell in zip(marks, at, strict=True):
        text = tick_text(mark)
        start = left + 3 + cell
        if start >= free and start + len(text) <= len(line):
            line[start : start + len(text)] = text
            free = start + len(text) + 1
    return Text("".join(line).rstrip(), style=DIM, no_wrap=True)


def _bars(row: Row, span: int, room: int, at: list[int], glyphs: _Glyphs) -> Text:
    """Return the bars of a row, in half cells."""
    canvas = [(" ", "")] * room
    for cell in at:
        canvas[cell] = (glyphs.tick, DIM)
    for bar in row.bars:
        start = bar.start * room * 2 // span
        end = max(-(-bar.end * room * 2 // span), start + 1)
        start = min(start, room * 2 - 1)
        end = min(end, room * 2)
        for cell in range(start // 2, (end + 1) // 2):
            canvas[cell] = _cell(bar, cell, start, end, canvas[cell][0], glyphs)
    text = Text()
    for glyph, style in canvas:
        text.append(glyph, style=style)
    return text


def _cell(bar: Bar, cell: int, start: int, end: int, before: str, glyphs: _Glyphs) -> tuple[str, str]:
    style = LLM if bar.llm else TOOL
    if bar.state is BarState.UNFINISHED:
        if cell == (end - 1) // 2:
            return glyphs.head, style
        return (glyphs.full[bar.llm] if cell == start // 2 else glyphs.open), style
    if bar.state is BarState.SILENT:
        return glyphs.silent, BAD
    if bar.state is BarState.FAILED:
        style = BAD
    if bar.start == bar.end:
        return glyphs.instant[bar.llm], style
    if start > cell * 2 and before not in glyphs.right.values():
        return glyphs.left[bar.llm], style
    if end < cell * 2 + 2 and before not in glyphs.left.values():
        return glyphs.right[bar.llm], style
    return glyphs.full[bar.llm], style


def _legend(layout: Layout, glyphs: _Glyphs, width: int) -> Text:
    samples = {
        "llm": (f"{glyphs.mark[True]} {glyphs.full[True] * 2}", LLM),
        "tool": (f"{glyphs.mark[False]} {glyphs.full[False] * 2}", TOOL),
        "failed": (glyphs.full[True] * 2, BAD),
        "open": (glyphs.open * 2 + glyphs.head, ""),
        "silent": (glyphs.silent * 2, BAD),
        "parallel": (glyphs.brace[0] + glyphs.brace[2], DIM),
    }
    text = Text("\n")
    for position, (key, words) in enumerate(legend(layout)):
        sample, style = samples[key]
        text.append("   " if position else "").append(sample, style=style).append(f" {words}", style=DIM)
    return text
