"""`Tables`: the SQLite tables of one index, their columns and SQL indexes.

Each index has a row per document in `docs`, with a column for every NUMERIC and TAG field that holds the value where a
document has exactly one, and a column for what SORTABLE text sorts by. Documents with several values at a field have
them packed in one more column, and in the rows of `tags` and `numbers`. The words of TEXT fields are in `words`, one
row per word and document. All strings are BLOBs, so they compare byte by byte, as the real server does.

A field's SQL index and its rows in `tags` or `numbers` are created when a query first asks for that field, and kept
from then on: writes pay only for what is used.
"""

from __future__ import annotations

import sqlite3
import zlib
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from relay_models.embedded.search.index.field_paths import elements_name
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec

__all__ = ["Tables", "exact_column", "fits", "key_hash", "packed_column", "sort_column", "value_column"]


def key_hash(key: bytes) -> int:
    """The number by which a document's row is found. A few documents may share one."""
    return zlib.crc32(key)


def value_column(field: FieldSpec) -> str | None:
    """The column with the single value of a TAG or NUMERIC field, by which queries find it."""
    return None if field.type is FieldType.TEXT else f"v{field.number}"


def sort_column(field: FieldSpec) -> str | None:
    """The column that a SORTABLE field sorts by."""
    if not field.sortable:
        return None
    return f"v{field.number}" if field.type is FieldType.NUMERIC or field.merged else f"s{field.number}"


def exact_column(spec: IndexSpec, field: FieldSpec) -> str | None:
    """The column whose value, where not NULL, is the document's own; None where there is none.

    Only a tag ``true`` or ``false`` may have been a boolean.
    """
    if spec.kind != "json" or field.many or (field.noindex and not field.sortable):
        return None
    if field.type is FieldType.NUMERIC:
        return f"v{field.number}"
    if field.type is FieldType.TAG and field.case_sensitive and field.separator is None:
        return sort_column(field) if field.sortable else f"v{field.number}" if field.index_empty else None
    return None


def packed_column(field: FieldSpec) -> str | None:
    """The column with the several values of a TAG or NUMERIC field: tags between NULs, or doubles."""
    return None if field.type is FieldType.TEXT else f"p{field.number}"


PLAIN_LISTS = 16
"""The bit in `many` of a document whose columns say what all its lists are (see `list_name`)."""


def list_name(spec: IndexSpec, field: FieldSpec) -> str | None:
    """The name in the path ``$.name[*]`` of a field whose columns have all of such a list; None for other fields."""
    exact = field.type is FieldType.TAG and field.case_sensitive and field.separator is None
    return elements_name(field.path) if spec.kind == "json" and exact else None


def _columns(fields: Iterable[FieldSpec], *, at_most: bool = False) -> Iterator[str]:
    """The columns of fields and their types; `at_most` those, too, that documents of several values may add."""
    for field in fields:
        value, sort = value_column(field), sort_column(field)
        if value is not None:
            yield f"{value} {'REAL' if field.type is FieldType.NUMERIC else 'BLOB'}"
            if field.packs or at_most:
                yield f"{packed_column(field)} BLOB"
        if sort is not None and sort != value:
            yield f"{sort} BLOB"


MAXIMUM_COMBINATIONS = 6
"""Maximum number of SQL indexes over several columns, since each slows writes down."""

MAXIMUM_COVERS = 4
"""Maximum number of SQL indexes from which groups are read, for the same reason."""

MAXIMUM_COVERED = 12
"""Maximum number of columns that one of these has."""


# Maximum number of columns for fields; SQLite takes 2,000 in a table.
_MAXIMUM_COLUMNS = 1900


def fits(fields: Iterable[FieldSpec]) -> bool:
    """Whether a table can have the columns of these fields."""
    return sum(1 for _ in _columns(fields, at_most=True)) <= _MAXIMUM_COLUMNS


class Cover(NamedTuple):
    """An SQL index from which groups are read."""

    name: str
    in_order: bool
    """Whether the documents of a group are in the order of their numbers. Before format 5 they were not."""


