"""Values as columns keep them: floats as RedisJSON reads them exactly, and instants to the microsecond."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, strategies as st

from relay_models._time import datetime_of, microseconds_of
from relay_models.columns.types import rounded
from relay_models.documents import Run

AMOUNTS = st.floats(-1e20, 1e20) | st.builds(sum, st.lists(st.integers(0, 10**6).map(lambda micros: micros / 1e6)))


def as_redisjson_reads(text: str) -> float:
    """The digits as an integer of 64 bits, made a double, times or by a power of ten."""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits, power = int(whole + fraction), int(exponent or 0) - len(fraction)
    assert digits < 2**64
    value = digits * float(f"1e{power}") if power >= 0 else digits / float(f"1e{-power}")
    return -value if text.startswith("-") else value


@given(AMOUNTS)
@example(1e-07 + 0.1)
@example(0.014466999999999999)
@example(6.79005022757674e-09)
@example(5e-324)
def test_a_rounded_float_is_read_as_it_is(value: float) -> None:
    kept = rounded(value)
    assert as_redisjson_reads(json.dumps(kept)) == kept
    assert rounded(kept) == kept
    assert kept == pytest.approx(value, rel=1e-14, abs=1e-22)


def test_sums_are_found_by_what_they_mean() -> None:
    assert (Run.cost == 0.1 + 0.2).matches({"cost": rounded(0.3)})
    assert not (Run.cost > 0.1 + 0.2).matches({"cost": rounded(0.3)})


@given(st.integers(-(2**60), 2**60) | st.integers(0, 2**32 * 10**6 + 10**6) | st.integers(2**32 * 10**6 - 10**6))
@example(2**32 * 10**6 - 1)
@example(2**32 * 10**6)
@example(-1)
def test_an_instant_is_read_to_the_microsecond(microseconds: int) -> None:
    read = datetime_of(microseconds)
    if datetime.min.replace(tzinfo=UTC) < read < datetime.max.replace(tzinfo=UTC):
        assert microseconds_of(read) == microseconds
        assert read == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
