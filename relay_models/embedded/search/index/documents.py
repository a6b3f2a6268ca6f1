"""`FieldReader`: reads named fields of documents into the rows of results.

A value is bytes, a float, None for null, a list, or `Multi` (dialect 3: a JSON path's results). A field that a document
does not have is not in the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from relay_models.embedded.json.text import dumps
from relay_models.embedded.search.arguments import parse_hash_number
from relay_models.embedded.search.index.field_paths import elements_name, getter, plain_name
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tokenizer import fold_sorted
from relay_models.embedded.search.numbers import format_number

__all__ = ["Documents", "FieldReader", "Multi", "Value", "from_json", "single", "to_reply"]

Value = Any


class Documents(Protocol):
    """The keyspace that the indexes are over."""

    def load(self, key: bytes) -> tuple[Literal["json", "hash"], Any] | None: ...

    def members(self, key: bytes, names: tuple[str, ...]) -> Any: ...

    def keys(self, prefix: bytes) -> Any: ...

    def json_text(self, key: bytes) -> bytes | None: ...

    def delete(self, key: bytes) -> bool: ...


@dataclass(slots=True)
class Multi:
    """The results of a JSON path: the first value, and all of them."""

    first: Value
    found: list[Any]


def from_json(value: Any) -> Value:
    """A JSON value as a result value: containers as their text, booleans as numbers."""
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    if value is None or type(value) is float:
        return value
    if isinstance(value, int):
        return float(value)
    return dumps(value)


def single(value: Value) -> Value:
    return value.first if type(value) is Multi else value


def to_reply(value: Value) -> Any:
    """A value as it is in a reply."""
    kind = type(value)
    if kind is bytes or value is None:
        return value
    if kind is float:
        return format_number(value)
    if kind is int:
        return b"%d" % value
    if kind is list:
        return [to_reply(part) for part in value]
    return dumps(value.found)


Load = Callable[[bytes, "tuple[Literal['json', 'hash'], Any] | None", dict[bytes, Value]], None]


class FieldReader:
    """Reads named fields of documents into rows."""

    def __init__(self, spec: IndexSpec, documents: Documents, dialect: int) -> None:
        self._spec = spec
        self._documents = documents
        self._dialect = dialect
        self._json = spec.kind == "json"
        self._seen: dict[bytes, None] = {}
        self._paths: list[bytes] = []
        self._members: tuple[str, ...] | None = None

    def narrow(self) -> None:
        """Read only the members of JSON objects that the fields so far need; there will be no more fields."""
        names = [plain_name(path) or elements_name(path) for path in self._paths]
        if self._json and None not in names:
            self._members = tuple(sorted({name for name in names if name}))

    def document(self, key: bytes) -> Any:
        """The document at `key`, or None where it was deleted or has another type."""
        if self._members is not None:
            return self._documents.members(key, self._members)
        loaded = self._documents.load(key)
        return None if loaded is None or loaded[0] != self._spec.kind else loaded[1]

    def field(self, name: bytes, path: bytes) -> Callable[[bytes, Any, dict[bytes, Value]], None]:
        """A function that puts the value at `path` (or of the schema's field of that name) into a row as `name`."""
        known = self._spec.field(path)
        if known is not None:
            path = known.path
        if path == b"__key":

            def put_key(key: bytes, document: Any, row: dict[bytes, Value]) -> None:
                row[name] = key

            return put_key
        if self._json:
            return self._json_field(name, path, known)
        return self._hash_field(name, path, known)

    def _json_field(
        self, name: bytes, path: bytes, known: FieldSpec | None
    ) -> Callable[[bytes, Any, dict[bytes, Value]], None]:
        if not path.startswith(b"$"):
            return _nothing
        self._paths.append(path)
        get = getter(path)
        if self._dialect < 3:

            def put(key: bytes, document: Any, row: dict[bytes, Value]) -> None:
                found = get(document)
                if found:
                    row[name] = from_json(found[0])

            return put
        plain = known is not None and known.sortable

        def put_multi(key: bytes, document: Any, row: dict[bytes, Value]) -> None:
            found = get(document)
            if not found:
                return
            first = found[0]
            if plain and len(found) == 1 and type(first) is not list and type(first) is not dict:
                if first is not None:
                    row[name] = from_json(first)
                return
            if type(first) is list:
                if not first:
                    return
                first = first[0]
            row[name] = Multi(from_json(first), found)

        return put_multi

    def _hash_field(
        self, name: bytes, path: bytes, known: FieldSpec | None
    ) -> Callable[[bytes, Any, dict[bytes, Value]], None]:
        numeric = known is not None and known.type is FieldType.NUMERIC

        def put(key: bytes, document: Any, row: dict[bytes, Value]) -> None:
            value = document.get(path)
            if value is None:
                return
            if numeric:
                number = parse_hash_number(value)
                if number is not None:
                    row[name] = number
                    return
            row[name] = value

        return put

    def sort_value(self, field: FieldSpec) -> Callable[[bytes, Any, dict[bytes, Value]], None]:
        """The sort key of a SORTABLE field where it differs from the value (a folded text)."""
        put = self.field(field.name, field.name)
        if field.unf or not field.sortable or field.type is FieldType.NUMERIC:
            return put

        def put_folded(key: bytes, document: Any, row: dict[bytes, Value]) -> None:
            put(key, document, row)
            value = row.get(field.name)
            if type(value) is bytes:
                row[field.name] = fold_sorted(value)

        return put_folded

    def everything(self, key: bytes, document: Any, row: dict[bytes, Value]) -> None:
        """All of a document: a hash's fields, a JSON document as its text under ``$``."""
        if not self._json:
            # Rows have their fields in the order of first appearance in any row.
            for name in row:
                self._seen.setdefault(name)
            for name, value in document.items():
                self._seen.setdefault(name)
                row.setdefault(name, value)
            if list(row) != list(self._seen):
                ordered = {name: row[name] for name in self._seen if name in row}
                row.clear()
                row.update(ordered)
            return
        text = self._documents.json_text(key)
        if text is None:
            text = dumps(document)
        row[b"$"] = b"[" + text + b"]" if self._dialect >= 3 else text


def _nothing(key: bytes, document: Any, row: dict[bytes, Value]) -> None:
    return None
