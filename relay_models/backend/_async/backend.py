"""RedisBackend: open a store, then use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from relay_models._checks import check_path
from relay_models.backend._async.artifacts import Artifacts
from relay_models.backend._async.base import RunT
from relay_models.backend._async.models import Models
from relay_models.backend._async.queries import Queries
from relay_models.backend.options import StoreOptions
from relay_models.documents import Document, Run
from relay_models.documents.compression import Compression
from relay_models.records.prices import PriceTable
from relay_models.transport import (
    ConnectionOptions,
    Opening,
    Transport,
    as_cluster,
    as_opening,
    open_client,
    open_embedded,
    open_url,
    shielded,
)

__all__ = ["RedisBackend"]

ModelT = TypeVar("ModelT", bound=Run)


class RedisBackend(Queries[RunT], Artifacts[RunT], Models[RunT]):
    """A store of NeMo Relay's adaptive state in Redis, or in the embedded engine.

    Opened by `connect`, `embedded` or `from_client`; closed by `close` or by leaving ``async with``. Backends share
    nothing: any number of them, for any URLs and prefixes, live in one process.

    Example:
        ```python
        async with RedisBackend.connect("redis://localhost") as backend:
            await backend.store_run(run)

        backend = await RedisBackend.connect("redis://localhost")
        ```
    """

    @overload
    @classmethod
    def connect(
        cls,
        url: str,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[ModelT]],
        timeout: float | None = 30.0,
        connect_timeout: float | None = 5.0,
        retries: int = 5,
        max_connections: int = 50,
        index_timeout: float = 600.0,
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        read_from: Literal["primary", "replica"] = "primary",
        address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
        **redis_options: Any,
    ) -> Opening[RedisBackend[ModelT]]: ...

    @overload
    @classmethod
    def connect(
        cls,
        url: str,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[Document]] = (),
        timeout: float | None = 30.0,
        connect_timeout: float | None = 5.0,
        retries: int = 5,
        max_connections: int = 50,
        index_timeout: float = 600.0,
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        read_from: Literal["primary", "replica"] = "primary",
        address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
        **redis_options: Any,
    ) -> Opening[Self]: ...

    @classmethod
    def connect(
        cls,
        url: str,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[Document]] = (),
        timeout: float | None = 30.0,
        connect_timeout: float | None = 5.0,
        retries: int = 5,
        max_connections: int = 50,
        index_timeout: float = 600.0,
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        read_from: Literal["primary", "replica"] = "primary",
        address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
        **redis_options: Any,
    ) -> Opening[Any]:
        """Open the store with a key prefix on the server at a URL.

        When the store is open, every existing document is in its search indexes.

        Args:
            url: ``redis://``, ``rediss://`` (TLS), ``unix://``, ``redis+sentinel://host:26379,host:26379/service`` or
                ``redis+cluster://host:6379,host:6379`` (``rediss+…`` with TLS). A node of a cluster is recognized.
            key_prefix: the beginning of all keys of the store.
            create_index: whether search indexes that are missing or of an older release are created.
            index_text: whether the words of prompts and answers are indexed: True makes the store do so (stored runs
                are backfilled), None does what the store does already, False refuses a store that does. A backend
                that is open while another one makes the store index words notices after its next reconnect.
            run_ttl: how long a run is kept after it was last stored, None for ever.
            models: a subclass of `Run` whose columns the runs have, such as ``[AcmeRun]``; document classes of your
                own in it have their indexes made on opening. With both, type checkers want the class of runs named:
                ``RedisBackend[AcmeRun].connect(url, models=[AcmeRun, Feedback])``.
            timeout: maximum wait for a reply (seconds), attempts to get it included; None for no limit.
            connect_timeout: maximum wait for a connection (seconds), None for no limit.
            retries: maximum number of further attempts after a lost connection, with exponential backoff.
            max_connections: maximum size of the connection pool.
            index_timeout: maximum wait for existing documents to be indexed (seconds).
            cache_page_bounds: whether the bound of a query's last first page narrows the search for the next one. The
                pages are the same either way.
            migrate: whether an index that lacks columns of this program is replaced now; with False by
                ``backend.migrations`` only, and until then nothing can be asked.
            allow_missing: whether documents may be stored without columns that the store has and this program does
                not know.
            prices: estimates the cost of calls that tell none when a run is stored, for the column estimated_cost.
            compression: ``"zstd"`` makes the store compress the records of runs that are stored from now on (see
                ``backend.compression`` for those that are stored already); None does what the store does already.
            replicas: how many replicas must have what is stored before it is acknowledged; 0 waits for none.
            replica_timeout: maximum wait for the replicas (seconds).
            read_from: ``"replica"`` lets replicas answer questions, which may then lack what was stored just now;
                behind Sentinel and on a cluster only. What changes documents always reads from the primary.
            address_remap: for a cluster behind NAT: maps the (host, port) that a node announces to the one to use.
            redis_options: options of redis-py, such as ``ssl_ca_certs``, ``username`` or ``client_name``; for sentinels
                also ``sentinel_username`` and ``sentinel_password``.

        Returns:
            The backend: await it, or enter it with ``async with``.

        Raises:
            InvalidConfigurationError: a URL, a prefix or an option that cannot work, a database other than 0, or
                `index_text` is False and the store indexes words.
            ConnectionFailedError: the server cannot be reached.
            AuthenticationFailedError: the login was refused.
            PermissionDeniedError: the user lacks a command or a key.
            MissingModuleError: the server has no JSON or no search.
            IndexMissingError: there is no index and `create_index` is False.
            IndexOutdatedError: an index is of another release and may not be replaced.
            StoreTimeoutError: no reply within `timeout`, or documents not indexed within `index_timeout`.
            MissingExtraError: the records are compressed, and the package that does it is not installed.

        No error holds a password.
        """
        options = StoreOptions(
            key_prefix=key_prefix,
            create_index=create_index,
            index_text=index_text,
            run_ttl=run_ttl,
            models=models,
            index_timeout=index_timeout,
            cache_page_bounds=cache_page_bounds,
            migrate=migrate,
            allow_missing=allow_missing,
            prices=prices,
            compression=compression,
        )
        connection = ConnectionOptions(
            timeout=timeout,
            connect_timeout=connect_timeout,
            retries=retries,
            max_connections=max_connections,
            replicas=replicas,
            replica_timeout=replica_timeout,
            read_from=read_from,
            address_remap=address_remap,
        )
        opening = partial(open_url, url, connection, redis_options=redis_options)
        return as_opening(cls._open(options, opening, connection))

    @overload
    @classmethod
    def embedded(
        cls,
        path: str | os.PathLike[str] | None = None,
        key_prefix: str = "nemo_relay:",
        *,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[ModelT]],
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
    ) -> Opening[RedisBackend[ModelT]]: ...

    @overload
    @classmethod
    def embedded(
        cls,
        path: str | os.PathLike[str] | None = None,
        key_prefix: str = "nemo_relay:",
        *,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[Document]] = (),
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
    ) -> Opening[Self]: ...

    @classmethod
    def embedded(
        cls,
        path: str | os.PathLike[str] | None = None,
        key_prefix: str = "nemo_relay:",
        *,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[Document]] = (),
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
    ) -> Opening[Any]:
        """Open a store that needs no server.

        Args:
            path: the file that keeps it, None to keep it in memory.
            key_prefix: the beginning of all keys of the store.
            index_text: whether the words of prompts and answers are indexed; as in `connect`.
            run_ttl: how long a run is kept after it was last stored, None for ever.
            models: a subclass of `Run` whose columns the runs have, such as ``[AcmeRun]``; document classes of your
                own in it have their indexes made on opening. With both, type checkers want the class of runs named:
                ``RedisBackend[AcmeRun].connect(url, models=[AcmeRun, Feedback])``.
            cache_page_bounds: whether the bound of a query's last first page narrows the search for the next one. The
                pages are the same either way.
            migrate: whether an index that lacks columns of this program is replaced now; with False by
                ``backend.migrations`` only, and until then nothing can be asked.
            allow_missing: whether documents may be stored without columns that the store has and this program does
                not know.
            prices: estimates the cost of calls that tell none when a run is stored, for the column estimated_cost.
            compression: ``"zstd"`` makes the store compress the records of runs that are stored from now on (see
                ``backend.compression`` for those that are stored already); None does what the store does already.

        Returns:
            The backend: await it, or enter it with ``async with``.

        Raises:
            InvalidConfigurationError: the file is something else, or an option cannot work.
            StorageError: the file is open in another process, damaged, or cannot be written.
            MissingExtraError: as `connect` raises it.

        Example:
            ```python
            async with RedisBackend.embedded("runs.db") as backend:
                await backend.store_run(run)
            ```
        """
        options = StoreOptions(
            key_prefix=key_prefix,
            index_text=index_text,
            run_ttl=run_ttl,
            models=models,
            cache_page_bounds=cache_page_bounds,
            migrate=migrate,
            allow_missing=allow_missing,
            prices=prices,
            compression=compression,
        )
        if path is not None:
            check_path("path", path)
        return as_opening(cls._open(options, partial(open_embedded, path)))

    @overload
    @classmethod
    def from_client(
        cls,
        client: Any,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[ModelT]],
        retries: int = 5,
        index_timeout: float = 600.0,
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        read_from: Literal["primary", "replica"] = "primary",
    ) -> Opening[RedisBackend[ModelT]]: ...

    @overload
    @classmethod
    def from_client(
        cls,
        client: Any,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[Document]] = (),
        retries: int = 5,
        index_timeout: float = 600.0,
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        read_from: Literal["primary", "replica"] = "primary",
    ) -> Opening[Self]: ...

    @classmethod
    def from_client(
        cls,
        client: Any,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool | None = None,
        run_ttl: timedelta | None = None,
        models: Sequence[type[Document]] = (),
        retries: int = 5,
        index_timeout: float = 600.0,
        cache_page_bounds: bool = True,
        migrate: bool = True,
        allow_missing: bool = False,
        prices: PriceTable | None = None,
        compression: Compression | None = None,
        replicas: int = 0,
        replica_timeout: float = 5.0,
        read_from: Literal["primary", "replica"] = "primary",
    ) -> Opening[Any]:
        """Open a store through a redis-py client, which `close` leaves open.

        Between two operations it holds none of the client's connections, which costs a little time: `connect` keeps
        one.

        Args:
            client: a ``redis.asyncio.Redis``, also one that ``Sentinel.master_for`` gave, or a
                ``redis.asyncio.RedisCluster``. For the last two connections of the store's own are made, by the
                client's settings.
            key_prefix: the beginning of all keys of the store.
            create_index: whether search indexes that are missing or of an older release are created.
            index_text: whether the words of prompts and answers are indexed; as in `connect`.
            run_ttl: how long a run is kept after it was last stored, None for ever.
            models: a subclass of `Run` whose columns the runs have, such as ``[AcmeRun]``; document classes of your
                own in it have their indexes made on opening. With both, type checkers want the class of runs named:
                ``RedisBackend[AcmeRun].connect(url, models=[AcmeRun, Feedback])``.
            retries: maximum number of further attempts after a lost connection, with exponential backoff.
            index_timeout: maximum wait for existing documents to be indexed (seconds).
            cache_page_bounds: whether the bound of a query's last first page narrows the search for the next one. The
                pages are the same either way.
            migrate: whether an index that lacks columns of this program is replaced now; with False by
                ``backend.migrations`` only, and until then nothing can be asked.
            allow_missing: whether documents may be stored without columns that the store has and this program does
                not know.
            prices: estimates the cost of calls that tell none when a run is stored, for the column estimated_cost.
            compression: ``"zstd"`` makes the store compress the records of runs that are stored from now on (see
                ``backend.compression`` for those that are stored already); None does what the store does already.
            replicas: how many replicas must have what is stored before it is acknowledged; 0 waits for none.
            replica_timeout: maximum wait for the replicas (seconds).
            read_from: ``"replica"`` has questions answered by replicas; as in `connect`.

        Returns:
            The backend: await it, or enter it with ``async with``.

        Raises:
            InvalidConfigurationError: it is another kind of client, uses a database other than 0, or an option cannot
                work.
            StorageError: as `connect` raises it.
            MissingExtraError: as `connect` raises it.
        """
        options = StoreOptions(
            key_prefix=key_prefix,
            create_index=create_index,
            index_text=index_text,
            run_ttl=run_ttl,
            models=models,
            index_timeout=index_timeout,
            cache_page_bounds=cache_page_bounds,
            migrate=migrate,
            allow_missing=allow_missing,
            prices=prices,
            compression=compression,
        )
        connection = ConnectionOptions(
            retries=retries, replicas=replicas, replica_timeout=replica_timeout, read_from=read_from
        )
        return as_opening(cls._open(options, partial(open_client, client, connection), connection))

    @classmethod
    async def _open(
        cls,
        options: StoreOptions,
        open_transport: Callable[[], Transport],
        connection: ConnectionOptions | None = None,
    ) -> Self:
        """Open the transport, check that the server can keep a store, and complete the indexes."""
        transport = open_transport()
        try:
            transport = await as_cluster(transport, connection)
            backend = cls(transport, options)
            await transport.execute("JSON.GET", backend._keys.document("plan", ""), "$.pk")
            await backend._indexes.ready()
            await backend._store.open_clock()
        except BaseException:
            await shielded(transport.close)
            raise
        return backend

    async def close(self) -> None:
        """Close the connections. Closing twice does nothing."""
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = " closed" if self.transport.is_closed else ""
        return f"<{type(self).__name__} {self.transport.target.label} key_prefix={self.key_prefix!r}{state}>"
