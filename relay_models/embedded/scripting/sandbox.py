"""`Sandbox`: a Lua interpreter in which a script sees what a script of Redis sees, and nothing of Python.

fakeredis gives scripts all of Lua's libraries (`os`, `io`, `require`) and lupa's `python`, through which a script runs
any program as the user who runs the engine. Here Lua's part is sandbox.lua: it shows scripts views of the tables that
they may use and keeps the callbacks into Python to itself. The second fence is here: a Python object that got to a
script in spite of it, an exception say, has no attributes for it.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import math
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import lupa
from fakeredis._helpers import SimpleError, SimpleString

from relay_models.embedded.reply_types import BigNumber, PlainReply, SetReply, Verbatim, encode_double
from relay_models.embedded.scripting.binary import (
    pack_number,
    struct_pack,
    struct_size,
    struct_unpack,
)
from relay_models.embedded.scripting.bits import bit_operation

__all__ = ["Outcome", "Sandbox", "ScriptStopped"]

with lupa.allow_lua_module_loading():
    _lua: Any = importlib.import_module("lupa.lua51")

SOURCE: Final = Path(__file__).with_name("sandbox.lua")
LIBRARIES: Final = Path(__file__).with_name("libraries.lua")

# What a script may allocate, in bytes, beside its keys and arguments.
MEMORY: Final = 256 * 1024 * 1024
# What a callback's reply may need on top, so that handing it over never fails within Python's frames.
SLACK: Final = 1024 * 1024
# An interpreter that holds more than this after a script and a collection is replaced by a new one.
KEPT: Final = 32 * 1024 * 1024

LOG_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING)
CONSTANTS: Final = {
    b"LOG_DEBUG": 0, b"LOG_VERBOSE": 1, b"LOG_NOTICE": 2, b"LOG_WARNING": 3,
    b"REPL_NONE": 0, b"REPL_AOF": 1, b"REPL_SLAVE": 2, b"REPL_REPLICA": 2, b"REPL_ALL": 3,
}  # fmt: skip

logger = logging.getLogger("relay_models.embedded")


class ScriptStopped(Exception):
    """The script was ended from outside; the text is the reply's."""


class Outcome(NamedTuple):
    """What running a script came to: its value, or the text of its error and where that arose."""

    value: Any = None
    error: str | None = None
    source: str | None = None
    line: int | None = None


def _no_attributes(*_: Any) -> Any:
    raise AttributeError("not available to scripts")


