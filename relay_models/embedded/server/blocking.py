"""`BlockedCommand` and `BlockedCommands`: commands that wait for data, served in the order in which they came.

fakeredis wakes every waiting client and lets them race. Here the client that changes the data serves those that wait,
before its own command returns, as Redis does.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._helpers import NoResponse, SimpleError
from fakeredis._socket._resp import convert_to_resp2

__all__ = ["BlockedCommand", "BlockedCommands", "WaitingInLoop", "WaitingInThread"]

# How soon a timeout is tried again while a script has the server's lock, in seconds.
RETRY_SECONDS: Final = 0.001

Attempt = Callable[[bool], Any]
Shape = Callable[[Any], Any]


class BlockedCommand:
    """One command that waits. Its methods are called with the server's lock held.

    Args:
        socket: The client's socket.
        attempt: Tries the command again; gives None as long as there is nothing.
        shape: Makes the reply of a result, or of None once the time is over.
        deliver: Receives the reply, an error perhaps, from any thread.
    """

    def __init__(self, socket: Any, attempt: Attempt, shape: Shape | None, deliver: Callable[[Any], None]) -> None:
        self.socket = socket
        self._attempt, self._shape, self._deliver = attempt, shape, deliver

    def serve(self) -> None:
        """Try again, and deliver the result if there is one."""
        try:
            if self.socket._unblock_reason is not None:
                self.socket._take_unblock_reason()
                result = None
            else:
                result = self._attempt(False)
                if result is None:
                    return
        except SimpleError as error:
            self.finish(error)
        else:
            self.finish(self.shaped(result))

    def shaped(self, result: Any) -> Any:
        return result if self._shape is None else self._shape(result)

    def finish(self, reply: Any) -> None:
        """Deliver a reply unless the client has left."""
        if self.socket._server.blocked.remove(self):
            self.socket._blocked, self.socket._unblock_reason = False, None
            # What the reply tells of is written with the change that made it possible.
            self.socket.unsent, self.socket.ran_at = True, self.socket._server.commits
            self._deliver(reply)


class BlockedCommands:
    """The commands of one server that wait, in the order in which they came."""

    def __init__(self) -> None:
        self._commands: dict[BlockedCommand, None] = {}
        self._databases: set[Any] = set()
        self._changed = False

    def __contains__(self, command: BlockedCommand) -> bool:
        return command in self._commands

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, command: BlockedCommand, database: Any) -> None:
        """Let a command wait for changes of a database."""
        if not self._commands:
            self._changed = False
        self._commands[command] = None
        self._databases.add(database)
        database.add_change_callback(self._note)

    def remove(self, command: BlockedCommand) -> bool:
        """Forget a command. Returns whether it was there. Needs no lock, for the garbage collector calls it."""
        return self._commands.pop(command, command) is None

    def _note(self) -> None:
        self._changed = True

    def serve(self) -> bool:
        """Serve the commands after a change. Returns whether any of them was finished."""
        before = len(self._commands)
        while self._changed:
            self._changed = False
            for command in list(self._commands):
                if command not in self._commands:
                    continue
                if command.socket.is_gone:
                    self.remove(command)
                else:
                    command.serve()
        if not self._commands:
            for database in self._databases:
                database.remove_change_callback(self._note)
            self._databases = set()
        return len(self._commands) < before

    def end(self, error: SimpleError) -> None:
        """Answer every command with an error."""
        for command in list(self._commands):
            command.finish(error)


class WaitingInThread:
    """How the socket of a synchronous client waits: its thread does."""

    _server: Any
    _db: Any
    _in_transaction: bool
    _blocked: bool
    is_gone = False

    def _blocking(self, timeout: float | None, attempt: Attempt, shape: Shape | None = None) -> Any:
        timeout = _checked(timeout)
        result = attempt(True)
        if result is not None or self._in_transaction:
            return result if shape is None else shape(result)
        server, replies = self._server, list[Any]()
        woken = threading.Condition(server.lock)

        def deliver(reply: Any) -> None:
            replies.append(reply)
            woken.notify()

        command = BlockedCommand(self, attempt, shape, deliver)
        server.blocked.add(command, self._db)
        self._blocked = True
        try:
            woken.wait_for(lambda: replies, timeout or None)
        finally:
            server.blocked.remove(command)
            self._blocked = False
        if not replies:
            return command.shaped(None)
        if isinstance(replies[0], SimpleError):
            raise replies[0]
        return replies[0]


class WaitingInLoop:
    """How the socket of a client in an event loop waits: it takes no more commands until the reply comes."""

    _server: Any
    _db: Any
    _event_loop: asyncio.AbstractEventLoop
    _in_transaction: bool
    _blocked: bool
    _resp_version: int
    _client_info: Any
    _name_to_func: Callable[[str], Any]
    pause: Callable[[], None]
    _resumed: Callable[[Any], None]
    """Queues a reply and takes commands again."""
    _waiting: BlockedCommand | None = None
    _timer: asyncio.TimerHandle | None = None

    @property
    def is_gone(self) -> bool:
        return self._server is None or self._event_loop.is_closed()

    def _blocking(self, timeout: float | None, attempt: Attempt, shape: Shape | None = None) -> Any:
        timeout = _checked(timeout)
        result = attempt(True)
        if result is not None or self._in_transaction:
            return result if shape is None else shape(result)
        converted = msgs.FLAG_SKIP_CONVERT_TO_RESP2 not in self._name_to_func(self._client_info["cmd"])[1].flags

        def deliver(reply: Any) -> None:
            if converted and self._resp_version == 2:
                reply = convert_to_resp2(reply)
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self._event_loop.call_soon_threadsafe(self._finish_waiting, command, reply)

        command = self._waiting = BlockedCommand(self, attempt, shape, deliver)
        self._server.blocked.add(command, self._db)
        self._blocked = True
        self.pause()
        if timeout:
            self._timer = self._event_loop.call_later(timeout, self._time_out, command)
        return NoResponse()

    def _time_out(self, command: BlockedCommand) -> None:
        server = self._server
        if server is None:
            return
        if server.scripting.busy:  # it has the lock
            self._timer = self._event_loop.call_later(RETRY_SECONDS, self._time_out, command)
            return
        with server.lock:
            if command in server.blocked:
                command.finish(command.shaped(None))

    def _finish_waiting(self, command: BlockedCommand, reply: Any) -> None:
        if self._waiting is command and self._server is not None:
            self._stop_waiting(self._server)
            self._resumed(reply)

    def _stop_waiting(self, server: Any) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            server.blocked.remove(self._waiting)
        self._waiting = self._timer = None


def _checked(timeout: float | None) -> float | None:
    """A timeout that can be waited for. Redis refuses one whose end in ms is beyond 64 bits; threads wait less."""
    if timeout is not None and timeout < 0:
        raise SimpleError(msgs.TIMEOUT_NEGATIVE_MSG)
    if timeout is not None and (timeout + time.time()) * 1000 >= 2**63:
        raise SimpleError("ERR timeout is out of range")
    return None if timeout is None else min(timeout, threading.TIMEOUT_MAX)
