"""`JsonCommands`: the JSON.* commands that read, with RedisJSON's replies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError

from relay_models.embedded.json.path import JSONPath, whole_path
from relay_models.embedded.json.text import dumps
from relay_models.embedded.json.value import JsonDocument
from relay_models.embedded.json.write_commands import (
    FLAGS,
    I64_MAX,
    NO_SUCH_KEY,
    RAW_FLAGS,
    JsonWriteCommands,
    arguments_error,
    document_of,
    kind_of,
    parse_json,
    parse_path,
    shown,
)
from relay_models.embedded.registry import command
from relay_models.embedded.reply_types import encode_double

__all__ = ["JsonCommands"]


class JsonCommands(JsonWriteCommands):
    """Mixed into the engine's sockets."""

    _db: Any

    @command("json.get", fixed=(Key(),), repeat=(bytes,), flags=RAW_FLAGS)
    def engine_json_get(self, key: CommandItem, *args: bytes) -> Any:
        layout = _Layout()
        expand = False
        given: list[bytes] = []
        words = iter(args)
        for word in words:
            option = word.lower()
            if option in (b"indent", b"newline", b"space"):
                setattr(layout, option.decode(), next(words, b"").decode("utf-8", "replace"))
            elif option == b"format":
                if self._resp_version == 2 and not given:
                    raise SimpleError("ERR FORMAT argument is not supported on RESP2")
                form = next(words, b"").upper()
                if form not in (b"STRING", b"EXPAND", b"EXPAND1"):
                    raise SimpleError("ERR wrong format")
                expand = form != b"STRING" and self._resp_version == 3
            elif option != b"noescape":
                given.append(word)
        document = document_of(key)
        if document is None:
            return None
        several = len(given) > 1 and not expand
        # Of several paths, invalid ones are ignored.
        paths = _readable(given) if several else [parse_path(path) for path in given]
        if not expand and not several and layout.is_plain and all(path.is_root for path in paths):
            legacy = not paths or paths[0].is_legacy
            return document.text if legacy else b"[%b]" % document.text
        root = document.value
        if expand:
            return [_expanded(path.find(root)) for path in paths or [parse_path(b"$")]]
        if not given:
            return layout.write(root)
        if not several:
            found = paths[0].find(root)
            if not paths[0].is_legacy:
                return layout.write(found)
            if not found:
                raise SimpleError(f"ERR Path '{shown(paths[0])}' does not exist")
            return layout.write(found[0])
        # Several paths: legacy ones only when all are, and then one value each instead of a list.
        all_legacy = all(whole_path(path)[0] for path in given)
        answer: dict[str, Any] = {}
        for path in paths:
            found = path.find(root)
            if all_legacy and not found:
                raise SimpleError(f"ERR Path '{path.text}' does not exist")
            answer[path.text] = found[0] if all_legacy else found
        return layout.write(answer)

    @command("json.mget", fixed=(bytes,), repeat=(bytes,), flags=RAW_FLAGS, keys=(0, -2))
    def engine_json_mget(self, *args: bytes) -> list[bytes | None]:
        if len(args) < 2:
            raise arguments_error("json.mget")
        try:
            path = parse_path(args[-1])
        except SimpleError:
            return [None] * (len(args) - 1)
        replies: list[bytes | None] = []
        for name in args[:-1]:
            item = self._db.get(name)
            document = None if item is None else item.value
            if type(document) is not JsonDocument:
                replies.append(None)
            elif path.is_root:
                replies.append(document.text if path.is_legacy else b"[%b]" % document.text)
            else:
                found = path.find(document.value)
                if path.is_legacy:
                    replies.append(dumps(found[0]) if found else None)
                else:
                    replies.append(dumps(found))
        return replies

    @command("json.type", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_type(self, key: CommandItem, *paths: bytes) -> Any:
        document = document_of(key)
        reply: Any = None
        given = paths[0] if paths else b"."
        # An invalid legacy path has no match.
        if document is not None and not (whole_path(given)[0] and not _readable([given])):
            path = parse_path(given)
            kinds = [kind_of(value).encode() for value in path.find(document.value)]
            reply = (kinds[0] if kinds else None) if path.is_legacy else kinds
        return [reply] if self._resp_version == 3 else reply

    def _measure(
        self,
        key: CommandItem,
        paths: tuple[bytes, ...],
        measure: Callable[[Any], Any],
        *,
        nothing: Callable[[JSONPath], Any],
        unfit: Callable[[JSONPath, Any], Any],
        no_key: Callable[[bool, str], Any] | None = None,
        unreadable_is_nothing: bool = False,
    ) -> Any:
        """One number or list for each match; for a legacy path, that of the first match, or the reply for its absence.

        For some commands an invalid legacy path has no match.
        """
        given = paths[0] if paths else b"."
        document = document_of(key)
        if document is None:
            return (_none if no_key is None else no_key)(*whole_path(given))
        try:
            path = parse_path(given)
        except SimpleError:
            if unreadable_is_nothing and whole_path(given)[0]:
                return None
            raise
        found = path.find(document.value)
        if not path.is_legacy:
            return [measure(value) for value in found]
        if not found:
            return nothing(path)
        reply = measure(found[0])
        return unfit(path, found[0]) if reply is None else reply

    @command("json.strlen", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_strlen(self, key: CommandItem, *paths: bytes) -> Any:
        return self._measure(
            key,
            paths,
            lambda value: len(value.encode()) if type(value) is str else None,
            nothing=_missing,
            unfit=_expected("string"),
        )

    @command("json.arrlen", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_arrlen(self, key: CommandItem, *paths: bytes) -> Any:
        def unfit(path: JSONPath, value: Any) -> Any:
            raise SimpleError(f"ERR Path '{path.text}' does not exist or not an array")

        def nothing(path: JSONPath) -> Any:
            raise SimpleError(f"ERR Path '{path.text}' does not exist")

        return self._measure(
            key, paths, lambda value: len(value) if type(value) is list else None, nothing=nothing, unfit=unfit
        )

    @command("json.objlen", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_objlen(self, key: CommandItem, *paths: bytes) -> Any:
        return self._measure(
            key,
            paths,
            lambda value: len(value) if type(value) is dict else None,
            nothing=lambda path: None,
            unfit=_expected("object"),
            unreadable_is_nothing=True,
            no_key=_no_object,
        )

    @command("json.objkeys", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_objkeys(self, key: CommandItem, *paths: bytes) -> Any:
        def unfit(path: JSONPath, value: Any) -> Any:
            raise _not_an_object(path)

        return self._measure(
            key,
            paths,
            lambda value: [name.encode() for name in value] if type(value) is dict else None,
            nothing=lambda path: None,
            unfit=unfit,
            unreadable_is_nothing=True,
        )

    @command("json.arrindex", fixed=(Key(), bytes, bytes), repeat=(bytes,), flags=FLAGS)
    def engine_json_arrindex(self, key: CommandItem, path: bytes, text: bytes, *bounds: bytes) -> Any:
        try:
            start, stop = (int(bounds[0]) if bounds else 0), (int(bounds[1]) if len(bounds) > 1 else 0)
        except ValueError:
            raise SimpleError("ERR Couldn't parse as integer") from None
        document_of(key)
        wanted = parse_json(text, whole=True)

        def find(value: Any) -> int | None:
            if type(value) is not list:
                return None
            size = len(value)
            begin = max(0, start + size) if start < 0 else start
            end = size if stop == 0 else (stop + size if stop < 0 else stop)
            for at in range(begin, min(end, size)):
                if kind_of(value[at]) == kind_of(wanted) and value[at] == wanted:
                    return at
            return -1

        def no_key(legacy: bool, full: str) -> Any:
            raise SimpleError(f"ERR Path '{path.decode('utf-8', 'replace')}' does not exist")

        return self._measure(key, (path,), find, nothing=_missing, unfit=_expected("array"), no_key=no_key)

    @command("json.resp", fixed=(Key(),), repeat=(bytes,), flags=FLAGS, categories="@json")
    def engine_json_resp(self, key: CommandItem, *paths: bytes) -> Any:
        document = document_of(key)
        if document is None:
            return None
        path = parse_path(paths[0] if paths else b".")
        found = [self._as_resp(value) for value in path.find(document.value)]
        if not path.is_legacy:
            return found
        return found[0] if found else _missing(path)

    def _as_resp(self, value: Any) -> Any:
        if type(value) is dict:
            flat: list[Any] = [b"{"]
            for name, member in value.items():
                flat += [name.encode(), self._as_resp(member)]
            return flat
        if type(value) is list:
            return [b"[", *map(self._as_resp, value)]
        if type(value) is bool:
            return b"true" if value else b"false"
        if type(value) is int and value > I64_MAX:
            value = float(value)
        if type(value) is float:
            return value if self._resp_version == 3 else encode_double(value)
        return value.encode() if type(value) is str else value

    @command("json.debug", fixed=(bytes,), repeat=(bytes,), flags=FLAGS, categories="@json", keys=(1, 1))
    def engine_json_debug(self, subcommand: bytes, *args: bytes) -> Any:
        if subcommand.lower() == b"help":
            return [b"MEMORY <key> [path] - reports memory usage", b"HELP                - this message"]
        if subcommand.lower() != b"memory" or not args:
            raise SimpleError("ERR unknown subcommand - try `JSON.DEBUG HELP`")
        item = self._db.get(args[0])
        given = args[1] if len(args) > 1 else b"."
        if item is None:
            return 0 if whole_path(given)[0] else []
        path = parse_path(given)
        sizes = [len(dumps(value)) for value in path.find(document_of(item).value)]  # type: ignore[union-attr]
        if not path.is_legacy:
            return sizes
        return sizes[0] if sizes else _missing(path)


def _readable(paths: list[bytes]) -> list[JSONPath]:
    found = []
    for path in paths:
        try:
            found.append(parse_path(path))
        except SimpleError:
            continue
    return found


def _none(legacy: bool, full: str) -> Any:
    """The reply for a key that does not exist."""
    if legacy:
        return None
    raise SimpleError(NO_SUCH_KEY)


def _no_object(legacy: bool, full: str) -> Any:
    if legacy:
        return None
    raise SimpleError(f"ERR Path '{full}' does not exist or not an object")


def _missing(path: JSONPath) -> Any:
    raise SimpleError(f"ERR Path '{shown(path)}' does not exist")


def _not_an_object(path: JSONPath) -> SimpleError:
    return SimpleError(f"ERR Path '{shown(path)}' does not exist or not an object")


def _expected(kind: str) -> Callable[[JSONPath, Any], Any]:
    def unfit(path: JSONPath, value: Any) -> Any:
        raise SimpleError(f"WRONGTYPE wrong type of path value - expected {kind} but found {kind_of(value)}")

    return unfit


def _expanded(value: Any) -> Any:
    """A value as RESP3 has it, for ``FORMAT EXPAND``."""
    if type(value) is dict:
        return {name.encode(): _expanded(member) for name, member in value.items()}
    if type(value) is list:
        return [_expanded(item) for item in value]
    return value.encode() if type(value) is str else value


# Bytes that the format may add to a document: more would be no reply that the protocol carries.
MAX_WRITTEN: Final = 512 * 1024 * 1024


class _Layout:
    """The format that JSON.GET was asked for."""

    def __init__(self) -> None:
        self.indent = ""
        self.newline = ""
        self.space = ""
        self._written = 0

    @property
    def is_plain(self) -> bool:
        return not (self.indent or self.newline or self.space)

    def write(self, value: Any) -> bytes:
        return dumps(value) if self.is_plain else self._pretty(value, 1).encode()

    def _count(self, size: int) -> None:
        self._written += size
        if self._written > MAX_WRITTEN:
            raise SimpleError("ERR the formatted document is too large")

    def _pretty(self, value: Any, depth: int) -> str:
        if not value or type(value) not in (dict, list):
            return dumps(value).decode()
        self._count((len(self.newline) + len(self.space)) * (len(value) + 1) + len(self.indent) * depth * len(value))
        inner = self.newline + self.indent * depth
        outer = self.newline + self.indent * (depth - 1)
        if type(value) is list:
            return "[" + ",".join(inner + self._pretty(item, depth + 1) for item in value) + outer + "]"
        members = (
            f"{inner}{json.dumps(name, ensure_ascii=False)}:{self.space}{self._pretty(member, depth + 1)}"
            for name, member in value.items()
        )
        return "{" + ",".join(members) + outer + "}"
