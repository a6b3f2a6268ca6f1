"""`EmbeddedServer`: a Redis server with JSON and search inside this process, in memory or in one file."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool

from relay_models.embedded.persistence.storage import UNREADABLE, Storage, Sync
from relay_models.embedded.server.client_connections import AsyncEngineConnection, EngineConnection
from relay_models.embedded.server.state import EngineState

__all__ = ["EmbeddedServer"]


class EmbeddedServer:
    """A server that clients reach without a network.

    ``EmbeddedServer()`` keeps everything in memory; ``EmbeddedServer("state.db")`` keeps it in that file, which one
    server at a time may have open. `client` and `async_client` give as many redis-py clients as are wanted, for any
    threads and event loops. Two servers share nothing.

    `sync` says what an acknowledged change survives: ``"process"``, the death of this process at any moment, or
    ``"power"``, also that of the machine, at the cost of a disk write per batch of commands.

    Raises `FileInUseError`, `NotAnEngineFileError`, `NewerFileError`, `DamagedFileError` or `FileUnavailableError`.

    Usable as a context manager, sync or async; leaving it closes the server.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, sync: Sync = "process") -> None:
        if sync not in ("process", "power"):
            raise ValueError(f"sync is 'process' or 'power', not {sync!r}")
        self.path = None if path is None else os.fspath(path)
        storage = None if self.path is None else Storage(self.path, sync)
        try:
            self._state = EngineState(storage)
        except BaseException as error:
            if storage is None:
                raise
            storage.close(clean=False)
            if isinstance(error, UNREADABLE):
                raise storage.damaged(str(error)) from error
            raise

    def client(self, **options: Any) -> redis.Redis:  # type: ignore[type-arg]
        """A synchronous client. `options` are redis-py's: ``db``, ``decode_responses``, ``protocol``, …"""
        options.setdefault("protocol", 3)
        pool = redis.ConnectionPool(connection_class=EngineConnection, server=self._state, **options)
        client: Any = redis.Redis
        return client.from_pool(pool)  # type: ignore[no-any-return]

    def async_client(self, **options: Any) -> redis.asyncio.Redis:  # type: ignore[type-arg]
        """An asyncio client, for one event loop. `options` are redis-py's: ``db``, ``decode_responses``, …"""
        options.setdefault("protocol", 3)
        pool = AsyncConnectionPool(connection_class=AsyncEngineConnection, server=self._state, **options)
        client: Any = redis.asyncio.Redis
        return client.from_pool(pool)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Write what is left and let go of the file. Clients fail from here on. Closing twice does nothing."""
        self._state.close()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> EmbeddedServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EmbeddedServer({self.path!r})" if self.path else "EmbeddedServer()"
