"""The SQLite tables of one index: their names, columns and SQL indexes.

Each index has a row per document in `docs`, with a column for every NUMERIC and TAG field that holds the value where a
document has exactly one, and a column for what SORTABLE text sorts by. Documents with several values at a field have
them in `tags` and `numbers`. The words of TEXT fields are in `words`, one row per word and document. All strings are
BLOBs, so they compare byte by byte, as the real server does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from relay_models.embedded.search.schema import FieldSpec, FieldType, IndexSpec

__all__ = ["Tables", "sort_column", "value_column"]


def value_column(field: FieldSpec) -> str | None:
    """The column with the single value of a TAG or NUMERIC field, by which queries find it."""
    return None if field.type is FieldType.TEXT else f"v{field.number}"


def sort_column(field: FieldSpec) -> str | None:
    """The column that a SORTABLE field sorts by."""
    if not field.sortable:
        return None
    return f"v{field.number}" if field.type is FieldType.NUMERIC else f"s{field.number}"


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
            # `many` says in which side tables the document has rows (1 tags, 2 numbers, 4 words, 8 missing).
            f"CREATE TABLE {self.docs} (docid INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
            " many INTEGER NOT NULL, length INTEGER NOT NULL, top INTEGER NOT NULL, score REAL NOT NULL)",
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
        self.add_columns(connection, spec.fields)

    def add_columns(self, connection: sqlite3.Connection, fields: Iterable[FieldSpec]) -> None:
        for field in fields:
            value, sort = value_column(field), sort_column(field)
            if value is not None:
                kind = "REAL" if field.type is FieldType.NUMERIC else "BLOB"
                connection.execute(f"ALTER TABLE {self.docs} ADD COLUMN {value} {kind}")
                if field.indexed or field.sortable:
                    connection.execute(
                        f"CREATE INDEX {self.docs}_{value} ON {self.docs} ({value}) WHERE {value} IS NOT NULL"
                    )
            if sort is not None and sort != value:
                connection.execute(f"ALTER TABLE {self.docs} ADD COLUMN {sort} BLOB")
                connection.execute(f"CREATE INDEX {self.docs}_{sort} ON {self.docs} ({sort})")

    def drop(self, connection: sqlite3.Connection) -> None:
        for name in self.all:
            connection.execute(f"DROP TABLE IF EXISTS {name}")

    def clear(self, connection: sqlite3.Connection) -> None:
        for name in self.all:
            connection.execute(f"DELETE FROM {name}")
