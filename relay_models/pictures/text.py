"""Format numbers and durations, measure text, and make it safe to show.

Names in a record are anybody's: they may hold terminal escapes, line breaks, direction overrides or half a surrogate
pair. `plain` makes each of these visible, so no picture and no table can be broken by a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

__all__ = [
    "cells",
    "clip_cells",
    "clip_pixels",
    "clock_text",
    "duration_text",
    "join_facts",
    "member_text",
    "number_text",
    "pixels",
    "plain",
    "tick_text",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Controls, line and paragraph separators, direction overrides and isolates, lone surrogates, non-characters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def plain(text: str) -> str:
    """Return the text on one line, with all characters escaped that could control a terminal or break XML."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_visible, text)


def cells(text: str) -> int:
    """Return the width of the text in terminal cells; wide characters take two."""
    return cell_len(text)


def clip_cells(text: str, width: int) -> str:
    """Return the text in exactly `width` cells: padded with blanks, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)


_NARROW = frozenset("iljtfrI.,:;'|!()[]{}/\\ `")
_WIDE = frozenset("mwMWG@%—…")


@lru_cache(maxsize=4096)
def _em(character: str) -> float:
    if character in _NARROW:
        return 0.36
    if character in _WIDE:
        return 0.92
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return 0.68 if character.isupper() else 0.6


def pixels(text: str, size: float) -> float:
    """Estimate the width of the text in a common sans-serif font at `size` pixels, rather too wide than too narrow."""
    return sum(map(_em, text)) * size


def clip_pixels(text: str, size: float, width: float) -> str:
    """Cut the text with an ellipsis to about `width` pixels."""
    if pixels(text, size) <= width:
        return text
    used = _em("…") * size
    for position, character in enumerate(text):
        used += _em(character) * size
        if used > width:
            return text[:position].rstrip() + "…"
    return text


def clock_text(nanoseconds: int) -> str:
    """Format an instant (nanoseconds since 1970) in UTC, to the millisecond."""
    try:
        moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:  # a date whose time zone puts it just outside of the years 1 to 9999
        return f"{nanoseconds / 1e9:.3f} s after 1970"
    return moment.isoformat(" ", "milliseconds").removesuffix("+00:00") + " UTC"


def duration_text(nanoseconds: int) -> str:
    """Format a duration with about three digits: ``812 µs``, ``10.3 ms``, ``4.00 s``, ``2 m 05 s``."""
    if nanoseconds < 0:
        return "-" + duration_text(-nanoseconds)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)):
        value = nanoseconds / size
        if unit == "s":
            if value < 59.95:
                return f"{_three(value)} s"
        elif value < 999.5:
            return f"{value:.0f} ns" if unit == "ns" else f"{_three(value)} {unit}"
    seconds = round(nanoseconds / 1_000_000_000)
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} m {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} m"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours:02d} h"


def _three(value: float) -> str:
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}"


def tick_text(nanoseconds: int) -> str:
    """Format a round instant of an axis without trailing zeros: ``0``, ``500 ms``, ``2 s``, ``5 m``."""
    if nanoseconds == 0:
        return "0"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)):
        if nanoseconds < size * (60 if unit == "s" else 1000):
            return f"{nanoseconds / size:g} {unit}"
    minutes, seconds = divmod(nanoseconds // 1_000_000_000, 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value)


def member_text(member: Enum) -> str:
    """A member of an enum as filters take it, too: its text, or the name that stands for a number."""
    value = member.value
    return member.name if not isinstance(value, str) and member.name in type(member).__members__ else str(value)


def number_text(value: float) -> str:
    """Format a number briefly: ``0.25``, ``0.000125``, ``1,536``, ``12.3k``, ``4.56M``."""
    if value < 0:
        return "-" + number_text(-value)
    if 0 < value < 0.1:
        return f"{value:.3g}"
    if value < 10_000:
        return f"{value:,.0f}" if value == int(value) or value >= 99.95 else _short(value)
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if value < 999.5 * size:
            return _short(value / size) + unit
    return f"{value:.3g}"


def _short(value: float) -> str:
    text = _three(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def join_facts(facts: Iterable[str], width: int, dot: str = " · ") -> str:
    """Join facts in lines of `width` cells that break between two facts."""
    lines: list[str] = []
    for fact in facts:
        if lines and cells(lines[-1] + dot + fact) + len(dot.rstrip()) <= width:
            lines[-1] += dot + fact
        else:
            if lines:
                lines[-1] += dot.rstrip()
            lines.append(fact)
    return "\n".join(lines)
