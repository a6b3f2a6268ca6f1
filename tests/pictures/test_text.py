"""How numbers, durations and hostile names are written."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from relay_models.pictures.text import (
    cells,
    clip_cells,
    clip_pixels,
    duration_text,
    number_text,
    pixels,
    plain,
    tick_text,
)

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_500, "1.50 µs"),
        (999_600, "1.00 ms"),
        (10_328_627, "10.3 ms"),
        (123_456_789, "123 ms"),
        (2 * SECOND, "2.00 s"),
        (59_960_000_000, "1 m 00 s"),
        (125 * SECOND, "2 m 05 s"),
        (3_720 * SECOND, "1 h 02 m"),
        (90_000 * SECOND, "25 h 00 m"),
        (9 * 86_400 * SECOND + 3_600 * SECOND, "9 d 01 h"),
        (-1_500, "-1.50 µs"),
    ],
)
def test_durations(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0"), (500_000_000, "500 ms"), (2 * SECOND, "2 s"), (120 * SECOND, "2 m"), (5_400 * SECOND, "1 h 30 m")],
)
def test_ticks(nanoseconds: int, text: str) -> None:
    assert tick_text(nanoseconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1536, "1,536"),
        (12_345, "12.3k"),
        (4_560_000, "4.56M"),
        (7e12, "7e+12"),
        (-3, "-3"),
        (0.000125, "0.000125"),
        (-1e-9, "-1e-09"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number_text(value) == text


def test_what_could_steer_a_terminal_becomes_visible() -> None:
    assert plain("a\x1b[31m\n\t\x00\u202eb\ud800") == "a\\x1b[31m\\n\\t\\x00\\u202eb\\ud800"
    assert plain("数据 агент é 🔧") == "数据 агент é 🔧"


@given(st.text(), st.integers(0, 40))
def test_clipped_text_takes_exactly_its_cells(text: str, width: int) -> None:
    assert cells(clip_cells(plain(text), width)) == width


@given(st.text(), st.floats(20, 400))
def test_clipped_pixels_stay_within(text: str, width: float) -> None:
    assert pixels(clip_pixels(text, 12, width), 12) <= width


@given(st.integers(0, 10**19))
def test_durations_are_short(nanoseconds: int) -> None:
    assert len(duration_text(nanoseconds)) <= 14
