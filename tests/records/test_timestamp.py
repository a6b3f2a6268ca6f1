"""Timestamps keep their text, and are compared by their instant."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter

from relay_models.errors import InvalidRecordError
from relay_models.records import Timestamp
from tests.records.strategies import timestamps

ADAPTER = TypeAdapter(Timestamp)


@given(timestamps())
def test_the_text_is_kept_and_both_ways_of_reading_agree(text: str) -> None:
    read, made = ADAPTER.validate_json(f'"{text}"'), Timestamp(text)
    assert read.text == made.text == str(read) == text
    assert ADAPTER.dump_json(read).decode() == f'"{text}"'
    assert read.nanoseconds == made.nanoseconds
    assert read == made
    assert hash(read) == hash(made)
    assert read.microseconds == read.nanoseconds // 1000
    assert pickle.loads(pickle.dumps(read)).text == copy.deepcopy(read).text == text
    assert read.datetime.tzinfo is not None
    assert Timestamp(read.datetime).microseconds == read.microseconds


@given(timestamps(), timestamps())
def test_order_and_equality_are_those_of_the_instants(one: str, other: str) -> None:
    a, b = Timestamp(one), Timestamp(other)
    assert (a < b) == (a.nanoseconds < b.nanoseconds)
    assert (a >= b) == (a.nanoseconds >= b.nanoseconds)
    assert (a == b) == (a.nanoseconds == b.nanoseconds)
    assert sorted([a, b]) == sorted([a, b], key=lambda t: t.nanoseconds)
    assert (a - b) == timedelta(microseconds=(a.nanoseconds - b.nanoseconds) // 1000)
    if a == b:
        assert hash(a) == hash(b)


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=OFFSETS | st.just(UTC)))
def test_datetimes_compare_and_hash_alike(moment: datetime) -> None:
    stamp = Timestamp(moment)
    assert stamp == moment
    assert hash(stamp) == hash(moment)
    assert not stamp < moment
    assert stamp - moment == timedelta(0)
    assert stamp.datetime == moment


@given(st.integers(-62_135_596_800_000_000_000, 253_402_300_799_999_999_999))
def test_nanoseconds_there_and_back(nanoseconds: int) -> None:
    assert Timestamp.from_nanoseconds(nanoseconds).nanoseconds == nanoseconds


def test_instants_equal_across_offsets() -> None:
    a = Timestamp("2026-11-23T11:19:08.736656086Z")
    b = Timestamp("2026-11-23t16:49:08.7366560860+05:30")
    assert a == b
    assert len({a, b}) == 1
    assert a.nanoseconds == 1795432748736656086
    assert a.datetime == datetime(2026, 11, 23, 11, 19, 8, 736656, tzinfo=UTC)
    assert b.datetime.utcoffset() == timedelta(hours=5, minutes=30)


def test_a_leap_second_is_the_second_after() -> None:
    leap = Timestamp("2016-12-31T23:59:60Z")
    assert leap == Timestamp("2017-01-01T00:00:00Z")
    assert leap.datetime == datetime(2017, 1, 1, tzinfo=UTC)
    assert leap.text == "2016-12-31T23:59:60Z"


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-23", "2026-11-23T11:19:08", "2026-11-23T24:00:00Z", "2026-02-29T00:00:00Z",
     "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-23T11:19:08.Z", "2026-11-23T11:19:08,5Z",
     "2026-11-23T11:19:08.1234567x9Z", "20261123T111908Z", "2026-W47-1T11:19:08Z", "2026-11-23T11:19:08+0100",
     "2026-11-23T11:19:08+24:00", "2026-11-23T11:19:08.²Z", "２026-11-23T11:19:08Z", " 2026-11-23T11:19:08Z",
     "2026-11-23T11:19:08Z\n", "2026-11-23T11:19Z", "2026-11-23T11:19:61Z", "2026-11-23T11:19:08.123456789+01Z"],
)  # fmt: skip
def test_what_is_no_rfc_3339_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|no instant"):
        Timestamp(text)
    with pytest.raises(ValueError, match=r"RFC 3339|no instant"):
        ADAPTER.validate_python(text)


def test_other_values_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Timestamp(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidRecordError, match="not int"):
        Timestamp(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="time zone"):
        assert Timestamp.now() < datetime(2026, 1, 1)  # noqa: DTZ001
    assert Timestamp.now() != datetime(2026, 1, 1)  # noqa: DTZ001
    assert Timestamp.now() != 5
    with pytest.raises(AttributeError, match="does not change"):
        Timestamp.now().text = "x"  # type: ignore[misc]
    with pytest.raises(ValueError, match="years"):
        Timestamp.from_nanoseconds(10**21)


def test_datetimes_become_text_in_their_own_offset() -> None:
    zone = timezone(timedelta(hours=-8))
    assert Timestamp(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=zone)).text == "2026-01-02T03:04:05.000006-08:00"
    assert Timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)).text == "2026-01-02T03:04:05Z"
    now = Timestamp.now()
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
    assert now.text.endswith("Z")
