"""BackendBase: what the parts of a backend share: transport, keys, indexes and clock."""

from __future__ import annotations

import time
from typing import Any

from relay_models.backend._async.index import Indexes
from relay_models.backend._async.strays import Strays
from relay_models.backend.clock import StoreClock
from relay_models.backend.options import StoreOptions
from relay_models.backend.replies import first_timestamp
from relay_models.documents import Keys
from relay_models.errors import PermissionDeniedError
from relay_models.query.paging.page_bounds import Landmarks
from relay_models.query.steps import Answer
from relay_models.transport import Command, Transport

__all__ = ["BackendBase"]


class BackendBase:
    """One store: a server and a key prefix."""

    def __init__(self, transport: Transport, options: StoreOptions) -> None:
        self._link = transport
        self._keys = Keys(options.key_prefix)
        self._indexes = Indexes(
            transport,
            self._keys,
            create=options.create_index,
            text=options.index_text,
            timeout=options.index_timeout,
        )
        self._run_ttl_ms = options.run_ttl_ms
        self._clock = StoreClock()
        self._landmarks = Landmarks()
        self._strays = Strays(transport, self._keys, self._indexes)
        # The server's own limit (500 ms unless configured) would cut answers short without an error.
        # Ours ends before the client stops waiting; 0 is no limit.
        self._query_ms = max(1, int(transport.timeout * 900)) if transport.timeout else 0

    @property
    def key_prefix(self) -> str:
        """The prefix that sets this store's keys apart."""
        return self._keys.prefix

    @property
    def transport(self) -> Transport:
        """The connections to the server, with this library's retries and errors."""
        return self._link

    @property
    def client(self) -> Any:
        """The redis-py client, for commands of your own."""
        return self._link.client

    @property
    def index_text(self) -> bool:
        """Whether words of prompts and answers are indexed when this backend stores a run."""
        return self._indexes.text

    async def _ask(self, command: Command, *, once: bool = False) -> Answer:
        """The answer to a search command and how long it took; `once` for one that must not be sent twice."""
        began = time.monotonic()
        reply = await (self._link.execute_once if once else self._indexes.ask)(*command)
        return Answer(reply, (time.monotonic() - began) * 1000)

    async def _set_clock(self) -> None:
        """Read the server's clock once; a user who may not is served by the local one."""
        sent = time.monotonic_ns()
        try:
            reply = await self._link.execute("TIME")
        except PermissionDeniedError:
            return
        self._clock.set(first_timestamp(reply), sent, time.monotonic_ns())
