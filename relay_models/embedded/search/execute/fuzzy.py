"""`within_distance`: whether words differ in a few characters only."""

from __future__ import annotations

__all__ = ["within_distance"]


def within_distance(left: bytes, right: bytes, distance: int) -> bool:
    """Whether the edit distance (Levenshtein) of two words is at most `distance`."""
    one, other = left.decode("utf-8", "replace"), right.decode("utf-8", "replace")
    if abs(len(one) - len(other)) > distance:
        return False
    row = list(range(len(other) + 1))
    for number, char in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, against in enumerate(other, 1):
            cost = before if char == against else 1 + min(before, row[place], row[place - 1])
            before, row[place] = row[place], cost
        if min(row) > distance:
            return False
    return row[-1] <= distance
