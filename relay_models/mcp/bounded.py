"""`bounded`: a JSON value cut to a size, with what was cut."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Cut", "bounded", "json_size"]

_SHORTEST = 40
"""Texts are never cut below this many characters: names and ids stay whole."""
# Maximum characters of a text and items of a list, tried in turn until the value fits.
_LIMITS = (
    (100_000, 10_000), (4_000, 500), (1_000, 200), (300, 100), (100, 50), (_SHORTEST, 20), (_SHORTEST, 5),
    (_SHORTEST, 1),
)  # fmt: skip


@dataclass(slots=True)
class Cut:
    """What was cut from a value."""

    paths: list[str] = field(default_factory=list)

    def notes(self, most: int = 20) -> list[str]:
        """The paths in words, at most a few of them."""
        more = len(self.paths) - most
        return self.paths[:most] + ([f"and {more:,} more"] if more > 0 else [])


def json_size(value: Any) -> int:
    """The size of a value as JSON (characters)."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def bounded(value: Any, most: int) -> tuple[Any, Cut]:
    """Cut the texts of a JSON value, then the ends of its lists, until it has at most `most` characters.

    Args:
        value: the value, which is not changed.
        most: the maximum size as JSON (characters).

    Returns:
        The value and what was cut.
    """
    for text, items in _LIMITS:
        cut = Cut()
        shorter = _shorten(value, text, items, "", cut)
        if json_size(shorter) <= most:
            return shorter, cut
    return None, Cut(["everything: it does not fit; ask for more characters"])


def _shorten(value: Any, text: int, items: int, path: str, cut: Cut) -> Any:
    if isinstance(value, str) and len(value) > text:
        cut.paths.append(f"{path or 'value'}: {len(value) - text:,} of {len(value):,} characters")
        return value[:text] + "…"
    if isinstance(value, dict):
        return {
            key: _shorten(item, text, items, f"{path}.{key}" if path else str(key), cut) for key, item in value.items()
        }
    if isinstance(value, list):
        if len(value) > items:
            cut.paths.append(f"{path}: {len(value) - items:,} of {len(value):,} items")
        return [_shorten(item, text, items, f"{path}[{index}]", cut) for index, item in enumerate(value[:items])]
    return value
