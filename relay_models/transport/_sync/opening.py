# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/opening.py by scripts/generate_sync.py: change that, not this.
"""open_url, open_client and open_embedded: a transport for each way to reach a store. None of them connects yet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from relay_models.embedded import EmbeddedServer
from relay_models.errors import InvalidConfigurationError
from relay_models.transport._sync.interface import Transport
from relay_models.transport._sync.single_server import SingleServerTransport
from relay_models.transport._io_sync import CONNECTIONS, BlockingConnectionPool, Redis, embedded_client, make_retry
from relay_models.transport.error_mapping import mapped_errors
from relay_models.transport.options import ConnectionOptions
from relay_models.transport.urls import Target, parse_target, scrub, target_of_client

__all__ = ["open_client", "open_embedded", "open_url"]


def open_url(
    url: str,
    options: ConnectionOptions | None = None,
    *,
    any_database: bool = False,
    protocol: int = 3,
    redis_options: Mapping[str, Any] | None = None,
) -> Transport:
    """Make a transport for the server at a URL; it connects at its first command.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        options: limits, retries and the size of the pool.
        any_database: whether databases other than 0, which have no search, are allowed.
        protocol: the RESP version to speak, 2 or 3.
        redis_options: further options of redis-py, which win over all others.

    Raises:
        InvalidConfigurationError: the URL or an option cannot work. The error holds no password.
    """
    options = options or ConnectionOptions()
    target = parse_target(url, redis_options, any_database=any_database)
    settings: dict[str, Any] = {
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.connect_timeout,
        "protocol": protocol,
        **target.options,
        # The transport retries whole operations; a second layer below it would multiply the attempts.
        "retry": make_retry(0),
    }
    try:
        kind = CONNECTIONS[target.scheme]
        kind(**settings)  # finds an option that does not exist now, instead of at the first command
        pool = BlockingConnectionPool(options.max_connections, timeout=None, connection_class=kind, **settings)
    except (TypeError, ValueError, RedisError) as error:
        refusal = InvalidConfigurationError(f"redis-py refuses an option: {scrub(str(error), target.secrets)}")
    else:
        return SingleServerTransport(Redis.from_pool(pool), target, options.retries, timeout=settings["socket_timeout"])
    raise refusal


def open_client(client: Any, *, retries: int = 5, any_database: bool = False) -> Transport:
    """Make a transport over a redis-py client; closing the transport leaves the client open.

    Args:
        client: a client of redis-py, of the same kind (async or sync) as this transport.
        retries: maximum number of further attempts after a lost connection.
        any_database: whether databases other than 0, which have no search, are allowed.

    Raises:
        InvalidConfigurationError: it is not such a client, or uses a database that is not allowed.
    """
    if not isinstance(client, Redis):
        raise InvalidConfigurationError(
            f"the client of a store is a {_type_name(Redis)} here, not {_type_name(type(client))}"
        )
    ConnectionOptions(retries=retries)
    target = target_of_client(client, any_database=any_database)
    return SingleServerTransport(
        client, target, retries, timeout=target.options.get("socket_timeout"), owns_client=False
    )


def open_embedded(path: str | os.PathLike[str] | None = None) -> Transport:
    """Make a transport to an embedded engine of its own, which is closed with the transport.

    Args:
        path: the file that keeps the data, None to keep it in memory.

    Raises:
        InvalidConfigurationError: the file is something else.
        StorageError: the file is open in another process, damaged, or cannot be written.
    """
    target = Target.embedded(path)
    with mapped_errors(target):
        server = EmbeddedServer(path)
    try:
        client = embedded_client(server)
        return SingleServerTransport(client, target, 0, on_close=server.close)
    except BaseException:
        server.close()
        raise


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
