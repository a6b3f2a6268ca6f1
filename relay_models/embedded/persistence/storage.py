"""`Storage`: the SQLite file of an engine, created, recognized, checked, locked and opened."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from relay_models.embedded.errors import (
    DamagedFileError,
    EmbeddedError,
    FileUnavailableError,
    NewerFileError,
    NotAnEngineFileError,
)
from relay_models.embedded.persistence.encoding import key_checksum
from relay_models.embedded.persistence.file_lock import FileLock
from relay_models.embedded.persistence.redo_log import RedoLog

__all__ = ["Storage", "Sync", "create_tables"]

Sync = Literal["process", "power"]

APPLICATION_ID: Final = 0x52656C4D  # "RelM"
FORMAT: Final = 2
SQLITE_HEADER: Final = b"SQLite format 3\0"
# Maximum size in bytes of a file that is sealed when it is closed, so that opening it checks every page.
SEALED: Final = 32 * 1024 * 1024
# Without a seal, a file up to this size in bytes is checked completely when it is opened; a larger one by samples, for
# a limited time in seconds.
CHECKED_WHOLE: Final = 8 * 1024 * 1024
CHECK_SECONDS: Final = 0.05

SCHEMA: Final = """
CREATE TABLE generation (number INTEGER NOT NULL, seal INTEGER);
INSERT INTO generation VALUES (1, NULL);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    db INTEGER NOT NULL,
    key BLOB NOT NULL,
    kind INTEGER NOT NULL,
    expire REAL,
    value BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (db, key)
);
CREATE INDEX keys_expire ON keys (db, expire) WHERE expire IS NOT NULL;
CREATE TABLE parts (
    number INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    part BLOB NOT NULL,
    value BLOB,
    expire INTEGER,
    checksum INTEGER NOT NULL,
    UNIQUE (id, part)
);
"""


# The errors of reading a damaged file: SQLite quotes its broken bytes in messages, rows may be missing, and the
# specification of an index may be garbled.
UNREADABLE: Final = (sqlite3.DatabaseError, ValueError, TypeError, LookupError)


UNAVAILABLE: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)


FREE_TO_OPEN: Final = 128 * 1024
"""The space that SQLite may need on the disk to read a file that was not closed, in bytes."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of the keyspace."""
    connection.executescript(SCHEMA)


