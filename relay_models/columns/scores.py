"""`ScoreColumns`: numbers by name in one column, each of which is asked for as a column of its own.

An index knows its columns when it is made, and the names of scores come later. So a score is indexed as texts in one
TAG column: its name, and all beginnings of its value, written in decimal so that texts sort as numbers do. Every range
of numbers is a union of few beginnings (about five for each digit), whatever the name, and no stored digit is lost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, overload

from relay_models.columns.column import COLUMN, Column
from relay_models.columns.expressions import as_double, quote
from relay_models.columns.info import SORT_REST, rest_steps
from relay_models.columns.kind import Kind
from relay_models.columns.types import ColumnType, rounded
from relay_models.errors import QueryError

__all__ = [
    "MAX_SCORE_NAME", "SCORE_VALUES", "ScoreColumn", "ScoreColumns", "Scores", "score_member", "score_range",
    "score_terms",
]  # fmt: skip

MAX_SCORE_NAME = 1000
"""Maximum length of a score's name (bytes of UTF-8)."""

SCORE_VALUES = "score_values"
"""The member of a stored document that has the scores as texts, by `score_member`."""

# A name that the filter language reads without quotes.
_PLAIN = re.compile(r"""[^\s()"',=!<>~]+""")
# Added to a decimal exponent to make it positive: scores are from 1e-22 to 1.8e308.
_BIAS = 100
# Digits of an exponent in a text.
_WIDTH = 3
# Digits of a number that are parts of their own; the rest goes in pairs. Long numbers are rarely equal in more
# digits, and then each further beginning is a text of its own in the index (about 130 bytes).
_SINGLE = 4
_DIGITS = "0123456789"
_SCORE = ColumnType(Kind.NUMBER, float, nullable=True, store=rounded, load=float)
# Score columns that are kept for the next filter.
_MOST_KEPT = 10_000


if TYPE_CHECKING:
    _Number = Column[float | None]
    _Numbers = Column[dict[str, float]]
else:
    _Number = _Numbers = Column


class ScoreColumn(_Number):
    """One score by its name, made by ``Run.scores[name]``; None on a run that has no such score."""

    __slots__ = ("family", "key")

    def __init__(self, family: ScoreColumns, key: str) -> None:
        shown = key if _PLAIN.fullmatch(key) else quote(key)
        super().__init__(f"score.{shown}", _SCORE, f"The score {key!r}.", document=family.document)
        self.family = family
        self.key = key

    def read(self, values: Mapping[str, Any]) -> Any:
        """The score among the stored values of a document."""
        if self.name in values:
            return values[self.name]
        return (values.get(self.family.name) or {}).get(self.key)

    @property
    def sort_name(self) -> str:
        """The name of the number that a server sorts rows by."""
        return "score_number"

    @property
    def sort_names(self) -> tuple[str, ...]:
        """The number, of which the shards of a cluster send twelve digits, and the rest of it."""
        return (self.sort_name, SORT_REST)

    def sort_steps(self) -> list[str | int]:
        """Read the score as a number from the document."""
        return ["LOAD", 3, f"$.{SCORE_VALUES}.{score_member(self.key)}", "AS", "score_text",
                "APPLY", "to_number(@score_text)", "AS", self.sort_name,
                *rest_steps(self.sort_name)]  # fmt: skip

    @property
    def stored_in(self) -> str:
        """Name of the column that has the scores of all names."""
        return self.family.name


