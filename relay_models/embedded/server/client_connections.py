"""redis-py connections that reach an engine in the same process without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import redis
import redis.asyncio
from fakeredis import _msgs as msgs
from fakeredis._clients._async import FakeBaseAsyncConnection, FakeReader, FakeWriter
from fakeredis._clients._sync import FakeBaseConnection

from relay_models.embedded.errors import EmbeddedError, FileUnavailableError
from relay_models.embedded.server.engine_socket import AsyncEngineSocket, EngineSocket, stopped
from relay_models.embedded.server.protocol import Request

__all__ = ["AsyncEngineConnection", "EngineConnection"]


class DirectMixin:
    """The common part of the sync and the async connection: commands stay lists instead of packed bytes."""

    encoder: Any
    _server: Any
    _sock: Any

    def _construct_command_packer(self, packer: Any) -> Any:
        return self

    def pack(self, *args: Any) -> list[Request]:
        name = args[0]
        words = name.encode().split() if isinstance(name, str) else name.split()
        return [Request([*words, *[arg if type(arg) is bytes else self._field(arg) for arg in args[1:]]])]

    def _field(self, arg: Any) -> bytes:
        """An argument as bytes; redis-py's encoder refuses other types."""
        encoder = self.encoder
        if type(arg) is str:
            return arg.encode(encoder.encoding, encoder.encoding_errors)
        field = encoder.encode(arg)
        return field if type(field) is bytes else bytes(field)

    pack_command = pack

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[Request]:
        return [request for command in commands for request in self.pack(*command)]

    def _decode(self, response: Any) -> Any:
        """Bytes as text, where the client decodes responses."""
        return super()._decode(response) if self.encoder.decode_responses else response  # type: ignore[misc]

    def _commit(self, socket: Any) -> None:
        """Make durable what the replies acknowledge, before they are delivered."""
        # A reply that was given while another client's script has the lock, to SCRIPT KILL say, acknowledges nothing.
        if socket is not None and not socket.unsent:
            return
        try:
            self._server.commit()
            if socket is not None and socket.undone:
                raise FileUnavailableError("the change could not be written, and nothing of it was kept")
        except EmbeddedError as error:
            raise redis.ConnectionError(str(error)) from error
        if socket is not None and (socket.responses is None or socket.responses.empty()):
            socket.unsent = False

    def _explained(self, error: redis.ConnectionError) -> redis.ConnectionError:
        """The error with the reason why the engine does not answer, of which fakeredis knows nothing."""
        if str(error) != msgs.CONNECTION_ERROR_MSG:
            return error
        if self._server.failure is not None:
            return stopped(self._server)
        return redis.ConnectionError("the connection to the embedded server was closed")

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._server!r})"


class EngineConnection(DirectMixin, FakeBaseConnection, redis.Connection):  # type: ignore[misc]
    """A synchronous connection. Replies are read only after what they acknowledge has been written."""

    def _connect(self) -> EngineSocket:
        if not self._server.connected:
            raise stopped(self._server)
        return EngineSocket(self._server, client_class=redis.Redis, db=self.db, client_info=self._client_info)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        socket = self._sock
        try:
            reply = super().read_response(*args, **kwargs)
        except redis.ConnectionError as error:
            raise self._explained(error) from None
        self._commit(socket)
        return reply


class AsyncEngineConnection(DirectMixin, FakeBaseAsyncConnection, redis.asyncio.Connection):  # type: ignore[misc]
    """An asyncio connection. Replies are read only after what they acknowledge has been written."""

    async def _connect(self) -> None:
        if not self._server.connected:
            raise stopped(self._server)
        self._sock = AsyncEngineSocket(
            self._server, self.db, client_class=redis.asyncio.Redis, client_info=self._client_info
        )
        self._reader = FakeReader(self._sock)
        self._writer = FakeWriter(self._sock)

    async def connect(self) -> None:
        # On Python 3.11 redis-py's connect swallows a cancellation that comes while it waits (wait_for).
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        await super().connect()
        if task is not None and task.cancelling() > before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError

    def _leave(self) -> None:
        """Tell the engine that this client is gone; fakeredis only forgets the socket."""
        socket = getattr(self, "_sock", None)
        if socket is not None:
            socket.close()

    async def disconnect(self, nowait: bool = False, **kwargs: Any) -> None:
        self._leave()
        await super().disconnect(nowait, **kwargs)

    def __del__(self) -> None:
        self._leave()
        super().__del__()

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        socket = self._sock
        try:
            reply = await super().read_response(*args, **kwargs)
        except redis.ConnectionError as error:
            raise self._explained(error) from None
        self._commit(socket)
        return reply
