# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/base.py by scripts/generate_sync.py: change that, not this.
"""What the parts of the backend share: the link, the key names, the indexes and the clock."""

from __future__ import annotations

import time
from typing import Any

from relay_models.backend._sync.index import Indexes
from relay_models.backend._sync.link import Link
from relay_models.backend._sync.strays import Strays
from relay_models.backend._clock import StoreClock
from relay_models.backend._replies import first_timestamp
from relay_models.documents import Keys
from relay_models.errors import PermissionDeniedError

__all__ = ["BackendBase"]


class BackendBase:
    """One store: a server and a key prefix."""

    def __init__(self, link: Link, keys: Keys, indexes: Indexes, timeout: float | None) -> None:
        self._link = link
        self._keys = keys
        self._indexes = indexes
        self._clock = StoreClock()
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

    def _set_clock(self) -> None:
        """Read the server's clock once; a user who may not is served by the local one."""
        sent = time.monotonic_ns()
        try:
            reply = self._link.execute("TIME")
        except PermissionDeniedError:
            return
        self._clock.set(first_timestamp(reply), sent, time.monotonic_ns())
