"""Keeping one index's tables in step with a document that was written or is gone."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable
from typing import Any, Literal

from relay_models.embedded.jsonpath import compile_path
from relay_models.embedded.search.args import display, parse_double
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.schema import LANGUAGES, FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.tables import Tables, sort_column, value_column
from relay_models.embedded.search.tokenizer import fold, stem, tokens

__all__ = ["Indexer", "Unfit", "getter"]

Getter = Callable[[Any], "list[Any]"]

TAGS, NUMBERS, WORDS, MISSING = 1, 2, 4, 8
MAXIMUM_TAG_LENGTH = 4096
STEM_WEIGHT = 0.2
"""What a stem counts against the word itself."""
PLACES_BETWEEN_VALUES = 99
"""How far apart the words of two values of one TEXT field are (MULTI_TEXT_SLOP's default, less one)."""


class Unfit(Exception):
    """A document that the index leaves out; the text is what FT.INFO tells."""


def getter(path: bytes) -> Getter:
    """A function from a JSON document to the values at `path`; paths of plain names do without JSONPath."""
    text = path.decode("utf-8", "replace")
    if not text.startswith("$"):
        return lambda document: []
    names = text[2:].split(".") if text.startswith("$.") else []
    if names and all(name.replace("_", "a").isalnum() for name in names):
        if len(names) == 1:
            return _member(names[0])
        return _members(names)
    if text == "$":
        return lambda document: [document]
    return compile_path(text).find


def _member(name: str) -> Getter:
    def get(document: Any) -> list[Any]:
        if type(document) is dict and name in document:
            return [document[name]]
        return []

    return get


def _members(names: list[str]) -> Getter:
    def get(document: Any) -> list[Any]:
        for name in names:
            if type(document) is not dict or name not in document:
                return []
            document = document[name]
        return [document]

    return get


class _Row:
    """What is to be written for one document."""

    __slots__ = ("columns", "length", "many", "missing", "numbers", "place", "tags", "top", "words")

    def __init__(self, width: int) -> None:
        self.columns: list[Any] = [None] * width
        self.tags: set[tuple[int, bytes]] = set()
        self.numbers: set[tuple[int, float]] = set()
        self.words: dict[bytes, list[Any]] = {}
        self.missing: list[int] = []
        self.length = 0
        self.place = 0
        self.top = 0
        self.many = 0


class Indexer:
    """Writes one index's rows. Made anew when the schema changes."""

    def __init__(self, connection: sqlite3.Connection, spec: IndexSpec) -> None:
        self._connection = connection
        self._spec = spec
        self._tables = tables = Tables(spec.number)
        names: list[str] = []
        self._plan: list[tuple[FieldSpec, Getter, int | None, int | None]] = []
        for field in spec.fields:
            value, sort = value_column(field), sort_column(field)
            places: list[int | None] = []
            for name in (value, sort):
                if name is not None and name not in names:
                    names.append(name)
                places.append(None if name is None else names.index(name))
            get = getter(field.path) if spec.kind == "json" else _hash_getter(field.path)
            self._plan.append((field, get, places[0], places[1]))
        self._width = len(names)
        self._stop_words = spec.words_to_skip
        columns = ["key", "many", "length", "top", "score", *names]
        marks = ", ".join("?" * len(columns))
        self._find = f"SELECT docid, many FROM {tables.docs} WHERE key = ?"
        self._insert = f"INSERT INTO {tables.docs} ({', '.join(columns)}) VALUES ({marks})"
        self._delete = f"DELETE FROM {tables.docs} WHERE docid = ?"
        self._side = (
            (TAGS, f"DELETE FROM {tables.tags} WHERE docid = ?"),
            (NUMBERS, f"DELETE FROM {tables.numbers} WHERE docid = ?"),
            (WORDS, f"DELETE FROM {tables.words} WHERE docid = ?"),
            (MISSING, f"DELETE FROM {tables.missing} WHERE docid = ?"),
        )
        self.saw_many = False
        """Set when a field was found to hold several values for the first time: the schema is to be saved."""

    def remove(self, key: bytes) -> bool:
        """Take a document out. Gives whether it was in."""
        known = self._connection.execute(self._find, (key,)).fetchone()
        if known is None:
            return False
        docid, many = known
        self._connection.execute(self._delete, (docid,))
        if many:
            for flag, statement in self._side:
                if many & flag:
                    self._connection.execute(statement, (docid,))
        return True

    def put(self, key: bytes, kind: Literal["json", "hash"], document: Any) -> None:
        """Read a document in, in place of what was there. Raises `Unfit`, the document then being out."""
        self.remove(key)
        row = self._row(kind, document)
        execute, tables = self._connection.execute, self._tables
        top, length = row.top, row.length
        score = self._score(kind, document)
        docid = execute(self._insert, (key, row.many, length, top, score, *row.columns)).lastrowid
        if row.many:
            many = self._connection.executemany
            if row.tags:
                many(f"INSERT INTO {tables.tags} VALUES (?, ?, ?)", [(*part, docid) for part in row.tags])
            if row.numbers:
                many(f"INSERT INTO {tables.numbers} VALUES (?, ?, ?)", [(*part, docid) for part in row.numbers])
            if row.words:
                many(
                    f"INSERT INTO {tables.words} VALUES (?, ?, ?, ?, ?)",
                    [
                        (word, docid, _signed(fields), count, array("I", places).tobytes())
                        for word, (fields, count, places) in row.words.items()
                    ],
                )
            if row.missing:
                many(f"INSERT INTO {tables.missing} VALUES (?, ?)", [(number, docid) for number in row.missing])

    def _score(self, kind: str, document: Any) -> float:
        spec = self._spec
        if spec.score_field is None:
            return spec.score
        found = self._special(kind, document, spec.score_field)
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return float(found)
        number = parse_double(found) if isinstance(found, bytes) else None
        return spec.score if number is None else number

    def _language(self, kind: str, document: Any) -> str:
        spec = self._spec
        if spec.language_field is None:
            return spec.language
        found = self._special(kind, document, spec.language_field)
        if isinstance(found, bytes):
            name = display(found).lower()
            if name not in LANGUAGES:
                raise Unfit(f"Unsupported language: {name}")
            return name
        return spec.language

    def _special(self, kind: str, document: Any, name: bytes) -> Any:
        if kind == "hash":
            return document.get(name)
        values = getter(name)(document)
        if values and isinstance(values[0], str):
            return values[0].encode()
        return values[0] if values else None

    def _row(self, kind: str, document: Any) -> _Row:
        row = _Row(self._width)
        language = self._language(kind, document) if self._spec.language_field is not None else self._spec.language
        for field, get, value, sort in self._plan:
            found = get(document)
            if not found:
                if field.index_missing:
                    row.missing.append(field.number)
                continue
            content = _fitting_json(field, found) if kind == "json" else found[0]
            if content is None:
                continue
            if field.type is FieldType.NUMERIC:
                self._number(row, field, content, value)
            elif field.type is FieldType.TAG:
                self._tag(row, field, content, value)
                if sort is not None:
                    row.columns[sort] = _sort_text(field, content)
            else:
                if sort is not None:
                    row.columns[sort] = _sort_text(field, content)
                if field.indexed:
                    self._text(row, field, content, language)
        flags = ((row.tags, TAGS), (row.numbers, NUMBERS), (row.words, WORDS), (row.missing, MISSING))
        row.many = sum(flag for rows, flag in flags if rows)
        row.top = max((count for _, count, _ in row.words.values()), default=0)
        return row

    def _number(self, row: _Row, field: FieldSpec, content: Any, value: int | None) -> None:
        if type(content) is bytes:
            number = parse_double(content)
            if number is None or number != number:
                raise Unfit(f"Invalid numeric value: '{display(content)}'")
            content = number
        if type(content) is not list:
            if value is not None:
                row.columns[value] = float(content)
            return
        numbers = [float(part) for part in content]
        if len(numbers) == 1 and not field.sortable and value is not None:
            row.columns[value] = numbers[0]
            return
        if field.sortable and value is not None and numbers:
            # The first value is what sorting sees; finding it twice does no harm.
            row.columns[value] = numbers[0]
        self._note_many(field)
        row.numbers.update((field.number, number) for number in numbers)

    def _tag(self, row: _Row, field: FieldSpec, content: Any, value: int | None) -> None:
        if field.noindex and not field.sortable:
            return
        parts = content if type(content) is list else (content,)
        if field.separator is None:
            tags = [part if field.case_sensitive else fold(part) for part in map(_until_nul, parts)]
            if not field.index_empty:
                tags = [tag for tag in tags if tag]
        else:
            tags = []
            for part in parts:
                tags += _split_tags(field, part)
        if len(tags) == 1:
            if value is not None:
                row.columns[value] = tags[0]
        elif tags:
            self._note_many(field)
            row.tags.update((field.number, tag) for tag in tags)

    def _note_many(self, field: FieldSpec) -> None:
        if not field.many:
            field.many = self.saw_many = True

    def _text(self, row: _Row, field: FieldSpec, content: Any, language: str) -> None:
        values = content if type(content) is list else [content]
        bit = 1 << field.bit
        count, stem_count = max(1, int(field.weight)), max(1, int(field.weight * STEM_WEIGHT))
        for number, value in enumerate(values):
            if number:
                row.place += PLACES_BETWEEN_VALUES
            if not value and field.index_empty:
                row.place += 1
                _add_word(row, b"", bit, row.place, count)
                row.length += count
                continue
            for found in tokens(value, self._stop_words):
                row.place += 1
                _add_word(row, found.term, bit, row.place, count)
                row.length += count
                if not field.nostem:
                    stemmed = stem(found.term, language)
                    if stemmed is not None and stemmed != found.term:
                        _add_word(row, b"+" + stemmed, bit, row.place, stem_count)


def _add_word(row: _Row, word: bytes, bit: int, place: int, count: int) -> None:
    known = row.words.get(word)
    if known is None:
        row.words[word] = [bit, count, [place]]
        return
    known[0] |= bit
    known[1] += count
    known[2].append(place)


def _signed(mask: int) -> int:
    return mask - (1 << 64) if mask >= 1 << 63 else mask


def _until_nul(text: bytes) -> bytes:
    end = text.find(b"\0")
    return text if end < 0 else text[:end]


def _hash_getter(path: bytes) -> Getter:
    def get(document: Any) -> list[Any]:
        value = document.get(path)
        return [] if value is None else [value]

    return get


_TEXTUAL = (FieldType.TEXT, FieldType.TAG)


def _fitting_json(field: FieldSpec, found: list[Any]) -> Any:
    """The values of a JSON path as the field takes them: bytes, a number, or a list of these; None for null."""
    kind = field.type
    if len(found) > 1:
        return _fitting_list(field, found)
    value = found[0]
    if type(value) is str:
        if kind not in _TEXTUAL:
            raise Unfit("Invalid JSON type: String type can represent only TEXT, TAG, GEO or GEOMETRY field")
        return value.encode("utf-8", "surrogatepass")
    if value is None:
        return None
    if value is True or value is False:
        if kind is not FieldType.TAG:
            raise Unfit("Invalid JSON type: Boolean type can be represent only TAG field")
        return b"true" if value else b"false"
    if type(value) is int or type(value) is float:
        if kind is not FieldType.NUMERIC:
            raise Unfit("Invalid JSON type: Numeric type can represent only NUMERIC field")
        return value
    if type(value) is list:
        return _fitting_list(field, value)
    raise Unfit("Invalid JSON type: Object type can represent only GEOMETRY fields")


def _fitting_list(field: FieldSpec, values: list[Any]) -> list[Any]:
    if field.type is FieldType.NUMERIC:
        numbers = [value for value in values if value is not None]
        if any(type(value) is not int and type(value) is not float for value in numbers):
            raise Unfit("NUMERIC fields can only contain numeric or nulls")
        return numbers
    texts = [value for value in values if value is not None]
    if any(type(value) is not str for value in texts):
        raise Unfit("TEXT/TAG fields can only contain strings or nulls")
    return [text.encode("utf-8", "surrogatepass") for text in texts]


def _sort_text(field: FieldSpec, content: Any) -> bytes | None:
    if type(content) is list:
        content = content[0] if content else None
    if content is None:
        return None
    text = _until_nul(content)
    return text if field.unf else fold(text)


_BLANKS = b" \t\n\v\f\r"


def _split_tags(field: FieldSpec, text: bytes) -> list[bytes]:
    text = _until_nul(text)
    assert field.separator is not None
    separator = field.separator.encode("latin-1")
    tags = []
    for part in text.split(separator):
        tag = part.strip(_BLANKS)
        if not tag and not field.index_empty:
            continue
        if not field.case_sensitive:
            tag = fold(tag)
        tags.append(tag[:MAXIMUM_TAG_LENGTH])
    return tags


def check_path(spec: IndexSpec, field: FieldSpec) -> None:
    """Refuse a JSON path that cannot be read."""
    if spec.kind == "json" and field.path.startswith(b"$"):
        try:
            getter(field.path)
        except ValueError:
            raise SearchError(
                f"Invalid JSONPath '{display(field.path)}' in attribute '{display(field.name)}'"
                f" in index '{display(spec.name)}'"
            ) from None
