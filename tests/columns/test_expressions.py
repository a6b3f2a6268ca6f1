"""Expressions are made of columns as redis-om users know it, and refuse what means nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from relay_models.columns.expressions import Expression
from relay_models.columns.tags import escape_tag, unescape_tag
from relay_models.documents import Run
from relay_models.errors import QueryError, UnsupportedOperatorError
from relay_models.records import CallRecord, RunRecord, Timestamp


class Color(Enum):
    RED = "red"
    THREE = 3


RECORD = RunRecord(
    agent_id="red",
    calls=[CallRecord(kind="tool", name="sql_query"), CallRecord(kind="llm", name="openai", total_tokens=3)],
    started_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    ended_at=datetime(2026, 11, 23, 12, 0, 3, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("expression", "true"),
    [
        (Run.agent_id == Color.RED, True),
        (Run.total_tokens == Color.THREE, True),
        (Run.total_tokens <= Decimal("2.5"), False),
        (Run.run_id == RECORD.id, True),
        (Run.run_id == str(RECORD.id).upper(), True),
        (Run.run_id != UUID(int=0), True),
        (Run.started_at == date(2026, 11, 23), True),
        (Run.started_at > date(2026, 11, 23), False),
        (Run.started_at <= date(2026, 11, 23), True),
        (Run.started_at >= Timestamp("2026-11-23T12:00:00Z"), True),
        (Run.duration == timedelta(seconds=3), True),
        (Run.duration.between(1, 3_000_000), True),
        (Run.duration < float("inf"), True),
        (Run.cost == None, True),  # noqa: E711
        (Run.cost < 1, False),
        (~(Run.cost < 1), True),
        (Run.tools << ["x", "sql_query"], True),
        (Run.tools >> ["x"], True),
        (Run.tools % "sql*", True),
        (Run.agent_id.not_in(["red"]), False),
        (Run.models.missing(), True),
    ],
)
def test_values_of_many_types(expression: Expression, true: bool) -> None:
    assert expression.matches(Run.of(RECORD)) is true


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Run.agent_id > "a", "startswith"),
        (lambda: Run.tools < 3, "has_any"),
        (lambda: Run.calls.contains("x"), "between"),
        (lambda: Run.text == "x", "matches"),
        (lambda: Run.calls == "3", "a number"),
        (lambda: Run.calls == True, "a number"),  # noqa: E712
        (lambda: Run.cost > math.nan, "a number"),  # noqa: PLW0177
        (lambda: Run.duration > None, "missing"),
        (lambda: Run.started_at > datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001
        (lambda: Run.started_at > timedelta(hours=1), "datetime"),
        (lambda: Run.duration > datetime(2026, 1, 1, tzinfo=UTC), "timedelta"),
        (lambda: Run.agent_id == 3, "a text"),
        (lambda: Run.agent_id == "\ud800", "surrogate"),
        (lambda: Run.agent_id.in_("abc"), "several"),
        (lambda: Run.tools.has_all("abc"), "several"),
    ],
)
def test_what_a_column_does_not_take(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=words):
        make()


def test_what_an_expression_is_matched_against() -> None:
    with pytest.raises(QueryError, match=r"Run\.of\(record\)"):
        (Run.agent_id == "red").matches(RECORD)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="was not fetched"):
        Run.text.matches("x").matches(Run.from_stored(Run.column_values(RECORD)))


def test_expressions_are_not_true_or_false() -> None:
    with pytest.raises(QueryError, match="parentheses"):
        bool(Run.calls > 1)
    with pytest.raises(QueryError, match="parentheses"):
        assert 1 < Run.calls < 3
    with pytest.raises(QueryError, match="parentheses"):
        (Run.calls == 1) & True


@pytest.mark.parametrize("text", ["", "\0", "\u2400", "\u24000", "\0\u2400\0", "\u2400\u2400\0", "a"])
def test_tags_are_escaped_and_read_back(text: str) -> None:
    assert unescape_tag(escape_tag(text)) == text
    assert "\0" not in escape_tag(text)


USERS_CODE = """
from datetime import timedelta
from relay_models.documents import Run
from relay_models.query import Expression

slow: Expression = Run.duration > timedelta(seconds=2)
both: Expression = (Run.agent_id == "x") & ~Run.tools.has("search") | (Run.status != "running")
some: Expression = Run.models.in_(["a"]) & Run.cost.between(0, 1) & Run.ended_at.missing()

def seconds(run: Run) -> float:
    names: list[str] = run.tools
    return 0.0 if run.duration is None else run.duration.total_seconds() + len(names) + len(run.agent_id)

wrong: str = Run.duration > timedelta(seconds=2)
"""


def test_users_code_type_checks(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    code = tmp_path / "users_code.py"
    code.write_text(USERS_CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent", str(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    assert "Incompatible types in assignment" in errors[0]
    assert '"Expression"' in errors[0]
