"""Pauses between attempts."""

from __future__ import annotations

from hypothesis import given, strategies as st

from relay_models.transport import Backoff

SECONDS = st.floats(0.001, 1000)


@given(SECONDS, SECONDS, st.integers(0, 200))
def test_a_pause_is_never_longer_than_the_longest(first: float, longest: float, failures: int) -> None:
    backoff = Backoff(first, longest)
    pauses = [backoff.next() for _ in range(failures + 1)]
    assert all(0 < pause <= longest for pause in pauses)
    assert pauses[0] <= first


def test_pauses_grow_and_begin_again_after_a_success() -> None:
    backoff = Backoff(0.1, 5.0)
    pauses = [backoff.next() for _ in range(20)]
    # Half of a pause is random.
    assert pauses[0] <= 0.1
    assert pauses[3] >= 0.4
    assert pauses[-1] >= 2.5
    backoff.reset()
    assert backoff.next() <= 0.1
    backoff.slow_down()
    assert backoff.next() >= 2.5


def test_clients_do_not_pause_in_step() -> None:
    assert len({Backoff(0.1, 5.0).next() for _ in range(50)}) > 1
