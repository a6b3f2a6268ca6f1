"""Scores: any name and any number is compared as Python compares it, by the texts that the index has."""

from __future__ import annotations

import operator

import pytest
from hypothesis import given, strategies as st

from relay_models.columns.column import Column
from relay_models.columns.scores import ScoreColumn, score_range, score_terms
from relay_models.columns.types import rounded
from relay_models.documents import Run, column
from relay_models.errors import FilterSyntaxError, InvalidConfigurationError, QueryError
from relay_models.query.language.filters import as_expression

COMPARE = {"<": operator.lt, "<=": operator.le, "==": operator.eq, ">": operator.gt, ">=": operator.ge}
short = st.decimals(-10, 10, places=2).map(float)
numbers = st.one_of(short, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**18), 10**18)).map(
    lambda number: rounded(float(number))
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(names, numbers, numbers)
def test_a_range_has_a_text_of_exactly_the_numbers_in_it(name: str, score: float, bound: float) -> None:
    terms = set(score_terms({name: score}))
    for sign, compare in COMPARE.items():
        for value in (bound, score):
            asked = score_range(name, sign, value)
            assert bool(terms & set(asked)) == compare(score, value)
            assert len(asked) == len(set(asked)) < 700


@given(names, names, numbers)
def test_the_texts_of_two_names_are_never_the_same(one: str, other: str, score: float) -> None:
    if one != other:
        assert not set(score_terms({one: score})) & set(score_range(other, "<", float("inf")))


@given(names, numbers)
def test_text_means_the_same_expression(name: str, bound: float) -> None:
    expression = (Run.scores[name] < bound) | Run.scores[name].missing() | ~(Run.scores[name] == bound)
    assert as_expression(str(expression), Run.columns()) == expression
    assert expression.matches({"scores": {}})


def test_a_score_is_a_column_by_its_name() -> None:
    assert Run.scores["a"] is Run.scores["a"]
    assert isinstance(Run.scores["a"], ScoreColumn)
    assert str(Run.scores["to the point"] > 3) == 'score."to the point" > 3'
    assert as_expression("Scores.A.b = 1", Run.columns()) == (Run.scores["A.b"] == 1)
    for name in ("", "x" * 1001, "\ud800", 5):
        with pytest.raises(QueryError):
            Run.scores[name]  # type: ignore[index]
    with pytest.raises(FilterSyntaxError, match="not a character"):
        as_expression(r'score."\u{110000}" > 1', Run.columns())
    with pytest.raises(QueryError, match="there is no column"):
        as_expression("status.x = 1", Run.columns())


def test_scores_are_for_labels_only() -> None:
    with pytest.raises(InvalidConfigurationError, match="no index"):

        class Scored(Run):
            marks: Column[dict[str, float]] = column(lambda record: {})