class Storage:
    """One open file. `connection` runs without implicit transactions.

    Raises `FileInUseError`, `NotAnEngineFileError`, `NewerFileError`, `DamagedFileError` or `FileUnavailableError`; a
    refused file is left unchanged.
    """

    def __init__(self, path: str, sync: Sync = "process") -> None:
        self.path = os.path.abspath(path)
        self.redo = RedoLog(self.path, sync=sync == "power")
        with _os_errors(self.path):
            self._lock = FileLock(self.path)
        try:
            with _os_errors(self.path):
                if not os.path.exists(self.path) or os.path.getsize(self.path) == 0:
                    self._create()
                elif not os.access(self.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                    raise FileUnavailableError(f"cannot open {self.path}: it is read-only")
                else:
                    self._check()
            self.connection = self._open(sync)
        except BaseException:
            self._lock.release()
            raise

    def _create(self) -> None:
        """Create the file under another name first, so that an incomplete file never has the final name."""
        for rest in (self.path + "-wal", self.redo.path):
            if os.path.exists(rest):
                raise DamagedFileError(
                    f"{self.path} is empty or gone, but {rest} is there; restore the file, or remove the other"
                )
        scratch = f"{self.path}.new-{os.getpid()}"
        connection = sqlite3.connect(scratch)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            create_tables(connection)
            connection.close()
            os.replace(scratch, self.path)
        except BaseException:
            connection.close()
            with contextlib.suppress(OSError):
                os.unlink(scratch)
            raise

    def _check(self) -> None:
        """Refuse a file of something else, of a later release, or visibly damaged, without writing to it."""
        path = self.path
        with open(path, "rb") as file:
            header = file.read(100)
        if len(header) < 100 or not header.startswith(SQLITE_HEADER):
            raise NotAnEngineFileError(f"{path} is not a file of this engine: it is not an SQLite database")
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise NotAnEngineFileError(f"{path} is not a file of this engine: it is another program's SQLite database")
        version = int.from_bytes(header[60:64], "big")
        if version > FORMAT:
            raise NewerFileError(f"{path} has format {version}; this release reads up to {FORMAT}. Upgrade to open it")
        if version < FORMAT:
            raise NotAnEngineFileError(f"{path} has format {version}, from before the first release; dump it with that")
        logged = os.path.exists(path + "-wal")
        shared = os.path.exists(path + "-shm")
        page = int.from_bytes(header[16:18], "big")
        pages = int.from_bytes(header[28:32], "big")
        if not logged and os.path.getsize(path) < pages * (65536 if page == 1 else page):
            raise DamagedFileError(f"{path} is cut short; restore it from a backup")
        uri = Path(path).as_uri() + ("?mode=ro" if logged else "?mode=ro&immutable=1")
        connection = sqlite3.connect(uri, uri=True)
        try:
            self._look_through(connection, sealed=not logged)
        except EmbeddedError:
            raise
        except UNREADABLE as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in UNAVAILABLE:
                raise
            raise self.damaged(str(error)) from error
        finally:
            connection.close()
            if not shared:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path + "-shm")

    def _look_through(self, connection: sqlite3.Connection, *, sealed: bool) -> None:
        """Check structure and checksums: all of them in a small file, as many as time allows in a large one."""
        connection.execute("SELECT id, part, value, expire, checksum FROM parts LIMIT 1").fetchone()
        generation, seal = connection.execute("SELECT number, seal FROM generation").fetchone()
        self.redo.check(generation)
        if sealed and seal is not None:
            if seal != self._seal_of(connection):
                raise self.damaged("it is not what was closed")
            return
        select = "SELECT id, key, kind, expire, value, checksum FROM keys"
        last = connection.execute(f"{select} ORDER BY id DESC LIMIT 1").fetchone()
        if last is None:
            return
        self._check_value(*last)
        if os.path.getsize(self.path) <= CHECKED_WHOLE:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise self.damaged(verdict)
            for row in connection.execute(select):
                self._check_value(*row)
            return
        deadline = time.monotonic() + CHECK_SECONDS
        step = max(1, last[0] // 100)
        for start in range(1, last[0], step):
            row = connection.execute(f"{select} WHERE id >= ? LIMIT 1", (start,)).fetchone()
            if row is not None:
                self._check_value(*row)
            if time.monotonic() > deadline:
                return

    def _check_value(self, id: int, key: bytes, kind: int, expire: float | None, value: bytes, checksum: int) -> None:
        if key_checksum(key, kind, expire, value) != checksum:
            raise self.damaged(f"the value of {key!r}")

    def _seal_of(self, connection: sqlite3.Connection) -> int:
        """A checksum of the file, except for what sealing it changes.

        That is the page with the seal, and in the header the counters of SQLite's transactions and its version.
        """
        size, page = connection.execute("PRAGMA page_size").fetchone()[0], 0
        ((own,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'generation'").fetchall()
        checksum = 0
        with open(self.path, "rb") as file:
            while content := file.read(size):
                page += 1
                if page == 1:
                    content = content[:24] + content[28:92] + content[100:]
                if page != own:
                    checksum = zlib.crc32(content, checksum)
        return checksum

    def _seal(self) -> None:
        """Write a checksum of the whole file, so that any damage is seen when it is next opened."""
        if self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            return
        if os.path.getsize(self.path) <= SEALED:
            self.connection.execute("UPDATE generation SET seal = ?", (self._seal_of(self.connection),))

    def damaged(self, what: str) -> DamagedFileError:
        """The error for a file in which `what` is wrong."""
        return DamagedFileError(f"{self.path} is damaged ({what}); restore it from a backup")

    def _open(self, sync: Sync) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, cached_statements=256)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            # Without a sync per commit the log still survives the death of the process: the system has it.
            connection.execute(f"PRAGMA synchronous = {'FULL' if sync == 'power' else 'NORMAL'}")
            # A longer log than usual is written back less often, with pages that changed repeatedly only once.
            connection.execute("PRAGMA wal_autocheckpoint = 8000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -32768")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            raise FileUnavailableError(f"cannot open {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise DamagedFileError(f"{self.path} is damaged ({error}); restore it from a backup") from error
        return connection

    @property
    def generation(self) -> int:
        """The number of transactions; the redo log of an earlier one is void."""
        (number,) = self.connection.execute("SELECT number FROM generation").fetchone()
        return int(number)

    def close(self, *, clean: bool = True) -> None:
        """Write the log back into the file and free the lock. Unless `clean`, the redo log is still needed."""
        try:
            if clean:
                self._seal()
            self.redo.close(remove=clean)
            self.connection.close()
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """Release everything in a forked child; the parent continues."""
        self._lock.forget()


@contextlib.contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Errors of the file system as errors of the engine."""
    try:
        yield
    except (DamagedFileError, FileUnavailableError, BlockingIOError):
        raise
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        with contextlib.suppress(OSError):
            if shutil.disk_usage(os.path.dirname(path)).free < FREE_TO_OPEN:
                reason += "; the disk is full"
        raise FileUnavailableError(f"cannot open {path}: {reason}") from error
