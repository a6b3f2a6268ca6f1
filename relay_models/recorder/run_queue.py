"""`Queue`: the bounded queue of finished runs and its counts, shared by the async and the threaded recorder."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from relay_models._checks import check_count
from relay_models.errors import MissingExtraError
from relay_models.records import RunRecord, uuid7
from relay_models.records.redact import Redaction
from relay_models.trajectories.builder import AgentNaming, RunBuilder, ScopeEvent

if TYPE_CHECKING:
    from relay_models.backend import StoreReport

__all__ = ["Queue", "RecorderStats", "subscribers"]

log = logging.getLogger("relay_models.recorder")

BATCH = 200
"""Runs per bulk store."""


@dataclass(slots=True)
class RecorderStats:
    """Counts of a recorder."""

    stored: int = 0
    """Runs stored."""
    dropped: int = 0
    """Runs that were lost: too many were buffered, too many calls were open, or it closed before they were stored."""
    refused: int = 0
    """Runs that the store refused."""
    withheld: int = 0
    """Runs that are not stored because a redaction left them out or failed."""
    failed_attempts: int = 0
    """Failed attempts to store a batch; the batch is retried."""
    last_error: str | None = None
    """Why the last attempt failed, or the last run was refused."""
    waiting: int = 0
    """Finished runs that are not stored yet."""
    open: int = 0
    """Runs that have started and not ended."""


class Queue:
    """Receives events on NeMo Relay's thread and buffers finished runs, without ever blocking.

    Args:
        agent_id: As for `RunBuilder`.
        max_waiting: Maximum number of finished runs to buffer. Beyond it the oldest is dropped and counted.
        max_calls: Maximum number of calls of open runs to hold.
        wake: Called, on any thread, when there is something to store.
        keep_io: Whether input and output of calls are kept in the extensions.
        redact: What removes secrets, before a run is in a batch.

    Raises:
        InvalidConfigurationError: A limit is less than 1.
    """

    def __init__(
        self,
        agent_id: AgentNaming,
        *,
        max_waiting: int,
        max_calls: int,
        wake: Callable[[], None],
        keep_io: bool = True,
        redact: Redaction | None = None,
    ) -> None:
        check_count("max_waiting", max_waiting)
        self._builder = RunBuilder(agent_id, max_calls=max_calls, keep_io=keep_io)
        self._redact = redact
        self._redacted: set[int] = set()
        self._finished: deque[RunRecord] = deque()
        self._max_waiting = max_waiting
        self._wake = wake
        self._lock = threading.Lock()
        self._stats = RecorderStats()
        self._lost = 0
        self.closed = False

    def take(self, event: ScopeEvent) -> None:
        """Receive an event; no error reaches the agent."""
        if self.closed:
            return
        try:
            with self._lock:
                run = self._builder.process(event)
                if run is None:
                    return
                self._finished.append(run)
                if len(self._finished) > self._max_waiting:
                    self._finished.popleft()
                    self._lost += 1
            self._wake()
        except Exception:
            self._lost += 1
            log.exception("a run could not be recorded")

    def batch(self) -> list[RunRecord]:
        """Return the oldest finished runs, as they may be stored; they stay in the queue until `done`.

        Redaction happens here, on the thread that stores, so that it does not hold up the runtime's events.
        """
        if self._redact is not None:
            self._redact_oldest(self._redact)
        with self._lock:
            return [self._finished[index] for index in range(min(BATCH, len(self._finished)))]

    def _redact_oldest(self, redact: Redaction) -> None:
        """Redact the runs of the next batch that have not been redacted; those that may not be stored are removed."""
        with self._lock:
            oldest = list(islice(self._finished, BATCH))
        self._redacted &= {id(run) for run in oldest}
        for run in oldest:
            if id(run) in self._redacted:
                continue
            try:
                redacted = redact(run)
            except Exception:
                log.exception("a run is not stored: its redaction failed")
                redacted = None
            with self._lock:
                try:
                    # By identity: the run may have been dropped meanwhile, and equal runs are not the same.
                    position = next(index for index, held in enumerate(self._finished) if held is run)
                except StopIteration:
                    continue
                if redacted is None:
                    del self._finished[position]
                    self._stats.withheld += 1
                else:
                    self._finished[position] = redacted
                    self._redacted.add(id(redacted))

    def done(self, batch: list[RunRecord], report: StoreReport) -> None:
        """Remove a stored batch."""
        ids = {id(run) for run in batch}
        with self._lock:
            # The oldest may have been dropped in the meantime although it was stored.
            while self._finished and id(self._finished[0]) in ids:
                self._finished.popleft()
            self._stats.stored += report.stored
            self._stats.refused += len(report.refused)
            if report.refused:
                self._stats.last_error = str(report.refused[-1].error)
        if report.refused:
            log.warning("%d runs were refused, the last one: %s", len(report.refused), report.refused[-1])

    def failed(self, error: Exception) -> None:
        """Count a failed attempt; the batch stays in the queue."""
        with self._lock:
            first = not self._stats.failed_attempts
            self._stats.failed_attempts += 1
            self._stats.last_error = str(error)
        if first:
            log.warning("runs cannot be stored and are buffered: %s", error)

    def give_up(self) -> int:
        """Drop what is left, and return how many runs that was."""
        with self._lock:
            self.closed = True
            left = len(self._finished)
            self._finished.clear()
            self._lost += left
        if left:
            log.warning("%d runs were dropped: they could not be stored before the end", left)
        return left

    def stats(self) -> RecorderStats:
        """Return a copy of the current counts."""
        with self._lock:
            stats = self._stats
            stats.dropped = self._lost + self._builder.given_up
            stats.waiting = len(self._finished)
            stats.open = self._builder.open_runs
            return RecorderStats(
                **{name: getattr(stats, name) for name in RecorderStats.__slots__}  # a copy: it does not change later
            )


def subscribers() -> Any:
    """Return nemo_relay's module for event subscriptions.

    Raises:
        MissingExtraError: nemo_relay is not installed.
    """
    try:
        from nemo_relay import subscribers as module  # lazy: optional package
    except ImportError as error:
        raise MissingExtraError("recording needs NeMo Relay: pip install nemo-relay") from error
    return module


def subscription_name() -> str:
    """Return a unique name for a subscriber."""
    return f"relay_models.recorder.{uuid7()}"
