"""`EngineState`: what all connections of one engine share, its databases, search indexes and file."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn

from fakeredis import FakeServer
from fakeredis._helpers import SimpleError
from fakeredis.model import Hash

from relay_models.embedded.commands.permissions import Users
from relay_models.embedded.commands.slow_log import SlowLog
from relay_models.embedded.commands.tracking import KeyTracking
from relay_models.embedded.errors import DamagedFileError, EmbeddedError, FileUnavailableError, ServerClosedError
from relay_models.embedded.json.value import JsonDocument
from relay_models.embedded.persistence.database import FileDatabase, TrackedDatabase
from relay_models.embedded.persistence.encoding import kind_code
from relay_models.embedded.persistence.keyspace import FileKeyspace, begin
from relay_models.embedded.persistence.redo_log import Change
from relay_models.embedded.persistence.storage import Storage
from relay_models.embedded.scripting.commands import Scripting
from relay_models.embedded.search.commands import SearchCommand
from relay_models.embedded.search.engine import SearchEngine
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.server.blocking import BlockedCommands
from relay_models.embedded.server.clock import EngineClock

__all__ = ["EngineState"]

_states: weakref.WeakSet[EngineState] = weakref.WeakSet()


NEXT_DATABASE = "SELECT min(db) FROM keys WHERE db > ?"

# Maximum of the redo log before a transaction includes it. More would make opening an unclosed file slow.
LOG_BYTES = 8 * 1024 * 1024
LOG_CHANGES = 1500

# How long a script that has written may go on once the server is closed, in seconds; others end at once.
SCRIPT_SECONDS = 1.0


CLOSED = "this embedded server was closed"


class Databases(dict[int, TrackedDatabase]):
    """The numbered databases, each created when it is first selected."""

    def __init__(self, state: EngineState) -> None:
        super().__init__()
        self._state = state
        self._making = threading.Lock()
        self.all: tuple[TrackedDatabase, ...] = ()

    def __missing__(self, number: int) -> TrackedDatabase:
        with self._making:  # connections look their database up without the server's lock
            if number not in self:
                self[number] = self._state.new_database(number)
                self.all = tuple(super().values())
            return self[number]

    def values(self) -> tuple[TrackedDatabase, ...]:  # type: ignore[override]
        """All of them as they are now: another thread may be adding one."""
        return self.all


class KeyspaceDocuments:
    """The documents of database 0, for the search engine."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    def load(self, key: bytes) -> tuple[Literal["json", "hash"], Any] | None:
        """The JSON value or the hash's fields at `key`; None when there is neither."""
        item = self._state.dbs[0].get(key)
        return None if item is None else indexable(item.value)

    def members(self, key: bytes, names: tuple[str, ...]) -> Any:
        """The JSON value at `key`, of an object perhaps only the members of these names; None when there is none."""
        item = self._state.dbs[0].get(key)
        return item.value.members(names) if item is not None and type(item.value) is JsonDocument else None

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Every key of database 0 that starts with `prefix`."""
        return self._state.dbs[0].keys_from(prefix)

    def delete(self, key: bytes) -> bool:
        """Delete a key of database 0. Returns whether it existed."""
        database = self._state.dbs[0]
        if key not in database:
            return False
        del database[key]
        return True

    def json_text(self, key: bytes) -> bytes | None:
        """The JSON document at `key` as RedisJSON writes it; None when there is none."""
        item = self._state.dbs[0].get(key)
        return item.value.text if item is not None and type(item.value) is JsonDocument else None


def indexable(value: Any) -> tuple[Literal["json", "hash"], Any] | None:
    """A key's value for the search engine, or None for types that are never indexed."""
    if type(value) is JsonDocument:
        return "json", value.value
    if type(value) is Hash:
        return "hash", value.getall()
    return None


