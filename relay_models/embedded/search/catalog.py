"""`Catalog`: the indexes of an engine with their aliases, how they follow the keyspace, and the dictionaries."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final, Literal

from fakeredis._helpers import SimpleError

from relay_models.embedded.glob import compile_wildcard
from relay_models.embedded.search.aggregate.cursors import Cursors
from relay_models.embedded.search.aggregate.expressions import parse_expression
from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.dictionaries import Dictionaries
from relay_models.embedded.search.index.document_indexer import Indexer, Unfit
from relay_models.embedded.search.index.documents import Documents
from relay_models.embedded.search.index.schema import FieldSpec, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import Tables, fits
from relay_models.embedded.search.index_filter import passes

__all__ = ["Catalog", "Index"]

# Maximum number of indexes that could not be created whose reason is kept, for the errors of later commands.
MAXIMUM_REFUSED: Final = 1000


class Index:
    """An index in use: its specification, and what writes its rows."""

    def __init__(self, connection: sqlite3.Connection, spec: IndexSpec) -> None:
        self.spec = spec
        self.prefixes = tuple(spec.prefixes)
        self.indexer = Indexer(connection, spec)


class Catalog:
    """All indexes, aliases and dictionaries over one SQLite connection.

    Only the indexes' specifications are held in memory. The caller serializes all calls, begins and commits
    transactions, and reports every key that was written or deleted with `changed` before the next command.
    """

    def __init__(self, connection: sqlite3.Connection, documents: Documents) -> None:
        self.connection = connection
        self.documents = documents
        self.settings = Settings()
        self.cursors = Cursors()
        self.dictionaries = Dictionaries(connection)
        connection.execute("CREATE TABLE IF NOT EXISTS ft_indexes (number INTEGER PRIMARY KEY, spec TEXT NOT NULL)")
        connection.execute("CREATE TABLE IF NOT EXISTS ft_aliases (name BLOB PRIMARY KEY, number INTEGER NOT NULL)")
        connection.create_function("ft_fits", 2, _fits, deterministic=True)
        connection.create_function("ft_bytes", 1, bytes.fromhex, deterministic=True)
        self._indexes: dict[bytes, Index] = {}
        for number, text in connection.execute("SELECT number, spec FROM ft_indexes ORDER BY number").fetchall():
            spec = IndexSpec.load(text)
            spec.number = number
            self._indexes[spec.name] = Index(connection, spec)
        names = {index.spec.number: name for name, index in self._indexes.items()}
        aliases = connection.execute("SELECT name, number FROM ft_aliases").fetchall()
        self._aliases: dict[bytes, bytes] = {name: names[number] for name, number in aliases if number in names}
        self._used: dict[bytes, float] = {}
        """When each TEMPORARY index was last used (monotonic)."""
        self._refused: dict[bytes, str] = {}
        """Why the latest indexes that could not be created were refused, where the engine does not support them."""

    # Following the keyspace

    def changed(self, key: bytes, kind: Literal["json", "hash"] | None, value: Any, *, new: bool = False) -> None:
        """Update the indexes after a key of database 0 was written.

        Args:
            key: The key.
            kind: What it holds now; None where it was deleted or holds another type.
            value: The JSON value or the hash's fields.
            new: Whether the key did not exist before, so that no index needs to look for it.
        """
        for index in self._indexes.values():
            if not key.startswith(index.prefixes):
                continue
            if kind == index.spec.kind:
                self._put(index, key, value, new)
            else:
                index.indexer.remove(key)

    def _put(self, index: Index, key: bytes, value: Any, new: bool = False) -> None:
        spec = index.spec
        if spec.filter is not None and not passes(spec, key, value):
            index.indexer.remove(key)
            return
        try:
            try:
                index.indexer.put(key, spec.kind, value, new=new)
            except SimpleError as error:  # a field's path visits too much
                raise Unfit(error.value) from None
        except Unfit as reason:
            spec.errors.add(str(reason), key)
            if reason.field is not None:
                reason.field.errors.add(str(reason), key)
            self.save(index)
            return
        if index.indexer.saw_many:
            index.indexer.saw_many = False
            self.save(index)

    def flushed(self) -> None:
        """Drop every index and dictionary after database 0 was emptied, as the real server does."""
        self.dictionaries.clear()
        self._refused.clear()
        for index in list(self._indexes.values()):
            self.drop(index)

    # Looking indexes up

    @property
    def names(self) -> list[bytes]:
        """The names of all indexes."""
        return list(self._indexes)

    @property
    def indexes(self) -> list[Index]:
        """All indexes."""
        return list(self._indexes.values())

    def prefixes(self, name: bytes) -> list[bytes] | None:
        """The key prefixes of the index of this name or alias; None where there is none."""
        index = self.find(name)
        return None if index is None else index.spec.prefixes

    def find(self, name: bytes) -> Index | None:
        """The index of this name or alias."""
        return self._indexes.get(name) or self._indexes.get(self._aliases.get(name, b""))

    def index(self, name: bytes, *, request: bool = False) -> Index:
        """The index of this name or alias; requests for rows report its absence in other words."""
        index = self.find(name)
        if index is None:
            reason = self._refused.get(name)
            text = f"No such index {display(name)}" if request else f"{display(name)}: no such index"
            raise SearchError(text + (f" ({reason})" if reason else ""))
        if index.spec.temporary is not None:
            self._used[index.spec.name] = time.monotonic()
        return index

    def has(self, name: bytes) -> bool:
        """Whether an index, not an alias, has this name."""
        return name in self._indexes

    def is_current(self, index: Index) -> bool:
        """Whether an index is still in use: neither dropped nor replaced."""
        return self._indexes.get(index.spec.name) is index

    # Creating and dropping

    def refuse(self, name: bytes, reason: str) -> None:
        """Keep the reason why an index could not be created, for the errors of later commands."""
        self._refused.pop(name, None)
        self._refused[name] = reason
        if len(self._refused) > MAXIMUM_REFUSED:
            del self._refused[next(iter(self._refused))]

    def create(self, spec: IndexSpec) -> Index:
        """Add an index and its tables. They are empty until `fill`."""
        if spec.filter is not None:
            parse_expression(spec.filter)  # an invalid filter is an error now, not at the first document
        if not fits(spec.fields):
            raise UnsupportedError("More fields than SQLite has columns are")
        cursor = self.connection.execute("INSERT INTO ft_indexes (spec) VALUES ('')")
        assert cursor.lastrowid is not None
        spec.number = cursor.lastrowid
        Tables(spec.number).create(self.connection, spec)
        index = self._indexes[spec.name] = Index(self.connection, spec)
        self._refused.pop(spec.name, None)
        self.save(index)
        return index

    def add_fields(self, index: Index, fields: list[FieldSpec]) -> None:
        """Add the columns of fields that the specification already has; `fill` reads their values in."""
        spec = index.spec
        if not fits(spec.fields):
            spec.fields = [field for field in spec.fields if field not in fields]
            raise UnsupportedError("More fields than SQLite has columns are")
        Tables(spec.number).add_columns(self.connection, fields)
        index.indexer = Indexer(self.connection, spec, index.indexer.last)

    def rebuild_indexer(self, index: Index) -> None:
        """Let documents be indexed by the specification as it is now."""
        index.indexer = Indexer(self.connection, index.spec)

    def save(self, index: Index) -> None:
        """Write the specification of an index."""
        Tables(index.spec.number).save(self.connection, index.spec)

    def fill(self, index: Index) -> None:
        """Index the documents that exist already."""
        spec = index.spec
        seen: set[bytes] = set()
        for prefix in spec.prefixes:
            for key in self.documents.keys(prefix):
                if key in seen:
                    continue
                if len(spec.prefixes) > 1:
                    seen.add(key)
                loaded = self.documents.load(key)
                if loaded is not None and loaded[0] == spec.kind:
                    self._put(index, key, loaded[1])
        if spec.filling:
            spec.filling = False
            self.save(index)

    def drop(self, index: Index, *, with_documents: bool = False) -> None:
        """Remove an index with its cursors and aliases.

        Args:
            index: The index.
            with_documents: Whether its documents are deleted too.
        """
        spec, tables = index.spec, Tables(index.spec.number)
        keys: list[bytes] = []
        if with_documents:
            keys = [key for (key,) in self.connection.execute(f"SELECT key FROM {tables.docs}")]
        self.cursors.drop_index(spec.name)
        self._used.pop(spec.name, None)
        tables.drop(self.connection)
        self.connection.execute("DELETE FROM ft_indexes WHERE number = ?", (spec.number,))
        self.connection.execute("DELETE FROM ft_aliases WHERE number = ?", (spec.number,))
        del self._indexes[spec.name]
        self._aliases = {alias: name for alias, name in self._aliases.items() if name != spec.name}
        for key in keys:
            self.documents.delete(key)

    def drop_unused(self) -> None:
        """Drop the TEMPORARY indexes that were not used for their time. Their documents stay."""
        now = time.monotonic()
        for index in self.indexes:
            seconds = index.spec.temporary
            if seconds is not None and now - self._used.setdefault(index.spec.name, now) > seconds:
                self.drop(index)

    # Aliases

    def has_alias(self, alias: bytes) -> bool:
        """Whether there is an alias of this name."""
        return alias in self._aliases

    def set_alias(self, alias: bytes, index: Index) -> None:
        """Give an index another name, taken from the index that had it."""
        self._aliases[alias] = index.spec.name
        sql = "INSERT OR REPLACE INTO ft_aliases VALUES (?, ?)"
        self.connection.execute(sql, (alias, index.spec.number))

    def delete_alias(self, alias: bytes) -> bool:
        """Remove an alias. Returns whether there was one."""
        if self._aliases.pop(alias, None) is None:
            return False
        self.connection.execute("DELETE FROM ft_aliases WHERE name = ?", (alias,))
        return True


def _fits(text: bytes | None, pattern: bytes) -> bool:
    return text is not None and compile_wildcard(pattern).match(text) is not None
