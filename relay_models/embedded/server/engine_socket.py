"""`CommandRunner` and the sockets: run the requests of a connection and queue the replies."""

from __future__ import annotations

import logging
import queue
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from fakeredis import _msgs as msgs
from fakeredis._commands import COMMANDS_WITH_SUB, SUPPORTED_COMMANDS, Key, Signature
from fakeredis._core import CommandItem
from fakeredis._helpers import QUEUED, NoResponse, SimpleError, SimpleString, current_time
from fakeredis._socket import AsyncFakeSocket, FakeSocket
from fakeredis._socket._resp import convert_to_resp2
from fakeredis.model import Hash, XStream
from redis._parsers import _RESP2Parser
from redis.exceptions import ConnectionError, ResponseError

from relay_models.embedded.commands.acl import AclCommands
from relay_models.embedded.commands.bitmaps import BitmapCommands
from relay_models.embedded.commands.client import ClientCommands
from relay_models.embedded.commands.config import ConfigCommands
from relay_models.embedded.commands.corrections import (
    CHECKED_BEFORE_TYPE,
    CorrectedCommands,
    corrected_doubles,
    corrected_error,
    doubles_as_text,
)
from relay_models.embedded.commands.field_expiry import FieldExpiryCommands
from relay_models.embedded.commands.geo import GeoCommands
from relay_models.embedded.commands.hyperloglog import HyperLogLogCommands
from relay_models.embedded.commands.key_list import KeyListCommands
from relay_models.embedded.commands.lcs import LcsCommand
from relay_models.embedded.commands.lists import ListCommands
from relay_models.embedded.commands.manual import ManualCommands
from relay_models.embedded.commands.module import ModuleCommands
from relay_models.embedded.commands.monitor import MonitorCommands, shown_words
from relay_models.embedded.commands.multiple_keys import MultipleKeyCommands
from relay_models.embedded.commands.permissions import categories_of, keys_of
from relay_models.embedded.commands.pubsub import PubSubCommands
from relay_models.embedded.commands.random_members import RandomCommands
from relay_models.embedded.commands.server import ServerCommands
from relay_models.embedded.commands.slow_log import SlowLogCommands
from relay_models.embedded.commands.streams import StreamCommands
from relay_models.embedded.commands.strings import StringCommands
from relay_models.embedded.commands.tracking import TrackingCommands
from relay_models.embedded.errors import EmbeddedError, ServerClosedError
from relay_models.embedded.json.read_commands import JsonCommands
from relay_models.embedded.json.value import JsonDocument
from relay_models.embedded.registry import (
    COMMANDS,
    CONTAINERS,
    EngineSignature,
    MissingKey,
    SentArguments,
    check_count,
    command,
    split_name,
)
from relay_models.embedded.reply_types import BigNumber, DoubleText, NullArray, PlainReply, Verbatim
from relay_models.embedded.scripting.commands import RUNNING, SHUTTING_DOWN, WHILE_BUSY, ScriptAborted, ScriptCommands
from relay_models.embedded.server.blocking import WaitingInLoop, WaitingInThread
from relay_models.embedded.server.protocol import Request, RequestReader
from relay_models.embedded.server.state import EngineState

__all__ = ["AsyncEngineSocket", "EngineSocket", "Request"]

_REPLICATED = frozenset(("publish", "spublish"))
"""Commands that write nothing, but that Redis refuses where it refuses writing."""
_NO_KEY = b"no key " + secrets.token_hex(16).encode()
"""A key that there is not."""

# Commands that change a list at one end only, so that the rest need not be written again.
LEFT_END = frozenset(("lpush", "lpushx", "lpop"))
LIST_ENDS = LEFT_END | {
    "rpush", "rpushx", "rpop", "expire", "pexpire", "expireat", "pexpireat", "persist",
}  # fmt: skip

# Commands that set when fields of a hash expire, of which fakeredis reports nothing.
FIELD_EXPIRIES = frozenset(("hgetex", "hsetex"))

# Commands on streams that only read. The others change entries or groups, often without fakeredis saying so.
STREAM_READS = frozenset(("xlen", "xrange", "xrevrange", "xread", "xpending"))

