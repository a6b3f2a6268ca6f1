"""ServerSettings: how to connect to any one of several servers that share a login, TLS and timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_models.transport._io_async import CONNECTIONS, BlockingConnectionPool

__all__ = ["ServerSettings"]


class ServerSettings:
    """What the connections to several servers have in common.

    Args:
        options: redis-py's options of a connection, without an address.
        tls: whether connections use TLS.
        max_connections: maximum size of each server's pool.
    """

    def __init__(self, options: Mapping[str, Any], *, tls: bool, max_connections: int = 50) -> None:
        self._kind = CONNECTIONS["rediss" if tls else "redis"]
        self._options = dict(options)
        self._shared = dict(options)
        if self.connect_timeout is not None:
            self._shared.setdefault("redis_connect_func", self._log_in)
        self._max_connections = max_connections

    @property
    def timeout(self) -> float | None:
        """The maximum wait for a reply (seconds)."""
        timeout: float | None = self._options.get("socket_timeout")
        return timeout

    @property
    def connect_timeout(self) -> float | None:
        """The maximum wait for a connection (seconds)."""
        timeout: float | None = self._options.get("socket_connect_timeout")
        return timeout

    def connection(self, host: str, port: int, **options: Any) -> Any:
        """Return a connection outside any pool; it is not connected yet."""
        return self._kind(**{**self._shared, "host": host, "port": port, **options})

    def pool(self, host: str, port: int) -> Any:
        """Return a pool of connections to a server; none is connected yet."""
        return BlockingConnectionPool(
            self._max_connections, timeout=None, connection_class=self._kind, host=host, port=port, **self._shared
        )

    async def _log_in(self, connection: Any) -> None:
        """Begin a connection within the time limit for connections: a server that hangs still accepts them."""
        usual, connection.socket_timeout = connection.socket_timeout, connection.socket_connect_timeout
        connection.update_current_socket_timeout(-1)
        await connection.on_connect()
        connection.socket_timeout = usual
        connection.update_current_socket_timeout(-1)
