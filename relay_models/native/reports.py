"""What import, follow and export tell: counts by kind, values that could not be read, lag."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

__all__ = ["BadValue", "ExportReport", "FollowMetrics", "ImportReport"]


@dataclass(frozen=True, slots=True)
class BadValue:
    """A native key whose value was left out, and why."""

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(slots=True)
class ImportReport:
    """How an import went. It is filled while the import goes on, so a progress callback may look at it at any time."""

    source: str = ""
    """Where it was read from, without a password."""
    agents: int = 0
    """Agents that have a list of runs."""
    entries: int = 0
    """Entries of run lists and artefacts that this import has to look at, as far as it knows."""
    done: int = 0
    """How many of them it has looked at."""
    created: int = 0
    """Runs that are new in the store."""
    replaced: int = 0
    """Runs that were in the store and have been stored again in the source."""
    missing: int = 0
    """Runs that a list names and whose key is gone (NeMo Relay skips them too)."""
    artifacts: dict[str, int] = field(default_factory=dict)
    """Artefacts that are new or changed, by kind."""
    unchanged: int = 0
    """Artefacts that the store has already."""
    bad: list[BadValue] = field(default_factory=list)
    """Values that cannot be read; they are tried again by the next import."""
    newest_end_ns: int | None = None
    """The newest `ended_at` of the imported runs, in nanoseconds since 1970."""
    started: float = field(default_factory=time.monotonic, repr=False)
    elapsed: float = 0.0
    """Seconds, once the import is finished."""

    @property
    def runs(self) -> int:
        """Runs that were stored."""
        return self.created + self.replaced

    @property
    def rate(self) -> float:
        """Entries per second so far."""
        passed = self.elapsed or time.monotonic() - self.started
        return self.done / passed if passed > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """The time left at this rate; None before there is one."""
        rate = self.rate
        return (self.entries - self.done) / rate if rate > 0 else None

    def refuse(self, key: bytes, reason: str) -> None:
        """Note a value that cannot be read."""
        self.bad.append(BadValue(key.decode("utf-8", "backslashreplace"), reason))


@dataclass(slots=True)
class ExportReport:
    """How an export went: runs written, runs that were new in the target's lists, artefacts by kind."""

    runs: int = 0
    new_runs: int = 0
    artifacts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class FollowMetrics:
    """What a follower has done so far."""

    passes: int = 0
    """Looks at the source, including those that found nothing."""
    runs: int = 0
    """Runs stored, new ones and replaced ones."""
    artifacts: int = 0
    """Artefacts stored."""
    bad: int = 0
    """Values that could not be read."""
    errors: int = 0
    """Times that the source or the store was away."""
    last_error: str | None = None
    behind: int = 0
    """Run-list entries that the last look found and that were not in the store then."""
    lag_seconds: float | None = None
    """From the end of the newest run to its being in the store, by the clocks of NeMo Relay and of this process."""
    in_step_since: float | None = None
    """`time.monotonic()` of the last pass that ended with everything in the store; None before the first."""

    def seconds_out_of_step(self) -> float | None:
        """How long ago the store was last known to be complete; None if never."""
        return None if self.in_step_since is None else time.monotonic() - self.in_step_since
