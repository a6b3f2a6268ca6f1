"""What both colours of the recorder share: the subscription, the bounded queue of finished runs, the counts."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relay_models.errors import MissingExtraError
from relay_models.records import RunRecord, uuid7
from relay_models.trajectories.builder import AgentNaming, RunBuilder, ScopeEvent

__all__ = ["Queue", "RecorderStats", "subscribers"]

log = logging.getLogger("relay_models.recorder")

BATCH = 200


@dataclass(slots=True)
class RecorderStats:
    """What a recorder has done so far."""

    stored: int = 0
    """Runs in the store."""
    dropped: int = 0
    """Runs that were lost: too many waited, too much was open at once, or the store was away at the end."""
    refused: int = 0
    """Runs that the store would not take."""
    failed_attempts: int = 0
    """Times that a batch could not be stored and was kept for another attempt."""
    last_error: str | None = None
    waiting: int = 0
    """Runs that are finished and not stored yet."""
    open: int = 0
    """Runs that have begun and not ended."""


class Queue:
    """Takes events on NeMo Relay's thread, holds finished runs, and never waits for anybody.

    Args:
        agent_id: as `RunBuilder` takes it.
        max_waiting: finished runs to hold while the store is away; beyond it the oldest is dropped, and counted.
        max_calls: calls of open runs to hold.
        wake: called, on any thread, when there is something to store.
    """

    def __init__(self, agent_id: AgentNaming, *, max_waiting: int, max_calls: int, wake: Callable[[], None]) -> None:
        self._builder = RunBuilder(agent_id, max_calls=max_calls)
        self._finished: deque[RunRecord] = deque()
        self._max_waiting = max_waiting
        self._wake = wake
        self._lock = threading.Lock()
        self._stats = RecorderStats()
        self._lost = 0
        self.closed = False

    def take(self, event: ScopeEvent) -> None:
        """The subscriber: nothing that goes wrong here reaches the agent."""
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
        """The oldest finished runs, which stay in the queue until `done`."""
        with self._lock:
            return [self._finished[index] for index in range(min(BATCH, len(self._finished)))]

    def done(self, batch: list[RunRecord], stored: int, refused: int) -> None:
        """A batch has been dealt with."""
        ids = {id(run) for run in batch}
        with self._lock:
            # The oldest may have been dropped meanwhile, and then been stored all the same.
            while self._finished and id(self._finished[0]) in ids:
                self._finished.popleft()
            self._stats.stored += stored
            self._stats.refused += refused

    def failed(self, error: Exception) -> None:
        """A batch could not be stored; it stays."""
        with self._lock:
            first = self._stats.last_error is None
            self._stats.failed_attempts += 1
            self._stats.last_error = str(error)
        if first:
            log.warning("runs cannot be stored at the moment and are kept: %s", error)

    def give_up(self) -> int:
        """Drop what is left; how much that was."""
        with self._lock:
            self.closed = True
            left = len(self._finished)
            self._finished.clear()
            self._lost += left
        if left:
            log.warning("%d runs were dropped: the store was away until the end", left)
        return left

    def stats(self) -> RecorderStats:
        """The counts as they are now."""
        with self._lock:
            stats = self._stats
            stats.dropped = self._lost + self._builder.given_up
            stats.waiting = len(self._finished)
            stats.open = self._builder.open_runs
            return RecorderStats(
                **{name: getattr(stats, name) for name in RecorderStats.__slots__}  # a copy: it does not change later
            )


def subscribers() -> Any:
    """The module of nemo_relay with which events are subscribed to.

    Raises:
        MissingExtraError: nemo_relay is not installed.
    """
    try:
        from nemo_relay import subscribers as module
    except ImportError as error:
        raise MissingExtraError("recording needs NeMo Relay: pip install nemo-relay") from error
    return module


def subscription_name() -> str:
    """A name that no other subscriber has."""
    return f"relay_models.recorder.{uuid7()}"