logger = logging.getLogger("relay_models.embedded")


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def unknown_command(fields: list[bytes]) -> SimpleError:
    """The error for a command that does not exist, which shows the start of the request."""
    first = fields[0].decode("utf-8", "replace").lower()
    if len(fields) == 1 and (first in COMMANDS_WITH_SUB or first in CONTAINERS):
        return SimpleError(msgs.WRONG_ARGS_MSG6.format(first))
    if len(fields) > 1 and (first in COMMANDS_WITH_SUB or first in CONTAINERS):
        word = fields[1][:128].decode("utf-8", "replace")
        return SimpleError(_one_line(f"ERR unknown subcommand '{word}'. Try {first.upper()} HELP."))
    shown = ""
    for field in fields[1:]:
        if len(shown) >= 128:
            break
        text = field.partition(b"\0")[0][: 128 - len(shown)].decode("utf-8", "replace")  # as C reads it
        shown += f"'{text}' "
    name = fields[0][:128].decode("utf-8", "replace")
    return SimpleError(_one_line(f"ERR unknown command '{name}', with args beginning with: {shown}"))


def allowed_while_busy(name: str, args: list[bytes]) -> bool:
    """Whether a command is run although a script has the server's lock."""
    return name in WHILE_BUSY and (name != "shutdown" or b"nosave" in [arg.lower() for arg in args])


if TYPE_CHECKING:
    Socket = FakeSocket
else:
    Socket = object


