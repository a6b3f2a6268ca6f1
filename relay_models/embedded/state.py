"""The state that all connections of one engine share: databases, the search index, and when changes are written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Literal

from fakeredis import FakeServer
from fakeredis._helpers import SimpleError
from fakeredis.model import Hash

from relay_models.embedded.database import TrackedDatabase
from relay_models.embedded.errors import ServerClosedError
from relay_models.embedded.json_value import JsonDocument

__all__ = ["EngineState"]

DATABASES = 16


class Databases(dict[int, TrackedDatabase]):
    """The numbered databases, each made when it is first selected."""

    def __init__(self, state: EngineState) -> None:
        super().__init__()
        self._state = state

    def __missing__(self, number: int) -> TrackedDatabase:
        database = self[number] = self._state.new_database(number)
        return database


class Documents:
    """What the search index may read of database 0."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    def load(self, key: bytes) -> tuple[Literal["json", "hash"], Any] | None:
        """The JSON value or the hash's fields at `key`; None when there is neither."""
        item = self._state.dbs[0].get(key)
        return None if item is None else indexable(item.value)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Every key of database 0 that starts with `prefix`, in the order they were made."""
        return iter([key for key in self._state.dbs[0] if key.startswith(prefix)])

    def json_text(self, key: bytes) -> bytes | None:
        """The JSON document at `key` as RedisJSON writes it; None when there is none."""
        item = self._state.dbs[0].get(key)
        return item.value.text if item is not None and type(item.value) is JsonDocument else None


def indexable(value: Any) -> tuple[Literal["json", "hash"], Any] | None:
    """A key's value as the search index takes it, or None for the types that are never indexed."""
    if isinstance(value, Hash):
        return "hash", value.getall()
    if type(value) is JsonDocument:
        return "json", value.value
    return None


class EngineState(FakeServer):
    """A fakeredis server that follows its own changes.

    Everything here runs under `lock`. Commands note what they touch; `settle` hands those keys to the search index,
    and `commit` makes everything done so far durable. Connections call `commit` before a reply is read.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(version=(7, 4), server_type="redis")
        self.connection = connection
        self.closed = False
        self.dirty = False
        self.dbs = Databases(self)  # type: ignore[assignment]
        self.documents = Documents(self)
        self.engine: Any = self._new_search()

    def _new_search(self) -> Any:
        try:
            from relay_models.embedded.search.engine import SearchEngine, SearchError
        except ImportError:
            return None
        self._search_error = SearchError
        return SearchEngine(self.connection, self.documents)

    def new_database(self, number: int) -> TrackedDatabase:
        return TrackedDatabase(self.lock, number)

    def settle(self) -> None:
        """Report the keys touched since the last call. Called with the lock held."""
        for database in self.dbs.values():
            if not (database.touched or database.emptied):
                continue
            self.dirty = True
            emptied, database.emptied = database.emptied, False
            touched, database.touched = database.touched, {}
            if database.number != 0 or self.engine is None:
                continue
            if emptied:
                self.engine.flushed()
            for key in touched:
                item = database._dict.get(key)
                known = None if item is None else indexable(item.value)
                if known is None:
                    self.engine.changed(key, None, None)
                else:
                    self.engine.changed(key, *known)
                    if type(item.value) is JsonDocument:
                        item.value.forget_value()

    def search(self, command: str, args: list[bytes], protocol: int) -> Any:
        """Run one FT.* command on an index that has seen every change. Called with the lock held."""
        self.dbs[0].remove_expired()
        self.settle()
        self.dirty = True
        if self.engine is None:
            raise SimpleError(f"ERR unknown command '{command}'")
        try:
            return self.engine.execute(command, args, protocol)
        except self._search_error as error:
            raise SimpleError(str(error)) from None

    def commit(self) -> None:
        """Make everything done so far durable. Cheap when there is nothing to do."""
        if not self.dirty:
            return
        with self.lock:
            if self.closed:
                raise ServerClosedError("this embedded server was closed")
            if self.dirty:
                self.settle()
                if self.connection.in_transaction:
                    self.connection.commit()
                self.dirty = False

    def close(self) -> None:
        """Write what is left and let go of the file. Later commands fail."""
        with self.lock:
            if self.closed:
                return
            self.settle()
            if self.connection.in_transaction:
                self.connection.commit()
            self.closed = True
            self.connected = False
            self.connection.close()
