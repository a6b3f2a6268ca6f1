"""`EmbeddedServer`: a Redis server with JSON and search inside this process, in memory or in one file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from types import TracebackType
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from relay_models.embedded.errors import EmbeddedError, FileUnavailableError, InvalidArgumentError
from relay_models.embedded.persistence.file_checks import is_unavailable
from relay_models.embedded.persistence.storage import UNREADABLE, Storage, Sync
from relay_models.embedded.server.client_connections import AsyncEngineConnection, EngineConnection
from relay_models.embedded.server.clock import EngineClock
from relay_models.embedded.server.state import EngineState

__all__ = ["EmbeddedServer"]


class EmbeddedServer:
    """A Redis server with JSON and search inside this process, reached without a network.

    Any number of redis-py clients, sync and async, on any threads and event loops share a server. Two servers share
    nothing. A server is a context manager, sync and async; leaving it closes the server.

    Args:
        path: The file that keeps the data, which one server at a time may have open; None to keep it in memory.
        sync: What an acknowledged change survives: ``"process"``, the death of this process at any moment;
            ``"power"``, a power failure too, at the cost of a disk sync per batch of commands.
        clock: Gives the time in seconds since 1970, for tests; None for the machine's clock. Keys expire by it. What
            TIME answers follows it forward and never goes back, also not from what it was when the file was last open.

    Raises:
        FileInUseError: Another server has the file open.
        NotAnEngineFileError: The file was written by something else.
        NewerFileError: The file was written by a later release.
        DamagedFileError: The file is damaged.
        FileUnavailableError: The file cannot be created, read or written.
        InvalidArgumentError: `sync` is neither ``"process"`` nor ``"power"``, or another argument is of no such type.

    Example:
        ```python
        with EmbeddedServer() as server:
            client = server.client(decode_responses=True)
            client.set("answer", "42")
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        sync: Sync = "process",
        clock: Callable[[], float] | None = None,
    ) -> None:
        if sync not in ("process", "power"):
            raise InvalidArgumentError("sync is 'process' or 'power'")
        if path is not None and not isinstance(path, str | bytes | os.PathLike):
            raise InvalidArgumentError(f"path is the path of a file, or None, not {type(path).__name__}")
        if clock is not None and not callable(clock):
            raise InvalidArgumentError(f"clock is a function, or None, not {type(clock).__name__}")
        self.path = None if path is None else os.fsdecode(path)
        storage = None if self.path is None else Storage(self.path, sync)
        try:
            self._state = EngineState(storage, EngineClock(clock))
        except BaseException as error:
            if storage is None:
                raise
            storage.close(clean=False)
            unavailable = isinstance(error, sqlite3.OperationalError) and is_unavailable(error)
            if unavailable or (isinstance(error, OSError) and not isinstance(error, EmbeddedError)):
                raise FileUnavailableError(f"cannot open {storage.name}: {storage.reason(error)}") from error
            if isinstance(error, UNREADABLE):
                raise storage.damaged(str(error)) from error
            raise

    def client(self, **options: Any) -> redis.Redis:  # type: ignore[type-arg]
        """Create a synchronous client.

        Args:
            **options: redis-py's options: ``db``, ``decode_responses``, ``protocol`` (3 unless given),
                ``single_connection_client``, …

        Returns:
            A `redis.Redis` that any threads may share.
        """
        options.setdefault("protocol", 3)
        single = bool(options.pop("single_connection_client", False))
        # Another attempt helps after CLIENT KILL, and at once; a pause before it never does without a network.
        options.setdefault("retry", Retry(NoBackoff(), 1))
        pool = redis.ConnectionPool(connection_class=EngineConnection, server=self._state, **options)
        client: Any = redis.Redis(connection_pool=pool, single_connection_client=single)
        client.auto_close_connection_pool = True
        return client  # type: ignore[no-any-return]

    def async_client(self, **options: Any) -> redis.asyncio.Redis:  # type: ignore[type-arg]
        """Create an asyncio client, for one event loop.

        Args:
            **options: redis-py's options: ``db``, ``decode_responses``, ``protocol`` (3 unless given),
                ``single_connection_client``, …

        Returns:
            A `redis.asyncio.Redis`. It connects when it is first used.
        """
        options.setdefault("protocol", 3)
        single = bool(options.pop("single_connection_client", False))
        options.setdefault("retry", AsyncRetry(NoBackoff(), 1))
        pool = AsyncConnectionPool(connection_class=AsyncEngineConnection, server=self._state, **options)
        client: Any = redis.asyncio.Redis(connection_pool=pool, single_connection_client=single)
        client.auto_close_connection_pool = True
        return client  # type: ignore[no-any-return]

    def close(self) -> None:
        """Write what is left and release the file. Clients fail from then on; closing twice does nothing.

        In a forked child this does nothing: the file is the parent's.

        Raises:
            FileUnavailableError: The file could not be written. It is released all the same, and everything that was
                acknowledged is in it and the files beside it.
            DamagedFileError: The file is damaged, which was not seen when it was opened. It is not sealed as sound.
        """
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
