"""`EngineClock`: the engine's time, which never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["EngineClock"]


class EngineClock:
    """The time of a clock that may be set back, as a time that only moves forward.

    What the engine told as its time may be in the data by now, and orders it. So when the machine's clock is set back,
    the engine's time goes on from where it was, by the time that passes; when the clock is set forward, it follows.

    Args:
        clock: Gives the seconds since 1970; None for the machine's clock. The time of another clock stands still while
            that one is behind.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.read = clock or _machine_time
        """The clock itself, in seconds, by which keys expire."""
        self._elapsed = time.monotonic if clock is None else float
        self._latest = 0
        self._read_at = self._elapsed()

    def now(self) -> int:
        """The engine's time, in µs since 1970."""
        told, moment = round(self.read() * 1_000_000), self._elapsed()
        told = max(told, self._latest + int((moment - self._read_at) * 1_000_000))
        self._latest, self._read_at = told, moment
        return told

    def at_least(self, time_us: int) -> None:
        """Go on from `time_us`, in µs since 1970, where that is later than now."""
        if time_us > self.now():
            self._latest = time_us


def _machine_time() -> float:
    return time.time()
