"""`TcpListener`: the engine over TCP, with replies sent only after what they acknowledge is durable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
import threading
import time
from collections import deque
from typing import Any, Final

import redis.asyncio
from fakeredis._helpers import NoResponse, SimpleError
from fakeredis._socket import AsyncFakeSocket

from relay_models.embedded.commands.corrections import NULL_ARRAYS
from relay_models.embedded.commands.pubsub import announce_expired
from relay_models.embedded.errors import EmbeddedError, FileUnavailableError, ServerClosedError
from relay_models.embedded.registry import COMMANDS, split_name
from relay_models.embedded.reply_types import NullArray, PlainReply, PushReply, SetReply, Verbatim
from relay_models.embedded.scripting.commands import RUNNING
from relay_models.embedded.scripting.thread import ScriptThread
from relay_models.embedded.server.blocking import WaitingInLoop
from relay_models.embedded.server.engine_socket import CommandRunner, allowed_while_busy
from relay_models.embedded.server.protocol import (
    ProtocolError,
    Request,
    RequestReader,
    encode_reply,
)
from relay_models.embedded.server.state import EngineState

__all__ = ["ClientProtocol", "TcpListener"]

logger = logging.getLogger("relay_models.embedded")

# Replies are written in pieces of about this size (bytes); reading stops while the client takes none of them.
OUTPUT_PIECE: Final = 256 * 1024
# How long one client's requests run before other clients have a turn, and how long its replies may be held back so that
# more of them are made durable together (seconds).
TURN_SECONDS: Final = 0.01
HELD_SECONDS: Final = 0.1
# How much is read behind a command that waits, so that it is noticed when the client goes (bytes).
READ_AHEAD: Final = 1024 * 1024
# Maximum bytes of incomplete requests of all clients together.
UNFINISHED_LIMIT: Final = 2 * 1024 * 1024 * 1024
# Maximum bytes that wait for a subscriber, as in Redis.
PUSH_LIMIT: Final = 32 * 1024 * 1024
MAX_CLIENTS: Final = 10_000

# Commands whose reply RESP3 has as a set: fakeredis' own, and those that are declared so.
SET_REPLIES: Final = {"smembers", "sinter", "sunion", "sdiff", "spop"} | {
    name for name, declared in COMMANDS.items() if declared.set_reply
}
# Commands whose reply RESP3 has as a text that says that it is to be read by people.
VERBATIM: Final = frozenset(
    (
        *("info", "client list", "client info", "lolwut"),
        *("latency doctor", "memory doctor", "memory malloc-stats"),
    )
)
# How often to check whether a script has ended, where no callback says so, in seconds.
SCRIPT_POLL_SECONDS: Final = 0.001
# How often expired keys are looked for where their expiry has subscribers, as often as Redis does.
EXPIRY_SECONDS: Final = 0.1
# Commands whose reply to nothing is a null array if they have more arguments than this.
NULL_ARRAY_WITH_MORE: Final = {"lpop": 1, "rpop": 1, "zrank": 2, "zrevrank": 2}
# What only a browser sends, in the lines of a request that a page made it send.
HTTP_WORDS: Final = frozenset((b"post", b"host:"))
# How often such requests are put into the log, in seconds.
HTTP_LOG_SECONDS: Final = 60.0
WITHOUT_LOGIN: Final = frozenset(("auth", "hello", "quit", "reset"))


class TcpSocket(WaitingInLoop, CommandRunner, AsyncFakeSocket):
    """The server's end of one TCP connection."""

    takes_pushes = True

    def __init__(self, state: EngineState, connection: ClientProtocol, info: dict[str, Any]) -> None:
        super().__init__(state, 0, client_class=redis.asyncio.Redis, client_info=info)
        self._connection = connection
        self._script_runs = self._left = False

    @property
    def protocol(self) -> int:
        return int(self._client_info.protocol_version)

    def _needs_login(self) -> bool:
        return self._server.login_required and not self._logged_in

    def run(self, request: Request) -> None:
        """Run one request and queue its reply; scripts run in a thread of their own, and their replies follow."""
        if self._needs_login() and split_name(request)[0] not in WITHOUT_LOGIN:
            self._connection.put(SimpleError("NOAUTH Authentication required."))
            return
        if self._runs_script(request):
            self.pause()
            self._script_runs = True
            self._connection.run_script(request)
            return
        busy = self._server.scripting.busy
        self._send_reply(self._answer(request), acknowledges=not busy)
        self._connection.trusted = not self._needs_login()

    def refuse(self, word: bytes, error: SimpleError) -> None:
        """Refuse one request, which fails a transaction that it would have been queued in, or have executed."""
        if word == b"exec":
            self._discard_because_of(error)
        elif self._queueing:
            self._transaction_failed = True
        self._send_reply(error, acknowledges=False)

    def _runs_script(self, request: Request) -> bool:
        name = split_name(request)[0]
        if name == "exec":
            return any(signature.name.lower() in RUNNING for _, signature, _ in self._transaction or ())
        return name in RUNNING and not self._queueing

    def script_done(self, result: Any) -> None:
        """Go on after a script of this client."""
        self._script_runs = False
        if self._left:
            self.close()
            return
        self._send_reply(result)
        self._paused = False
        self._connection.work()

    def _process_command(self, fields: list[bytes]) -> None:
        self._send_reply(self._answer(fields))

    def _send_reply(self, result: Any, *, acknowledges: bool = True) -> None:
        suppressed = self._reply_off or self._reply_skip
        self._reply_skip, self._reply_skip_next = self._reply_skip_next, False
        if not suppressed and not isinstance(result, NoResponse):
            self._connection.put(result, acknowledges=acknowledges)
        if self._server.tracking.clients:
            self._server.tracking.replied(self)

    def _run_command(self, func: Any, sig: Any, args: list[Any], from_script: bool) -> Any:
        result = super()._run_command(func, sig, args, from_script)
        if (
            result is None
            and not from_script
            and (sig.name in NULL_ARRAYS or len(args) > NULL_ARRAY_WITH_MORE.get(sig.name, len(args)))
        ):
            return NullArray()
        if sig.name in VERBATIM and not from_script and type(result) is bytes and self.protocol == 3:
            return Verbatim(b"txt:" + result)
        if sig.name in SET_REPLIES and not from_script:
            plain = result.value if type(result) is PlainReply else result
            if type(plain) is list:
                return SetReply(plain)
        return result

    def _decode_result(self, result: Any) -> Any:
        return result

    def put_response(self, msg: Any) -> None:
        """Queue a published message, or the reply to a subscription."""
        if threading.get_ident() == self._loop_thread_ident:
            self._connection.push(msg)
        else:
            self._event_loop.call_soon_threadsafe(self._connection.push, msg)

    def kill(self) -> None:
        super().kill()
        self._event_loop.call_soon_threadsafe(self._connection.close_after_replies)

    def _resumed(self, reply: Any) -> None:
        self._connection.put(NullArray() if reply is None else reply)
        self._paused = False
        self._connection.work()

    def pause(self) -> None:
        self._paused = True

    def close(self) -> None:
        if self._script_runs:  # it runs to its end all the same, as one whole
            self._left = True
            return
        super().close()


