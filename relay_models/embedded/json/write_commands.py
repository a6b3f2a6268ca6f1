"""`JsonWriteCommands`: the JSON.* commands that write, with RedisJSON's replies, in place of fakeredis' own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.json.path import JSONPath, Match, PathSyntaxError, compile_path, whole_path
from relay_models.embedded.json.text import JSONTextError, dumps, loads, normalise
from relay_models.embedded.json.value import JsonDocument, merge, remove_name
from relay_models.embedded.registry import command

__all__ = ["JsonWriteCommands", "document_of", "kind_of", "parse_path", "require_document", "shown"]

WRONG_KEY_TYPE = "Existing key has wrong Redis type"
NO_SUCH_KEY = "ERR could not perform this operation on a key that doesn't exist"
NOT_AT_ROOT = "ERR new objects must be created at the root"
WRONG_STATIC_PATH = "Err wrong static path"

KINDS = {dict: "object", list: "array", str: "string", int: "integer", float: "number", bool: "boolean"}
I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1

FLAGS = msgs.FLAG_LEAVE_EMPTY_VAL + msgs.FLAG_DO_NOT_CREATE
RAW_FLAGS = FLAGS + msgs.FLAG_SKIP_CONVERT_TO_RESP2


def kind_of(value: Any) -> str:
    """What RedisJSON calls the type of a value."""
    return KINDS.get(type(value), "null")


def document_of(key: CommandItem) -> JsonDocument | None:
    """The document at a key, None where there is no key; another type is an error."""
    value = key.value
    if value is None or type(value) is JsonDocument:
        return value
    raise SimpleError(WRONG_KEY_TYPE)


def require_document(key: CommandItem) -> JsonDocument:
    document = document_of(key)
    if document is None:
        raise SimpleError(NO_SUCH_KEY)
    return document


def parse_path(path: bytes) -> JSONPath:
    try:
        return compile_path(path)
    except PathSyntaxError as error:
        raise SimpleError(str(error)) from None


def parse_json(text: bytes, prefix: str = "", *, whole: bool = False) -> Any:
    try:
        return loads(text, whole=whole)
    except JSONTextError as error:
        raise SimpleError(f"{prefix}{error}") from None


def shown(path: JSONPath) -> str:
    """A path as error messages show it."""
    return path.full


def arguments_error(name: str) -> SimpleError:
    return SimpleError(msgs.WRONG_ARGS_MSG6.format(name))


def replace(match: Match, root: Any, value: Any) -> Any:
    """Put `value` where `match` is, and give the root, which is `value` itself where the match is the root."""
    if match.parent is None:
        return value
    match.parent[match.key] = value
    return root


class JsonWriteCommands:
    """Mixed into the engine's sockets."""

    _resp_version: int
    _server: Any
    _db: Any
    _keyspace_notifications: Callable[..., None]

    # Each change parses the document, changes that copy, and stores it again.

    def _set(self, document: JsonDocument | None, given: bytes, value: Any, only: str | None) -> JsonDocument | None:
        """The document after JSON.SET; None where nothing is set."""
        if document is None:
            if only == "xx":
                return None
            if whole_path(given)[1] != "$":
                raise SimpleError(NOT_AT_ROOT)
            return JsonDocument.of(value)
        path = parse_path(given)
        if path.is_root:
            return None if only == "nx" else JsonDocument.of(value)
        root = document.value
        matches = path.matches(root) if only != "nx" or path.is_static else []
        if matches:
            if only == "nx":
                return None
            for match in matches:
                root = replace(match, root, value)
            return JsonDocument.of(root)
        if only == "xx":
            return None
        return self._add(path, root, value)

    @staticmethod
    def _add(path: JSONPath, root: Any, value: Any) -> JsonDocument | None:
        """Add a member to the one object that a path without wildcards names."""
        if not path.is_static:
            raise SimpleError(WRONG_STATIC_PATH)
        if path.parent_path is None or path.last_name is None:
            raise SimpleError("ERR array index out of range")
        holders = [holder for holder in path.parent_path.find(root) if type(holder) is dict]
        if not holders:
            return None
        for holder in holders:
            holder[path.last_name] = value
        return JsonDocument.of(root)

    # The one write that must be fast takes its key as bytes, without an item.
    @command("json.set", fixed=(bytes, bytes, bytes), repeat=(bytes,), flags=FLAGS, keys=(0, 0))
    def engine_json_set(self, key: bytes, path: bytes, text: bytes, *options: bytes) -> SimpleString | None:
        only: str | None = None
        words = iter(options)
        for word in words:
            option = word.decode("utf-8", "replace").lower()
            if option in ("nx", "xx") and only is None:
                only = option
            elif option == "format":
                next(words, b"")
            else:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        try:
            value, written = normalise(text)
        except JSONTextError as error:
            raise SimpleError(str(error)) from None
        item = self._db.get(key)
        held = None if item is None else item.value
        if held is not None and type(held) is not JsonDocument:
            raise SimpleError(WRONG_KEY_TYPE)
        document = self._set(held, path, value, only)
        if document is None:
            return None
        if path == b"$" or whole_path(path)[1] == "$":
            document = JsonDocument(written, value)
        self._db.put(key, document)
        if self._server.subscribers or self._server.psubscribers:
            written_key = CommandItem(key, self._db, item)
            written_key.updated()
            self._keyspace_notifications([written_key], b"json.set")
        return OK

    @command("json.mset", fixed=(Key(), bytes, bytes), repeat=(Key(), bytes, bytes), flags=FLAGS)
    def engine_json_mset(self, *args: Any) -> SimpleString:
        triples = [(args[at], args[at + 1], args[at + 2]) for at in range(0, len(args), 3)]
        # All or nothing: errors are found before anything is set. Keys named twice see the earlier change.
        pending: dict[bytes, CommandItem] = {}
        plans: list[tuple[CommandItem, JsonDocument]] = []
        for item, path, text in triples:
            known = pending.setdefault(item.key, CommandItem(item.key, item.db, item.db.get(item.key)))
            held = document_of(known)
            if held is None and whole_path(path)[1] != "$":
                raise SimpleError(NOT_AT_ROOT)
            document = self._set(held, path, parse_json(text), None)
            if document is not None:
                document.forget_value()
                known.update(document)
                plans.append((item, document))
        for item, document in plans:
            for same, _, _ in triples:
                if same.key == item.key:
                    same.update(document)
        return OK

    @command("json.merge", fixed=(Key(), bytes, bytes), flags=FLAGS)
    def engine_json_merge(self, key: CommandItem, path: bytes, text: bytes) -> SimpleString | None:
        document = document_of(key)
        patch = parse_json(text)
        if document is None:
            if whole_path(path)[1] != "$":
                raise SimpleError(NOT_AT_ROOT)
            key.update(JsonDocument.of(patch))
            return OK
        compiled = parse_path(path)
        root = document.value
        matches = compiled.matches(root)
        if not matches:
            added = self._add(compiled, root, patch)
            if added is None:
                return None
            key.update(added)
            return OK
        for match in matches:
            root = replace(match, root, merge(match.value, patch))
        key.update(JsonDocument.of(root))
        return OK

    @command("json.del", "json.forget", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_del(self, key: CommandItem, *paths: bytes) -> int:
        document = document_of(key)
        if document is None:
            return 0
        path = parse_path(paths[0] if paths else b"$")
        if path.is_root:
            key.value = None
            return 1
        root = document.value
        matches = _outermost(path.matches(root))
        for match in matches:
            if type(match.parent) is dict:
                remove_name(match.parent, match.key)
        # From the back, so that the indexes of the others stay valid.
        for match in reversed(matches):
            if type(match.parent) is list:
                del match.parent[match.key]
        if matches:
            key.update(JsonDocument.of(root))
        return len(matches)

    def _change(
        self, key: CommandItem, path: bytes, change: Callable[[Any], tuple[Any, Any] | None], otherwise: str | None
    ) -> tuple[JSONPath, list[Any]]:
        """Apply `change` (value -> (new value, reply), None where the type is wrong) to every match.

        Returns the replies, None for values of the wrong type. `otherwise` is the error of a legacy path without a
        match of the right type, or None where that is no error.
        """
        root = require_document(key).value
        compiled = parse_path(path)
        replies: list[Any] = []
        changed = False
        for match in compiled.matches(root):
            try:
                outcome = change(match.value)
            except SimpleError:
                if changed:  # the matches before it stay changed, as on the real server
                    key.update(JsonDocument.of(root))
                raise
            if outcome is None:
                replies.append(None)
                continue
            if outcome[0] is not match.value:
                root = replace(match, root, outcome[0])
            replies.append(outcome[1])
            changed = True
        if changed:
            key.update(JsonDocument.of(root))
        elif compiled.is_legacy and otherwise is not None:
            raise SimpleError(f"ERR Path '{shown(compiled)}' does not exist or {otherwise}")
        return compiled, replies

    @staticmethod
    def _reply(path: JSONPath, replies: list[Any]) -> Any:
        if not path.is_legacy:
            return replies
        return next((reply for reply in reversed(replies) if reply is not None), None)

    def _number_change(self, key: CommandItem, path: bytes, text: bytes, compute: Callable[[Any, Any], Any]) -> Any:
        def change(value: Any) -> tuple[Any, Any] | None:
            if type(value) not in (int, float):
                return None
            # The operand is checked only now.
            operand = parse_json(text, "ERR ", whole=True)
            if type(operand) not in (int, float):
                raise SimpleError("ERR bad input number")
            result = compute(value, operand)
            return result, result

        if self._resp_version == 3:
            return self._change(key, path, change, None)[1]
        compiled, replies = self._change(key, path, change, "does not contains a number")
        return dumps(self._reply(compiled, replies))

    @command("json.numincrby", fixed=(Key(), bytes, bytes), flags=RAW_FLAGS)
    def engine_json_numincrby(self, key: CommandItem, path: bytes, number: bytes) -> Any:
        return self._number_change(key, path, number, _add)

    @command("json.nummultby", fixed=(Key(), bytes, bytes), flags=RAW_FLAGS)
    def engine_json_nummultby(self, key: CommandItem, path: bytes, number: bytes) -> Any:
        return self._number_change(key, path, number, _multiply)

    @command("json.numpowby", fixed=(Key(), bytes, bytes), flags=RAW_FLAGS)
    def engine_json_numpowby(self, key: CommandItem, path: bytes, number: bytes) -> Any:
        return self._number_change(key, path, number, _power)

    @command("json.strappend", fixed=(Key(), bytes), repeat=(bytes,), flags=FLAGS)
    def engine_json_strappend(self, key: CommandItem, *args: bytes) -> Any:
        path, text = args if len(args) == 2 else (b".", args[0])

        def change(value: Any) -> tuple[Any, Any] | None:
            if type(value) is not str:
                return None
            added = parse_json(text, "ERR ", whole=True)
            if type(added) is not str:
                raise SimpleError(
                    f"WRONGTYPE wrong type of path value - expected string but found {dumps(added).decode()}"
                )
            longer = value + added
            return longer, len(longer.encode())

        return self._reply(*self._change(key, path, change, "not a string"))

    @command("json.toggle", fixed=(Key(), bytes), flags=FLAGS)
    def engine_json_toggle(self, key: CommandItem, path: bytes) -> Any:
        def change(value: Any) -> tuple[Any, Any] | None:
            return (not value, not value) if type(value) is bool else None

        compiled, replies = self._change(key, path, change, "not a bool")
        if compiled.is_legacy:
            return b"true" if self._reply(compiled, replies) else b"false"
        return [None if reply is None else int(reply) for reply in replies]

    @command("json.clear", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_clear(self, key: CommandItem, *paths: bytes) -> int:
        root = require_document(key).value
        cleared = 0
        for match in _outermost(parse_path(paths[0] if paths else b"$").matches(root)):
            kind = type(match.value)
            if kind in (int, float, dict, list) and match.value:
                root = replace(match, root, 0 if kind in (int, float) else kind())
                cleared += 1
        if cleared:
            key.update(JsonDocument.of(root))
        return cleared

    @command("json.arrappend", fixed=(Key(), bytes, bytes), repeat=(bytes,), flags=FLAGS)
    def engine_json_arrappend(self, key: CommandItem, path: bytes, *texts: bytes) -> Any:
        values = [parse_json(text) for text in texts]

        def change(value: Any) -> tuple[Any, Any] | None:
            if type(value) is not list:
                return None
            value.extend(values)
            return value, len(value)

        return self._array_reply(key, path, change, given=True)

    @command("json.arrinsert", fixed=(Key(), bytes, bytes, bytes), repeat=(bytes,), flags=FLAGS)
    def engine_json_arrinsert(self, key: CommandItem, path: bytes, index: bytes, *texts: bytes) -> Any:
        at = _index(index)
        values = [parse_json(text) for text in texts]

        def change(value: Any) -> tuple[Any, Any] | None:
            if type(value) is not list:
                return None
            if not -len(value) <= at <= len(value):
                raise SimpleError("ERR index out of bounds")
            start = at + len(value) if at < 0 else at
            value[start:start] = values
            return value, len(value)

        return self._array_reply(key, path, change)

    @command("json.arrpop", fixed=(Key(),), repeat=(bytes,), flags=FLAGS)
    def engine_json_arrpop(self, key: CommandItem, *args: bytes) -> Any:
        path = args[0] if args else b"."
        try:
            at = int(args[1]) if len(args) > 1 else -1
        except ValueError:
            at = -1
        empty = False

        def change(value: Any) -> tuple[Any, Any] | None:
            nonlocal empty
            if type(value) is not list:
                return None
            if not value:
                empty = True
                return None
            start = max(0, at + len(value)) if at < 0 else min(at, len(value) - 1)
            return value, dumps(value.pop(start))

        try:
            return self._array_reply(key, path, change)
        except SimpleError:
            if empty:
                return None
            raise

    @command("json.arrtrim", fixed=(Key(), bytes, bytes, bytes), flags=FLAGS)
    def engine_json_arrtrim(self, key: CommandItem, path: bytes, start: bytes, stop: bytes) -> Any:
        first, last = _index(start), _index(stop)

        def change(value: Any) -> tuple[Any, Any] | None:
            if type(value) is not list:
                return None
            begin = max(0, first + len(value)) if first < 0 else first
            end = (max(0, last + len(value)) if last < 0 else last) + 1
            value[:] = value[begin : max(begin, end)]
            return value, len(value)

        return self._array_reply(key, path, change)

    def _array_reply(
        self, key: CommandItem, path: bytes, change: Callable[[Any], tuple[Any, Any] | None], given: bool = False
    ) -> Any:
        try:
            return self._reply(*self._change(key, path, change, "not an array"))
        except SimpleError as error:
            if given and error.value.startswith("ERR Path"):
                # This one command shows a legacy path as it was given.
                text = path.decode("utf-8", "replace")
                raise SimpleError(f"ERR Path '{text}' does not exist or not an array") from None
            raise


def _index(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise SimpleError("ERR Couldn't parse as integer") from None


def _outermost(matches: list[Match]) -> list[Match]:
    """The matches that are within no other match, in document order."""
    inside: set[int] = set()
    for match in matches:
        waiting = [match.value]
        while waiting:
            value = waiting.pop()
            if type(value) in (dict, list) and id(value) not in inside:
                inside.add(id(value))
                waiting.extend(value.values() if type(value) is dict else value)
    seen: set[tuple[int, Any]] = set()
    kept: list[Match] = []
    for match in matches:
        place = (id(match.parent), match.key)
        if (match.parent is None or id(match.parent) not in inside) and place not in seen:
            seen.add(place)
            kept.append(match)
    return sorted(kept, key=_position) if any(type(match.parent) is list for match in kept) else kept


def _position(match: Match) -> int:
    return match.key if type(match.key) is int else 0


def _fits(number: int) -> bool:
    return I64_MIN <= number <= I64_MAX


def _wrapped(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number > I64_MAX else number


def _finite(number: float) -> float:
    if number != number or number in (float("inf"), float("-inf")):
        raise SimpleError("ERR result is not a number")
    return number


def _add(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int and _fits(left) and _fits(right):
        return _wrapped(left + right)
    return _finite(float(left) + float(right))


def _multiply(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int and _fits(left) and _fits(right):
        return _wrapped(left * right)
    return _finite(float(left) * float(right))


def _power(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int and _fits(left) and _fits(right):
        return _wrapped(pow(left, right % (1 << 32), 1 << 64))
    try:
        return _finite(math.pow(left, right))
    except (OverflowError, ValueError):
        raise SimpleError("ERR result is not a number") from None
