"""ClusterPipeline: batches of commands to the nodes of a cluster, sent ahead of their replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from relay_models.errors import ConnectionFailedError, RelayModelsError
from relay_models.transport._async.cluster_node import ClusterNode
from relay_models.transport._async.interface import Command
from relay_models.transport._async.single_server import PipelinedConnection
from relay_models.transport.command_table import one_key_of
from relay_models.transport.time_limit import time_limit
from relay_models.transport.topology import Topology

if TYPE_CHECKING:
    from relay_models.transport._async.cluster import ClusterTransport

__all__ = ["ClusterPipeline"]


class _Batch:
    """A batch under way: which commands went to which node, and the replies that have been read.

    A command whose reply is missing is sent again; `replies` holds `_MISSING` for it.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.parts: list[tuple[ClusterNode, list[int]]] = []
        self.replies: list[Any] = [_MISSING] * len(commands)

    @property
    def missing(self) -> list[int]:
        return [index for index, reply in enumerate(self.replies) if reply is _MISSING]


_MISSING = object()


class ClusterPipeline:
    """A pipeline over one connection to each node of a cluster; see `Pipeline`.

    Where a node is lost or sends commands elsewhere, the replies to all batches under way are read, and what was not
    carried out is sent again in order, so that a later write to a key never comes before an earlier one.
    """

    def __init__(self, transport: ClusterTransport) -> None:
        self._transport = transport
        self._pipelines: dict[ClusterNode, PipelinedConnection] = {}
        self._outstanding: deque[_Batch] = deque()
        # Where commands go as long as batches are under way: two of them for one key must go to the same node.
        self._topology: Topology | None = None

    async def __aenter__(self) -> ClusterPipeline:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in list(self._pipelines):
            await self._close(node)

    async def send(self, commands: Sequence[Command]) -> None:
        """Send a batch; see `Pipeline.send`."""
        if not self._outstanding or self._topology is None:
            self._topology = (await self._transport.state()).topology
        batch = _Batch(commands)
        self._outstanding.append(batch)
        groups: dict[ClusterNode, list[int]] = {}
        try:
            for index, command in enumerate(commands):
                key = one_key_of(command)
                if key is not None:
                    groups.setdefault(self._transport.owner_of_key(key, self._topology), []).append(index)
            for node, indexes in groups.items():
                pipeline = self._pipelines.get(node)
                if pipeline is None:
                    pipeline = self._pipelines[node] = node.conversation()
                batch.parts.append((node, indexes))
                try:
                    await pipeline.send([commands[index] for index in indexes])
                except BaseException:
                    await self._close(node)
                    raise
        except (ConnectionFailedError, RedisError, OSError):
            await self._recover()

    async def receive(self) -> list[Any]:
        """Return the replies to the oldest batch; see `Pipeline.receive`."""
        batch = self._outstanding[0]
        with time_limit(self._transport.timeout):
            if not await self._read(batch):
                await self._recover()
            missing = batch.missing
            if missing:  # commands without a key, and what could not be sent
                replies = await self._transport.pipeline([batch.commands[index] for index in missing])
                for index, reply in zip(missing, replies, strict=True):
                    batch.replies[index] = reply
        self._outstanding.popleft()
        return batch.replies

    async def _read(self, batch: _Batch) -> bool:
        """Read the replies of all nodes to a batch; whether every one of them was carried out."""
        is_done = True
        while batch.parts:
            node, indexes = batch.parts[0]
            pipeline = self._pipelines.get(node)
            try:
                replies = [] if pipeline is None else await pipeline.receive()
            except ConnectionFailedError:
                # What this node was sent later is lost, too.
                await self._close(node)
                replies = []
            is_done = is_done and len(replies) == len(indexes)
            for index, reply in zip(indexes, replies, strict=False):
                if self._transport.is_redirection(reply):
                    is_done = False
                else:
                    batch.replies[index] = reply
            batch.parts.pop(0)
        return is_done

    async def _recover(self) -> None:
        """Read what is under way, then send again, in order, what was not carried out."""
        for batch in self._outstanding:
            await self._read(batch)
        self._topology = None
        for batch in self._outstanding:
            again = [index for index in batch.missing if self._transport.is_keyed(batch.commands[index])]
            if again:
                replies = await self._transport.pipeline([batch.commands[index] for index in again])
                for index, reply in zip(again, replies, strict=True):
                    batch.replies[index] = reply

    async def _close(self, node: ClusterNode) -> None:
        with suppress(RelayModelsError, RedisError, OSError):
            await self._pipelines.pop(node).__aexit__(None, None, None)