class Sandbox:
    """One interpreter. Everything here runs under the server's lock.

    Args:
        call: Runs a command for the running script. It takes the command's arguments and gives the reply, or raises
            `SimpleError`.
        allowed: Whether the script's user may run a command, given by its arguments.
        set_resp: Sets the protocol of the replies that the script gets.
        resp: Tells the protocol of the replies that the script gets.
        tick: Called about once in a millisecond of a script. Gives the text to end the script with, or None.
        version: The version of Redis that scripts are told.
    """

    def __init__(
        self,
        *,
        call: Callable[[list[bytes]], Any],
        allowed: Callable[[list[bytes]], bool],
        set_resp: Callable[[int], None],
        resp: Callable[[], int],
        tick: Callable[[], str | None],
        version: str,
    ) -> None:
        self._call, self._allowed, self._set_resp, self._resp, self._tick = call, allowed, set_resp, resp, tick
        self._interruption: BaseException | None = None
        self._stopped: bytes | None = None
        self._limit = 0
        self._seed = secrets.randbits(48)
        self._lua = _lua.LuaRuntime(
            encoding=None,
            attribute_filter=_no_attributes,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            max_memory=0,
        )
        major, minor, patch = (int(part) for part in version.split("."))
        constants = CONSTANTS | {
            b"REDIS_VERSION": version.encode(),
            b"REDIS_VERSION_NUM": major << 16 | minor << 8 | patch,
        }
        callbacks = (
            self._guard(self._on_call),
            self._on_tick,
            self._arm,
            self._guard(self._on_log),
            self._guard(lambda text: hashlib.sha1(text).hexdigest().encode()),
            self._guard(lambda *args: self._allowed(command_fields(args))),
            self._guard(lambda resp: self._set_resp(int(resp))),
            self._guard(lambda name, *numbers: bit_operation(name.decode(), numbers)),
            self._random,
            self._lua.table_from(constants),
            self._lua.compile(LIBRARIES.read_bytes(), name="=[C]"),
            self._guard(struct_pack),
            self._spread(self._on_struct),
            self._guard(pack_number),
        )
        self._entry, self._null = self._lua.execute(SOURCE.read_bytes(), *callbacks, name="=[C]")
        self._compile, self._run = self._entry[b"compile"], self._entry[b"run"]

    # What scripts call. Nothing is ever raised into Lua: an exception would be an object in the script's hands.

    def _guard(self, function: Callable[..., Any]) -> Callable[..., tuple[bool | None, Any]]:
        """A callback that gives (True, value), (False, the error's text), or (None, why the script ends)."""

        def callback(*args: Any) -> tuple[bool | None, Any]:
            # Without a limit while Python is at work: Lua's memory errors jump over the frames between.
            self._lua.set_max_memory(0)
            ok: bool | None
            try:
                ok, value = True, function(*args)
            except SimpleError as error:
                ok, value = False, error.value.encode()
            except ScriptStopped as stopped:
                ok, value = None, str(stopped).encode()
                self._stopped = value
            except BaseException as error:
                self._interruption = error
                ok, value = None, b"ERR interrupted"
            needed = self._lua.get_memory_used() + (len(value) if type(value) is bytes else 0)
            if ok and needed > self._limit:
                ok, value = None, b"ERR not enough memory for the script"
            self._lua.set_max_memory(max(self._limit, needed) + SLACK)
            return ok, value

        return callback

    def _spread(self, function: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        """As `_guard`, for a function that gives several values."""
        guarded = self._guard(function)

        def callback(*args: Any) -> tuple[Any, ...]:
            ok, value = guarded(*args)
            return (ok, *value) if type(value) is tuple else (ok, value)

        return callback

    def _on_struct(self, fmt: bytes, data: bytes | None = None, start: float = 1) -> tuple[Any, ...]:
        if data is None:
            return (struct_size(fmt),)
        values = struct_unpack(fmt, data, start)
        return self._lua.table_from(dict(enumerate(values, 1))), len(values)

    def _arm(self) -> None:
        self._limit = int(self._lua.get_memory_used()) + MEMORY
        self._lua.set_max_memory(self._limit)

    def _on_tick(self) -> bytes | None:
        try:
            reason = self._tick()
        except BaseException as error:
            self._interruption = error
            reason = "ERR interrupted"
        self._stopped = None if reason is None else reason.encode()
        return self._stopped

    def _on_call(self, *args: Any) -> Any:
        return self._to_lua(self._call(command_fields(args)), self._resp())

    def _on_log(self, level: float, text: bytes) -> None:
        logger.log(LOG_LEVELS[level if type(level) is int else 0], "script: %s", text.decode("utf-8", "replace"))

    def _random(self, seed: float | None = None) -> float | None:
        """The next number of drand48, which scripts of Redis have; or its start from a seed."""
        if seed is not None:
            self._seed = ((int(seed) if math.isfinite(seed) else 0) & 0xFFFFFFFF) << 16 | 0x330E
            return None
        self._seed = (self._seed * 0x5DEECE66D + 0xB) & (2**48 - 1)
        return (self._seed >> 17) % (2**31 - 1) / (2**31 - 1)

    # Replies for Lua, and values from it

    def _to_lua(self, value: Any, resp: int) -> Any:
        plain = self._plain(value, resp)
        return self._lua.table_from(plain, recursive=True) if type(plain) is dict else plain

    def _plain(self, value: Any, resp: int) -> Any:
        """A reply as bytes, numbers and booleans, and dictionaries for tables."""
        kind = type(value)
        if kind is bytes:
            return value
        if kind is bool:
            return value if resp == 3 else int(value)
        if kind is int:
            return value if -(2**63) <= value < 2**63 else {b"big_number": b"%d" % value}
        if value is None:
            return False if resp == 2 else None
        if kind is float:
            return {b"double": value} if resp == 3 else encode_double(value)
        if kind is PlainReply:
            return self._plain(value.value, resp)
        if kind is SimpleString:
            return {b"ok": value.value}
        if isinstance(value, SimpleError):
            return {b"err": value.value.encode()}
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            if resp == 3:
                pairs = ((self._plain(key, resp), self._plain(item, resp)) for key, item in value.items())
                return {b"map": {key: item for key, item in pairs if item is not None}}
            return self._numbered((each for pair in value.items() for each in pair), resp)
        if resp == 3 and isinstance(value, SetReply | set | frozenset):
            return {b"set": {self._plain(item, resp): True for item in value}}
        return self._numbered(value, resp)

    def _numbered(self, values: Iterable[Any], resp: int) -> dict[int, Any]:
        plain = ((place, self._plain(value, resp)) for place, value in enumerate(values, 1))
        return {place: value for place, value in plain if value is not None}

    # Running

    def compile(self, digest: bytes, text: bytes) -> str | None:
        """Compile a script under its digest. Gives the parser's complaint, or None."""
        self._lua.set_max_memory(0)
        complaint = self._compile(digest, text)
        return None if complaint is None else complaint.decode("utf-8", "replace")

    def forget(self, digest: bytes) -> None:
        """Drop a compiled script."""
        self._entry[b"forget"](digest)

    def run(self, digest: bytes, keys: Iterable[bytes], args: Iterable[bytes]) -> Outcome:
        """Run a compiled script. Raises `ScriptStopped`, or what interrupted it."""
        return self._finish(self._start(self._run, digest, self._table(keys), self._table(args)))

    def load(self, library: bytes, text: bytes) -> Outcome:
        """Run a library's code. The outcome's value lists (name, description, flags) of the functions it registered.

        Raises `ScriptStopped`, or what interrupted it.
        """
        results = self._start(self._entry[b"load"], library, text)
        if results[0] == 3:
            return Outcome(error=results[1].decode("utf-8", "replace"), source="compile")
        outcome = self._finish(results)
        if outcome.error is not None:
            return outcome
        found = outcome.value
        functions = [found[place] for place in range(1, len(found) + 1)]
        return Outcome([(each[b"name"], each[b"description"], list(each[b"flags"].values())) for each in functions])

    def unload(self, library: bytes) -> None:
        """Drop a library's functions."""
        self._entry[b"unload"](library)

    def fcall(self, library: bytes, name: bytes, keys: Iterable[bytes], args: Iterable[bytes]) -> Outcome:
        """Run a library's function. Raises `ScriptStopped`, or what interrupted it."""
        function = self._entry[b"fcall"]
        return self._finish(self._start(function, library, name, self._table(keys), self._table(args)))

    def _table(self, values: Iterable[bytes]) -> Any:
        return self._lua.table_from(dict(enumerate(values, 1)))

    def _start(self, function: Any, *args: Any) -> tuple[Any, ...]:
        self._interruption, self._stopped = None, None
        self._lua.set_max_memory(0)
        try:
            results = function(*args)
        except _lua.LuaError as error:
            text = str(error) or "not enough memory"
            results = (1, f"ERR {text}".encode()) if self._stopped is None else (2, self._stopped)
        finally:
            self._lua.set_max_memory(0)
        interruption, self._interruption = self._interruption, None
        if type(results) is tuple and isinstance(results[1], BaseException):
            interruption = results[1]
        if interruption is not None:
            raise interruption
        return results if type(results) is tuple else (results, None)

    def _finish(self, results: tuple[Any, ...]) -> Outcome:
        status, value, source, line = (*results, None, None)[:4]
        if status == 0:
            return Outcome(read_value(value) if type(value) is bytes else value)
        text = value.decode("utf-8", "replace")
        if status == 2:
            raise ScriptStopped(text)
        return Outcome(None, text, source and source.decode(), line and int(line))

    @property
    def worn(self) -> bool:
        """Whether the interpreter holds so much after a collection that a new one is better."""
        if self._memory() > KEPT:
            self._lua.gccollect()
        return self._memory() > KEPT

    def _memory(self) -> int:
        return int(self._lua.get_memory_used())


def command_fields(args: Iterable[Any]) -> list[bytes]:
    """The arguments of a command as Lua has them, strings and numbers, as Redis sends them."""
    return [arg if type(arg) is bytes else number_text(arg) for arg in args]


def number_text(number: float) -> bytes:
    return b"%d" % number if type(number) is int and abs(number) < 10**17 else f"{number:.17g}".encode()


def integer(text: bytes) -> int:
    """A number of Lua's as the integer that C makes of it."""
    number = float(text)
    return int(number) if -(2.0**63) <= number < 2.0**63 else -(2**63)


def read_value(text: bytes) -> Any:
    """What `write` of sandbox.lua has written."""
    value, _ = _read(text, 0)
    return value


def _read(text: bytes, start: int) -> tuple[Any, int]:
    end = text.index(b"\n", start)
    mark, head = text[start], text[start + 1 : end]
    end += 1
    if mark == ord(":"):
        return integer(head), end
    if mark == ord(","):
        return float(head), end
    if mark == ord("_"):
        return None, end
    if mark in b"tf":
        return mark == ord("t"), end
    size = int(head)
    if mark in b"$+-(=":
        body, end = text[end : end + size], end + size
        if mark == ord("+"):
            return SimpleString(body), end
        if mark == ord("-"):
            return SimpleError(body.decode("utf-8", "replace")), end
        if mark == ord("="):
            return Verbatim(body), end
        return BigNumber(body) if mark == ord("(") else body, end
    items: list[Any] = []
    for _ in range(2 * size if mark == ord("%") else size):
        item, end = _read(text, end)
        items.append(item)
    if mark == ord("%"):
        return MapReply(zip(items[::2], items[1::2], strict=True)), end
    return SetReply(items) if mark == ord("~") else items, end


class MapReply(list[tuple[Any, Any]]):
    """A map whose keys may be anything."""
