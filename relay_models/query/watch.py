"""`Watch`: which runs are new or changed between two looks at a store, each version once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_models._time import datetime_of, microseconds_of
from relay_models.columns.expressions import Expression, all_of

if TYPE_CHECKING:
    from relay_models.columns.column import Column

__all__ = ["Watch"]

_SECOND = 1_000_000
# A run turns up a little after the time that is written in it: by as much as it was under way. Each look goes back by
# the shorter span; now and then one goes back by the longer, for what waited in a batch or for a lost connection.
_NEAR, _FAR, _FAR_EVERY = 2 * _SECOND, 60 * _SECOND, 10 * _SECOND
# Times before the greatest one for which is known what was given: more than any look goes back.
_KEPT = 2 * (_FAR + _FAR_EVERY)


class Watch:
    """Looks at what was stored lately, and tells what has not been given yet.

    What is stored next has a time that is neither before the server's clock nor before what is stored already (see
    `StoreClock`), whatever steps that clock makes; each look begins a little before.

    Args:
        filter: which runs to watch.
        time: ``updated_at`` for new and changed runs, ``stored_at`` for new ones only.
        since: begin with what was stored from this instant on, in microseconds; None for what is stored from now on.
    """

    def __init__(self, filter: Expression, time: Column[Any], since: int | None) -> None:
        self.time = time
        self._filter = filter
        self._given: dict[str, int] = {}
        self._most_given = 2000
        self._since = since
        # What the first look finds is there already where a watch begins with what is to come.
        self._silent = since is None
        self._first = True
        # The greatest time of a row, and where the next look and the one that goes far back begin, less their spans.
        self._greatest = 0
        self._looked = self._looked_far = 0
        self._limit = 0

    def look(self, now: int, elapsed: int, limit: int) -> Expression:
        """What to ask for, in the order of `time`; `fresh` is to see each row, then `done`.

        Args:
            now: the server's time in microseconds.
            elapsed: microseconds on a clock that does not step.
            limit: the greatest time that a clock can have given.
        """
        self._limit = limit
        earliest = max(self._greatest, now)
        if self._first:
            self._since = begin = earliest - _FAR if self._since is None else self._since
            self._looked_far = elapsed
        else:
            begin = min(self._looked, earliest)
            if begin < self._looked:  # the clock was set back
                self._since = min(self._since or 0, begin - _NEAR)
            is_far = elapsed - self._looked_far >= _FAR_EVERY
            if is_far:
                self._looked_far = elapsed
            begin = max(begin - (_FAR + _FAR_EVERY if is_far else _NEAR), self._since or 0)
        self._looked = earliest
        return all_of([self._filter, self.time >= datetime_of(begin)])

    def fresh(self, row: Any) -> bool:
        """Whether a row has not been given in this version."""
        at = microseconds_of(getattr(row, self.time.name))
        key = row.pk
        if self._given.get(key) == at:
            return False
        self._given[key] = at
        if self._greatest < at < self._limit:
            self._greatest = at
        if len(self._given) > self._most_given:
            self._forget()
        return not (self._first and self._silent)

    def done(self) -> None:
        """A look is over."""
        self._first = False

    def _forget(self) -> None:
        """Forget what no later look goes back to."""
        self._given = {key: at for key, at in self._given.items() if at >= self._greatest - _KEPT}
        self._most_given = 2 * len(self._given) + 2000
