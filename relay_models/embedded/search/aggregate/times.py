"""`read_time`: times parsed by a pattern, as C's strptime does."""

from __future__ import annotations

import datetime
import re
from typing import Final

__all__ = ["read_time"]

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_TOGETHER: Final = {
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "r": "%I:%M:%S %p",
    "c": "%a %b %e %H:%M:%S %Y",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
}
_NUMBERS: Final = {
    # directive: minimum, maximum, digits
    "d": (1, 31, 2),
    "e": (1, 31, 2),
    "H": (0, 23, 2),
    "k": (0, 23, 2),
    "I": (1, 12, 2),
    "l": (1, 12, 2),
    "j": (1, 366, 3),
    "m": (1, 12, 2),
    "M": (0, 59, 2),
    "S": (0, 61, 2),
    "y": (0, 99, 2),
    "Y": (0, 9999, 4),
    "C": (0, 99, 2),
    "u": (1, 7, 1),
    "w": (0, 6, 1),
    "U": (0, 53, 2),
    "W": (0, 53, 2),
    "V": (0, 53, 2),
    "g": (0, 99, 2),
    "G": (0, 9999, 4),
}
_BLANKS: Final = " \t\n\v\f\r"


def read_time(text: str, pattern: str) -> int | None:
    """Seconds since 1970 (UTC) of a text that begins as the pattern says; None for any other.

    What the pattern leaves out is taken from 1899-12-31 00:00. Days and months are counted from there, so that 30
    February is a day in March.
    """
    found = _Found()
    return None if _read(found, text, 0, pattern) is None else found.seconds()


class _Found:
    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.afternoon: bool | None = None
        self.stamp: int | None = None

    def seconds(self) -> int:
        if self.stamp is not None:
            return self.stamp
        values = self.values
        year = values.get("Y", 1900)
        if "y" in values:
            short = values["y"]
            year = values["C"] * 100 + short if "C" in values else short + (1900 if short >= 69 else 2000)
        elif "C" in values and "Y" not in values:
            year = values["C"] * 100
        hour = values.get("H", 0)
        if "I" in values:
            hour = values["I"] % 12 + (12 if self.afternoon else 0)
        month, day = values.get("m", 1), values.get("d", 0)
        if "j" in values and not ("m" in values and "d" in values) and ("Y" in values or "y" in values):
            month, day = 1, values["j"]
        days = datetime.date(max(year, 1), month, 1).toordinal() - datetime.date(1970, 1, 1).toordinal() + day - 1
        return days * 86400 + hour * 3600 + values.get("M", 0) * 60 + values.get("S", 0)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at


def _read(found: _Found, text: str, at: int, pattern: str) -> int | None:
    """The position after the match; None where the text does not match."""
    place = 0
    while place < len(pattern):
        char = pattern[place]
        place += 1
        if char in _BLANKS:
            at = _skip(text, at)
            continue
        if char != "%":
            if text[at : at + 1] != char:
                return None
            at += 1
            continue
        while pattern[place : place + 1] in ("-", "_", "0", "^", "#", "E", "O"):
            place += 1
        after = _directive(found, text, at, pattern[place : place + 1])
        place += 1
        if after is None:
            return None
        at = after
    return at


def _directive(found: _Found, text: str, at: int, kind: str) -> int | None:
    if kind in _TOGETHER:
        return _read(found, text, at, _TOGETHER[kind])
    if kind in _NUMBERS:
        return _number(found, text, at, kind)
    if kind == "%":
        return at + 1 if text[at : at + 1] == "%" else None
    if kind in ("n", "t"):
        return _skip(text, at)
    if kind == "Z":
        return at
    if kind in ("a", "A"):
        return _name(text, at, _DAYS)[0]
    if kind in ("b", "B", "h"):
        after, number = _name(text, at, _MONTHS)
        found.values["m"] = number + 1
        return after
    if kind == "p":
        found.afternoon = text[at : at + 2].lower() == "pm"
        return at + 2 if text[at : at + 2].lower() in ("am", "pm") else None
    if kind == "s":
        digits = re.compile("[0-9]+").match(text, at)
        if digits is None:
            return None
        found.stamp = int(digits[0])
        return digits.end()
    if kind == "z":
        zone = re.compile(r"\s*(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)").match(text, at)
        return None if zone is None else zone.end()
    return None


def _number(found: _Found, text: str, at: int, kind: str) -> int | None:
    least, most, digits = _NUMBERS[kind]
    at = _skip(text, at)
    number, taken = 0, 0
    while taken < digits and at < len(text) and text[at] in "0123456789" and (not taken or number * 10 <= most):
        number = number * 10 + int(text[at])
        at, taken = at + 1, taken + 1
    if not taken or not least <= number <= most:
        return None
    kind = {"e": "d", "k": "H", "l": "I"}.get(kind, kind)
    if kind in ("H", "I"):
        found.values.pop("I" if kind == "H" else "H", None)
    found.values[kind] = number
    return at


def _name(text: str, at: int, names: tuple[str, ...]) -> tuple[int | None, int]:
    rest = text[at:].lower()
    for number, name in enumerate(names):
        for form in (name, name[:3]):
            if rest.startswith(form):
                return at + len(form), number
    return None, 0
