# ruff: noqa
# fmt: off
# Generated from relay_models/native/_async/follower.py by scripts/generate_sync.py: change that, not this.
"""`Follower`: keep a store up to date with a live NeMo Relay deployment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from relay_models._checks import check_seconds
from relay_models.backend.sync import RedisBackend
from relay_models.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    PermissionDeniedError,
    RelayModelsError,
    StorageError,
)
from relay_models.native._sync.importer import Importer
from relay_models.native._sync.source import NativeSource
from relay_models.native.layout import DEFAULT_PREFIX, NativeKey
from relay_models.native.reports import FollowMetrics, ImportReport
from relay_models.records.redact import Redactions
from relay_models.transport.sync import Backoff, raise_if_cancelled, sleep

__all__ = ["Follower", "follow_native"]

# Interval and duration of polls of an agent's artifacts after a run, which change for a while (seconds).
_ARTIFACT_PAUSE, _ARTIFACT_WINDOW = 1.0, 10.0
# Maximum share of time for scanning all keys, and maximum interval between two scans (seconds).
_SCAN_SHARE, _SCAN_AT_LEAST_EVERY = 0.1, 60.0
# First and longest backoff during an outage (seconds).
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_TELL_AT_MOST_EVERY = 1.0
# Maximum interval between polls (seconds): a day.
_LONGEST_POLL = 86_400.0

Observer = Callable[[FollowMetrics], None]


class Follower:
    """Keeps a store up to date with a live deployment.

    A poll costs the source one round trip (DBSIZE, and the length and last entry of each agent's list), so it is cheap
    while nothing happens. Runs are read when their list has changed, artifacts for a while after a run of their agent,
    and everything once a minute. Progress is saved in the store: the follower can be stopped, killed and restarted, and
    either server can be down: nothing is lost or stored twice. A store that was emptied is filled again.

    Args:
        source: URL of the deployment's Redis, a redis-py client, or a `NativeSource`.
        backend: The store.
        native_prefix: NeMo Relay's key prefix.
        poll: Interval between polls (seconds).
        on_pass: Called with the metrics after each poll, and once a second during a long one.
        redact: What removes secrets before a run is stored, as for `import_native`.
        redis_options: Options of redis-py for the source, as for `NativeSource`.

    Raises:
        InvalidConfigurationError: `poll` is negative or longer than a day, or another option cannot work.
    """

    def __init__(
        self,
        source: str | Any | NativeSource,
        backend: RedisBackend,
        *,
        native_prefix: str = DEFAULT_PREFIX,
        poll: float = 0.2,
        on_pass: Observer | None = None,
        redact: Redactions = None,
        **redis_options: Any,
    ) -> None:
        check_seconds("poll", poll, most=_LONGEST_POLL)
        self._owns_source = not isinstance(source, NativeSource)
        self.source = (
            source if isinstance(source, NativeSource) else NativeSource(source, native_prefix, **redis_options)
        )
        self.metrics = FollowMetrics()
        self._backend = backend
        self._importer = Importer(self.source, backend, on_progress=self._progress, redact=redact)
        self._told_at = time.monotonic()
        self._poll = poll
        self._on_pass = on_pass
        self._stopped = False
        self._agents: list[str] = []
        self._artifacts: list[NativeKey] = []
        self._database_size = -1
        self._scanned_at = self._checked_at = self._artifacts_at = float("-inf")
        self._scan_cost = 0.0
        self._busy_until: dict[str, float] = {}
        self._reconnects = (0, 0)

    def run(self) -> None:
        """Follow until `stop` is called or the task is cancelled.

        An outage of either side is waited out, with exponential backoff up to five seconds. What cannot get better by
        waiting is raised while nothing has worked yet.

        Raises:
            StorageError: refused login, missing permission, and the like, at the first look.
        """
        backoff = Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        try:
            while not self._stopped:
                raise_if_cancelled()
                try:
                    self.look()
                    backoff.reset()
                    sleep(self._poll)
                except StorageError as error:
                    self._failed(error)
                    if self.metrics.passes == 0 and not isinstance(error, (ConnectionFailedError, TimeoutError)):
                        raise
                    if isinstance(error, (AuthenticationFailedError, PermissionDeniedError)):
                        backoff.slow_down()
                    sleep(backoff.next())
        finally:
            self.close()

    def stop(self) -> None:
        """Stop `run` after the current poll."""
        self._stopped = True

    def close(self) -> None:
        """Close the connection to the source, if the follower opened it."""
        if self._owns_source:
            self.source.close()

    def look(self) -> bool:
        """Poll the source once and store what is new; return whether anything was.

        Raises:
            StorageError: one of the servers is away; the next look continues where this one ended.
        """
        importer, metrics, report = self._importer, self.metrics, self._importer.report
        reconnects = (self.source.reconnects, self._backend.transport.reconnects)
        if reconnects != self._reconnects:
            # The server that came back may have lost its last writes.
            self._reconnects = reconnects
            importer.forget()
            self._scanned_at = self._checked_at = float("-inf")
        before = (report.runs, sum(report.artifacts.values()))
        size, ends = self.source.ends(self._agents)
        if self._rescan(size):
            size, ends = self.source.ends(self._agents)
        importer.load_checkpoints(self._agents)
        metrics.behind = 0
        for agent_id, end in zip(self._agents, ends, strict=True):
            checkpoint = importer.checkpoints[agent_id]
            length, last = end or (0, None)
            # A list that another client trims can gain entries without getting longer.
            if length != checkpoint.position or [last] != checkpoint.anchor[-1:]:
                if not length:
                    continue
                metrics.behind += max(0, length - checkpoint.position)
                self._busy_until[agent_id] = time.monotonic() + _ARTIFACT_WINDOW
                importer.import_runs(agent_id, length)
        self._follow_artifacts()
        self._account()
        return before != (report.runs, sum(report.artifacts.values()))

    def _rescan(self, size: int) -> bool:
        """Scan the keys if their number has changed, but not too often."""
        now = time.monotonic()
        since = now - self._scanned_at
        if since < _SCAN_AT_LEAST_EVERY and (size == self._database_size or since < self._scan_cost / _SCAN_SHARE):
            return False
        known = set(self._artifacts)
        found = self.source.scan()
        self.metrics.cache_entries = self.source.cache_entries
        self._agents = [key.agent_id for key in found if key.kind == "run_index"]
        self._artifacts = [key for key in found if key.kind != "run_index"]
        self._database_size = size
        self._scanned_at = time.monotonic()
        self._scan_cost = self._scanned_at - now
        self._importer.import_artifacts([key for key in self._artifacts if key not in known])
        return True

    def _follow_artifacts(self) -> None:
        now = time.monotonic()
        if now - self._checked_at >= _SCAN_AT_LEAST_EVERY:
            self._importer.check_store()
            self._importer.import_artifacts(self._artifacts)
            self._checked_at = self._artifacts_at = time.monotonic()
            return
        if not self._busy_until or now - self._artifacts_at < _ARTIFACT_PAUSE:
            return
        # Profile keys of observations and stability begin with the agent's id.
        busy = tuple(self._busy_until)
        roots = tuple(f"{agent_id}::" for agent_id in busy)
        keys = [key for key in self._artifacts if key.agent_id in self._busy_until or key.agent_id.startswith(roots)]
        self._importer.import_artifacts(keys)
        self._artifacts_at = time.monotonic()
        # An agent is idle only after a poll later than the window.
        self._busy_until = {agent_id: until for agent_id, until in self._busy_until.items() if until > now}

    def _progress(self, report: ImportReport) -> None:
        """Update the counts during a long poll, and call the observer about once a second."""
        metrics = self.metrics
        metrics.runs, metrics.artifacts = report.runs, sum(report.artifacts.values())
        metrics.bad += len(report.bad)
        report.bad.clear()
        if self._on_pass is not None and time.monotonic() - self._told_at > _TELL_AT_MOST_EVERY:
            self._tell()

    def _account(self) -> None:
        """Note that everything is in the store after this poll."""
        metrics, report = self.metrics, self._importer.report
        metrics.passes += 1
        metrics.in_step_since = time.monotonic()
        if report.newest_end_ns is not None:
            metrics.lag_seconds = max(0.0, time.time() - report.newest_end_ns / 1e9)
            report.newest_end_ns = None
        self._progress(report)
        self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        if self._on_pass is not None:
            self._on_pass(self.metrics)

    def _failed(self, error: RelayModelsError) -> None:
        """Handle an outage: what was cached of either side may be outdated."""
        self.metrics.errors += 1
        self.metrics.last_error = str(error)
        self._importer.forget()
        self._scanned_at = self._checked_at = float("-inf")
        self._tell()


def follow_native(
    source: str | Any | NativeSource,
    backend: RedisBackend,
    *,
    native_prefix: str = DEFAULT_PREFIX,
    poll: float = 0.2,
    on_pass: Observer | None = None,
    redact: Redactions = None,
    **redis_options: Any,
) -> None:
    """Keep a store up to date with a live deployment, until the task is cancelled; see `Follower`."""
    follower = Follower(
        source, backend, native_prefix=native_prefix, poll=poll, on_pass=on_pass, redact=redact, **redis_options
    )
    follower.run()
