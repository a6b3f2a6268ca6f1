"""`compare` and `compare_rows`: the order of values and of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relay_models.embedded.search.arguments import display, parse_double
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.documents import Value, single

__all__ = ["compare", "compare_rows"]


def compare(left: Value, right: Value) -> int:
    """Negative, 0 or positive. Null comes first; a number and a text are compared as numbers if they can."""
    left, right = single(left), single(right)
    if left is None or right is None:
        return (left is not None) - (right is not None)
    if type(left) is list and left:
        left = left[0]
    if type(right) is list and right:
        right = right[0]
    if type(left) is bytes and type(right) is bytes:
        return (left > right) - (left < right)
    if type(left) is bytes:
        number = parse_double(left)
        if number is None:
            return _texts(left, b"%f" % right if type(right) is float else b"")
        left = number
    if type(right) is bytes:
        number = parse_double(right)
        if number is None:
            return _texts(b"%f" % left if type(left) is float else b"", right)
        right = number
    if type(left) is not float or type(right) is not float:
        return 0
    return (left > right) - (left < right)


def _texts(left: bytes, right: bytes) -> int:
    return (left > right) - (left < right)


def _refuse_mixture(left: Value, right: Value) -> None:
    """Raise `SearchError` for a number and a text that is not one."""
    for one, other in ((left, right), (right, left)):
        if type(one) is float and type(other) is bytes and parse_double(other) is None:
            raise SearchError(f"Error converting string '{display(other)}' to number")


def compare_rows(keys: Sequence[tuple[bytes, bool]]) -> Callable[[dict[bytes, Value], dict[bytes, Value]], int]:
    """A comparison of rows by (name, ascending) keys; rows without a field come last in both directions.

    It raises `SearchError` for a number and a text that is not one.
    """

    def compare_them(left: dict[bytes, Value], right: dict[bytes, Value]) -> int:
        for name, ascending in keys:
            here, there = name in left, name in right
            if not here or not there:
                if here != there:
                    return -1 if here else 1
                continue
            one, other = left[name], right[name]
            if type(one) is not type(other):
                _refuse_mixture(single(one), single(other))
            result = compare(one, other)
            if result:
                return result if ascending else -result
        return 0

    return compare_them
