"""`Indexer`: keeps one index's tables in step with documents that are written or deleted."""

from __future__ import annotations

import operator
import sqlite3
from array import array
from collections.abc import Callable
from typing import Any, Literal

from relay_models.embedded.search.arguments import display, parse_double, parse_hash_number
from relay_models.embedded.search.index.field_paths import Getter, elements_name, getter, hash_getter, plain_name
from relay_models.embedded.search.index.schema import LANGUAGES, FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tables import (
    PLAIN_LISTS,
    Tables,
    key_hash,
    list_name,
    packed_column,
    sort_column,
    value_column,
)
from relay_models.embedded.search.index.tokenizer import MINIMUM_STEM_LENGTH, fold, fold_sorted, stem, tokens

__all__ = ["Indexer", "Unfit"]

TAGS, NUMBERS, WORDS, MISSING = 1, 2, 4, 8
MAXIMUM_TAG_LENGTH = 4096
STEM_WEIGHT = 0.2
GREATEST_WEIGHT = 1 << 31
"""The weight of a stem compared with the word itself."""
PLACES_BETWEEN_VALUES = 99
"""How far apart the words of two values of one TEXT field are (MULTI_TEXT_SLOP's default, less one)."""


_INT64 = 1 << 63
_TEXT_ALONE = frozenset((str,))


class Unfit(Exception):
    """A document that the index leaves out. FT.INFO shows the text, also for the field at fault if there is one."""

    field: FieldSpec | None = None


class _Row:
    """The rows to be written for one document."""

    __slots__ = ("columns", "language", "length", "missing", "numbers", "place", "present", "tags", "words")

    def __init__(self, width: int, language: str) -> None:
        self.columns: list[Any] = [None] * width
        self.tags: list[tuple[int, bytes]] = []
        self.numbers: list[tuple[int, float]] = []
        self.words: dict[bytes, list[Any]] = {}
        self.missing: list[int] = []
        self.present: list[FieldSpec] = []
        """Fields with `FieldSpec.blanks` that the document has, perhaps without a value."""
        self.length = 0
        self.place = 0
        self.language = language


Write = Callable[[Any, _Row], None]
"""Puts the values of one field of a document into a row."""