class EngineState(FakeServer):
    """A fakeredis server that follows its own changes.

    Everything here runs under `lock`. Commands record the keys they touch; `settle` hands those keys to the search
    index, and `commit` makes everything done so far durable. Connections call `commit` before they send a reply.
    """

    dbs: Databases  # type: ignore[assignment]

    def __init__(self, storage: Storage | None, clock: EngineClock | None = None) -> None:
        super().__init__(version=(7, 4), server_type="redis")
        self.storage = storage
        self.clock = clock or EngineClock()
        self.started = self.clock.read()
        self.port: int | None = None
        self.acl: Users = Users()
        self._client_ids = itertools.count(1)
        self.scripting = Scripting(self.config)
        self.blocked = BlockedCommands()
        self.loops: dict[Any, weakref.WeakSet[Any]] = {}
        """The event loops of asyncio clients, with these clients' sockets."""
        self._field_expiries: list[tuple[int, bytes]] = []  # of hashes in database 0, the soonest first
        self._stored_field_expiries = storage is not None  # whether there may be more in the file
        self.guarded = False
        """Whether ACL SETUSER was ever run; before that no user is restricted, and there is nothing to check."""
        self.slow_log = SlowLog(self.config)
        self.monitors: weakref.WeakSet[Any] = weakref.WeakSet()
        """The sockets of the clients that are shown all commands."""
        self.tracking = KeyTracking(self.config)
        self.on_shutdown: Callable[[], None] | None = None
        """The action of SHUTDOWN, where the engine is served."""
        if storage is None:
            self.connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        else:
            self.connection = storage.connection
        self.commands = 0
        """How many commands were run."""
        self.commits = 0
        """How many times changes were made durable."""
        self.failure: str | None = None
        """Why the server has stopped answering, once it has."""
        self.dirty = False
        self.changed: dict[tuple[int, bytes], None] | None = None
        """The databases and keys that a command changed, where its keyspace events have subscribers."""
        self.expired: list[tuple[int, bytes]] = []
        """The databases and keys that expired, of which subscribers have not been told."""
        self._settling = False  # whether the indexes have been given only a part of the touched keys
        self.dbs = Databases(self)
        if storage is not None:
            number = -1
            # One step for each database; SELECT DISTINCT would read every key.
            while (number := self.connection.execute(NEXT_DATABASE, (number,)).fetchone()[0]) is not None:
                self.dbs[number]
        self.documents = KeyspaceDocuments(self)
        self._pid = os.getpid()
        self._wrote = False
        """Whether anything was written since the file was opened."""
        begin(self.connection)
        self.engine = SearchEngine(self.connection, self.documents)
        self._defined = False  # whether an index was created, altered or dropped since the last transaction
        self._logged = 0  # the changes in the redo log
        self._recorded = self.connection.total_changes  # the rows that were changed up to the last transaction
        if storage is None:
            self.connection.execute("COMMIT")
        elif storage.created:
            self._commit_transaction(storage)
        else:
            self.clock.at_least(storage.stamp.time)
            self._replay(storage)
        _states.add(self)

    def _replay(self, storage: Storage) -> None:
        """Apply the redo log, of a process that was killed or of this one. A transaction includes it later."""
        self._logged = 0
        for moment, batch in storage.redo.read(storage.stamp.number, storage.stamp.token):
            for change in batch:
                database = self.dbs[change.db]
                assert isinstance(database, FileDatabase)
                database.replay(change)
            self.settle()
            self._logged += len(batch)
            self.clock.at_least(moment)
        for database in self.dbs.all:
            database.committed()
        self.dirty = False

    def get_next_client_id(self) -> int:
        """A client's number. fakeredis takes the lock for it, so none could connect to kill a script that has it."""
        return next(self._client_ids)

    def joined(self, socket: Any, loop: Any) -> None:
        """Remember the event loop that a socket belongs to."""
        self.loops.setdefault(loop, weakref.WeakSet()).add(socket)

    def forget_ended_loops(self) -> None:
        """Close the sockets of asyncio clients whose event loop is closed, for nothing else does."""
        for loop in list(self.loops):
            if loop.is_closed():
                for socket in list(self.loops.pop(loop)):
                    socket.close()

    def new_database(self, number: int) -> TrackedDatabase:
        if self.storage is None:
            return TrackedDatabase(self.lock, number)
        return FileDatabase(self.lock, number, FileKeyspace(self.connection, number))

    def settle(self, change: tuple[int, int] | None = None) -> SimpleError | None:
        """Report the keys touched since the last call. Called with the lock held.

        `change` is how the one touched key changed, where it is a list changed at its ends. Returns the error to reply
        with where a key has a type that cannot be stored; that key is deleted.
        """
        refused: SimpleError | None = None
        for database in self.dbs.all:
            if not (database.touched or database.emptied or database.exchanged):
                continue
            self.dirty = self._settling = True
            emptied, database.emptied = database.emptied, False
            touched, database.touched = database.touched, {}
            database.unborn.clear()
            if database.expired_keys:
                self.expired += [(database.number, key) for key in database.expired_keys if self.announces_expiry]
                database.expired_keys.clear()
            if self.changed is not None:
                self.changed |= dict.fromkeys((database.number, key) for key in touched)
            created, database.created = database.created, set()
            if self.tracking.clients:
                if emptied:
                    self.tracking.emptied()
                self.tracking.changed(touched)
            indexed = database.number == 0
            if indexed:
                begin(self.connection)
                if emptied:
                    self.engine.flushed()
                if database.exchanged:
                    exchanged, database.exchanged = database.exchanged, set()
                    for key in exchanged.difference(touched):
                        self._report(key, database.get(key), False)
            for key in touched:
                item = database._dict.get(key)
                if item is not None and self.storage is not None and kind_code(item.value) is None:
                    del database._dict[key]
                    item = None
                    refused = SimpleError("ERR a value of this type cannot be kept in a file; use a server in memory")
                if item is not None:
                    database.changed(key, change)
                if indexed:
                    self._report(key, item, key in created)
        self._settling = False
        return refused

    def _report(self, key: bytes, item: Any, new: bool) -> None:
        value = None if item is None else item.value
        if type(value) is JsonDocument:
            self.engine.changed(key, "json", value.value, new=new)
            value.forget_value()
            return
        if type(value) is Hash and value._expirations:
            heapq.heappush(self._field_expiries, (min(value._expirations.values()), key))
        known = indexable(value)
        if known is None:
            self.engine.changed(key, None, None)
        else:
            self.engine.changed(key, *known, new=new)

    def search(self, command: SearchCommand, args: list[bytes], protocol: int) -> Any:
        """Run one FT.* command on indexes that have seen every change. Called with the lock held."""
        self.dbs[0].remove_expired()
        self._expire_fields()
        self.settle()
        begin(self.connection)
        if command.writes:  # what queries create, such as SQL indexes, can be created again
            self.dirty = self._defined = True
        try:
            return self.engine.execute(command.name, args, protocol)
        except SearchError as error:
            # On one line, as in Redis.
            raise SimpleError(str(error).replace("\r", " ").replace("\n", " ")) from None

    def remove_expired(self) -> None:
        """Delete the keys that have expired. Called with the lock held."""
        now = self.clock.read()
        for database in self.dbs.all:
            database.time = now
            database.remove_expired()
        self.settle()

    def _expire_fields(self) -> None:
        """Remove the fields of hashes that have expired, which fakeredis does when the hash is next read."""
        database, now = self.dbs[0], int(self.clock.read() * 1000)
        if self._stored_field_expiries and any(index.spec.kind == "hash" for index in self.engine.indexes):
            assert isinstance(database, FileDatabase)
            self._field_expiries = sorted((*self._field_expiries, *database.expiring_fields()))
            self._stored_field_expiries = False
        while self._field_expiries and self._field_expiries[0][0] <= now:
            _, key = heapq.heappop(self._field_expiries)
            item = database.get(key)
            if item is None or type(item.value) is not Hash:
                continue
            database.touched[key] = None
            if not item.value.getall():
                del database[key]

    @property
    def login_required(self) -> bool:
        """Whether clients from outside the process must log in."""
        default = self.acl.users[b"default"]
        return bool(self.config.get(b"requirepass")) or not (default.enabled and default.no_password)

    @property
    def announces(self) -> bool:
        """Whether there may be subscribers to keyspace events."""
        return bool(self.config.get(b"notify-keyspace-events") and (self.subscribers or self.psubscribers))

    @property
    def announces_expiry(self) -> bool:
        """Whether there may be subscribers to the expiry of keys."""
        return self.announces and not {*b"xA"}.isdisjoint(self.config[b"notify-keyspace-events"])

    @property
    def unsettled(self) -> bool:
        """Whether there are uncommitted changes."""
        return self.dirty or any(database.touched or database.emptied for database in self.dbs.all)

    def commit(self) -> None:
        """Make all changes durable. Cheap when there are none.

        Raises `FileUnavailableError` where that fails: the changes are undone then. Raises `ServerClosedError` where
        the server has stopped answering.
        """
        if not self.unsettled:
            return
        with self.lock:
            self._commit()

    def _commit(self) -> None:
        if self.failure is not None:
            raise ServerClosedError(self.failure)
        if not self.unsettled:
            return
        try:
            self.settle()
            if self.storage is not None:
                self._commit_file(self.storage)
            elif self.connection.in_transaction:
                self.connection.execute("COMMIT")
        except (OSError, sqlite3.Error, EmbeddedError) as error:
            self._undo(error)
        except BaseException:
            self.interrupted("writing to the file", reading=False)
            raise
        self.dirty = False
        self.commits += 1

    def _undo(self, error: Exception) -> NoReturn:
        """Return to what is in the file after a failed write, or stop answering where that fails too."""
        if self.storage is None:
            self._fail(f"the engine's database failed ({error}); close this server")
            raise ServerClosedError(self.failure) from error
        reason = f"{self.storage.name} could not be written: {self.storage.reason(error)}"
        moved = self.storage.moved()
        try:
            if moved is not None:
                raise FileUnavailableError(moved)
            self._reload(self.storage)
        except (OSError, sqlite3.Error, EmbeddedError) as second:
            self._fail(moved or f"{reason}; close this server and open the file again")
            raise ServerClosedError(self.failure) from second
        for socket in self.sockets:  # a reply that was not sent yet may tell of what is undone
            socket.undone = socket.unsent and socket.ran_at == self.commits
        raise FileUnavailableError(f"{reason}. Nothing of this change was kept; reading goes on") from error

    def _reload(self, storage: Storage) -> None:
        """Forget everything that is not in the file or its logs."""
        storage.reread()
        for number, database in self.dbs.items():
            assert isinstance(database, FileDatabase)
            database.reset(FileKeyspace(self.connection, number))
        self.dirty = self._defined = self._settling = False
        begin(self.connection)
        self.engine = SearchEngine(self.connection, self.documents)
        self._replay(storage)

    def _commit_file(self, storage: Storage) -> None:
        """Make the changes durable: through the redo log where they are few, else in a transaction with its content."""
        moved = storage.moved()
        if moved is not None:
            raise FileUnavailableError(moved)
        changes: list[Change] = []
        for database in self.dbs.all:
            assert isinstance(database, FileDatabase)
            found = database.changes()
            if found is None or self._defined or not storage.marked:
                self._commit_transaction(storage)
                return
            changes += found
        if not changes:
            return
        size = sum(len(change.content or b"") for change in changes)
        if storage.redo.size + size > LOG_BYTES or len(changes) + self._logged > LOG_CHANGES:
            self._commit_transaction(storage)
            return
        storage.log(changes, self.clock.now())
        self._wrote = True
        self._logged += len(changes)
        for database in self.dbs.all:
            database.committed()

    def _commit_transaction(self, storage: Storage) -> None:
        begin(self.connection)
        for database in self.dbs.all:
            database.write()
        storage.stamp_transaction(self.clock.now())
        self.connection.execute("COMMIT")
        self._wrote = True
        self._logged = 0
        self._defined = False
        self._recorded = self.connection.total_changes
        storage.after_commit()
        for database in self.dbs.all:
            database.committed()

    def _fail(self, reason: str) -> None:
        """Stop answering: memory may be ahead of the file, and no client must see what may be lost."""
        self.failure = reason
        self.connected = False
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def interrupted(self, command: str, *, reading: bool) -> None:
        """Stop answering after Ctrl-C, or another exception from a signal handler, in the middle of a command.

        The partial changes of a writing command must not get into the file, which has everything acknowledged.
        """
        if self.storage is not None and self.failure is None and (self._settling or not reading):
            self._fail(f"{command} was interrupted half-way; close this server and open the file again")

    def close(self) -> None:
        """Write what is left and release the file. Later commands fail, and a script that still runs is ended."""
        if os.getpid() != self._pid:
            self.abandon()
            return
        self.scripting.stop(SCRIPT_SECONDS)
        with self.lock:
            self.blocked.end(SimpleError(f"ERR {CLOSED}"))
            storage, self.storage = self.storage, None
            failure = self.failure
            self.connected = False
            if storage is None:
                self.failure = failure or CLOSED
                self.connection.close()
                return
            try:
                self._close_file(storage, failure)
            finally:
                self.failure = failure or CLOSED

    def _close_file(self, storage: Storage, failure: str | None) -> None:
        clean = False
        try:
            moved = storage.moved()
            if failure is None and moved is None:
                self.storage = storage
                self._commit()
            elif moved is not None:
                # What was acknowledged belongs to the file that is open, wherever that is now.
                self._reload(storage)
            if (failure is None or moved is not None) and (
                self._wrote or self._logged or storage.stamp.home is not None or self._prepared(storage)
            ):
                self._commit_transaction(storage)
                storage.seal(self.clock.now())
                clean = True
        except (OSError, sqlite3.Error, EmbeddedError) as error:
            if isinstance(error, DamagedFileError):
                raise
            if self._wrote and failure is None:
                reason = str(error) if isinstance(error, EmbeddedError) else storage.reason(error)
                raise FileUnavailableError(
                    f"{storage.name} could not be closed cleanly: {reason}. Everything that was acknowledged is in it"
                    " and the files beside it; it is written into the file when that is next opened and closed"
                ) from error
        finally:
            self.storage = None
            with contextlib.suppress(sqlite3.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            try:
                storage.close(clean=clean)
            except (OSError, sqlite3.Error) as error:
                raise FileUnavailableError(f"{storage.name} could not be closed cleanly: {error}") from error

    def _prepared(self, storage: Storage) -> bool:
        """Whether queries made SQL indexes since the last transaction. Another process would have to make them again.

        A file of an earlier format stays as it is: reading it must not keep earlier releases from opening it.
        """
        return storage.is_current and self.connection.total_changes > self._recorded

    def abandon(self) -> None:
        """Stop in a forked child: the file and the connection to it belong to the parent."""
        self._pid = -1
        self.failure = "this embedded server belongs to the process that opened it; open another one after a fork"
        self.connected = False
        self.lock = threading.Lock()  # another thread of the parent may hold the former one for ever
        storage, self.storage = self.storage, None
        if storage is not None:
            storage.abandon()


def _abandon_in_child() -> None:
    for state in list(_states):
        state.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)
