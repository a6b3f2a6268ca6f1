"""`Output`: print tables that fit the terminal, JSON for programs, and one line for an error."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from rich.console import Console
from rich.text import Text

from relay_models.pictures.text import cells, clip_cells, duration_text, member_text, number_text, plain

__all__ = ["Column", "Output", "age_text", "cell_text", "counted", "error_line", "json_value"]

PIPE_WIDTH = 4000
"""Maximum width of tables that are not printed to a terminal (cells)."""


def error_line(message: str) -> None:
    """Print an error on standard error, with control characters escaped."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    lines = [plain(line) for line in str(message).split("\n")]
    console.print(Text.assemble(("error: ", "bold red"), "\n".join(lines)))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    head: str
    right: bool = False
    priority: int = 5
    """If not all columns fit, those with the lowest priority are dropped first; 9 always stays."""
    least: int = 8
    """The minimum width to which it is cut (cells)."""
    style: str = ""


class _Console(Console):
    """A console that raises BrokenPipeError, which the command does not treat as a failure."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Output:
    """Standard output as a table, as text, or as JSON."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            # A character that the terminal cannot show is replaced instead of raising an error.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        self.console = _Console(highlight=False, soft_wrap=False)
        self.notes = _Console(stderr=True, highlight=False)

    @property
    def width(self) -> int:
        """The width in cells: the terminal's, or `PIPE_WIDTH` for a file or a pipe."""
        if self.console.is_terminal or "COLUMNS" in os.environ:
            return self.console.width
        return PIPE_WIDTH

    @property
    def page_width(self) -> int:
        """The width of text and pictures in cells, which is limited on wide terminals."""
        return min(self.width, 120) if self.width != PIPE_WIDTH else 100

    def object(self, value: Any) -> None:
        """Print one JSON document."""
        self._write(_json(value, indent=2))

    def array(self, values: Iterable[Any]) -> int:
        """Print a JSON array with one element per line, element by element; return how many there were."""
        count = 0
        for count, value in enumerate(values, 1):
            self._write(("[\n" if count == 1 else ",\n") + _line(value), end="")
        self._write("\n]" if count else "[]")
        return count

    def line(self, value: Any) -> None:
        """Print one JSON document on a single line, and flush."""
        self._write(_line(value))
        sys.stdout.flush()

    def line_text(self, text: str) -> None:
        """Print a line of text without wrapping, and flush."""
        self.console.print(Text(text), soft_wrap=True)
        sys.stdout.flush()

    def raw(self, text: str) -> None:
        """Print a line of JSON text."""
        self._write(text)

    def _write(self, text: str, end: str = "\n") -> None:
        sys.stdout.write(text + end)

    def print(self, *parts: Any, style: str | None = None) -> None:
        """Print rich renderables. Strings are printed without markup."""
        texts = (Text(part) if isinstance(part, str) else part for part in parts)
        self.console.print(*texts, style=style, width=self.page_width)

    def note(self, text: str) -> None:
        """Print a remark on standard error, where it does not disturb piped output."""
        self.notes.print(Text(text, style="bright_black"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning on standard error."""
        self.notes.print(Text.assemble(("warning: ", "bold yellow"), plain(text)), soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, hint: bool = True) -> None:
        """Print a table that fits the width; columns that do not fit are dropped and listed."""
        body = [[plain(cell) for cell in row] for row in rows]
        kept, sizes = fit(columns, body, self.width)
        for line in _lines(columns, body, kept, sizes):
            self.console.print(line, soft_wrap=True)
        dropped = [column.head for index, column in enumerate(columns) if index not in kept]
        if dropped and hint:
            self.note(f"no room for: {', '.join(dropped)}")

    def rolling(self, columns: Sequence[Column], sizes: Sequence[int]) -> Callable[[Sequence[str]], None]:
        """Print heads, and return a function that prints and flushes a row in columns of these sizes.

        The last column that there is room for is cut by the end of the line only.
        """
        kept, fitted = fit(columns, [["x" * size for size in sizes]], self.width)
        for line in _lines(columns, [], kept, fitted):
            self.console.print(line, soft_wrap=True)
        sys.stdout.flush()
        fitted[kept[-1]] += max(0, self.width - sum(fitted.values()) - 2 * (len(kept) - 1))

        def row(values: Sequence[str]) -> None:
            (_, _, line) = _lines(columns, [[plain(value) for value in values]], kept, fitted)
            self.console.print(line, soft_wrap=True)
            sys.stdout.flush()

        return row


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> tuple[list[int], dict[int, int]]:
    """Choose the columns that fit `width` cells, and their widths."""
    natural = {i: max([cells(column.head), *(cells(row[i]) for row in rows)]) for i, column in enumerate(columns)}
    least = {i: min(natural[i], max(column.least, cells(column.head))) for i, column in enumerate(columns)}
    kept = list(natural)

    def needed(sizes: Mapping[int, int]) -> int:
        return sum(sizes[i] for i in kept) + 2 * (len(kept) - 1)

    while needed(least) > width:
        index = min(kept, key=lambda i: (columns[i].priority, -i))
        if columns[index].priority >= 9 or len(kept) == 1:
            break
        kept.remove(index)
    sizes = {i: natural[i] for i in kept}
    while (excess := needed(sizes) - width) > 0:
        # Cut the widest column first, so that all end up about equally wide.
        cuttable = [i for i in kept if sizes[i] > least[i]]
        if not cuttable:
            break
        widest = max(cuttable, key=lambda i: sizes[i])
        next_widest = max((sizes[i] for i in cuttable if sizes[i] < sizes[widest]), default=least[widest])
        sizes[widest] -= max(1, min(excess, sizes[widest] - max(next_widest, least[widest])))
    return kept, sizes


def _lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int], sizes: Mapping[int, int]
) -> Iterator[Text]:
    def line(values: Sequence[str], head: bool) -> Text:
        text = Text(no_wrap=True)
        for position, index in enumerate(kept):
            column, size, value = columns[index], sizes[index], values[index]
            shown = clip_cells(value, size)
            if column.right and cells(value) <= size:
                shown = " " * (size - cells(value)) + value
            text.append("  " if position else "")
            text.append(shown, style="bold" if head else column.style)
        text.rstrip()
        return text

    yield line([column.head for column in columns], True)
    yield Text("  ".join("─" * sizes[index] for index in kept), style="bright_black", no_wrap=True)
    for row in rows:
        yield line(row, False)


def _line(value: Any) -> str:
    return _json(value, separators=(", ", ": "))


# Marks the text of a decimal until the document is written; no other text can have it.
_MARK = secrets.token_hex(16)
_MARKED = re.compile(f'"{_MARK}([^"]*)"')


def _json(value: Any, **options: Any) -> str:
    """A JSON document; decimals are numbers with all of their digits."""
    text = json.dumps(json_value(value), ensure_ascii=False, **options)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def json_value(value: Any) -> Any:
    """Convert a value for `_json`: instants as RFC 3339, durations in seconds."""
    match value:
        case Enum():
            return json_value(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else None
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return value / timedelta(seconds=1)
        case Decimal():
            return f"{_MARK}{value}" if value.is_finite() else None
        case Mapping():
            return {str(key): json_value(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_value(item) for item in value]
        case _:
            return str(value)


def cell_text(value: Any) -> str:
    """Format a value as a table cell."""
    match value:
        case None:
            return ""
        case Enum():
            return member_text(value)
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:,}"
        case float():
            return number_text(value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        case timedelta():
            return duration_text(round(value / timedelta(microseconds=1)) * 1000)
        case list() | tuple():
            return ", ".join(map(cell_text, value))
        case set() | frozenset():
            return ", ".join(sorted(map(cell_text, value)))
        case _:
            return str(value)


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 run``, ``2,000 runs``, ``0 entries``."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def age_text(moment: datetime | None, now: datetime) -> str:
    """Format how long ago something was, in one unit: ``3 h ago``."""
    if moment is None:
        return ""
    seconds = (now - moment).total_seconds()
    if seconds < 0:
        return "in the future"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit} ago"
    return f"{int(seconds)} s ago"
