# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/backend.py by scripts/generate_sync.py: change that, not this.
"""`RedisBackend`: connect to a store, then use it."""

from __future__ import annotations

import os
from datetime import timedelta
from types import TracebackType
from typing import Any

from redis.exceptions import RedisError

from relay_models.backend._sync.artifacts import Artifacts
from relay_models.backend._sync.index import Indexes
from relay_models.backend._sync.queries import Queries
from relay_models.documents import Keys
from relay_models.embedded import EmbeddedError, EmbeddedServer
from relay_models.errors import InvalidConfigurationError, RelayModelsError
from relay_models.transport._sync.link import Link
from relay_models.transport._io_sync import CONNECTIONS, BlockingConnectionPool, Redis, embedded_client, make_retry
from relay_models.transport.error_mapping import translate
from relay_models.transport.urls import Target, parse_target, scrub, target_of_client

__all__ = ["RedisBackend"]


class RedisBackend(Queries, Artifacts):
    """A store of NeMo Relay's adaptive state in Redis, or in the embedded engine.

    Made by `connect`, `embedded` or `from_client`; closed by `close` or by leaving ``with``. Backends share
    nothing: any number of them, for any URLs and prefixes, live in one process.
    """

    _server: EmbeddedServer | None = None
    _owns_client: bool = True

    @classmethod
    def connect(
        cls,
        url: str,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool = False,
        run_ttl: timedelta | None = None,
        timeout: float | None = 30.0,
        connect_timeout: float | None = 5.0,
        retries: int = 5,
        max_connections: int = 50,
        index_timeout: float = 600.0,
        **redis_options: Any,
    ) -> RedisBackend:
        """Open the store with this prefix on the server at `url`.

        `url` is ``redis://``, ``rediss://`` (TLS) or ``unix://``. The search indexes are made if they are missing
        (unless `create_index` is False), and existing documents are in them before this returns, which takes at most
        `index_timeout` seconds. `index_text` also indexes the words of prompts and answers; runs
        are let go `run_ttl` after they were last stored (never by default). `timeout` and
        `connect_timeout` are seconds, None for no limit; a lost connection is tried again `retries` times with growing
        pauses. `redis_options` go to redis-py (``ssl_ca_certs``, ``username``, ``client_name``, …).

        Raises `InvalidConfigurationError` (URL, prefix, a database other than 0), `ConnectionFailedError`,
        `AuthenticationFailedError`, `PermissionDeniedError`, `MissingModuleError`, `IndexMissingError`,
        `IndexOutdatedError` or `StoreTimeoutError`. None of them shows a password.
        """
        keys = Keys(key_prefix)
        target = parse_target(url, redis_options)
        options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": connect_timeout, "protocol": 3}
        options.update(target.options)
        # The link retries whole operations; a second layer below it would multiply the attempts.
        options["retry"] = make_retry(0)
        try:
            kind = CONNECTIONS[target.scheme]
            kind(**options)  # an option that does not exist is found out here, not at the first command
            pool = BlockingConnectionPool(max_connections, timeout=None, connection_class=kind, **options)
        except (TypeError, ValueError, RedisError) as error:
            text = scrub(str(error), target.secrets)
            raise InvalidConfigurationError(f"redis-py refuses an option: {text}") from None
        client = Redis.from_pool(pool)
        return cls._open(client, target, keys, create_index, index_text, run_ttl, timeout, retries, index_timeout)

    @classmethod
    def embedded(
        cls,
        path: str | os.PathLike[str] | None = None,
        key_prefix: str = "nemo_relay:",
        *,
        index_text: bool = False,
        run_ttl: timedelta | None = None,
    ) -> RedisBackend:
        """Open a store that needs no server: in the file at `path`, or in memory.

        Raises `InvalidConfigurationError` for a file that is something else, `StorageError` for one that is open in
        another process, damaged or cannot be written.
        """
        keys = Keys(key_prefix)
        target = Target(f"embedded:{'memory' if path is None else os.fspath(path)}", "embedded", {})
        try:
            server = EmbeddedServer(path)
        except EmbeddedError as error:
            raise translate(error, target) from error
        try:
            client = embedded_client(server)
            backend = cls._open(client, target, keys, True, index_text, run_ttl, None, 0, 600.0)
        except BaseException:
            server.close()
            raise
        backend._server = server
        return backend

    @classmethod
    def from_client(
        cls,
        client: Any,
        key_prefix: str = "nemo_relay:",
        *,
        create_index: bool = True,
        index_text: bool = False,
        run_ttl: timedelta | None = None,
        retries: int = 5,
        index_timeout: float = 600.0,
    ) -> RedisBackend:
        """Open a store through a redis-py client that exists; `close` leaves the client open.

        Between two operations it has none of the client's connections, which costs a little time: `connect` keeps one.
        """
        keys = Keys(key_prefix)
        if not isinstance(client, Redis):
            raise InvalidConfigurationError(
                f"from_client takes a {Redis.__module__}.{Redis.__qualname__}, not {type(client).__qualname__}"
            )
        target = target_of_client(client)
        timeout = target.options.get("socket_timeout")
        return cls._open(
            client, target, keys, create_index, index_text, run_ttl, timeout, retries, index_timeout, owns_client=False
        )

    @classmethod
    def _open(
        cls,
        client: Any,
        target: Target,
        keys: Keys,
        create_index: bool,
        index_text: bool,
        run_ttl: timedelta | None,
        timeout: float | None,
        retries: int,
        index_timeout: float,
        *,
        owns_client: bool = True,
    ) -> RedisBackend:
        link = Link(client, target, retries, owns_pool=owns_client)
        indexes = Indexes(link, keys, create=create_index, text=index_text, timeout=index_timeout)
        backend = cls(link, keys, indexes, timeout, run_ttl)
        backend._owns_client = owns_client
        try:
            backend._set_clock()
            link.execute("JSON.GET", keys.document("plan", ""), "$.pk")
            indexes.ready()
        except RelayModelsError:
            backend.close()
            raise
        return backend

    def close(self) -> None:
        """Close the connections; closing twice does nothing."""
        if not self._link.closed:
            self._link.closed = True
            if self._owns_client:
                self._link.close()
        if self._server is not None:
            self._server.close()

    def __enter__(self) -> RedisBackend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " closed" if self._link.closed else ""
        return f"<{type(self).__name__} {self._link.target.label} key_prefix={self.key_prefix!r}{state}>"
