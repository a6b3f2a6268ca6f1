"""The time that a call has left."""

from __future__ import annotations

import math
import time

from relay_models.transport.time_limit import time_left, time_limit, without_time_limit


def test_the_earliest_of_nested_limits_holds() -> None:
    with time_limit(100), time_limit(1000), time_limit(None):
        assert 90 < time_left() <= 100
        with time_limit(10):
            assert time_left() <= 10
        assert time_left() > 90
    assert time_left() == math.inf


def test_a_limit_that_is_over_leaves_nothing() -> None:
    with time_limit(-1), time_limit(5):
        assert time_left() == 0


def test_what_has_limits_of_its_own_takes_no_time_of_the_others() -> None:
    with time_limit(0.2):
        with time_limit(0.1):
            with without_time_limit():
                assert time_left() == math.inf
                began = time.monotonic()
                while time.monotonic() - began < 0.3:
                    pass
            assert time_left() > 0
        assert time_left() > 0
