"""Expressions compile to queries of a size in proportion to them."""

from __future__ import annotations

import sys

import pytest

from relay_models.columns.expressions import Expression
from relay_models.documents import Run
from relay_models.errors import QueryError
from relay_models.query.compiler import compile_filter, needed_values
from relay_models.records import RunRecord


def test_many_alternatives_are_one_clause() -> None:
    compiled = compile_filter(Run.agent_id.in_([f"a{number}" for number in range(1000)]) & (Run.calls > 1))
    assert compiled.query.count("@agent_id") == 1
    assert len(compiled.params) == 2000


def test_deep_trees_compile() -> None:
    expression: Expression = Run.calls > 0
    for number in range(50):
        expression = ~((expression & (Run.calls != number)) | (Run.agent_id == "x"))
    assert compile_filter(expression).query
    assert expression.matches(Run.of(RunRecord(agent_id="x"))) in (True, False)
    for number in range(sys.getrecursionlimit()):  # which mypy raises, where it runs in this process
        expression = ~((expression & (Run.calls != number)) | (Run.agent_id == "x"))
    with pytest.raises(QueryError, match="nested"):
        compile_filter(expression)


def test_alternatives_that_are_all_excluded_are_one_clause() -> None:
    compiled = compile_filter(Run.tools.not_in(["a", "b"]) & (Run.calls > 1))
    assert compiled.query == "(-@tools:{$p0 | $p1} @calls:[(1 +inf])"
    both = compile_filter(~((Run.tools == "a") | (Run.agent_id == "b")))
    assert both.query == "(-@tools:{$p0} -@agent_id:{$p1})"


def test_prefixes_of_uuids_are_the_only_values_asked_for() -> None:
    assert needed_values(Run.run_id.startswith("01a2")) == {"run_id": ("01a2",)}
    assert needed_values(Run.agent_id.startswith("01a2") | Run.agent_id.like("*")) == {"agent_id": ()}
    assert needed_values(Run.agent_id.like("*")) == {}
