"""`within_distance`: whether words differ in a few characters only."""

from __future__ import annotations

__all__ = ["within_distance"]


def within_distance(left: bytes, right: bytes, distance: int) -> bool:
    """Whether the edit distance (Levenshtein) of two words is at most `distance`."""
    one, other = left.decode("utf-8", "replace"), right.decode("utf-8", "replace")
    if abs(len(one) - len(other)) > distance:
        return False
    # Only the places near the diagonal can be reached within the distance.
    far = distance + 1
    row = {place: place for place in range(min(distance, len(other)) + 1)}
    for number, char in enumerate(one, 1):
        following: dict[int, int] = {}
        for place in range(max(0, number - distance), min(len(other), number + distance) + 1):
            if place == 0:
                following[0] = number
                continue
            before = row.get(place - 1, far)
            same = char == other[place - 1]
            following[place] = before if same else 1 + min(before, row.get(place, far), following.get(place - 1, far))
        if min(following.values(), default=far) > distance:
            return False
        row = following
    return row.get(len(other), far) <= distance