class Tables:
    """The tables of the index with this number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.docs = f"ft{number}_docs"
        self.tags = f"ft{number}_tags"
        self.numbers = f"ft{number}_numbers"
        self.words = f"ft{number}_words"
        self.missing = f"ft{number}_missing"

    @property
    def all(self) -> tuple[str, ...]:
        return self.docs, self.tags, self.numbers, self.words, self.missing

    def create(self, connection: sqlite3.Connection, spec: IndexSpec) -> None:
        statements = [
            # `many`: the side tables in which the document has rows (1 tags, 2 numbers, 4 words, 8 missing), and
            # `PLAIN_LISTS`. By a hash of the key, as an index of the keys would be many times as large.
            f"CREATE TABLE {self.docs} (docid INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key BLOB NOT NULL,"
            " many INTEGER NOT NULL, length INTEGER NOT NULL, top INTEGER NOT NULL, score REAL NOT NULL"
            # With the columns at once: ALTER TABLE reads the definitions of all tables again.
            f"{''.join(f', {column}' for column in _columns(spec.fields))})",
            f"CREATE INDEX {self.docs}_hash ON {self.docs} (hash)",
            f"CREATE TABLE {self.tags} (field INTEGER, tag BLOB, docid INTEGER, PRIMARY KEY (field, tag, docid))"
            " WITHOUT ROWID",
            f"CREATE INDEX {self.tags}_docid ON {self.tags} (docid)",
            f"CREATE TABLE {self.numbers} (field INTEGER, value REAL, docid INTEGER,"
            " PRIMARY KEY (field, value, docid)) WITHOUT ROWID",
            f"CREATE INDEX {self.numbers}_docid ON {self.numbers} (docid)",
            f"CREATE TABLE {self.words} (word BLOB, docid INTEGER, fields INTEGER, frequency INTEGER, places BLOB,"
            " PRIMARY KEY (word, docid)) WITHOUT ROWID",
            f"CREATE INDEX {self.words}_docid ON {self.words} (docid)",
            f"CREATE TABLE {self.missing} (field INTEGER, docid INTEGER, PRIMARY KEY (field, docid)) WITHOUT ROWID",
            f"CREATE INDEX {self.missing}_docid ON {self.missing} (docid)",
        ]
        for statement in statements:
            connection.execute(statement)

    def add_columns(self, connection: sqlite3.Connection, fields: Iterable[FieldSpec]) -> None:
        for column in _columns(fields):
            connection.execute(f"ALTER TABLE {self.docs} ADD COLUMN {column}")

    def add_packed(self, connection: sqlite3.Connection, field: FieldSpec) -> None:
        """Add the column for several values, unless it exists."""
        if not field.packs:
            connection.execute(f"ALTER TABLE {self.docs} ADD COLUMN {packed_column(field)} BLOB")
            field.packs = True

    def save(self, connection: sqlite3.Connection, spec: IndexSpec) -> None:
        connection.execute("UPDATE ft_indexes SET spec = ? WHERE number = ?", (spec.dump(), spec.number))

    def prepare(self, connection: sqlite3.Connection, spec: IndexSpec, field: FieldSpec) -> None:
        """Create what finding by a field needs, unless it exists."""
        if field.ready or field.type is FieldType.TEXT:
            return
        value, packed = value_column(field), packed_column(field)
        connection.execute(f"CREATE INDEX IF NOT EXISTS {self.docs}_{value} ON {self.docs} ({value})")
        if field.packs and field.type is FieldType.TAG:
            # In SQL, as a loop in Python takes three times as long and holds all documents' tags in memory.
            connection.execute(
                f"INSERT OR IGNORE INTO {self.tags} WITH RECURSIVE split (docid, tag, rest) AS ("
                f" SELECT docid, NULL, {packed} FROM {self.docs} WHERE {packed} IS NOT NULL UNION ALL"
                " SELECT docid, iif(instr(rest, x'00'), substr(rest, 1, instr(rest, x'00') - 1), rest),"
                " iif(instr(rest, x'00'), substr(rest, instr(rest, x'00') + 1), NULL)"
                " FROM split WHERE rest IS NOT NULL)"
                " SELECT ?, tag, docid FROM split WHERE tag IS NOT NULL",
                (field.number,),
            )
        elif field.packs:
            rows = connection.execute(f"SELECT docid, {packed} FROM {self.docs} WHERE {packed} IS NOT NULL").fetchall()
            connection.executemany(
                f"INSERT OR IGNORE INTO {self.numbers} VALUES (?, ?, ?)",
                ((field.number, number, docid) for docid, several in rows for number in array("d", several)),
            )
        field.ready = True
        self.save(connection, spec)

    def prepare_sort(self, connection: sqlite3.Connection, spec: IndexSpec, field: FieldSpec) -> None:
        """Create what sorting by a field needs, unless it exists."""
        column = sort_column(field)
        if field.sort_ready or column is None:
            return
        connection.execute(f"CREATE INDEX IF NOT EXISTS {self.docs}_{column} ON {self.docs} ({column})")
        field.sort_ready = True
        self.save(connection, spec)

    def combine(self, connection: sqlite3.Connection, spec: IndexSpec, columns: list[str]) -> str | None:
        """The SQL index over these columns, created if necessary; None where there are too many such indexes."""
        name = f"{self.docs}_{'_'.join(columns)}"
        combination = ",".join(columns)
        if combination not in spec.combinations:
            if len(spec.combinations) >= MAXIMUM_COMBINATIONS:
                return None
            connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {self.docs} ({combination})")
            spec.combinations.append(combination)
            self.save(connection, spec)
        return name

    def cover(
        self, connection: sqlite3.Connection, spec: IndexSpec, group: list[str], columns: list[str]
    ) -> Cover | None:
        """An SQL index that begins with the columns of a group and has all of `columns`; None where there are too many.

        There is one for each group: it is created again where it lacks some of the others. Behind the group is the
        document's number, so that a new document is the last of its group. Ordered by values it would be anywhere, and
        writing would take a page of the file for each document.
        """
        begin = [*group, "docid"]
        narrow: list[str] = []
        for known in spec.covers:
            held = known.split(",")
            if held[: len(group)] == group and set(columns) <= set(held):
                return Cover(self._cover_name(known), held[: len(begin)] == begin)
            if held[: len(begin)] == begin:
                narrow = held
        chosen = ",".join(dict.fromkeys([*begin, *narrow, *columns]))
        if chosen.count(",") >= MAXIMUM_COVERED:
            return None
        if narrow:
            connection.execute(f"DROP INDEX IF EXISTS {self._cover_name(','.join(narrow))}")
            spec.covers.remove(",".join(narrow))
        elif len(spec.covers) >= MAXIMUM_COVERS:
            return None
        name = self._cover_name(chosen)
        connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {self.docs} ({chosen})")
        spec.covers.append(chosen)
        self.save(connection, spec)
        return Cover(name, True)

    def _cover_name(self, columns: str) -> str:
        return f"{self.docs}_cover_{columns.replace(',', '_')}"

    def drop(self, connection: sqlite3.Connection) -> None:
        for name in self.all:
            connection.execute(f"DROP TABLE IF EXISTS {name}")

    def clear(self, connection: sqlite3.Connection) -> None:
        for name in self.all:
            connection.execute(f"DELETE FROM {name}")
