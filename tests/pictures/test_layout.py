"""Which call goes on which row, and from when to when."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models.pictures.layout import MANY_CALLS, BarState, lay_out, ticks

from .builders import call, llm, many, run, tool

MS = 1_000_000


def test_calls_stand_in_the_order_they_started_with_their_times() -> None:
    layout = lay_out(run(llm("openai", 10, 30), tool("search", 40, 90), end=100))

    assert [(bar.name, bar.start, bar.end) for bar in layout.bars] == [
        ("openai", 10 * MS, 30 * MS),
        ("search", 40 * MS, 90 * MS),
    ]
    assert layout.span == 100 * MS
    assert layout.finished
    assert not layout.by_name


def test_calls_recorded_out_of_order_are_sorted_and_keep_their_number() -> None:
    layout = lay_out(run(tool("late", 50, 60), tool("early", 10, 20)))

    assert [(bar.name, bar.index) for bar in layout.bars] == [("early", 1), ("late", 0)]


def test_parallel_tools_share_a_group_and_others_do_not() -> None:
    layout = lay_out(run(tool("a", 0, 50), tool("b", 10, 60), tool("c", 55, 70), tool("d", 80, 90)))

    assert [bar.group for bar in layout.bars] == [1, 1, 1, None]
    assert layout.groups == ((0, 2),)


def test_a_call_that_begins_when_another_ends_is_not_parallel() -> None:
    assert lay_out(run(tool("a", 0, 50), tool("b", 50, 60))).groups == ()


def test_what_a_tool_called_is_nested_under_it() -> None:
    layout = lay_out(run(tool("agent", 0, 100), llm("inner", 10, 30), tool("helper", 40, 50), llm("outer", 110, 120)))

    assert [(bar.name, bar.depth) for bar in layout.bars] == [("agent", 0), ("inner", 1), ("helper", 1), ("outer", 0)]


def test_a_shorter_parallel_tool_is_not_taken_for_nested() -> None:
    assert [bar.depth for bar in lay_out(run(tool("long", 0, 100), tool("short", 10, 20))).bars] == [0, 0]


def test_an_unfinished_call_reaches_to_the_end_of_the_axis() -> None:
    layout = lay_out(run(llm("a", 0, 50), llm("b", 60, None), end=None))

    assert layout.bars[1].state is BarState.UNFINISHED
    assert layout.bars[1].end == layout.span
    assert layout.bars[1].duration is None
    assert layout.span > 60 * MS, "a call that began at the last known instant still has a length"
    assert not layout.finished


def test_an_answer_that_was_not_recorded_is_told_from_one_that_was() -> None:
    layout = lay_out(run(llm("a", 0, 5, None), llm("b", 6, 9), tool("t", 10, 12)))

    assert [bar.state for bar in layout.bars] == [BarState.SILENT, BarState.FINISHED, BarState.FINISHED]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("complete", None), ("tool_use", None), ("length", "length"), ({"unknown": "guardrail"}, "guardrail")],
)
def test_only_an_unusual_finish_reason_is_said(reason: object, shown: str | None) -> None:
    layout = lay_out(run(llm("a", 0, 5, annotated_response={"finish_reason": reason})))

    assert layout.bars[0].finish == shown


def test_a_call_that_ends_before_it_starts_has_no_length() -> None:
    bar = lay_out(run(call("tool", "t", 50, 40))).bars[0]

    assert bar.start == bar.end == 50 * MS


def test_a_call_from_before_the_run_moves_the_origin() -> None:
    layout = lay_out(run(call("tool", "t", -20, 40), end=100))

    assert layout.bars[0].start == 0
    assert layout.span == 120 * MS


def test_a_run_without_calls_or_length_has_an_axis() -> None:
    assert lay_out(run(end=0)).span == 1
    assert lay_out(run(end=None)).rows == ()


def test_many_calls_get_a_row_per_name_llm_first() -> None:
    layout = lay_out(many(300))

    assert layout.by_name
    assert sum(len(row.bars) for row in layout.rows) == 300
    kinds = [row.bars[0].llm for row in layout.rows]
    assert kinds == sorted(kinds, reverse=True)
    for row in layout.rows:
        assert len({bar.name for bar in row.bars}) == 1
        for left, right in pairwise(row.bars):
            assert left.end <= right.start


def test_rows_can_be_asked_for() -> None:
    assert lay_out(many(MANY_CALLS), "calls").by_name is False
    assert lay_out(many(5), "names").by_name is True


@given(st.integers(1, 10**20), st.integers(1, 30))
def test_ticks_begin_at_zero_stay_within_and_are_few(span: int, count: int) -> None:
    marks = ticks(span, count)

    assert marks[0] == 0
    assert marks[-1] <= span
    assert len(marks) <= count + 1
    assert len({b - a for a, b in pairwise(marks)}) <= 1


@pytest.mark.parametrize(("days", "step"), [(9, 1), (15, 2), (45, 5), (9_000, 1_000), (400_000, 50_000)])
def test_ticks_of_long_runs_are_round_days(days: int, step: int) -> None:
    day = 86_400 * 10**9
    assert ticks(days * day, 10)[:2] == [0, step * day]


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(-50, 500), st.none() | st.integers(-20, 400)),
        max_size=60,
    ),
    st.none() | st.integers(0, 800),
)
def test_every_call_is_drawn_once_within_the_axis(
    calls: list[tuple[bool, str, int, int | None]], end: int | None
) -> None:
    made = [
        (llm if is_llm else tool)(name, start, None if length is None else start + length)
        for is_llm, name, start, length in calls
    ]
    layout = lay_out(run(*made, end=end))

    assert sorted(bar.index for bar in layout.bars) == list(range(len(calls)))
    assert sorted(bar.index for row in layout.rows for bar in row.bars) == list(range(len(calls)))
    for bar in layout.bars:
        assert 0 <= bar.start <= bar.end <= layout.span


def failed(name: str, start: float, end: float | None, **error: str) -> dict[str, Any]:
    """A tool call that failed."""
    return call("tool", name, start, end, relay_models={"status": "failed", "error": error})


def test_a_failed_call_says_why() -> None:
    bars = lay_out(
        run(failed("a", 0, 10, type="TimeoutError", message="late"), failed("b", 20, 30), tool("c", 40, 50))
    ).bars
    assert [(bar.state, bar.error) for bar in bars] == [
        (BarState.FAILED, "TimeoutError: late"),
        (BarState.FAILED, ""),
        (BarState.FINISHED, None),
    ]


def test_a_failed_call_without_an_end_is_unfinished_and_has_its_error() -> None:
    (bar,) = lay_out(run(failed("a", 0, None, type="Gone"), end=None)).bars
    assert (bar.state, bar.duration, bar.error) == (BarState.UNFINISHED, None, "Gone")


def test_calls_are_indented_under_the_call_that_the_source_names() -> None:
    outer = call("tool", "outer", 0, 100, relay_models={"status": "completed"})
    inner = call("tool", "inner", 10, 20, relay_models={"parent_call": 0})
    deeper = call("tool", "deeper", 12, 15, relay_models={"parent_call": 1})
    odd = call("tool", "odd", 30, 40, relay_models={"parent_call": 3})
    assert [bar.depth for bar in lay_out(run(outer, inner, deeper, odd)).bars] == [0, 1, 2, 0]


def test_an_answer_that_no_codec_read_is_an_answer() -> None:
    answered = llm("a", 0, 10, None, relay_models={"output": {"text": "x"}})
    assert [bar.state for bar in lay_out(run(answered, llm("b", 20, 30, None))).bars] == [
        BarState.FINISHED,
        BarState.SILENT,
    ]
