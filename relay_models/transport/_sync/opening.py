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
from relay_models.transport._sync.sentinel import SentinelTransport
from relay_models.transport._sync.servers import ServerSettings
from relay_models.transport._sync.single_server import SingleServerTransport
from relay_models.transport._io_sync import (
    CONNECTIONS,
    BlockingConnectionPool,
    Redis,
    Sentinel,
    SentinelConnectionPool,
    embedded_client,
    no_retry,
)
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
        url: ``redis://``, ``rediss://`` (TLS), ``unix://``, ``redis+sentinel://host:26379,host:26379/service`` or
            ``redis+cluster://host:6379,host:6379`` (``rediss+…`` with TLS).
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
        "retry": no_retry(),
    }
    try:
        scheme, _, servers = target.scheme.partition("+")
        kind = CONNECTIONS[scheme]
        kind(**settings)  # finds an option that does not exist now, instead of at the first command
        if servers == "sentinel":
            return _open_sentinel(target, options, settings, tls=scheme == "rediss")
        pool = BlockingConnectionPool(options.max_connections, timeout=None, connection_class=kind, **settings)
        return SingleServerTransport(
            Redis.from_pool(pool),
            target,
            options.retries,
            timeout=settings["socket_timeout"],
            replicas=options.replicas,
            replica_timeout=options.replica_timeout,
        )
    except (TypeError, ValueError, RedisError) as error:
        refusal = InvalidConfigurationError(f"redis-py refuses an option: {scrub(str(error), target.secrets)}")
    raise refusal


def _open_sentinel(target: Target, options: ConnectionOptions, settings: dict[str, Any], *, tls: bool) -> Transport:
    sentinel_settings = {**target.sentinel_options, "retry": no_retry()}
    CONNECTIONS["rediss" if tls else "redis"](**sentinel_settings)
    client = Sentinel(target.servers, sentinel_kwargs={**sentinel_settings, "ssl": tls}, **settings, ssl=tls)
    return SentinelTransport(
        client.master_for(target.service),
        target,
        options.retries,
        settings=ServerSettings(settings, tls=tls, max_connections=options.max_connections),
        sentinels=ServerSettings(sentinel_settings, tls=tls),
        replicas=options.replicas,
        replica_timeout=options.replica_timeout,
    )


def _open_sentinel_client(client: Any, options: ConnectionOptions, any_database: bool) -> Transport:
    """Make a transport with connections of its own, by the settings of a client that redis-py's Sentinel made."""
    pool = client.connection_pool
    if not pool.is_master:
        raise InvalidConfigurationError(
            "this client reads from replicas (slave_for), a store needs one of the primary: Sentinel.master_for(…)"
        )
    plain = target_of_client(client, any_database=any_database)
    watchers = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    servers = tuple((str(each.get("host", "localhost")), int(each.get("port", 26379))) for each in watchers)
    tls = "SSL" in pool.connection_class.__name__
    shared = {name: value for name, value in watchers[0].items() if name not in ("host", "port", "path")}
    label = f"{'rediss' if tls else 'redis'}+sentinel://{','.join(f'{h}:{p}' for h, p in servers)}/{pool.service_name}"
    secrets = (*plain.secrets, *(str(each["password"]) for each in watchers if each.get("password")))
    settings = {name: value for name, value in plain.options.items() if name not in ("connection_pool", "host", "port")}
    target = Target(label, "client", settings, secrets, servers, str(pool.service_name), shared)
    sentinel_tls = "SSL" in pool.sentinel_manager.sentinels[0].connection_pool.connection_class.__name__
    return SentinelTransport(
        client,
        target,
        options.retries,
        settings=ServerSettings({**settings, "retry": no_retry()}, tls=tls, max_connections=pool.max_connections),
        sentinels=ServerSettings({**shared, "retry": no_retry()}, tls=sentinel_tls),
        owns_client=False,
        replicas=options.replicas,
        replica_timeout=options.replica_timeout,
    )


def open_client(
    client: Any, options: ConnectionOptions | None = None, *, retries: int = 5, any_database: bool = False
) -> Transport:
    """Make a transport over a redis-py client; closing the transport leaves the client open.

    Args:
        client: a client of redis-py, of the same kind (async or sync) as this transport.
        options: retries and replicas; timeouts and the size of the pool are the client's.
        retries: maximum number of further attempts after a lost connection, where there are no `options`.
        any_database: whether databases other than 0, which have no search, are allowed.

    Raises:
        InvalidConfigurationError: it is not such a client, or uses a database that is not allowed.
    """
    if not isinstance(client, Redis):
        raise InvalidConfigurationError(
            f"the client of a store is a {_type_name(Redis)} here, not {_type_name(type(client))}"
        )
    options = options or ConnectionOptions(retries=retries)
    if isinstance(client.connection_pool, SentinelConnectionPool):
        return _open_sentinel_client(client, options, any_database)
    target = target_of_client(client, any_database=any_database)
    return SingleServerTransport(
        client,
        target,
        options.retries,
        timeout=target.options.get("socket_timeout"),
        owns_client=False,
        replicas=options.replicas,
        replica_timeout=options.replica_timeout,
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
