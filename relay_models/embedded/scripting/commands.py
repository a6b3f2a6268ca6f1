"""EVAL, EVALSHA, FCALL and what goes with them, in the sandbox instead of fakeredis' interpreter."""

from __future__ import annotations

import copy
import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import COMMANDS_WITH_SUB
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis.commands_mixins._lua_functions import FUNCTION_FLAGS
from fakeredis.model import get_command_info

from relay_models.embedded.commands.corrections import corrected_error
from relay_models.embedded.commands.permissions import categories_of
from relay_models.embedded.commands.server import REDIS_VERSION
from relay_models.embedded.glob import compile_glob
from relay_models.embedded.registry import CONTAINERS, SentArguments, command, split_name
from relay_models.embedded.reply_types import BigNumber, DoubleText, NullArray, SetReply, Verbatim
from relay_models.embedded.scripting.functions import Functions
from relay_models.embedded.scripting.sandbox import MapReply, Outcome, Sandbox, ScriptStopped

__all__ = ["RUNNING", "SHUTTING_DOWN", "WHILE_BUSY", "ScriptAborted", "ScriptCommands", "Scripting"]

SCRIPTING = "@scripting @slow"

UNKNOWN_COMMAND = "ERR Unknown Redis command called from script"
WRONG_ARITY = "ERR Wrong number of args calling Redis command from script"
NOT_IN_SCRIPTS = "ERR This Redis command is not allowed from script"
UNKILLABLE = (
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script"
    " termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
SHUTTING_DOWN = "ERR The server is shutting down"
# How long a script that was killed may take to end before other clients are told again that one runs, in seconds.
KILLING = 1.0
# The commands that run code of scripts.
RUNNING = frozenset(
    ("eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro", "function load", "function restore")
)
# The commands that are answered while a script runs: they touch no data. Where MULTI were refused, the commands that a
# client sent after it would run one by one.
WHILE_BUSY = frozenset(
    ("script kill", "function kill", "function stats", "shutdown", "hello", "auth", "reset", "quit", "multi")
)
# Commands that fakeredis refuses in scripts, as Redis did before 7.2. They do not wait there.
BLOCKING = frozenset(("blpop", "brpop", "brpoplpush", "bzpopmin", "bzpopmax"))
# Replies that RESP3 has as sets.
SETS = frozenset(("smembers", "sinter", "sunion", "sdiff", "spop"))


def plain_nulls(value: Any) -> Any:
    """A reply as scripts know it, to which one null is as the other."""
    if type(value) is NullArray:
        return None
    if type(value) is DoubleText:
        return bytes(value)
    if type(value) is list and any(type(each) in (list, NullArray, DoubleText) for each in value):
        return [plain_nulls(each) for each in value]
    return value


class ScriptAborted(BaseException):
    """A script that had written was ended midway because the server stops; its changes must not be kept."""


class Scripting:
    """The scripts of one server: their interpreter, and which client's script runs in it.

    Args:
        config: The server's settings, which say after how long other clients are told that a script runs.
    """

    def __init__(self, config: Mapping[bytes, bytes]) -> None:
        self.caller: Any = None
        self._config = config
        self._running: Literal["script", "function"] | None = None
        self.reserved = False
        """Whether a script of a TCP client has been given to its thread, and its reply has not been queued yet."""
        self.wrote = False
        """Whether the running script has called a command that writes."""
        self.when_done: set[Callable[[], None]] = set()
        """Callbacks for the end of a script, called in the script's thread."""
        self._started = 0.0
        self._killed: float | None = None
        self._deadline: float | None = None
        self._sandbox: Sandbox | None = None
        self._compiled: set[bytes] = set()
        self.read_only: dict[bytes, bool] = {}
        """Whether a script says of itself that it writes nothing."""
        self.functions = Functions(self)

    @property
    def sandbox(self) -> Sandbox:
        """The interpreter, made when the first script comes."""
        if self._sandbox is None:
            self._compiled = set()
            self._sandbox = Sandbox(
                call=self._call,
                allowed=self._allowed,
                set_resp=self._set_resp,
                resp=self._resp,
                tick=self._tick,
                version=REDIS_VERSION,
            )
            self.functions.reload(self._sandbox)
        return self._sandbox

    def _call(self, fields: list[bytes]) -> Any:
        reason = self._tick()
        if reason is not None:
            raise ScriptStopped(reason)
        return self.caller._script_call(fields)

    def _allowed(self, fields: list[bytes]) -> bool:
        allowed: bool = self.caller._script_allowed(fields)
        return allowed

    def _set_resp(self, resp: int) -> None:
        self.caller._script_resp = resp

    def _resp(self) -> int:
        return self.caller._script_resp or 2

    def _tick(self) -> str | None:
        if self._killed is not None:
            command = "FUNCTION" if self._running == "function" else "SCRIPT"
            return f"ERR Error running script: Script killed by user with {command} KILL."
        if self._deadline is None or time.monotonic() <= self._deadline:
            return None
        if self.wrote:
            raise ScriptAborted
        return SHUTTING_DOWN

    @property
    def busy(self) -> bool:
        """Whether a script runs, in any thread."""
        return self._running is not None or self.reserved

    @property
    def busy_error(self) -> SimpleError:
        """The reply to other clients while a script runs for too long."""
        command = "FUNCTION" if self._running == "function" else "SCRIPT"
        return SimpleError(f"BUSY Redis is busy running a script. You can only call {command} KILL or SHUTDOWN NOSAVE.")

    @property
    def patience(self) -> float:
        """How much longer the script may run before other clients are told that the server is busy, in seconds."""
        setting = self._config.get(b"busy-reply-threshold") or self._config.get(b"lua-time-limit") or b"5000"
        limit = int(setting) / 1000
        if limit <= 0:
            return math.inf
        if self._running is None:
            return limit
        end = self._started + limit
        if self._killed is not None:
            end = max(end, self._killed + KILLING)
        return end - time.monotonic()

    def enter(self, lock: threading.Lock) -> None:
        """Take the server's lock for a command. Raises `SimpleError` once a script has kept it for too long."""
        if lock.acquire(blocking=False):
            return
        while True:
            patience = self.patience if self.busy else 0.1
            if patience <= 0:
                raise self.busy_error
            if lock.acquire(timeout=min(patience, 1.0)):
                return

    def kill(self, kind: Literal["script", "function"]) -> None:
        """End the script that runs. Raises `SimpleError` where none does, or where it has written."""
        if self._running is None:
            raise SimpleError("NOTBUSY No scripts in execution right now.")
        if self.wrote:
            raise SimpleError(UNKILLABLE)
        if kind != self._running:
            raise self.busy_error
        self._killed = time.monotonic()

    def running_function(self) -> dict[bytes, Any] | None:
        """What FUNCTION STATS says of the function that runs. Raises `SimpleError` where a script does."""
        if self._running == "script":
            raise self.busy_error
        caller = self.caller
        if self._running is None or caller is None:
            return None
        duration = int((time.monotonic() - self._started) * 1000)
        words = list(caller._words)
        return {b"name": words[1], b"command": words, b"duration_ms": duration}

    def stop(self, seconds: float) -> None:
        """End scripts that run longer than `seconds` from now. `resume` lifts that limit."""
        self._deadline = time.monotonic() + seconds

    def resume(self) -> None:
        self._deadline = None

    def prepare(self, digest: bytes, text: bytes) -> None:
        """Compile a script unless it is. Raises `SimpleError` with the parser's complaint."""
        sandbox = self.sandbox
        if digest in self._compiled:
            return
        flags, text = script_flags(text)
        complaint = sandbox.compile(digest, text)
        if complaint is not None:
            raise SimpleError(f"ERR Error compiling script (new function): {complaint}")
        self._compiled.add(digest)
        self.read_only[digest] = b"no-writes" in flags

    def flush(self) -> None:
        """Drop the compiled scripts."""
        if self._sandbox is not None:
            for digest in self._compiled:
                self._sandbox.forget(digest)
        self._compiled = set()

    @contextmanager
    def running(self, caller: Any, kind: Literal["script", "function"] = "script") -> Iterator[Sandbox]:
        """The interpreter, for a script of the client `caller`. One that was stopped midway is not used again."""
        sandbox = self.sandbox
        self.caller, self.wrote, self._killed, self._started = caller, False, None, time.monotonic()
        self._running = kind
        try:
            yield sandbox
        except BaseException:
            self._sandbox = None
            raise
        finally:
            self.caller = self._running = None
            for call in tuple(self.when_done):
                call()
        if sandbox.worn:
            self._sandbox = None


class ScriptCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _db: Any
    _db_num: int
    _client_info: Any
    _script_resp: int | None
    _in_transaction: bool
    _fieldsets: Any
    _name_to_func: Callable[[str], Any]
    _run_command: Callable[..., Any]
    version: Any
    _only_reads = False
    """Whether the script that runs must not change anything."""

    @command("eval", fixed=(bytes, Int), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=SCRIPTING, key_count=1)
    def engine_eval(self, script: bytes, number: int, *args: bytes) -> Any:
        return self._evaluate(script, number, args, reading=False)

    @command(
        "eval_ro", fixed=(bytes, Int), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=SCRIPTING, key_count=1
    )
    def engine_eval_ro(self, script: bytes, number: int, *args: bytes) -> Any:
        return self._evaluate(script, number, args, reading=True)

    @command(
        "evalsha", fixed=(bytes, Int), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=SCRIPTING, key_count=1
    )
    def engine_evalsha(self, digest: bytes, number: int, *args: bytes) -> Any:
        return self._evaluate(self._script_of(digest), number, args, reading=False)

    @command(
        "evalsha_ro", fixed=(bytes, Int), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=SCRIPTING, key_count=1
    )
    def engine_evalsha_ro(self, digest: bytes, number: int, *args: bytes) -> Any:
        return self._evaluate(self._script_of(digest), number, args, reading=True)

    def _script_of(self, digest: bytes) -> bytes:
        script: bytes | None = self._server.script_cache.get(digest.lower())
        if script is None:
            raise SimpleError(msgs.NO_MATCHING_SCRIPT_MSG)
        return script

    def _evaluate(self, script: bytes, number: int, args: Sequence[bytes], *, reading: bool) -> Any:
        if number > len(args):
            raise SimpleError(msgs.TOO_MANY_KEYS_MSG)
        if number < 0:
            raise SimpleError(msgs.NEGATIVE_KEYS_MSG)
        scripting: Scripting = self._server.scripting
        digest = hashlib.sha1(script).hexdigest().encode()
        scripting.prepare(digest, script)
        self._server.script_cache[digest] = script

        def run(sandbox: Sandbox) -> Outcome:
            return sandbox.run(digest, args[:number], args[number:])

        return self._run_script(run, digest.decode(), reading or scripting.read_only[digest])

    @command("script load", fixed=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_script_load(self, script: bytes) -> bytes:
        digest = hashlib.sha1(script).hexdigest().encode()
        self._server.scripting.prepare(digest, script)
        self._server.script_cache[digest] = script
        return digest

    @command("script debug", fixed=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories="@scripting @slow")
    def engine_script_debug(self, mode: bytes) -> SimpleString:
        if mode.lower() == b"no":
            return SimpleString(b"OK")
        if mode.lower() in (b"yes", b"sync"):
            raise SimpleError("ERR SCRIPT DEBUG is not supported by the embedded engine; use a Redis server for it")
        raise SimpleError("ERR Use SCRIPT DEBUG YES/SYNC/NO")

    @command("script exists", fixed=(bytes,), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_script_exists(self, *digests: bytes) -> list[int]:
        return [int(digest.lower() in self._server.script_cache) for digest in digests]

    @command("script flush", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_script_flush(self, *args: bytes) -> SimpleString:
        if len(args) > 1 or (args and args[0].lower() not in (b"sync", b"async")):
            raise SimpleError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
        self._server.script_cache = {}
        self._server.scripting.flush()
        return SimpleString(b"OK")

    @command("script kill", flags=msgs.FLAG_NO_SCRIPT, categories="@slow @scripting")
    def engine_script_kill(self) -> SimpleString:
        self._server.scripting.kill("script")
        return SimpleString(b"OK")

    @command("function kill", flags=msgs.FLAG_NO_SCRIPT)
    def engine_function_kill(self) -> SimpleString:
        self._server.scripting.kill("function")
        return SimpleString(b"OK")

    def _functions(self) -> Functions:
        """What fakeredis' FUNCTION commands work on."""
        functions: Functions = self._server.scripting.functions
        return functions

    def function_stats(self) -> dict[bytes, Any]:
        """FUNCTION STATS, as fakeredis declares it, with the function that runs."""
        running = self._server.scripting.running_function()
        return {**super().function_stats(), b"running_script": running}  # type: ignore[misc]

    def function_list(self, *args: bytes) -> list[Any]:
        """FUNCTION LIST, as fakeredis declares it, with its pattern matched in linear time."""
        others, pattern = list(args), None
        for at, word in enumerate(args[:-1]):
            if word.lower() == b"libraryname":
                pattern = compile_glob(args[at + 1].lower())
                del others[at : at + 2]
                break
        found: list[Any] = super().function_list(*others)  # type: ignore[misc]
        return [each for each in found if pattern is None or pattern.match(each[b"library_name"].lower())]

    @command(
        "fcall", fixed=(bytes, bytes), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=SCRIPTING, key_count=1
    )
    def engine_fcall(self, name: bytes, number: bytes, *args: bytes) -> Any:
        return self._call_function(name, number, args, reading=False)

    @command(
        "fcall_ro", fixed=(bytes, bytes), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=SCRIPTING, key_count=1
    )
    def engine_fcall_ro(self, name: bytes, number: bytes, *args: bytes) -> Any:
        return self._call_function(name, number, args, reading=True)

    def _call_function(self, name: bytes, number: bytes, args: Sequence[bytes], *, reading: bool) -> Any:
        found = self._functions().library_of(name)
        if found is None:
            raise SimpleError(msgs.FUNCTION_NOT_FOUND_MSG)
        count = Int.decode(number, decode_error=msgs.FUNCTION_BAD_NUMKEYS_MSG)
        if count > len(args):
            raise SimpleError(msgs.TOO_MANY_KEYS_MSG)
        if count < 0:
            raise SimpleError(msgs.NEGATIVE_KEYS_MSG)
        library, function = found
        only_reads = b"no-writes" in function.flags
        if reading and not only_reads:
            raise SimpleError(msgs.FUNCTION_WRITE_FLAG_RO_MSG)

        def run(sandbox: Sandbox) -> Outcome:
            return sandbox.fcall(library, function.name, args[:count], args[count:])

        return self._run_script(run, name.decode("utf-8", "replace"), only_reads, "function")

    def _run_script(
        self,
        run: Callable[[Sandbox], Outcome],
        name: str,
        reading: bool,
        kind: Literal["script", "function"] = "script",
    ) -> Any:
        """Run a script as this client, and give its value in the client's protocol."""
        before = self._only_reads, self._in_transaction, self._fieldsets
        database = self._db_num, self._db  # a script's SELECT is its own
        # A script starts with RESP2 whatever the client speaks, blocks on nothing, and has fieldsets of its own.
        self._only_reads, self._script_resp, self._in_transaction, self._fieldsets = reading, 2, True, {}
        try:
            with self._server.scripting.running(self, kind) as sandbox:
                outcome = run(sandbox)
            resp = self._script_resp
        except ScriptStopped as stopped:
            raise SimpleError(str(stopped)) from None
        finally:
            self._script_resp = None
            self._only_reads, self._in_transaction, self._fieldsets = before
            self._db_num, self._db = database
        if outcome.error is not None:
            text = outcome.error
            if outcome.source is not None:
                text = f"{text} script: {name}, on {outcome.source}:{outcome.line}."
            raise SimpleError(text)
        return shaped(outcome.value, self._client_info.protocol_version, resp or 2)

    def _script_call(self, fields: list[bytes]) -> Any:
        """Run a command that the running script calls."""
        name, args = split_name(fields)
        try:
            function, signature = self._name_to_func(name)
        except SimpleError:
            lacks_word = len(fields) == 1 and (name in COMMANDS_WITH_SUB or name in CONTAINERS)
            raise SimpleError(WRONG_ARITY if lacks_word else UNKNOWN_COMMAND) from None
        if function is None:
            raise SimpleError(UNKNOWN_COMMAND)
        try:
            signature.check_arity(args, self.version)
        except SimpleError:
            raise SimpleError(WRONG_ARITY) from None
        info = get_command_info(name.encode())
        if name in BLOCKING:
            signature = copy.copy(signature)
            signature.flags = signature.flags - {msgs.FLAG_NO_SCRIPT}
        if msgs.FLAG_NO_SCRIPT in signature.flags or (info is not None and b"noscript" in info[2]):
            raise SimpleError(NOT_IN_SCRIPTS)
        if b"@write" in categories_of(name):
            self._server.scripting.wrote = True
        result = self._run_command(function, signature, SentArguments(args, fields), True)
        if isinstance(result, SimpleError):
            result.value = corrected_error(name, args, result.value)
            raise SimpleError(NOT_IN_SCRIPTS) if result.value == msgs.COMMAND_IN_SCRIPT_MSG else result
        result = plain_nulls(result)
        return SetReply(result) if self._script_resp == 3 and name in SETS and type(result) is list else result

    def _script_allowed(self, fields: list[bytes]) -> bool:
        """Whether this client's user may run a command."""
        name, args = split_name(fields)
        try:
            self._name_to_func(name)
        except SimpleError:
            raise SimpleError("ERR Invalid command passed to redis.acl_check_cmd()") from None
        user = self._server.acl.users.get(self._client_info.user)
        return user is not None and user.refusal(name, args) is None


def script_flags(text: bytes) -> tuple[set[bytes], bytes]:
    """The flags of a script's first line, ``#!lua flags=…``, and the script without it."""
    if not text.startswith(b"#!"):
        return set(), text
    line, newline, _ = text.partition(b"\n")
    if not newline:
        raise SimpleError("ERR Invalid script shebang")
    engine, *options = line.split()
    if engine != b"#!lua":
        name = engine[2:].decode("utf-8", "replace")
        raise SimpleError(f"ERR Unexpected engine in script shebang: {name}")
    flags: set[bytes] = set()
    for option in options:
        if not option.startswith(b"flags="):
            raise SimpleError(f"ERR Unknown lua shebang option: {option.decode('utf-8', 'replace')}")
        for flag in option[6:].split(b","):
            if flag and flag not in FUNCTION_FLAGS:
                raise SimpleError(f"ERR Unexpected flag in script shebang: {flag.decode('utf-8', 'replace')}")
            flags.add(flag)
    return flags, text[len(line) :]


def shaped(value: Any, protocol: int, resp: int) -> Any:
    """A script's value as a reply in the client's protocol. `resp` is what the script had set."""
    if type(value) is bool:
        if resp == 3:
            return value if protocol == 3 else int(value)
        return 1 if value else None
    if type(value) is BigNumber:
        return value if protocol == 3 else bytes(value)
    if type(value) is Verbatim:
        return value if protocol == 3 else bytes(value[4:])
    if type(value) is MapReply:
        pairs = [(shaped(key, protocol, resp), shaped(item, protocol, resp)) for key, item in value]
        if protocol == 3 and all(isinstance(key, bytes | int | float | None) for key, _ in pairs):
            return dict(pairs)
        return [each for pair in pairs for each in pair]
    if isinstance(value, SetReply):
        items = [shaped(item, protocol, resp) for item in value]
        return SetReply(items) if protocol == 3 else items
    if type(value) is list:
        return [shaped(item, protocol, resp) for item in value]
    return value
