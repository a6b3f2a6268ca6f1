"""`EngineClock`: the engine's time, which never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["EngineClock"]


class EngineClock:
    """The time of a clock that may be set back, as a time that only moves forward.

    What the engine told as its time may be in the data by now, and orders it. So when the clock is set back, the
    engine's time goes on from where it was, by the time that passes; when the clock is set forward, it follows.

    Args:
        clock: Gives the seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.read = clock
        """The clock itself, in seconds, by which keys expire."""
        self._latest = 0
        self._read_at = time.monotonic()

    def now(self) -> int:
        """The engine's time, in µs since 1970."""
        told, moment = round(self.read() * 1_000_000), time.monotonic()
        if told < self._latest:
            told = self._latest + int((moment - self._read_at) * 1_000_000)
        self._latest, self._read_at = told, moment
        return told

    def at_least(self, time_us: int) -> None:
        """Go on from `time_us`, in µs since 1970, where that is later than now."""
        if time_us > self.now():
            self._latest = time_us
