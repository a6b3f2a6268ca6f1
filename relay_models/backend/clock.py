"""`StoreClock`: the time in microseconds by which a store's documents are ordered, whatever the clocks below it do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["StoreClock"]

# Stamps further ahead of the server's clock than this were made by no clock, and are not followed (a year).
_MAX_AHEAD = 366 * 86_400 * 1_000_000
# What two clocks may drift apart: NTP changes a clock's rate by at most 1 in 2,000, crystals are off by much less.
_DRIFT = 2000
# How long a writer goes on without looking whether others have later stamps (nanoseconds).
_LOOK_EVERY_NS = 250_000_000
# A step smaller than this leaves stamps as they are (microseconds).
_LEAST_STEP = 1000


class StoreClock:
    """The server's clock, read from the local monotonic one; strictly increasing, safe to read from many threads.

    Every reading of the server's clock says in which interval the difference between the two clocks lies; the greatest
    difference that all of them allow is used. So a time of storing is never before the server's time when the command
    was sent, and not after its time when the reply came, as long as a write takes longer than the quickest reading
    did: of two writes of which one began when the other had ended, the later one has the later time. A reading that
    contradicts those before means that a clock stepped (or that this machine slept):

    - Where the server is further than this clock, this clock follows.
    - Where the server was set back, this clock goes on as before, and so do those of all others who were connected:
      it is *ahead*. Those who connect later find what is stored later than the server's time (`raise_to`) and go on
      from there. It follows the server again (`follow`) once nothing stored is later than the server's time.

    Args:
        monotonic_ns: a clock that does not step (nanoseconds).
        wall_ns: the clock of this machine, for a user who may not read the server's (nanoseconds).

    Attributes:
        corrections: how many times the clock was moved: what was stamped before the number changed is to be stamped
            again.
        may_read_server: whether the user may read the server's clock; this machine's is read otherwise.
        may_read_stored: whether the user may search.
    """

    def __init__(self, monotonic_ns: Callable[[], int] | None = None, wall_ns: Callable[[], int] | None = None) -> None:
        self.corrections = 0
        self.may_read_server = self.may_read_stored = True
        self._lock = threading.Lock()
        self._monotonic_ns = monotonic_ns or time.monotonic_ns
        self._wall_ns = wall_ns or time.time_ns
        # The interval of the difference to the server's clock, None before the first reading, and when it was read.
        self._interval: tuple[int, int] | None = None
        self._read_at = 0
        self._difference = self._wall_ns() // 1000 - self._monotonic_ns() // 1000
        self._ahead = 0
        self._last = 0
        self._looked_at = self._monotonic_ns()

    @property
    def is_ahead(self) -> bool:
        """Whether it is ahead of the server's clock, which was set back."""
        return self._ahead > 0

    def is_due(self) -> bool:
        """Whether what is stored is to be looked at with the next write."""
        if not self.may_read_stored:
            return False
        if self._ahead:
            return True
        local = self._monotonic_ns()
        is_due = local - self._looked_at >= _LOOK_EVERY_NS
        if is_due:
            self._looked_at = local
        return is_due

    def now(self) -> int:
        """Return the next instant."""
        with self._lock:
            self._last = max(self._last + 1, self._monotonic_ns() // 1000 + self._difference + self._ahead)
            return self._last

    def server_now(self) -> int:
        """Return the server's time, as far as it was last read."""
        return self._monotonic_ns() // 1000 + self._difference

    def at(self, server_us: int) -> int:
        """Return what this clock gives at a time of the server's."""
        return server_us + self._ahead

    def mark(self) -> int:
        """Return the local instant at which the server's time is asked for."""
        return self._monotonic_ns()

    def read(self, server_us: int | None, sent_ns: int) -> None:
        """Take a reading of the server's clock that was asked for at the local instant `sent_ns`.

        Args:
            server_us: the server's time; None where it may not be read, and this machine's is used.
            sent_ns: what `mark` gave.
        """
        received_ns = self._monotonic_ns()
        if server_us is None:
            server_us, sent_ns = self._wall_ns() // 1000, received_ns
        received = received_ns // 1000
        least, greatest = server_us - received - 1, server_us - sent_ns // 1000 + 1
        with self._lock:
            if self._interval is None:
                self._last = 0
                self._difference = greatest
            else:
                drift = (received - self._read_at) // _DRIFT
                low, high = max(least, self._interval[0] - drift), min(greatest, self._interval[1] + drift)
                if low > high:
                    self._step(greatest - self._difference)
                    self._difference = greatest
                else:
                    if not least <= self._difference <= greatest:
                        self._difference = greatest
                    least, greatest = low, high
            self._interval, self._read_at = (least, greatest), received

    def _step(self, step: int) -> None:
        """The server's clock makes a step: one back is made up for, one forward uses up what was made up for."""
        ahead = max(0, self._ahead - step)
        if step + ahead - self._ahead > _LEAST_STEP:
            self.corrections += 1
        self._ahead = ahead

    def raise_to(self, stored_us: int) -> None:
        """Go on from a stamp that is stored, and later than what this clock gave."""
        with self._lock:
            local = self._monotonic_ns() // 1000 + self._difference
            if stored_us <= local + _MAX_AHEAD:
                self._ahead = max(self._ahead, stored_us - local + 1, 1)
                self.corrections += 1

    def limit(self) -> int:
        """Return the greatest stamp that can have been made by a clock."""
        return self.server_now() + _MAX_AHEAD

    def follow(self) -> None:
        """Follow the server's clock again: nothing that is stored is later."""
        with self._lock:
            if self._ahead:
                self._ahead = self._last = 0
                self.corrections += 1
