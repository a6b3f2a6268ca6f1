# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/base.py by scripts/generate_sync.py: change that, not this.
"""What the parts of the backend share: the link, the key names, the indexes and the clock."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from relay_models.backend._sync.index import Indexes
from relay_models.backend._sync.strays import Strays
from relay_models.backend.clock import StoreClock
from relay_models.backend.replies import first_timestamp
from relay_models.documents import Keys
from relay_models.errors import InvalidConfigurationError, PermissionDeniedError
from relay_models.query.paging.page_bounds import Landmarks
from relay_models.query.steps import Answer
from relay_models.transport._sync.link import Command, Link

__all__ = ["BackendBase"]


class BackendBase:
    """One store: a server and a key prefix."""

    def __init__(
        self, link: Link, keys: Keys, indexes: Indexes, timeout: float | None, run_ttl: timedelta | None
    ) -> None:
        self._link = link
        self._keys = keys
        self._indexes = indexes
        self._run_ttl_ms = _milliseconds(run_ttl)
        self._clock = StoreClock()
        self._landmarks = Landmarks()
        self._strays = Strays(link, keys, indexes)
        # The server's own limit (500 ms unless configured) would cut answers short without an error.
        # Ours ends before the client stops listening; 0 is no limit.
        self._query_ms = max(1, int(timeout * 900)) if timeout else 0

    @property
    def key_prefix(self) -> str:
        """The prefix that sets this store's keys apart."""
        return self._keys.prefix

    @property
    def client(self) -> Any:
        """The redis-py client, for commands of your own."""
        return self._link.client

    def _ask(self, command: Command, *, once: bool = False) -> Answer:
        """The answer to a search command and how long it took; `once` for one that must not be sent twice."""
        began = time.monotonic()
        reply = (self._link.execute_once if once else self._indexes.ask)(*command)
        return Answer(reply, (time.monotonic() - began) * 1000)

    def _set_clock(self) -> None:
        """Read the server's clock once; a user who may not is served by the local one."""
        sent = time.monotonic_ns()
        try:
            reply = self._link.execute("TIME")
        except PermissionDeniedError:
            return
        self._clock.set(first_timestamp(reply), sent, time.monotonic_ns())


def _milliseconds(run_ttl: timedelta | None) -> int:
    if run_ttl is None:
        return 0
    milliseconds = int(run_ttl / timedelta(milliseconds=1)) if isinstance(run_ttl, timedelta) else 0
    if milliseconds < 1:
        raise InvalidConfigurationError(f"run_ttl is a timedelta of a millisecond or more, or None, not {run_ttl!r}")
    return milliseconds
