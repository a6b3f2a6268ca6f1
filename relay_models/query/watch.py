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
_KEPT = 2 * (_FAR + _FAR_EVERY)


class Watch:
    """Looks at what was stored lately, and tells what has not been given yet.

    Args:
        filter: which runs to watch.
        time: ``updated_at`` for new and changed runs, ``stored_at`` for new ones only.
        now: the store's time in microseconds.
        since: begin with what was stored from this instant on, in microseconds; None for what is stored from now on.
    """

    def __init__(self, filter: Expression, time: Column[Any], now: int, since: int | None) -> None:
        self.time = time
        self._filter = filter
        self._given: dict[str, int] = {}
        self._looked = self._looked_far = now
        self._since = now - _FAR if since is None else since
        # What the first look finds is there already where a watch begins with what is to come.
        self._silent = since is None
        self._first = True

    def is_far(self, now: int) -> bool:
        """Whether the next look goes far back."""
        return self._first or now - self._looked_far >= _FAR_EVERY

    def look(self, now: int) -> Expression:
        """What to ask for at the time `now`, in the order of `time`; `fresh` is to see each row, then `done`."""
        if self._first:
            begin = self._since
        elif self.is_far(now):
            self._looked_far = now
            begin = now - _FAR - _FAR_EVERY
        else:
            begin = self._looked - _NEAR
        self._looked = now
        return all_of([self._filter, self.time >= datetime_of(max(begin, self._since))])

    def fresh(self, row: Any) -> bool:
        """Whether a row has not been given in this version."""
        at = microseconds_of(getattr(row, self.time.name))
        if at < self._looked - _KEPT:
            # Only a watch that begins there looks so far back, and only once.
            return True
        key = row.pk
        if self._given.get(key) == at:
            return False
        self._given[key] = at
        return not (self._first and self._silent)

    def done(self) -> None:
        """A look is over: forget what no later one goes back to."""
        self._first = False
        if len(self._given) > 1000:
            self._given = {key: at for key, at in self._given.items() if at >= self._looked - _KEPT}
