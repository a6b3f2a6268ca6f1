"""Buckets begin where the wall clock says, through the changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from relay_models._time import microseconds_of
from relay_models.errors import QueryError
from relay_models.query.aggregate.buckets import Buckets

HOUR = 3_600_000_000
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Beirut",
]
SPANS = ["7s", "15m", "30m", "1h", "1.5h", "2h", "6h", "7h", "1d", "1d12h", "2d", "1w", "1mo", "1q", "1y"]


def at(*parts: int) -> int:
    return microseconds_of(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


@given(st.sampled_from(ZONES), st.sampled_from(SPANS), st.integers(at(1990, 1, 1), at(2040, 1, 1)))
def test_every_instant_is_in_one_bucket(zone: str, span: str, instant: int) -> None:
    buckets = Buckets(span, zone)
    start = buckets.start(instant)
    after = buckets.after(start)
    assert start <= instant < after
    assert buckets.start(start) == start
    assert buckets.start(after - 1) == start
    assert buckets.start(after) == after


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 28), 24), ((2026, 3, 29), 23), ((2026, 10, 25), 25)])
def test_days_are_as_long_as_the_clock_makes_them(day: tuple[int, int, int], hours: int) -> None:
    buckets = Buckets("1d", "Europe/Berlin")
    midnight = datetime(*day, tzinfo=ZoneInfo("Europe/Berlin"))
    start = microseconds_of(midnight)
    assert buckets.start(start + 5 * HOUR) == start
    assert buckets.after(start) - start == hours * HOUR
    assert buckets.label(start) == midnight


def test_an_hour_that_comes_twice_is_two_buckets() -> None:
    buckets = Buckets("1h", "Europe/Berlin")
    first, second = at(2026, 10, 25, 0, 30), at(2026, 10, 25, 1, 30)
    assert [buckets.label(buckets.start(instant)).isoformat() for instant in (first, second)] == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    ]
    assert len(list(buckets.between(at(2026, 10, 24, 22), at(2026, 10, 25, 22)))) == 25


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    instant = at(2026, 11, 25, 13)
    assert Buckets("1w").label(Buckets("1w").start(instant)) == datetime(2026, 11, 23, tzinfo=UTC)
    assert Buckets("month").label(Buckets("month").start(instant)) == datetime(2026, 11, 1, tzinfo=UTC)
    assert (
        Buckets("1q", "Asia/Tokyo").label(Buckets("1q", "Asia/Tokyo").start(instant)).isoformat()
        == "2026-10-01T00:00:00+09:00"
    )
    assert Buckets(timedelta(hours=6)).start(instant) == at(2026, 11, 25, 12)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("span", [*SPANS, "400y", "36500d"])
@pytest.mark.parametrize("instant", [at(1, 1, 1), at(9999, 12, 31), at(9999, 12, 31) + 24 * HOUR - 1])
def test_the_ends_of_the_calendar(zone: str, span: str, instant: int) -> None:
    buckets = Buckets(span, zone)
    start = buckets.start(instant)
    after = buckets.after(start)
    assert start <= instant < after
    assert buckets.start(start) == start
    assert list(buckets.between(start, after)) == [start, after]
    assert buckets.label(start).tzinfo is buckets.zone


def test_months_are_those_of_the_calendar() -> None:
    buckets = Buckets("1mo", "UTC")
    starts = list(buckets.between(buckets.start(at(1, 1, 1)), buckets.start(at(9999, 12, 1))))
    labels = [buckets.label(start) for start in starts]
    assert labels == [datetime(year, month, 1, tzinfo=UTC) for year in range(1, 10_000) for month in range(1, 13)]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1.5h", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        (" 1d 12h ", timedelta(hours=36)),
        ("0.5d", timedelta(hours=12)),
        ("250us", timedelta(microseconds=250)),
        ("2 weeks", timedelta(days=14)),
        ("hour", timedelta(hours=1)),
        ("minutes", timedelta(minutes=1)),
    ],
)
def test_spans_are_written_as_durations_are_in_filters(text: str, span: timedelta) -> None:
    assert Buckets(text).width == Buckets(span).width == span // timedelta(microseconds=1)


@pytest.mark.parametrize(("text", "months"), [("1mo", 1), ("quarter", 3), ("2Q", 6), ("years", 12), ("10 y", 120)])
def test_spans_of_the_calendar(text: str, months: int) -> None:
    assert Buckets(text).months == months


@pytest.mark.parametrize(
    "every",
    [
        *("", " ", "0s", "0mo", "-1h", "1", "h1", "1.5mo", "1mo1d", "inf", "nan", "0.1us", "PT1H", "1:30", "½h"),
        *("9" * 5000 + "s", "9" * 5000 + "mo", "1e999999999s", "9999999d", "999999999y"),
        *(timedelta(0), timedelta(-1), timedelta.max, None, 3600, b"1h"),
    ],
)
def test_what_is_no_span_is_refused(every: Any) -> None:
    with pytest.raises(QueryError, match="every is a span such as 15m") as caught:
        Buckets(every)
    assert len(str(caught.value)) < 200