class CommandRunner(
    ScriptCommands,
    ModuleCommands,
    ServerCommands,
    ClientCommands,
    TrackingCommands,
    AclCommands,
    ConfigCommands,
    JsonCommands,
    CorrectedCommands,
    FieldExpiryCommands,
    GeoCommands,
    HyperLogLogCommands,
    BitmapCommands,
    LcsCommand,
    RandomCommands,
    PubSubCommands,
    StreamCommands,
    StringCommands,
    ListCommands,
    MultipleKeyCommands,
    MonitorCommands,
    SlowLogCommands,
    KeyListCommands,
    ManualCommands,
    Socket,
):
    """What the engine changes in a fakeredis socket, sync or async: one request from its fields to its queued reply."""

    _server: EngineState
    _pubsub: int
    _watches: set[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._alive: dict[tuple[bytes, Any], int | None] = {}
        """The keys that were there when they were watched, and when the first field of each hash expires (ms)."""
        super().__init__(*args, **kwargs)

    _words: Sequence[bytes] = ()
    """The words of the request that runs."""
    unsent = False
    """Whether a command was run whose reply was not delivered yet, after what it did was made durable."""
    ran_at = 0
    """How many commits there were before the last command."""
    undone = False
    """Whether such a command was undone, since its changes could not be written."""

    def _parse_commands(self) -> Generator[None, Any, None]:
        """Takes bytes or whole requests, and runs them in order except while a command blocks."""
        reader = RequestReader()
        waiting: deque[Request] = deque()
        while True:
            data = yield
            if type(data) is Request:
                waiting.append(data)
            elif data:
                waiting.extend(reader.feed(data))
            while waiting and not self._paused:
                self._process_command(waiting.popleft())

    def _name_to_func(self, cmd_name: str) -> tuple[Any, Signature]:
        signature = COMMANDS.get(cmd_name) or SUPPORTED_COMMANDS.get(cmd_name)
        if signature is None or "redis" not in signature.server_types:
            raise SimpleError(msgs.UNKNOWN_COMMAND_MSG.format(_one_line(cmd_name)))
        return getattr(self, signature.func_name), signature

    def _process_command(self, fields: list[bytes]) -> None:
        if not fields:
            return
        result = self._answer(fields)
        suppressed = self._reply_off or self._reply_skip
        self._reply_skip, self._reply_skip_next = self._reply_skip_next, False
        if not suppressed and not isinstance(result, NoResponse):
            self.put_response(self._decode_result(result))

    def _answer(self, fields: list[bytes]) -> Any:
        """Run, queue or refuse one command; an error is returned."""
        server = self._server
        name, args = split_name(fields)
        running = False
        try:
            if name not in COMMANDS and name not in SUPPORTED_COMMANDS:
                raise unknown_command(fields)
            function, signature = self._name_to_func(name)
            if server.guarded or name == "acl setuser":
                server.guarded = True
                server.acl.check(self._client_info.user, self._client_info, name, args)
            if server.scripting.busy and allowed_while_busy(name, args):
                return self._run_while_busy(function, signature, args)
            server.scripting.enter(server.lock)
            try:
                if server.loops:
                    server.forget_ended_loops()
                if server.closed_sockets:
                    self._forget_closed(server)
                server.commands += 1
                self._client_info["cmd"] = name if " " not in name else name.replace(" ", "|")
                self.unsent = True
                self.ran_at = server.commits
                now = server.clock.read()
                for database in server.dbs.all:
                    database.time = now
                self._words = fields
                if server.monitors:
                    self.refuse_monitor(name)
                if self._queueing:
                    check_count(name, signature, args)
                    if name in ("save", "shutdown"):
                        raise SimpleError("ERR Command not allowed inside a transaction")
                if self._queueing and self._transaction is not None and msgs.FLAG_TRANSACTION not in signature.flags:
                    self._transaction.append((function, signature, SentArguments(args, fields)))
                    return QUEUED
                running = True
                server.tracking.running = self
                result = self._run_command(function, signature, args, False)
                if server.blocked and server.blocked.serve():
                    server.settle()
                if isinstance(result, SimpleError):
                    result.value = corrected_error(name, args, result.value)
                    if name == "exec" and result.value == msgs.WRONG_ARGS_MSG6.format(name):
                        self._discard_because_of(result)
                return result
            finally:
                server.tracking.broadcast()
                server.tracking.running = None
                if server.tracking.clients and self._transaction is None:
                    server.tracking.ended(self, name)
                server.lock.release()
        except SimpleError as error:
            if self._queueing and not running:
                self._transaction_failed = True
            error.value = corrected_error(name, args, error.value)
            if name == "exec" and error.value.startswith(("ERR ", "BUSY ")):
                self._discard_because_of(error)
            return error
        except (sqlite3.Error, EmbeddedError) as error:
            logger.error("%s failed: %s", name, error)
            return SimpleError(f"ERR {error}")
        except RecursionError:
            return SimpleError("ERR the command is nested too deeply")
        except Exception as error:
            if isinstance(error, AttributeError | TypeError) and self._names_json(args):
                return SimpleError(msgs.WRONGTYPE_MSG)
            # An internal error must cost the client one error reply, not the connection.
            logger.exception("%s failed", name)
            return SimpleError(f"ERR internal error in {name}: {type(error).__name__}: {error}")
        except BaseException as error:
            if running:
                server.interrupted(name, reading=b"@read" in categories_of(name))
            if isinstance(error, ScriptAborted):
                return SimpleError(SHUTTING_DOWN)
            raise

    def _discard_because_of(self, error: SimpleError) -> None:
        """Forget a transaction that EXEC was refused for, and tell so in the error."""
        error.value = "EXECABORT Transaction discarded because of: " + error.value.removeprefix("ERR ")
        self._forget_transaction()
        self._clear_watches()

    def _names_json(self, args: list[bytes]) -> bool:
        """Whether an argument names a key that holds JSON, a type that fakeredis' own commands do not expect."""
        return any(type(getattr(self._db.get(arg), "value", None)) is JsonDocument for arg in args)

    def close(self) -> None:
        server = self._server
        if server is None:
            return
        self._stop_waiting(server)
        super().close()

    def _check_connected(self) -> None:
        """Raise redis-py's error where the engine does not answer, with the reason."""
        if self._server is None or self._killed:
            raise ConnectionError("the connection to the embedded server was closed")
        if not self._server.connected:
            raise stopped(self._server)

    def _stop_waiting(self, server: EngineState) -> None:
        """Wait for nothing any more, where this socket waits while it takes no commands."""

    # What a watched key means that expires, or of which a field does: fakeredis does not tell those who watch it

    def watch(self, *keys: CommandItem) -> Any:
        result = super().watch(*keys)
        for item in keys:
            if item.value is not None:
                fields: dict[bytes, int] = item.value._expirations if type(item.value) is Hash else {}
                self._alive.setdefault((item.key, self._db), min(fields.values()) if fields else None)
        return result

    # fakeredis' own declaration checks the replies, and knows no null arrays among them.
    @command("exec", flags=msgs.FLAG_NO_SCRIPT + msgs.FLAG_TRANSACTION + msgs.FLAG_SKIP_CONVERT_TO_RESP2)
    def exec_(self) -> Any:
        now = current_time()
        for (key, database), first in self._alive.items():
            if (first is not None and first < now) or database.get(key) is None:
                self._watch_notified = True
        return super().exec_()

    def _clear_watches(self) -> None:
        self._alive.clear()
        super()._clear_watches()

    def _cleanup(self, server: EngineState) -> None:
        """Remove the connection's subscriptions of every kind, and channels without subscribers."""
        super()._cleanup(server)
        for subscribers in (server.subscribers, server.psubscribers, server.ssubscribers):
            for sockets in subscribers.values():
                sockets.discard(self)
            for channel in [channel for channel, sockets in subscribers.items() if not sockets]:
                del subscribers[channel]
        server.monitors.discard(self)
        server.tracking.forget(self)

    @staticmethod
    def _forget_closed(server: EngineState) -> None:
        while server.closed_sockets:
            socket = server.closed_sockets.pop()()
            if socket is not None:
                socket._cleanup(server)

    def _run_command(self, func: Any, sig: Signature, args: list[Any], from_script: bool) -> Any:
        server = self._server
        if type(args) is SentArguments:
            self._words = args.words
        words = self._words
        if server.monitors:
            check_count(sig.name, sig, args)
            if sig.name in RUNNING:  # before the commands of the script
                self.show_to_monitors(sig.name, words, from_script)
        started = time.perf_counter_ns()
        if server.announces:
            existed = {key: key in self._db for key in keys_of(sig.name, args) or ()}
            server.changed = {}
            result = self._run_one(func, sig, args, from_script)
            self.announce_changes(sig.name, args, result, existed)
        else:
            result = self._run_one(func, sig, args, from_script)
        micros = (time.perf_counter_ns() - started) // 1000
        if not from_script and sig.name != "exec" and 0 <= server.slow_log.threshold <= micros:
            info, kept = self._client_info, shown_words(sig.name, words)
            server.slow_log.add(int(server.clock.read()), micros, kept, info["addr"].encode(), info["name"].encode())
        if server.tracking.clients and sig.name not in RUNNING:
            server.tracking.read(self, sig.name, args)
        if server.monitors and sig.name not in RUNNING:
            self.show_to_monitors(sig.name, words, from_script)
        return result

    def _run_one(self, func: Any, sig: Signature, args: list[Any], from_script: bool) -> Any:
        if from_script and self._only_reads and (b"@write" in categories_of(sig.name) or sig.name in _REPLICATED):
            raise SimpleError("ERR Write commands are not allowed from read-only scripts.")
        if from_script and self._server.guarded:
            self._server.acl.check(self._client_info.user, self._client_info, sig.name, args, b"lua")
        args = corrected_doubles(sig.name, args)
        subscriptions = self._pubsub
        if subscriptions and self._resp_version == 3 and sig.name not in self.ACCEPTED_COMMANDS_WHILE_PUBSUB:
            # With RESP3 a client may subscribe and go on with other commands, which fakeredis refuses.
            self._pubsub = 0
            try:
                return self._run_one(func, sig, args, from_script)
            finally:
                self._pubsub += subscriptions
        if self._resp_version == 2 and sig.name.startswith(("z", "bz", "geo")):
            func = self._with_text_doubles(func)
        if type(sig) is EngineSignature:
            result = self._argument_error(func, sig, args, self._run_own(func, sig, args, from_script))
            refused = self._server.settle()
            if isinstance(result, SimpleError):
                result.value = corrected_error(sig.name, args, result.value)
            return result if refused is None else refused
        ends = sig.name in LIST_ENDS and self._server.storage is not None
        before = self._list_length(args) if ends else None
        result = self._argument_error(func, sig, args, super()._run_command(func, sig, args, from_script))
        change = None
        if before is not None:
            after = self._list_length(args)
            if after is not None:
                change = (after - before if sig.name in LEFT_END else 0, after)
        if sig.name in FIELD_EXPIRIES and args and args[0] in self._db:
            self._db.touched[args[0]] = None
        if self._server.storage is not None:
            self._db.notice(args)
            if sig.name[0] == "x" and sig.name not in STREAM_READS:
                self._touch_streams(args)
        refused = self._server.settle(change)
        if isinstance(result, SimpleError):  # of a transaction or a script, too
            result.value = corrected_error(sig.name, args, result.value)
        return result if refused is None else refused

    def _argument_error(self, func: Any, sig: Signature, args: list[Any], result: Any) -> Any:
        """The reply, or the error in its arguments that Redis gives in place of one about the key's type."""
        if not (isinstance(result, SimpleError) and result.value == msgs.WRONGTYPE_MSG):
            return result
        if sig.name not in CHECKED_BEFORE_TYPE:
            return result
        # Whatever is wrong with the arguments is wrong for a key that does not exist, too. Nothing is written back.
        keyless = [_NO_KEY if isinstance(kind, Key) else arg for arg, kind in zip(args, sig.fixed, strict=False)]
        words = [*keyless, *args[len(keyless) :]]
        try:
            if isinstance(sig, EngineSignature):
                func(*sig.bind(words, self._db)[0])
            elif len(bound := sig.apply(words, self._db, self.version)) == 2:
                func(*bound[0])
        except MissingKey:
            return result
        except SimpleError as error:
            return error if error.value.startswith("ERR ") and error.value != msgs.NO_KEY_MSG else result
        return result

    @staticmethod
    def _with_text_doubles(func: Any) -> Any:
        return lambda *args: doubles_as_text(func(*args))

    def _run_while_busy(self, func: Any, sig: Signature, args: list[Any]) -> Any:
        """Run a command that touches no data while a script in another thread has the lock."""
        if type(sig) is EngineSignature:
            return self._run_own(func, sig, args, False)
        return super()._run_command(func, sig, args, False)

    def _run_own(self, func: Any, sig: EngineSignature, args: list[Any], from_script: bool) -> Any:
        """Run one of the engine's own commands: what fakeredis does for its own, without the parts not needed."""
        items: list[CommandItem] = []
        try:
            if from_script and msgs.FLAG_NO_SCRIPT in sig.flags:
                raise SimpleError(msgs.COMMAND_IN_SCRIPT_MSG)
            if self._pubsub and self._resp_version == 2 and sig.name not in self.ACCEPTED_COMMANDS_WHILE_PUBSUB:
                raise SimpleError(msgs.BAD_COMMAND_IN_PUBSUB_MSG)
            bound, items = sig.bind(args, self._db)
            result = func(*bound)
            if self._resp_version == 2 and msgs.FLAG_SKIP_CONVERT_TO_RESP2 not in sig.flags:
                result = convert_to_resp2(doubles_as_text(result) if sig.name.startswith(("z", "bz")) else result)
        except MissingKey as missing:
            result = missing.reply
        except SimpleError as error:
            result = error
        for item in items:
            item.writeback(remove_empty_val=msgs.FLAG_LEAVE_EMPTY_VAL not in sig.flags)
        if items and (self._server.subscribers or self._server.psubscribers):
            self._keyspace_notifications(items, sig.name.encode())
        return result

    def _touch_streams(self, args: list[bytes]) -> None:
        for name in args:
            item = self._db.get(name)
            if item is not None and type(item.value) is XStream:
                self._db.touched[name] = None

    def _list_length(self, args: list[bytes]) -> int | None:
        """The length of the list that is the first argument, or None where it is no list."""
        item = self._db.get(args[0]) if args else None
        return len(item.value) if item is not None and type(item.value) is list else None

    def _decode_error(self, error: SimpleError) -> ResponseError:
        return parse_error(error.value)

    def _decode_result(self, result: Any) -> Any:
        if type(result) is SimpleString or type(result) is PlainReply:
            return result.value
        if type(result) is BigNumber:
            return int(result) if result.lstrip(b"-").isdigit() else bytes(result)
        if type(result) is Verbatim:
            return bytes(result[4:])
        if type(result) is DoubleText:
            return float(result) if self._client_info.protocol_version == 3 else bytes(result)
        if type(result) is NullArray:
            return None
        if isinstance(result, dict):
            return {self._decode_result(key): self._decode_result(value) for key, value in result.items()}
        if type(result) is str:  # fakeredis has some field names as str; the protocol has only bytes
            return result.encode()
        return super()._decode_result(result)


def parse_error(text: str) -> ResponseError:
    """The exception that redis-py raises for an error reply."""
    parse: Callable[[str], ResponseError] = _RESP2Parser.parse_error
    return parse(text)


def stopped(server: EngineState) -> ConnectionError:
    """The error of redis-py that says why a server has stopped answering."""
    error = ConnectionError(server.failure)
    error.__cause__ = ServerClosedError(server.failure)
    return error


class EngineSocket(WaitingInThread, CommandRunner, FakeSocket):
    """The socket behind a synchronous client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.responses: queue.SimpleQueue[Any] | None = queue.SimpleQueue()  # type: ignore[assignment]

    def sendall(self, data: Any) -> None:
        self._check_connected()
        if type(data) is Request:
            self._process_command(data)  # nothing ever waits here: a blocking command blocks its caller
        else:
            super().sendall(data)

    def put_response(self, msg: Any) -> None:
        responses = self.responses
        if responses is not None:
            responses.put(msg)
            # The waiting side clears the event before it reads the queue, so a set event need not be set again.
            if not self.response_ready.is_set():
                self.response_ready.set()


class AsyncEngineSocket(WaitingInLoop, CommandRunner, AsyncFakeSocket):
    """The socket behind an asyncio client; it belongs to the event loop that made it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._server.joined(self, self._event_loop)

    def sendall(self, data: Any) -> None:
        self._check_connected()
        super().sendall(data)

    def _resumed(self, reply: Any) -> None:
        self.put_response(self._decode_result(reply))
        self.resume()
