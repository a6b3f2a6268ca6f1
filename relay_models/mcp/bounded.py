"""`bounded`: a JSON value cut to a size, with what was cut."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Cut", "bounded", "json_size"]

_SHORTEST = 40
"""Texts are never cut below this many characters: names and ids stay whole."""
# Maximum characters of a text, items of a list and entries of an object, tried in turn until the value fits.
_LIMITS = (
    (100_000, 10_000, 10_000), (4_000, 500, 500), (1_000, 200, 200), (300, 100, 100), (100, 50, 50),
    (_SHORTEST, 20, 50), (_SHORTEST, 5, 50), (_SHORTEST, 1, 50), (_SHORTEST, 1, 10),
)  # fmt: skip
_LONGEST_NOTE = 200
"""Maximum number of characters of a note of what was cut."""


@dataclass(slots=True)
class Cut:
    """What was cut from a value."""

    paths: list[str] = field(default_factory=list)

    def notes(self, most: int = 20) -> list[str]:
        """The paths in words, at most a few of them."""
        more = len(self.paths) - most
        return [_ending(path, _LONGEST_NOTE) for path in self.paths[:most]] + (
            [f"and {more:,} more"] if more > 0 else []
        )


def json_size(value: Any) -> int:
    """The size of a value as JSON (characters)."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def bounded(value: Any, most: int) -> tuple[Any, Cut]:
    """Cut the texts of a JSON value, then the ends of its lists and objects, until it has at most `most` characters.

    Args:
        value: the value, which is not changed.
        most: the maximum size as JSON (characters).

    Returns:
        The value and what was cut.
    """
    for text, items, entries in _LIMITS:
        shortening = _Shortening(text, items, entries)
        shorter = shortening.of(value, "")
        if json_size(shorter) <= most:
            return shorter, shortening.cut
    return None, Cut(["everything: it does not fit; ask for more characters"])


@dataclass(slots=True)
class _Shortening:
    """Cuts texts, lists and objects to a number of characters, items and entries."""

    text: int
    items: int
    entries: int
    cut: Cut = field(default_factory=Cut)

    def of(self, value: Any, path: str) -> Any:
        """The value, cut; what is cut is noted."""
        match value:
            case str() if len(value) > self.text:
                self._note(path or "value", len(value) - self.text, len(value), "characters")
                return value[: self.text] + "…"
            case dict():
                if len(value) > self.entries:
                    self._note(path or "value", len(value) - self.entries, len(value), "entries")
                made: dict[str, Any] = {}
                for key, item in itertools.islice(value.items(), self.entries):
                    name = self._name(key, made)
                    inside = f"{path}.{name}" if path else name
                    if name != key:
                        self._note(f"the name of {inside}", len(key) - self.text, len(key), "characters")
                    made[name] = self.of(item, inside)
                return made
            case list():
                if len(value) > self.items:
                    self._note(path, len(value) - self.items, len(value), "items")
                return [self.of(item, f"{path}[{index}]") for index, item in enumerate(value[: self.items])]
            case _:
                return value

    def _name(self, key: str, taken: dict[str, Any]) -> str:
        if len(key) <= self.text:
            return key
        # Keys that begin with the same characters stay apart.
        short = key[: self.text] + "…"
        return f"{short}{len(taken)}" if short in taken else short

    def _note(self, path: str, left_out: int, size: int, what: str) -> None:
        self.cut.paths.append(f"{path}: {left_out:,} of {size:,} {what}")


def _ending(text: str, most: int) -> str:
    return text if len(text) <= most else "…" + text[-most:]
