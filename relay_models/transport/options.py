"""ConnectionOptions: how connections are made, waited for and retried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relay_models._checks import check_count, check_seconds, shown
from relay_models.errors import InvalidConfigurationError

__all__ = ["ConnectionOptions"]

# As many as one address has ports; a pool makes room for all of them when it is made.
_MOST_CONNECTIONS = 65_535


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """The options of a connection that are this library's; redis-py has further ones.

    Args:
        timeout: maximum wait for a reply (seconds), attempts to get it included; None for no limit.
        connect_timeout: maximum wait for a connection (seconds), None for no limit.
        retries: maximum number of further attempts after a lost connection.
        max_connections: maximum size of the connection pool (of each server, where there are several).
        replicas: how many replicas must have a write before it is acknowledged; 0 does not wait for them.
        replica_timeout: maximum wait for the replicas (seconds).
        read_from: ``"primary"``, or ``"replica"`` to have questions answered by replicas.
        address_remap: for clusters behind NAT: maps the (host, port) that a node announces to the one to connect to.

    Raises:
        InvalidConfigurationError: an option is out of its range.
    """

    timeout: float | None = 30.0
    connect_timeout: float | None = 5.0
    retries: int = 5
    max_connections: int = 50
    replicas: int = 0
    replica_timeout: float = 5.0
    read_from: Literal["primary", "replica"] = "primary"
    address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "connect_timeout"):
            if (seconds := getattr(self, name)) is not None:
                check_seconds(name, seconds, positive=True, none="no limit")
        check_count("retries", self.retries, 0)
        check_count("max_connections", self.max_connections, 1, _MOST_CONNECTIONS)
        check_count("replicas", self.replicas, 0)
        if self.read_from not in ("primary", "replica"):
            raise InvalidConfigurationError(f"read_from is 'primary' or 'replica', not {shown(self.read_from)}")
        check_seconds("replica_timeout", self.replica_timeout, positive=True)
