"""Random runs and random expressions over them, with texts that try to leave their clause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from relay_models.columns.expressions import Expression
from relay_models.documents import Run
from relay_models.records import AnnotatedLlmRequest, AnnotatedLlmResponse, CallRecord, RunRecord, Timestamp, Usage

HOSTILE = [
    "", " ", "a", "A", " a", "a ", "a|b", "a,b", "{a}", "}", "{", "*", "a*", "?", "a?", "'", '"', "\\", "a\\", "\\\\*",
    "$p0", "$a", "@agent_id:{x}", "} | @agent_id:{*", "-a", "~a", "(a", ")", "[1 2]", "%a%", "=>", ":", "a b", "a\nb",
    "\t", "\0", "a\0b", "\u2400", "\u24000", "\u2400\u2400", "\u200b", "a\u200b", "\ufeff", "e\u0301", "é", "İ",
    "ß", "数据", "🙂", "\x7f", "\x01", "w'a*'", "ismissing(@tools)", "x" * 5000, "x" * 5000 + "y", "null", "\ue000",
    "-inf", "a.b", "sql_query", "sql_exec",
]  # fmt: skip

texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=6))
START = datetime(2026, 11, 23, tzinfo=UTC)
times = st.integers(0, 5).map(lambda n: START + timedelta(hours=n, microseconds=n))


@st.composite
def calls(draw: st.DrawFn) -> CallRecord:
    llm = draw(st.booleans())
    began = draw(times)
    fields: dict[str, Any] = {"kind": "llm" if llm else "tool", "name": draw(texts), "started_at": began}
    if draw(st.booleans()):
        fields["ended_at"] = began + timedelta(seconds=1)
    if llm:
        if draw(st.booleans()):
            fields["model_name"] = draw(texts)
        if draw(st.booleans()):
            fields["prompt_tokens"] = draw(st.integers(0, 4))
        if draw(st.booleans()):
            fields["total_tokens"] = draw(st.sampled_from([0, 1, 7, 2**32 - 1]))
        if draw(st.booleans()):
            fields["annotated_request"] = AnnotatedLlmRequest.model_validate(
                {"messages": [{"role": "user", "content": draw(prose)}]}
            )
        usage: dict[str, Any] = {}
        if draw(st.booleans()):
            usage["cache_read_tokens"] = draw(st.sampled_from([0, 3, 2**53 + 1, 2**64 - 1]))
        if draw(st.booleans()):
            total = draw(st.sampled_from([0.0, 0.1, 1e-7, 0.30000000000000004, 1e300]) | st.floats(0, 1e6))
            usage["cost"] = {"total": total, "currency": "USD", "source": "model_pricing"}
        response = {
            "usage": Usage.model_validate(usage),
            "finish_reason": draw(st.sampled_from(["complete", "length"])),
        }
        fields["annotated_response"] = AnnotatedLlmResponse.model_validate(response)
    return CallRecord(**fields)


WORDS = [
    "alpha",
    "beta",
    "naïve",
    "gpt-4.1",
    "foo_bar",
    "42",
    "数据库",
    "Ünïcode",
    "or",
    "inf",
    "the",
    "a",
    "1e5",
    "привет",
]
prose = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=5).map(" ".join)


@st.composite
def runs(draw: st.DrawFn) -> RunRecord:
    began = draw(times)
    nanoseconds = draw(st.sampled_from([0, 1, 999]))
    started = Timestamp.from_nanoseconds(Timestamp(began).nanoseconds + nanoseconds)
    ended = None
    if draw(st.booleans()):
        ended = Timestamp.from_nanoseconds(started.nanoseconds + draw(st.sampled_from([0, 999, 1000, 2_000_000_000])))
    return RunRecord(
        id=draw(st.uuids(version=4)),
        agent_id=draw(texts), calls=draw(st.lists(calls(), max_size=3)), started_at=started, ended_at=ended
    )  # fmt: skip


def run_lists(max_size: int) -> st.SearchStrategy[list[RunRecord]]:
    """Runs with ids of their own."""
    return st.lists(runs(), max_size=max_size, unique_by=lambda record: record.id)


def _texts_of(column: Any, known: list[str]) -> st.SearchStrategy[str]:
    return st.one_of(texts, st.sampled_from(known)) if known else texts


def leaves(found: list[RunRecord]) -> st.SearchStrategy[Expression]:
    """Conditions on single columns; half of the values are such as the runs have."""
    options: list[st.SearchStrategy[Expression]] = []
    rows = [Run.of(record) for record in found]
    for name, column in Run.columns().items():
        if column.kind == "scores":
            continue  # stored labels, which records have none of
        if column.kind == "words":
            options.append(st.sampled_from(WORDS).map(column.matches))
            options.append(
                st.lists(st.sampled_from(WORDS), min_size=2, max_size=3).map(
                    lambda w, c=column: c.matches('"' + " ".join(w) + '"')
                )
            )
            options.append(
                st.sampled_from(["al*", "приве*", "数据*", "foo_ba*", "a foo*", "beta*"]).map(column.matches)
            )
            options.append(st.just(column.missing()))
        elif column.kind in ("text", "texts"):
            held = [
                text
                for row in rows
                for text in ([getattr(row, name)] if column.kind == "text" else getattr(row, name))
                if text is not None
            ]
            some = _texts_of(column, held)
            parts = some.flatmap(
                lambda text: st.tuples(st.integers(0, 3), st.integers(0, 3)).map(
                    lambda c, t=text: t[c[0] : len(t) - c[1]]
                )
            )
            options += [
                some.map(lambda v, c=column: c == v),
                some.map(lambda v, c=column: c != v),
                st.lists(some, max_size=4).map(column.in_),
                st.lists(some, max_size=4).map(column.not_in),
                parts.map(column.startswith),
                st.just(column.missing()),
            ]
            if name != "run_id":
                options += [
                    parts.map(column.endswith),
                    parts.map(column.contains),
                    some.map(column.like),
                    parts.map(lambda v, c=column: c.like(v + "*")),
                ]
            if column.kind == "texts":
                options += [some.map(column.has), st.lists(some, max_size=2).map(column.has_all)]
        else:
            held = [value for row in rows if (value := getattr(row, name)) is not None]
            if not held:
                held = [1]
            value = st.sampled_from(held)
            operators = st.sampled_from(["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"])
            options.append(st.tuples(operators, value).map(lambda p, c=column: getattr(c, p[0])(p[1])))
            options.append(st.tuples(value, value).map(lambda p, c=column: c.between(*p)))
            options.append(st.just(column.missing()))
            if column.kind in ("count", "number"):
                numbers = st.one_of(st.integers(-3, 2**65), st.floats(allow_nan=False))
                options.append(st.tuples(operators, numbers).map(lambda p, c=column: getattr(c, p[0])(p[1])))
            if column.kind == "time":
                options.append(
                    st.tuples(operators, st.just(START.date())).map(lambda p, c=column: getattr(c, p[0])(p[1]))
                )
    return st.one_of(options)


@st.composite
def expressions(draw: st.DrawFn, found: list[RunRecord]) -> Expression:
    """Conditions nested at will: two of what there is are joined, or one is negated, until one is left."""
    parts = draw(st.lists(leaves(found), min_size=1, max_size=6))
    while True:
        place = draw(st.integers(0, len(parts) - 1))
        part = parts.pop(place)
        if draw(st.booleans()):
            part = ~part
        if not parts:
            return part
        other = parts.pop(draw(st.integers(0, len(parts) - 1)))
        parts.append(part & other if draw(st.booleans()) else part | other)
