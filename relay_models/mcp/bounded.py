"""`fitted`: an answer cut to a size, with what was cut."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Cut", "bounded", "fitted", "json_size"]

_SHORTEST = 40
"""Texts are never cut below this many characters: names and ids stay whole."""
# Maximum characters of a text, items of a list and entries of an object, tried in turn until the value fits.
_LIMITS = (
    (100_000, 10_000, 10_000), (4_000, 500, 500), (1_000, 200, 200), (300, 100, 100), (100, 50, 50),
    (_SHORTEST, 20, 50), (_SHORTEST, 5, 50), (_SHORTEST, 1, 50), (_SHORTEST, 1, 10),
)  # fmt: skip
_LONGEST_NOTE = 200
"""Maximum number of characters of a note of what was cut."""
_MOST_NOTES = 20
"""Maximum number of notes of what was cut."""


@dataclass(slots=True)
class Cut:
    """What was cut from a value."""

    paths: list[str] = field(default_factory=list)

    def notes(self, most: int) -> list[str]:
        """The paths in words: the first of them, of `most` characters together."""
        notes = [_ending(path, _LONGEST_NOTE) for path in self.paths[:_MOST_NOTES]]
        while len(notes) > 1 and sum(map(len, notes)) > most:
            notes.pop()
        more = len(self.paths) - len(notes)
        return [*notes, f"and {more:,} more"] if more else notes


def json_size(value: Any) -> int:
    """The size of a value as JSON (characters)."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def fitted(value: dict[str, Any], most: int, advice: str = "", **whole: Any) -> dict[str, Any] | None:
    """An answer of at most `most` characters as JSON, with notes of what was cut; None where it cannot be cut so far.

    Args:
        value: what may be cut.
        most: the maximum size (characters).
        advice: where to find what was cut.
        whole: entries that are not cut.
    """
    budget = most - json_size(whole)
    while budget > 0:
        shorter, cut = bounded(value, budget)
        if shorter is None:
            return None
        answer = {**shorter, **whole}
        if cut.paths:
            answer["cut"] = cut.notes(most // 5)
            if advice:
                answer["note"] = "; ".join([*filter(None, [whole.get("note")]), advice])
        over = json_size(answer) - most
        if over <= 0:
            return answer
        budget = min(budget, json_size(shorter)) - over
    return None


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
