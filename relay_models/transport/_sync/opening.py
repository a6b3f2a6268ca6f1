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
from relay_models.errors import InvalidConfigurationError, PermissionDeniedError, StorageError
from relay_models.transport._sync.cluster import ClusterTransport
from relay_models.transport._sync.interface import Transport
from relay_models.transport._sync.sentinel import SentinelTransport
from relay_models.transport._sync.servers import ServerSettings
from relay_models.transport._sync.single_server import SingleServerTransport
from relay_models.transport._io_sync import (
    CONNECTIONS,
    BlockingConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SentinelConnectionPool,
    embedded_client,
    no_retry,
)
from relay_models.transport.error_mapping import mapped_errors
from relay_models.transport.options import ConnectionOptions
from relay_models.transport.urls import Target, parse_target, scrub, target_of_client

__all__ = ["as_cluster", "open_client", "open_embedded", "open_url"]

# What redis-py's cluster client passes on to its connections; the rest of its settings is the client's own.
_CONNECTION_OPTIONS = frozenset(
    [
        *("username", "password", "credential_provider", "client_name", "protocol", "encoding", "encoding_errors"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"),
    ]
)
# In RESP3 a coordinator of 8.0 drops what a shard answers over a connection that it had to make again, without an error
# and for good: it expects maps, and the shard speaks RESP2.
_CLUSTER_SETTINGS: Mapping[str, Any] = {"protocol": 2}


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
        protocol: the RESP version to speak, 2 or 3; to the nodes of a cluster it is always 2.
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
        if servers == "cluster":
            return _open_cluster(target, options, settings, tls=scheme == "rediss")
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
        reads_replicas=options.read_from == "replica",
    )


def _open_cluster(target: Target, options: ConnectionOptions, settings: dict[str, Any], *, tls: bool) -> Transport:
    def make_client() -> Any:
        host, port = target.servers[0]
        shared = _of_connections(settings)
        return RedisCluster(host=host, port=port, ssl=tls, address_remap=options.address_remap, **shared)

    return ClusterTransport(
        make_client,
        target,
        options.retries,
        settings=ServerSettings({**settings, **_CLUSTER_SETTINGS}, tls=tls, max_connections=options.max_connections),
        remap=options.address_remap,
        replicas=options.replicas,
        replica_timeout=options.replica_timeout,
        reads_replicas=options.read_from == "replica",
    )


def _open_cluster_client(client: Any, options: ConnectionOptions) -> Transport:
    """Make a transport with connections of its own, by the settings of redis-py's cluster client."""
    manager = client.nodes_manager
    given = {**manager.connection_kwargs}
    servers = tuple((str(node.host), int(node.port)) for node in manager.startup_nodes.values())
    tls = "SSL" in getattr(given.get("connection_class"), "__name__", "") or bool(given.get("ssl"))
    settings = _of_connections(given)
    secrets = tuple(str(given[name]) for name in ("password", "ssl_password") if given.get(name))
    label = f"{'rediss' if tls else 'redis'}+cluster://{','.join(f'{host}:{port}' for host, port in servers)}"
    target = Target(label, "client", settings, secrets, servers)
    return ClusterTransport(
        lambda: client,
        target,
        options.retries,
        settings=ServerSettings(
            {**settings, "retry": no_retry(), **_CLUSTER_SETTINGS}, tls=tls, max_connections=options.max_connections
        ),
        owns_client=False,
        remap=options.address_remap or manager.address_remap,
        replicas=options.replicas,
        replica_timeout=options.replica_timeout,
        reads_replicas=options.read_from == "replica",
    )


def as_cluster(transport: Transport, options: ConnectionOptions | None = None) -> Transport:
    """Return a transport to the whole cluster where the server at a plain URL is a node of one.

    Args:
        transport: what `open_url` or `open_client` gave; it is closed where another one is returned.
        options: those that it was opened with.

    Returns:
        The transport itself, or one to the cluster.

    Raises:
        StorageError: the server cannot be reached.
    """
    target = transport.target
    if not isinstance(transport, SingleServerTransport) or isinstance(transport, SentinelTransport):
        return transport
    if not _is_cluster_node(transport):
        if options is not None and options.read_from == "replica":
            raise InvalidConfigurationError(
                f"read_from='replica' needs to know the replicas: {target.label} is one server. Connect through its "
                "sentinels (redis+sentinel://host:26379/service) or to a cluster"
            )
        return transport
    server = (str(target.options["host"]), int(target.options.get("port", 6379)))
    tls = target.scheme == "rediss" or "SSL" in transport.client.connection_pool.connection_class.__name__
    settings = _of_connections(transport.settings)
    transport.close()
    scheme, _, rest = target.label.partition("://")
    cluster = Target(f"{scheme}+cluster://{rest}", f"{scheme}+cluster", settings, target.secrets, (server,))
    options = options or ConnectionOptions(retries=transport.retries)
    return _open_cluster(cluster, options, {**settings, "retry": no_retry()}, tls=tls)


def _is_cluster_node(transport: SingleServerTransport) -> bool:
    if "host" not in transport.target.options:  # embedded, or a unix socket
        return False
    try:
        reply = transport.execute("INFO", "cluster")
    except PermissionDeniedError:
        return False  # this user may not ask; what does not work says why
    except StorageError as error:
        if "unknown command" not in str(error):
            raise
        return False  # some hosts have renamed it
    return b"cluster_enabled:1" in (reply if isinstance(reply, bytes) else str(reply).encode())


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
        reads_replicas=options.read_from == "replica",
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
    if isinstance(client, RedisCluster):
        return _open_cluster_client(client, options or ConnectionOptions(retries=retries))
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


def _of_connections(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a client or a pool that are for the connections to any server."""
    return {name: value for name, value in options.items() if name in _CONNECTION_OPTIONS or name.startswith("ssl_")}


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
