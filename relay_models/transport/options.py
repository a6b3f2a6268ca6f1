"""ConnectionOptions: how connections are made, waited for and retried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relay_models.errors import InvalidConfigurationError

__all__ = ["ConnectionOptions"]


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """The options of a connection that are this library's; redis-py has further ones.

    Args:
        timeout: maximum wait for a reply (seconds), None for no limit.
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
            seconds = getattr(self, name)
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise InvalidConfigurationError(
                    f"{name} is a number of seconds greater than 0, or None for no limit, not {seconds!r}"
                )
        if not isinstance(self.retries, int) or self.retries < 0:
            raise InvalidConfigurationError(f"retries is an integer of 0 or more, not {self.retries!r}")
        if not isinstance(self.max_connections, int) or self.max_connections < 1:
            raise InvalidConfigurationError(f"max_connections is an integer of 1 or more, not {self.max_connections!r}")
        if not isinstance(self.replicas, int) or self.replicas < 0:
            raise InvalidConfigurationError(f"replicas is an integer of 0 or more, not {self.replicas!r}")
        if self.read_from not in ("primary", "replica"):
            raise InvalidConfigurationError(f"read_from is 'primary' or 'replica', not {self.read_from!r}")
        if not (_is_number(self.replica_timeout) and self.replica_timeout > 0):
            raise InvalidConfigurationError(
                f"replica_timeout is a number of seconds greater than 0, not {self.replica_timeout!r}"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
