"""Transport and Pipeline: what the rooms above need from a connection, whatever kind of server is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

from relay_models.transport.urls import Target

__all__ = ["Command", "Pipeline", "Transport"]

Command = Sequence[bytes | str | int]


class Transport(Protocol):
    """Sends commands to a store's server or servers.

    Commands may be sent a second time after a lost connection unless a method says otherwise. Replies are what the
    server sent, with text as bytes. Every failure is raised as a `RelayModelsError`; no message holds a password.
    """

    @property
    def target(self) -> Target:
        """Where the commands go, with a label for messages."""

    @property
    def client(self) -> Any:
        """The redis-py client below, for commands that are not this library's."""

    @property
    def timeout(self) -> float | None:
        """The maximum wait for a reply (seconds), None for no limit."""

    @property
    def retries(self) -> int:
        """The maximum number of further attempts after a lost connection."""

    @property
    def reconnects(self) -> int:
        """How many times a connection has been made again; servers may have changed whenever this number has."""

    @property
    def ordered_rows(self) -> int | None:
        """The maximum number of rows that an ordered search may ask for to lose none; None for any number."""

    @property
    def is_cluster(self) -> bool:
        """Whether keys are on several servers, so that a transaction is for one key only."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""

    async def execute(self, *command: bytes | str | int) -> Any:
        """Send one command and return its reply.

        Raises:
            StorageError: the server refused the command or cannot be reached.
        """

    async def read(self, *command: bytes | str | int) -> Any:
        """Send one command that changes nothing; a replica answers, where this transport reads from replicas.

        Raises:
            StorageError: the server refused the command or cannot be reached.
        """

    async def read_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands that change nothing, as `read` does.

        Args:
            commands: at least one command.

        Returns:
            One reply per command, in order; an error reply is returned, not raised.

        Raises:
            ConnectionFailedError: the connection was lost and not regained.
        """

    async def execute_once(self, *command: bytes | str | int) -> Any:
        """Send one command that must not be sent twice, such as FT.CURSOR READ.

        Raises:
            ConnectionFailedError: the connection was lost; whether the command was carried out is unknown.
            StorageError: the server refused the command.
        """

    async def pipeline(self, commands: Sequence[Command], *, retry: bool = True) -> list[Any]:
        """Send several commands at once.

        Args:
            commands: at least one command; one that is a `Transaction` is carried out as a whole, and its reply is the
                list of the replies to its commands.
            retry: whether all of them may be sent again after a lost connection.

        Returns:
            One reply per command, in order; an error reply is returned, not raised.

        Raises:
            ConnectionFailedError: the connection was lost and not regained.
        """

    async def begin(self, command: Command) -> Any:
        """Send a command that must not be sent twice, without waiting for its reply.

        Returns:
            A handle, to be passed to exactly one of `finish` and `discard`.
        """

    async def finish(self, pending: Any, command: Command) -> Any:
        """Return the reply to the `command` that `begin` sent."""

    async def discard(self, pending: Any) -> None:
        """Give up the reply to what `begin` sent."""

    def conversation(self) -> Pipeline:
        """Return a pipeline: batches sent ahead of their replies, over connections of its own."""

    async def close(self) -> None:
        """Close what this transport opened. Closing twice does nothing."""


class Pipeline(Protocol):
    """Batches of commands sent ahead of their replies, so that the client works while the server does.

    To be entered with ``async with``. What was sent and not yet answered is sent again after a lost connection.
    """

    async def __aenter__(self) -> Pipeline:
        """Begin; no connection is taken before the first batch."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the connection back."""

    async def send(self, commands: Sequence[Command]) -> None:
        """Send a batch of at least one command; a later `receive` reads its replies."""

    async def receive(self) -> list[Any]:
        """Return the replies to the oldest batch not yet received; an error reply is returned, not raised."""