class ClientProtocol(asyncio.Protocol):
    """One client's connection: bytes in, requests run in order, replies out."""

    def __init__(self, listener: TcpListener) -> None:
        self._listener = listener
        self._state = listener.state
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader()
        self._requests: deque[Request] = deque()
        self._ahead = 0
        """How many bytes were read since a request waits."""
        self._broken: str | None = None
        self._out: list[bytes] = []
        self._out_size = 0
        self._owed = 0
        """How many replies to commands are in `_out`."""
        self._out_since = 0.0  # when the first of the waiting replies was queued
        self._turn: asyncio.Handle | None = None
        self._choked = False
        self._closing = False
        self._acknowledges = False  # whether a reply that waits tells of something that must be durable first
        self._socket: TcpSocket | None = None
        self.trusted = not self._state.login_required

    # From asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._listener.clients) >= MAX_CLIENTS:
            transport.write(b"-ERR max number of clients reached\r\n")
            transport.close()
            return
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        info = {"addr": _address(peer), "laddr": _address(local), "name": "", "flags": "N", "resp": 2, "cmd": "NULL"}
        self._socket = TcpSocket(self._state, self, info)
        self._reader.trusted = self.trusted
        self._listener.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._reader.trusted = self.trusted
        self._ahead = self._ahead + len(data) if self._requests else 0
        try:
            for request in self._reader.feed(data):
                self._requests.append(request)
        except ProtocolError as error:
            self._broken = str(error)
        if self._reader.pending > OUTPUT_PIECE and self._listener.unfinished > UNFINISHED_LIMIT:
            self._broken = "too much unfinished input"
        self.work()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._choked = True
        self._read(False)

    def resume_writing(self) -> None:
        self._choked = False
        if not self._closing:
            self.work()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._listener.gone(self)
        self._requests.clear()
        self._out.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # Requests and replies

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete request are held."""
        return self._reader.pending

    def work(self) -> None:
        """Run the requests that wait, as far as nothing blocks and the client takes its replies."""
        socket = self._socket
        if socket is None:
            return
        if self._turn is not None:
            self._turn.cancel()
        self._turn = None
        end = time.monotonic() + TURN_SECONDS
        while self._requests and not (socket._paused or self._choked or self._closing):
            if time.monotonic() > end:
                self._next_turn(socket)
                return
            request = self._requests.popleft()
            word = request[0].lower()
            if word in HTTP_WORDS or request.is_http:
                self._refuse_http(socket)
                return
            if self._state.scripting.busy and not allowed_while_busy(*split_name(request)):
                if self._state.scripting.patience > 0:
                    self._requests.appendleft(request)
                    self._listener.wait_for_script(self)
                    self._send()
                    self._read(False)
                    return
                socket.refuse(word, self._state.scripting.busy_error)
                continue
            socket.run(request)
            if word == b"quit":
                self.close_after_replies()
                return
            if self._out_size > OUTPUT_PIECE:
                self._send()
        self._send()
        if self._broken is not None and not self._requests and not self._closing:
            self.put(SimpleError(f"ERR Protocol error: {self._broken}"))
            self.close_after_replies()
            return
        may_wait = socket._paused and self._ahead < READ_AHEAD
        self._read(not (self._choked or self._closing) and (may_wait or not self._requests))

    def _refuse_http(self, socket: TcpSocket) -> None:
        """Hang up, as Redis does: the body of the request would be read as commands that a web page chose."""
        now = time.monotonic()
        if now - self._listener.http_logged > HTTP_LOG_SECONDS:
            self._listener.http_logged = now
            logger.warning(
                "An HTTP request came from %s: perhaps a web page attacks this server. The connection was closed.",
                socket._client_info["addr"],
            )
        self._requests.clear()
        self.close_after_replies()

    def _next_turn(self, socket: TcpSocket) -> None:
        """Let other clients run before the rest. Replies are sent together as long as none waits for long."""
        if time.monotonic() - self._out_since > HELD_SECONDS:
            self._send()
        self._read(False)
        if self._turn is None and not self._closing:
            self._turn = socket._event_loop.call_soon(self.work)

    def run_script(self, request: Request) -> None:
        """Run a request that runs a script, in the scripts' thread."""
        assert self._socket is not None
        self._state.scripting.reserved = True
        self._listener.scripts.run(self._socket, request, self._listener.script_done)

    def put(self, reply: Any, *, acknowledges: bool = True) -> None:
        """Queue a reply."""
        if self._socket is None:
            return
        self._acknowledges = self._acknowledges or acknowledges
        before = len(self._out)
        self._owed += type(reply) is not PushReply
        if not before:
            self._out_since = time.monotonic()
        try:
            encode_reply(reply, self._socket.protocol, self._out)
        except TypeError:
            logger.exception("a reply could not be written")
            del self._out[before:]
            encode_reply(SimpleError("ERR internal error: the reply could not be written"), 2, self._out)
        self._out_size += sum(map(len, self._out[before:])) if len(self._out) - before > 1 else len(self._out[-1])

    def push(self, message: Any) -> None:
        """Send a push message. A client that has stopped reading is disconnected before it fills the memory."""
        if self._socket is None or self._closing or self._transport is None:
            return
        if self._transport.get_write_buffer_size() + self._out_size > PUSH_LIMIT:
            logger.warning("a subscriber that does not read was disconnected")
            self._transport.abort()
            return
        self.put(PushReply(message) if isinstance(message, list) else message)
        # Often called from within a command, so sent after it.
        self._socket._event_loop.call_soon(self._send)

    def _send(self) -> None:
        """Make the changes durable, then send the replies."""
        if not self._out or self._transport is None:
            return
        if self._acknowledges and self._state.scripting.busy and self._state.unsettled:
            self._listener.wait_for_script(self)  # the lock is the script's until it ends
            return
        stop = False
        try:
            if self._acknowledges:
                self._state.commit()
            if self._socket is not None and self._socket.undone:
                raise FileUnavailableError("the change could not be written, and nothing of it was kept")
        except EmbeddedError as error:
            logger.error("%s", error)
            owed, self._owed = self._owed, 0
            self._out.clear()
            for _ in range(owed):  # which of these commands only read is not known here
                encode_reply(SimpleError(f"MISCONF {error}"), 2, self._out)
            stop = isinstance(error, ServerClosedError)
            if self._socket is not None:
                self._socket.undone = False
        if self._socket is not None:
            self._socket.unsent = False
        out, self._out, self._out_size, self._owed = self._out, [], 0, 0
        self._acknowledges = False
        self._transport.write(b"".join(out))
        if stop:
            self._closing = True
            self._transport.close()

    def _read(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if wanted and not self._transport.is_reading():
            self._transport.resume_reading()
        elif not wanted and self._transport.is_reading():
            self._transport.pause_reading()

    def abort(self) -> None:
        """Disconnect at once."""
        if self._transport is not None:
            self._transport.abort()

    def close_after_replies(self) -> None:
        """Send the queued replies, take no more requests, and disconnect."""
        self._send()
        self._closing = True
        if self._transport is not None:
            self._transport.close()


def _address(name: Any) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "")


