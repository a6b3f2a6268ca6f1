"""`reply_rows`: rows of replies made column by column, where SQL columns say what the documents hold."""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Sequence
from typing import Any

from relay_models.embedded.search.index.documents import to_reply

__all__ = ["MAY_BE_BOOLEAN", "printed", "reply_rows", "whole_as_digits"]

MAY_BE_BOOLEAN = frozenset((None, b"true", b"false"))
"""Column values that do not say what the document holds: nothing or null, a text or a boolean."""


def whole_as_digits(column: str) -> str:
    """SQL for a column of numbers that returns whole ones as the digits of a reply."""
    whole = f"CAST({column} AS INTEGER)"
    return f"iif({column} = {whole}, CAST({whole} AS BLOB), {column})"


def printed(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values of a `whole_as_digits` column as they are in a reply."""
    return tuple(map(to_reply, numbers)) if float in map(type, numbers) else numbers


def reply_rows(names: Sequence[bytes], columns: Sequence[Sequence[Any]]) -> list[dict[bytes, Any]]:
    """One dictionary per row. There is at least one column, and they are equally long."""
    return _maker(len(names))(*names, *columns)


@functools.lru_cache(maxsize=64)
def _maker(width: int) -> Callable[..., list[dict[bytes, Any]]]:
    """A function from `width` names and as many columns to one dictionary per row.

    Python creates a dictionary with constant names in a third of the time of any other.
    """
    names, columns, values = ([f"{letter}{place}" for place in range(width)] for letter in "ncv")
    pairs = ", ".join(map("{}: {}".format, names, values))
    each = f"{values[0]} in {columns[0]}" if width == 1 else f"{', '.join(values)} in zip({', '.join(columns)})"
    source = f"lambda {', '.join(names + columns)}: [{{{pairs}}} for {each}]"
    filename = f"<rows of {width} columns>"
    # Registered, so that tracebacks and debuggers show the source.
    linecache.cache[filename] = (len(source), None, [source], filename)
    return eval(compile(source, filename, "eval"))  # type: ignore[no-any-return]
