"""`ImportReport`, `ExportReport` and `FollowMetrics`: counts by kind, unreadable values, lag."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["BadValue", "ExportReport", "FollowMetrics", "ImportReport"]


# Notes to hold: every run may have some.
_MAX_NOTES = 1000


@dataclass(frozen=True, slots=True)
class BadValue:
    """A native key whose value was skipped, or not understood, and why."""

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(slots=True)
class ImportReport:
    """Counts of an import. They are updated while it runs, so that a progress callback can read them."""

    source: str = ""
    """The source, without a password."""
    agents: int = 0
    """Agents that have a list of runs."""
    entries: int = 0
    """Entries of run lists and artifacts to process, as far as known."""
    done: int = 0
    """Entries processed."""
    created: int = 0
    """Runs that are new in the store."""
    replaced: int = 0
    """Runs that were in the store and have been stored again in the source."""
    missing: int = 0
    """Runs that are listed but whose key does not exist (NeMo Relay skips them, too)."""
    artifacts: dict[str, int] = field(default_factory=dict)
    """New or changed artifacts, by kind."""
    unchanged: int = 0
    """Artifacts that were already in the store."""
    cache_entries: int = 0
    """Entries of NeMo Relay's response and tool caches, which are skipped: they are no state of an agent."""
    withheld: int = 0
    """Runs that a redaction left out."""
    bad: list[BadValue] = field(default_factory=list)
    """Values that cannot be read, or whose redaction failed; the next import tries them again."""
    notes: list[BadValue] = field(default_factory=list)
    """Values of runs that were imported but not understood, or are kept in another form; the first 1,000."""
    noted: int = 0
    """How many such notes there are."""
    newest_end_ns: int | None = None
    """The newest `ended_at` of the imported runs, in nanoseconds since 1970."""
    started: float = field(default_factory=time.monotonic, repr=False)
    elapsed: float = 0.0
    """Seconds, once the import is finished."""

    @property
    def runs(self) -> int:
        """Runs stored."""
        return self.created + self.replaced

    @property
    def rate(self) -> float:
        """Entries per second so far."""
        passed = self.elapsed or time.monotonic() - self.started
        return self.done / passed if passed > 0 else 0.0

    def refuse(self, key: bytes, reason: str) -> None:
        """Add a value that cannot be read."""
        self.bad.append(BadValue(key.decode("utf-8", "backslashreplace"), reason))

    def note(self, key: bytes, notes: Sequence[str]) -> None:
        """Add what of a run was not understood."""
        self.noted += len(notes)
        for note in notes[: max(0, _MAX_NOTES - len(self.notes))]:
            self.notes.append(BadValue(key.decode("utf-8", "backslashreplace"), note))


@dataclass(slots=True)
class ExportReport:
    """Counts of an export: runs written, runs added to the target's lists, artifacts by kind.

    Entries of NeMo Relay's response and tool caches are in no store, so they are never exported.
    """

    runs: int = 0
    new_runs: int = 0
    artifacts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class FollowMetrics:
    """Counts of a follower."""

    passes: int = 0
    """Polls of the source, including those that found nothing."""
    runs: int = 0
    """Runs stored, new and replaced."""
    artifacts: int = 0
    """Artifacts stored."""
    bad: int = 0
    """Values that could not be read."""
    cache_entries: int = 0
    """Entries of NeMo Relay's response and tool caches that the last scan found; they are skipped."""
    errors: int = 0
    """Times that the source or the store was unavailable."""
    last_error: str | None = None
    behind: int = 0
    """Run-list entries found by the last poll that were not in the store at that time."""
    lag_seconds: float | None = None
    """Seconds from the end of the newest run until it was stored, by the clocks of NeMo Relay and of this process."""
    in_step_since: float | None = None
    """`time.monotonic()` of the last poll after which everything was in the store; None before the first."""

    def seconds_out_of_step(self) -> float | None:
        """Return the seconds since the store was last known to be complete; None if never."""
        return None if self.in_step_since is None else time.monotonic() - self.in_step_since