class Indexer:
    """Writes one index's rows. Recreated when the schema changes, with the last number given to a document."""

    def __init__(self, connection: sqlite3.Connection, spec: IndexSpec, last: int = 0) -> None:
        self._connection = connection
        self._spec = spec
        self._tables = tables = Tables(spec.number)
        self._stop_words = spec.words_to_skip
        self.saw_many = False
        """Set when a field has several values for the first time: the schema must be saved."""
        names: list[str] = []
        for field in spec.fields:
            for name in (value_column(field), packed_column(field), sort_column(field)):
                if name is not None and name not in names:
                    names.append(name)
        self._places = {name: place for place, name in enumerate(names)}
        self._width = len(names)
        self._writes = [self._write(field) for field in spec.fields]
        self._lists = [name for field in spec.fields if (name := list_name(spec, field)) is not None]
        self._hidden = [self._getter(field) for field in spec.fields if field.noindex and field.sortable]
        self._shown = [self._getter(field) for field in spec.fields if not field.noindex] if self._hidden else []
        # No number is given twice: a cursor recognizes by it a document that was replaced.
        found = connection.execute(f"SELECT max(docid) FROM {tables.docs}").fetchone()[0]
        self.last: int = max(last, found or 0)
        """The greatest number of a document so far."""
        self._insert = ""
        self._used_columns: Callable[[list[Any]], tuple[Any, ...]] = tuple
        self._use_columns()
        self._find = f"SELECT docid, many FROM {tables.docs} WHERE hash = ? AND key = ?"
        self._delete = f"DELETE FROM {tables.docs} WHERE docid = ?"
        self._side = (
            (TAGS, f"DELETE FROM {tables.tags} WHERE docid = ?"),
            (NUMBERS, f"DELETE FROM {tables.numbers} WHERE docid = ?"),
            (WORDS, f"DELETE FROM {tables.words} WHERE docid = ?"),
            (MISSING, f"DELETE FROM {tables.missing} WHERE docid = ?"),
        )

    def _use_columns(self) -> None:
        """Write only the columns that are ever filled: binding the others, all NULL, would cost as much."""
        unused = {packed_column(field) for field in self._spec.fields if not field.many}
        names = [name for name in self._places if name not in unused]
        columns = ["docid", "hash", "key", "many", "length", "top", "score", *names]
        marks = ", ".join("?" * len(columns))
        self._insert = f"INSERT INTO {self._tables.docs} ({', '.join(columns)}) VALUES ({marks})"
        places = [self._places[name] for name in names]
        if len(places) > 1:
            self._used_columns = operator.itemgetter(*places)
        else:
            self._used_columns = lambda columns: tuple(columns[place] for place in places)

    def holds(self, key: bytes) -> bool:
        """Whether the index has a document."""
        return self._connection.execute(self._find, (key_hash(key), key)).fetchone() is not None

    def remove(self, key: bytes) -> bool:
        """Remove a document. Returns whether there was one."""
        known = self._connection.execute(self._find, (key_hash(key), key)).fetchone()
        if known is None:
            return False
        docid, many = known
        self._connection.execute(self._delete, (docid,))
        if many:
            for flag, statement in self._side:
                if many & flag:
                    self._connection.execute(statement, (docid,))
        return True

    def put(self, key: bytes, kind: Literal["json", "hash"], document: Any, *, new: bool = False) -> None:
        """Index a document, replacing the previous one. Raises `Unfit`; the document is then not in the index.

        There was none before where the key is `new`.
        """
        spec = self._spec
        try:
            language = spec.language if spec.language_field is None else self._language(kind, document)
            score = spec.score if spec.score_field is None else self._score(kind, document)
            row = _Row(self._width, language)
            for field, write in zip(spec.fields, self._writes, strict=True):
                try:
                    write(document, row)
                except Unfit as reason:
                    reason.field = field
                    raise
        except Unfit:
            if not new:
                self.remove(key)
            raise
        if self._hidden and self._only_hidden(document):
            return
        for field in row.present:
            value, packed = value_column(field) or "", packed_column(field) or ""
            if row.columns[self._places[value]] is None and row.columns[self._places[packed]] is None:
                row.missing.append(field.number)
        if not new:
            self.remove(key)
        # Tags and numbers count as present even before they are in their tables, which may be filled later.
        many = (
            (TAGS | NUMBERS if row.tags or row.numbers else 0)
            | (WORDS if row.words else 0)
            | (MISSING if row.missing else 0)
        )
        lists = PLAIN_LISTS if spec.kind == "json" and self._has_plain_lists(document) else 0
        top = max((word[1] for word in row.words.values()), default=0) if row.words else 0
        self.last = docid = self.last + 1
        values = (docid, key_hash(key), key, many | lists, row.length, top, score, *self._used_columns(row.columns))
        self._connection.execute(self._insert, values)
        if many:
            self._put_side(docid, row)

    def _put_side(self, docid: int, row: _Row) -> None:
        many, tables, fields = self._connection.executemany, self._tables, self._spec.fields
        if row.tags:
            rows = [(number, tag, docid) for number, tag in row.tags if fields[number].ready]
            if rows:
                many(f"INSERT OR IGNORE INTO {tables.tags} VALUES (?, ?, ?)", rows)
        if row.numbers:
            values = [(number, value, docid) for number, value in row.numbers if fields[number].ready]
            if values:
                many(f"INSERT OR IGNORE INTO {tables.numbers} VALUES (?, ?, ?)", values)
        if row.words:
            many(
                f"INSERT INTO {tables.words} VALUES (?, ?, ?, ?, ?)",
                [
                    (word, docid, _signed(mask), count, array("I", places).tobytes())
                    for word, (mask, count, places) in row.words.items()
                ],
            )
        if row.missing:
            many(f"INSERT INTO {tables.missing} VALUES (?, ?)", [(number, docid) for number in row.missing])

    def _has_plain_lists(self, document: Any) -> bool:
        """Whether the columns say what a document has at the paths ``$.name[*]``: lists of texts, or nothing."""
        if type(document) is not dict:
            return False
        for name in self._lists:
            if name in document:
                values = document[name]
                if type(values) is not list or not values or not _TEXT_ALONE.issuperset(map(type, values)):
                    return False
                if "\0" in "".join(values):
                    return False
        return True

    def _only_hidden(self, document: Any) -> bool:
        """Whether a document has no indexed field, but one that is only sorted by: the real server ignores it."""
        return any(get(document) for get in self._hidden) and not any(get(document) for get in self._shown)

    # Language and score in documents

    def _score(self, kind: str, document: Any) -> float:
        assert self._spec.score_field is not None
        found = self._special(kind, document, self._spec.score_field)
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return float(found)
        number = parse_double(found) if isinstance(found, bytes) else None
        return self._spec.score if number is None else number

    def _language(self, kind: str, document: Any) -> str:
        assert self._spec.language_field is not None
        found = self._special(kind, document, self._spec.language_field)
        if not isinstance(found, bytes):
            return self._spec.language
        name = display(found).lower()
        if name not in LANGUAGES:
            raise Unfit(f"Unsupported language: {name}")
        if name == "chinese":
            raise Unfit("LANGUAGE chinese is not supported by the embedded engine")
        return name

    @staticmethod
    def _special(kind: str, document: Any, name: bytes) -> Any:
        if kind == "hash":
            return document.get(name)
        values = getter(name)(document)
        if values and isinstance(values[0], str):
            return values[0].encode()
        return values[0] if values else None

    # Fields

    def _getter(self, field: FieldSpec) -> Getter:
        return getter(field.path) if self._spec.kind == "json" else hash_getter(field.path)

    def _write(self, field: FieldSpec) -> Write:
        json = self._spec.kind == "json"
        get = self._getter(field)
        column, packed = value_column(field), packed_column(field)
        value = -1 if column is None else self._places[column]
        several = -1 if packed is None else self._places[packed]
        sorted_by = sort_column(field)
        sort = -1 if sorted_by is None or sorted_by == column else self._places[sorted_by]
        if field.type is FieldType.NUMERIC:
            slow = self._write_number(field, get, value, several)
        elif field.type is FieldType.TAG:
            slow = self._write_tag(field, get, value, several, sort)
        else:
            return self._write_text(field, get, sort)
        name = plain_name(field.path) if json else None
        if name is None:
            elements = elements_name(field.path) if json else None
            exact = field.type is FieldType.TAG and field.case_sensitive and field.separator is None
            if elements is None or not exact or not field.indexed or field.sortable:
                return slow
            return self._quick_tags(elements, field, several, slow)
        if field.type is FieldType.NUMERIC:
            return _quick_number(name, value, slow)
        if field.case_sensitive and field.separator is None and (field.indexed or field.sortable):
            return _quick_tag(name, value, sort, slow)
        return slow

    def _content(self, field: FieldSpec, get: Getter, document: Any, row: _Row) -> Any:
        """The content of a field: bytes, a number, a list of these; None for null or nothing."""
        found = get(document)
        if not found:
            if field.index_missing and not field.blanks:
                row.missing.append(field.number)
            return None
        if field.blanks:
            row.present.append(field)
        if self._spec.kind == "hash":
            return found[0]
        if field.sortable and len(found) == 1 and found[0] == []:
            # There is no first value to sort by, which the real server takes for an unnamed failure.
            raise Unfit("Success (not an error)")
        return _fitting_json(field, found)

    def _note_many(self, field: FieldSpec) -> None:
        if not field.many:
            self._tables.add_packed(self._connection, field)
            field.many = self.saw_many = True
            self._use_columns()

    def _write_number(self, field: FieldSpec, get: Getter, value: int, several: int) -> Write:
        def write(document: Any, row: _Row) -> None:
            content = self._content(field, get, document, row)
            if content is None:
                return
            if type(content) is bytes:
                number = parse_hash_number(content)
                if number is None:
                    raise Unfit(f"Invalid numeric value: '{display(content)}'")
                content = number
            if type(content) is not list:
                row.columns[value] = float(content)
                return
            self._note_many(field)
            numbers = [float(part) for part in content]
            row.columns[several] = array("d", numbers).tobytes()
            row.numbers += [(field.number, number) for number in numbers]
            if field.sortable and numbers:
                # The first value is used for sorting; finding it twice is harmless.
                row.columns[value] = numbers[0]

        return write

    def _write_tag(self, field: FieldSpec, get: Getter, value: int, several: int, sort: int) -> Write:
        def write(document: Any, row: _Row) -> None:
            content = self._content(field, get, document, row)
            if content is None:
                return
            if sort >= 0:
                row.columns[sort] = _sort_text(field, content)
            parts = content if type(content) is list else (content,)
            if field.separator is None:
                # An empty one too, which queries find only by patterns unless there is INDEXEMPTY.
                tags = [part if field.case_sensitive else fold(part) for part in map(_until_nul, parts)]
            else:
                tags = [tag for part in parts for tag in _split_tags(field, part)]
            exact = parts is not content or b"\0" not in parts[0] if parts else True
            if len(tags) == 1 and exact:
                row.columns[value] = tags[0]
            elif tags:
                self._note_many(field)
                row.columns[several] = b"\0".join(tags)
                row.tags += [(field.number, tag) for tag in tags]
                if field.merged:
                    # The first value is used for sorting; finding it twice is harmless.
                    row.columns[value] = tags[0]

        return write

    def _write_text(self, field: FieldSpec, get: Getter, sort: int) -> Write:
        bit = 1 << field.bit
        weight = field.weight if abs(field.weight) < GREATEST_WEIGHT else 1.0
        count, stem_count = max(1, int(weight)), max(1, int(weight * STEM_WEIGHT))
        synonyms = self._spec.synonym_forms

        def write(document: Any, row: _Row) -> None:
            content = self._content(field, get, document, row)
            if content is None:
                return
            if sort >= 0:
                row.columns[sort] = _sort_text(field, content)
            if field.noindex:
                return
            values = content if type(content) is list else [content]
            for number, text in enumerate(values):
                if number:
                    row.place += PLACES_BETWEEN_VALUES
                if not text:
                    # The empty word has a position even where it is not indexed.
                    row.place += 1
                    if field.index_empty:
                        row.length += count
                        _add_word(row, b"", bit, row.place, count)
                    continue
                for found in tokens(text, self._stop_words):
                    row.place += 1
                    row.length += count
                    _add_word(row, found.term, bit, row.place, count)
                    if not field.nostem and len(found.term) >= MINIMUM_STEM_LENGTH:
                        stemmed = stem(found.term, row.language)
                        if stemmed is not None and stemmed != found.term:
                            _add_word(row, b"+" + stemmed, bit, row.place, stem_count)
                    if synonyms:
                        for form in synonyms.get(found.term, ()):
                            _add_word(row, form, bit, row.place, count)

        return write

    def _quick_tags(self, name: str, field: FieldSpec, several: int, slow: Write) -> Write:
        """A case-sensitive TAG field without separator at ``$.name[*]``: several different texts, the quick way."""
        number = field.number

        def write(document: Any, row: _Row) -> None:
            values = document.get(name) if type(document) is dict else None
            if type(values) is list and len(values) > 1 and _TEXT_ALONE.issuperset(map(type, values)):
                joined = "\0".join(values).encode("utf-8", "surrogatepass")
                tags = joined.split(b"\0")
                if len(tags) == len(values) and b"" not in tags:
                    if not field.many:
                        self._note_many(field)
                    row.columns[several] = joined
                    row.tags += [(number, tag) for tag in tags]
                    return
            slow(document, row)

        return write


def _quick_number(name: str, value: int, slow: Write) -> Write:
    """A NUMERIC field at ``$.name``: the common case, the quick way."""

    def write(document: Any, row: _Row) -> None:
        if type(document) is dict:
            number = document.get(name)
            if type(number) is float or (type(number) is int and -_INT64 <= number < _INT64):
                row.columns[value] = number
                return
        slow(document, row)

    return write


def _quick_tag(name: str, value: int, sort: int, slow: Write) -> Write:
    """A case-sensitive TAG field without separator at ``$.name``: the common case, the quick way."""

    def write(document: Any, row: _Row) -> None:
        if type(document) is dict:
            text = document.get(name)
            if type(text) is str and text and "\0" not in text:
                tag = text.encode("utf-8", "surrogatepass")
                row.columns[value] = tag
                if sort >= 0:
                    row.columns[sort] = tag
                return
        slow(document, row)

    return write


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


_TEXTUAL = (FieldType.TEXT, FieldType.TAG)


def _fitting_json(field: FieldSpec, found: list[Any]) -> Any:
    """The values of a JSON path for the field: bytes, a number, or a list of these; None for null."""
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
    return text if field.unf else fold_sorted(text)


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
