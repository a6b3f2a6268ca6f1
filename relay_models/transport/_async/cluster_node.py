"""ClusterNode: commands to one node of a Redis Cluster, whose late replies are awaited while it is the one to ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError, TimeoutError as RedisTimeoutError

from relay_models.transport._async.cluster_watch import ClusterWatch
from relay_models.transport._async.interface import Command
from relay_models.transport._async.patience import Patience
from relay_models.transport._async.servers import ServerSettings
from relay_models.transport._async.single_server import SingleServerTransport
from relay_models.transport._io_async import Redis
from relay_models.transport.command_table import key_of
from relay_models.transport.error_mapping import said_by
from relay_models.transport.urls import Address, Target

__all__ = ["ClusterNode"]


class ClusterNode(SingleServerTransport):
    """A node of a cluster.

    A node that hangs keeps its connections open: while its reply is late, the other primaries are asked whether it
    still owns its slots.

    Args:
        address: where it listens.
        watch: knows the primaries.
        target: the node, with a label for messages.
        settings: how to connect.
        replicas: how many replicas must have every write before it is acknowledged.
        replica_timeout: maximum wait for them (seconds).
    """

    def __init__(
        self,
        address: Address,
        watch: ClusterWatch,
        target: Target,
        *,
        settings: ServerSettings,
        replicas: int = 0,
        replica_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            Redis.from_pool(settings.pool(*address)),
            target,
            0,
            timeout=settings.timeout,
            replicas=replicas,
            replica_timeout=replica_timeout,
        )
        self.address = address
        self._watch = watch
        self._patience = Patience(self._look, settings.timeout)

    async def receive(
        self, connection: Any, commands: Sequence[Command], *, is_last: bool = True, patience: Patience | None = None
    ) -> list[Any]:
        """Read replies; those that a former primary owes are a lost connection."""
        replies = await super().receive(connection, commands, is_last=is_last, patience=patience or self._patience)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception) and key_of(command) is not None:  # a search's may be any shard's
                said_by(self.target, reply)
        return replies

    async def _take(self) -> Any:
        try:
            return await super()._take()
        except RedisTimeoutError as error:  # nothing was sent yet
            raise RedisConnectionError(f"it does not answer: {error}") from None

    async def _look(self) -> None:
        if self.address not in self._watch.addresses(await self._watch.check()):
            raise RedisConnectionError("it is no primary any more")
