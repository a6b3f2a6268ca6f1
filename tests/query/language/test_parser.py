"""The filter language parses to expressions, which print back to it, and points at mistakes."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from relay_models._time import parse_duration, print_duration
from relay_models.columns.expressions import NOTHING, Expression
from relay_models.documents import Run
from relay_models.errors import FilterSyntaxError, QueryError, UnknownColumnError, UnsupportedOperatorError
from relay_models.query import as_expression, every_run
from relay_models.query.compiler import compile_filter
from relay_models.query.language.parser import parse_filter

COLUMNS = Run.columns()
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


@given(st.integers(-(2**52), 2**52))
def test_spans_print_to_text_that_reads_as_them(microseconds: int) -> None:
    assert parse_duration(print_duration(microseconds)) == microseconds


@given(st.integers(0, 10**9), st.integers(0, 999_999))
def test_fractions_of_seconds_are_exact(seconds: int, micros: int) -> None:
    """As timedelta has them; a product of doubles is next to it: 1.001 * 1e6 is 1000999.9999999999."""
    assert parse_duration(f"{seconds}.{micros:06}s") == seconds * 1_000_000 + micros


@pytest.mark.parametrize("number", ["9" * 5000, "1e400", "1e99999999", "0." + "1" * 5000, "1e-99999999"])
def test_durations_of_any_length_are_read_at_once(number: str) -> None:
    assert isinstance(parse_duration(f"{number}s"), int | float)


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from(list("agent=\"'x()<>~!, \\andornoti2s-\n\u200b")), max_size=30))
def test_any_text_is_an_expression_or_a_clear_error(text: str) -> None:
    try:
        found = parse_filter(text, COLUMNS)
    except QueryError:
        return
    assert parse_filter(str(found), COLUMNS) == found


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("all", every_run()),
        ("none", NOTHING),
        ("agent = planner", Run.agent_id == "planner"),
        ("AGENT == 'it\\'s'", Run.agent_id == "it's"),
        ('agent != "a|b" AND NOT status = running', (Run.agent_id != "a|b") & (Run.status != "running")),
        ("tool ~ sql* or model has o4-mini", Run.tools.like("sql*") | Run.models.has("o4-mini")),
        ("tools has all (a, b)", Run.tools.has_all(["a", "b"])),
        ("tools has none (a, b)", ~Run.tools.has_any(["a", "b"])),
        ("calls <> 3", Run.calls != 3),
        ("tools is empty", Run.tools.missing()),
        ("cost is not null", Run.cost.present()),
        ("tools has any (a, b)", Run.tools.has_any(["a", "b"])),
        ("model in ()", Run.models.in_([])),
        ("model not in (a)", ~(Run.models == "a")),
        ("agent startswith and", Run.agent_id.startswith("and")),
        ("agent not contains x", ~Run.agent_id.contains("x")),
        ("duration > 2s", Run.duration > timedelta(seconds=2)),
        ("duration between 1m30s and 1.5h", Run.duration.between(timedelta(seconds=90), timedelta(hours=1.5))),
        ("tokens >= 10k", Run.total_tokens >= 10_000),
        ("cost < 1e-3", Run.cost < 1e-3),
        ("ended is missing", Run.ended_at.missing()),
        ("cost is not missing", Run.cost.present()),
        ("started >= -24h", Run.started_at >= NOW - timedelta(hours=24)),
        ("started < now-1h30m", Run.started_at < NOW - timedelta(minutes=90)),
        ("started = 2026-11-20", Run.started_at == date(2026, 11, 20)),
        ("started > 2026-11-20T10:00:00.5Z", Run.started_at > datetime(2026, 11, 20, 10, 0, 0, 500_000, tzinfo=UTC)),
        (
            'started > "2026-11-20 10:00 Europe/Berlin"',
            Run.started_at > datetime(2026, 11, 20, 10, tzinfo=ZoneInfo("Europe/Berlin")),
        ),
        ('text ~ "rate limit"', Run.text.matches("rate limit")),
        ("(agent = a or agent = b) and calls > 1", Run.agent_id.in_(["a", "b"]) & (Run.calls > 1)),
    ],
)
def test_what_texts_mean(text: str, expression: Expression) -> None:
    assert parse_filter(text, COLUMNS, now=NOW) == expression


def test_times_without_a_zone_are_of_the_zone_given() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = parse_filter("started >= 2026-03-29 and started < '2026-03-29T12:00'", COLUMNS, tz=berlin)
    start, noon = datetime(2026, 3, 29, tzinfo=berlin), datetime(2026, 3, 29, 12, tzinfo=berlin)
    assert found == (Run.started_at >= start) & (Run.started_at < noon)
    assert parse_filter("started = today", COLUMNS, now=NOW, tz=berlin) == parse_filter(
        "started = 2026-11-23", COLUMNS, tz=berlin
    )


@pytest.mark.parametrize(
    ("text", "error", "words", "column"),
    [
        ("durration > 2s", UnknownColumnError, "did you mean 'duration'", 0),
        ("calls > 1 and modle = x", UnknownColumnError, "did you mean 'model", 14),
        ("status = runing", FilterSyntaxError, "did you mean 'running'", 9),
        ("duration > 2", FilterSyntaxError, "did you mean 2s", 11),
        ("agent = x & calls > 1", FilterSyntaxError, "write and", 10),
        ("agent = two words", FilterSyntaxError, "expected: and, or, the end", 12),
        ("agent x", FilterSyntaxError, "comes an operator", 6),
        ('agent = "x', FilterSyntaxError, "never closed", 8),
        ("(agent = x", FilterSyntaxError, "ends too soon", 10),
        ("agent =", FilterSyntaxError, "ends too soon", 7),
        ("status:failed", FilterSyntaxError, "after 'status:failed' comes an operator", 13),
        ("started > 2026-13-01", FilterSyntaxError, "no day", 10),
        ("started > soon", FilterSyntaxError, "-24h", 10),
        ('started > "2026-01-01 10:00 Nowhere"', FilterSyntaxError, "Europe/Berlin", 10),
        ("tokens > many", FilterSyntaxError, "10k", 9),
        ("tools > 3", UnsupportedOperatorError, "has any", 0),
        ("calls ~ x", UnsupportedOperatorError, "between", 0),
        ("agent = x and\n  durration > 1s", UnknownColumnError, "durration > 1s", 2),
    ],
)
def test_mistakes_are_pointed_at(text: str, error: type[Exception], words: str, column: int) -> None:
    with pytest.raises(error) as caught:
        parse_filter(text, COLUMNS)
    message = str(caught.value)
    assert words in message
    caret = message.splitlines()[-1]
    assert caret.startswith("  " + " " * column + "^")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_blank_text_is_no_filter(text: str) -> None:
    with pytest.raises(FilterSyntaxError, match="write: all"):
        as_expression(text, COLUMNS)
    assert as_expression(None, COLUMNS) == every_run()


@pytest.mark.parametrize("filter", [1, object(), b"x", {"a": 1}])
def test_what_is_no_filter(filter: Any) -> None:
    with pytest.raises(QueryError, match="a filter is"):
        as_expression(filter, COLUMNS)


def test_deep_nesting_is_an_error_or_parsed() -> None:
    deep = "(" * 20_000 + "agent = x" + ")" * 20_000
    with contextlib.suppress(FilterSyntaxError):
        assert parse_filter(deep, COLUMNS) == (Run.agent_id == "x")


@pytest.mark.parametrize(
    "literal",
    ["0.30000000000000004", "0.1234567890123456789", "1e-300", "12345678901234567", "3"],
)
@pytest.mark.parametrize("sign", ["=", "!=", "<", "<=", ">", ">="])
def test_numbers_mean_the_same_in_text_and_in_python(sign: str, literal: str) -> None:
    method = {"=": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[sign]
    value = int(literal) if literal.isdigit() else float(literal)
    for column in (Run.cost, Run.total_tokens):
        expression = getattr(column, method)(value)
        assert parse_filter(f"{column.name} {sign} {literal}", COLUMNS) == expression
        assert parse_filter(str(expression), COLUMNS) == expression
    stored = Run.columns()["cost"].type.store(float(value))
    assert parse_filter(f"cost = {literal}", COLUMNS).matches({"cost": stored})


def test_contains_is_a_part_and_has_is_one_of_several() -> None:
    row = {"tools": ["sql_query", "search"], "agent_id": "sql-agent"}
    for text, true in (
        ("tool contains sql", True), ("tool has sql", False), ("tool has sql_query", True), ("tool = sql", False),
        ("tool not contains sql", False), ("tool not has sql", True), ("agent contains sql", True),
        ("tools has any (sql, search)", True), ("tools has all (sql, search)", False),
        ("tools has none (sql, searches)", True),
    ):  # fmt: skip
        assert parse_filter(text, COLUMNS).matches(row) is true, text
    assert Run.tools.contains("sql").matches(row)
    assert not Run.tools.has("sql").matches(row)


def test_long_lists_are_one_clause() -> None:
    names = [f"agent-{number}" for number in range(80_000)]
    compiled = compile_filter(parse_filter(f"agent in ({', '.join(names)})", COLUMNS))
    assert compiled.query.count("@agent_id") == 1


@pytest.mark.parametrize(
    "text", ["model in (a b)", "model in (a,,b)", "model in (a", "model in (a, ))", 'model in ("a)']
)
def test_mistakes_in_lists_are_pointed_at(text: str) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter(text, COLUMNS)
    assert (caught.value.position or 0) > len("model in (") - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent like '%sql%'", 'write "*sql*"'),
        ("tool not like a%", 'write "a*"'),
        ("agent = null", "write agent_id is missing"),
        ("agent != NULL", "write agent_id is missing"),
        ("agent in (a, null)", "write agent_id is missing"),
    ],
)
def test_what_means_something_else_in_sql_is_refused(text: str, said: str) -> None:
    with pytest.raises(FilterSyntaxError, match=re.escape(said)):
        parse_filter(text, COLUMNS)


@pytest.mark.parametrize("text", ['agent = "null"', 'agent ~ "100%"', 'agent like "100%*"', "agent is null"])
def test_the_same_can_be_asked_for(text: str) -> None:
    assert parse_filter(str(parse_filter(text, COLUMNS)), COLUMNS) == parse_filter(text, COLUMNS)


@pytest.mark.parametrize(
    ("text", "number"), [("1.001k", 1001), ("0.3M", 300_000), ("-1.1Ki", -1126.4), ("1e3k", 10**6)]
)
def test_numbers_with_a_factor_are_exact(text: str, number: float) -> None:
    assert parse_filter(f"total_tokens > {text}", COLUMNS) == (Run.total_tokens > number)