class TcpListener:
    """Listens for clients. `start` it in a running event loop, `stop` it there."""

    def __init__(self, state: EngineState) -> None:
        self.state = state
        self.clients: set[ClientProtocol] = set()
        self._server: asyncio.Server | None = None
        self.http_logged = -HTTP_LOG_SECONDS
        """When an HTTP request was last put into the log."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.scripts = ScriptThread()
        self._held_up: dict[ClientProtocol, None] = {}
        self._patience: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def unfinished(self) -> int:
        """How many bytes of incomplete requests all clients together have sent."""
        return sum(client.pending for client in self.clients)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen on a port; 0 takes a free one. Returns the port."""
        self._loop = loop = asyncio.get_running_loop()
        self.state.scripting.when_done.add(self._script_ended)
        self._server = await loop.create_server(lambda: ClientProtocol(self), host, port, ssl=tls, backlog=512)
        self.state.port = int(self._server.sockets[0].getsockname()[1])
        self._announce_expired()
        return self.state.port

    def _announce_expired(self) -> None:
        """Tell subscribers of keys that expire while no client asks for any."""
        assert self._loop is not None
        self._expiry = self._loop.call_later(EXPIRY_SECONDS, self._announce_expired)
        state = self.state
        if state.announces_expiry and not state.scripting.busy:
            with state.lock:
                state.remove_expired()
                announce_expired(state)

    async def stop(self, seconds: float = 2.0) -> None:
        """Take no more clients, send all replies, and disconnect; clients that do not read are disconnected."""
        if self._server is None:
            return
        self._server.close()
        if self._expiry is not None:
            self._expiry.cancel()
        await self._end_scripts(seconds)
        for client in list(self.clients):
            client.close_after_replies()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        for client in list(self.clients):
            client.abort()
        await self._empty.wait()
        self._server = None
        self.state.scripting.when_done.discard(self._script_ended)
        self.state.scripting.resume()
        self.scripts.stop()

    async def _end_scripts(self, seconds: float) -> None:
        """End the script that a client runs: it gets half of the time to come to its end."""
        self.state.scripting.stop(seconds / 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.state.scripting.reserved:  # noqa: ASYNC110 - its reply follows its end
                    await asyncio.sleep(SCRIPT_POLL_SECONDS)

    # While a script runs

    def wait_for_script(self, client: ClientProtocol) -> None:
        """Call a client's `work` when the script that runs has ended, or has run for too long."""
        assert self._loop is not None
        scripting = self.state.scripting
        self._held_up[client] = None
        patience = scripting.patience
        if not scripting.busy:  # it has ended meanwhile
            self._loop.call_soon(self._resume_waiting)
        elif self._patience is None and 0 < patience < math.inf:
            self._patience = self._loop.call_later(patience, self._resume_waiting)

    def script_done(self, socket: TcpSocket, result: Any) -> None:
        """Queue the reply of a script, and let the clients that waited for its end go on in their order."""
        self.state.scripting.reserved = False
        self._resume_waiting()
        socket.script_done(result)

    def _script_ended(self) -> None:
        if self._held_up and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._resume_waiting)

    def _resume_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        clients, self._held_up = self._held_up, {}
        for client in clients:
            client.work()

    def joined(self, client: ClientProtocol) -> None:
        self.clients.add(client)
        self._empty.clear()

    def gone(self, client: ClientProtocol) -> None:
        self.clients.discard(client)
        self._held_up.pop(client, None)
        if not self.clients:
            self._empty.set()