class ScoreColumns(_Numbers):
    """Scores by name: ``Run.scores["helpfulness"] < 0.5``; on an object a dict."""

    __slots__ = ("_members",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._members: dict[str, ScoreColumn] = {}

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> ScoreColumns: ...
        @overload
        def __get__(self, instance: object, owner: type) -> dict[str, float]: ...
        def __get__(self, instance: object, owner: type) -> Any: ...

    def __getitem__(self, name: str) -> ScoreColumn:
        """The score with this name, as a column.

        Raises:
            QueryError: the name is empty, longer than `MAX_SCORE_NAME`, or no text.
        """
        found = self._members.get(name) if isinstance(name, str) else None
        if found is None:
            if len(self._members) >= _MOST_KEPT:
                self._members.clear()
            found = self._members[name] = ScoreColumn(self, checked_name(name))
        return found

    def member(self, name: str) -> Column[Any]:
        """The score with this name, for names with a dot in front of it."""
        return self[name]

    @property
    def path(self) -> str:
        """Where the indexed texts are in the JSON document."""
        return "$.score_terms[*]"


if TYPE_CHECKING:
    Scores = ScoreColumns
else:
    Scores = Annotated[dict[str, float], COLUMN]


def checked_name(name: Any) -> str:
    """A score's name; `QueryError` where it can be none."""
    try:
        if isinstance(name, str) and 0 < len(name.encode()) <= MAX_SCORE_NAME:
            return name
    except UnicodeEncodeError:
        pass
    raise QueryError(f"the name of a score is a text of 1 to {MAX_SCORE_NAME:,} bytes, not {name!r}")


def score_member(name: str) -> str:
    """A score's name as a name in a document that any path may have."""
    return f"u8_{name.encode().hex()}"


def score_terms(scores: Mapping[str, float]) -> list[str]:
    """The texts under which scores are indexed."""
    return [f"{code}:{name}" for name, value in scores.items() for code in ("", *_beginnings(value))]


def score_range(name: str, operator: str, value: int | float) -> list[str]:
    """The texts of which a document has at least one if, and only if, its score compares so; none where none can."""
    number = as_double(value)
    number = rounded(number) if math.isfinite(number) else number
    if number in (float("inf"), float("-inf")):
        below = operator in ("<", "<=")
        return [f":{name}"] if operator != "==" and below == (number > 0) else []
    return [f"{code}:{name}" for code in _ranges(number)[operator]()]


def _ranges(value: float) -> dict[str, Callable[[], Iterator[str]]]:
    """The codes of each comparison with a value."""
    sign, text = _written(value)

    def same() -> Iterator[str]:
        yield f"{sign}{text}."

    def side(below: bool) -> Iterator[str]:
        # From zero, numbers of the other sign are all on one side.
        if sign == ("-" if below else "+"):
            yield from (f"{sign}{code}" for code in _greater(text))
            return
        if sign != "0":
            yield from (f"{sign}{code}" for code in _less(text))
            yield "0."
        yield from (f"{'-' if below else '+'}{digit}" for digit in _DIGITS)

    def join(*parts: Iterator[str]) -> Iterator[str]:
        for part in parts:
            yield from part

    return {
        "==": same,
        "<": lambda: side(True),
        "<=": lambda: join(side(True), same()),
        ">": lambda: side(False),
        ">=": lambda: join(side(False), same()),
    }


def _beginnings(value: float) -> Iterator[str]:
    """The codes of a value: all beginnings of its text, and the whole text, closed by a point."""
    sign, text = _written(value)
    yield from (f"{sign}{text[:end]}" for _, end in _parts(text))
    yield f"{sign}{text}."


def _written(value: float) -> tuple[str, str]:
    """The sign and the magnitude of a number; magnitudes sort as texts: the exponent, then the digits."""
    number = Decimal(repr(float(value)))
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if not digits:
        return "0", ""
    if len(digits) > _SINGLE and (len(digits) - _SINGLE) % 2:
        digits += "0"
    return "-" if number.is_signed() else "+", f"{number.adjusted() + _BIAS:0{_WIDTH}d}{digits}"


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Where the parts of a magnitude begin and end: one digit each, then two."""
    start = 0
    while start < len(text):
        end = start + _step(start)
        yield start, end
        start = end


def _step(position: int) -> int:
    return 1 if position < _WIDTH + _SINGLE else 2


def _less(text: str) -> Iterator[str]:
    """Codes of all magnitudes that are less."""
    for start, end in _parts(text):
        yield from (f"{text[:start]}{less:0{end - start}d}" for less in range(int(text[start:end])))
        if start > _WIDTH:
            yield f"{text[:start]}."


def _greater(text: str) -> Iterator[str]:
    """Codes of all magnitudes that are greater; those that only have more digits, too."""
    for start, end in (*_parts(text), (len(text), len(text) + _step(len(text)))):
        width = end - start
        least = int(text[start:end]) + 1 if start < len(text) else 0
        yield from (f"{text[:start]}{more:0{width}d}" for more in range(least, 10**width))
