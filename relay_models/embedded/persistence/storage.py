"""`Storage`: the SQLite file of an engine, found by whatever name, created, locked, opened and closed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from typing import Final, Literal

from relay_models.embedded.errors import DamagedFileError, EmbeddedError, FileInUseError, FileUnavailableError
from relay_models.embedded.persistence.file_checks import (
    APPLICATION_ID,
    FORMAT,
    UNREADABLE,
    Content,
    check_file,
    checksum_of,
    damaged,
    is_name,
    is_unavailable,
    main_stamp,
    read_stamp,
    stored_path,
)
from relay_models.embedded.persistence.file_lock import FileLock
from relay_models.embedded.persistence.redo_log import Change, RedoLog
from relay_models.embedded.persistence.side_files import WAL_MODE, WAL_MODE_AT, kind_of, refuse_others

__all__ = ["UNREADABLE", "Storage", "Sync", "create_tables"]

Sync = Literal["process", "power"]

# Maximum size in bytes of a file that is sealed when it is closed, so that opening it checks every page.
SEALED: Final = 32 * 1024 * 1024

# The size of the -wal in bytes from which it is written back into the file. A longer log than SQLite's usual one is
# written back less often, with pages that changed repeatedly only once.
LONG_WAL: Final = 32 * 1024 * 1024

SCHEMA: Final = """
CREATE TABLE generation (
    number INTEGER NOT NULL,
    seal INTEGER,
    base INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    previous INTEGER NOT NULL DEFAULT 0,
    home TEXT,
    time INTEGER NOT NULL DEFAULT 0
);
INSERT INTO generation (number) VALUES (1);
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

# The columns that format 3 added to `generation`. Format 4 has compressed JSON, and the indexes' `FieldSpec.blanks`
# and `IndexSpec.covers`; format 5 has indexes of fewer columns, `FieldSpec.merged` and `FieldSpec.packs`. What a file
# has of an earlier format stays as it is until it is written again, indexes until they are created again.
_TIMED_FORMAT: Final = 3
_ADDED: Final = (
    "base INTEGER NOT NULL DEFAULT 0",
    "token INTEGER NOT NULL DEFAULT 0",
    "previous INTEGER NOT NULL DEFAULT 0",
    "home TEXT",
    "time INTEGER NOT NULL DEFAULT 0",
)

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

FREE_TO_WRITE: Final = 128 * 1024
"""The space on the disk, in bytes, below which a failed write is explained by a full disk."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of the keyspace."""
    connection.executescript(SCHEMA)


class Storage:
    """One open file. `connection` runs without implicit transactions.

    `path` is the real path of the file, beside which its lock and its logs are; `name` is the user's, for messages.
    Raises `FileInUseError`, `NotAnEngineFileError`, `NewerFileError`, `DamagedFileError` or `FileUnavailableError`; a
    refused file is left unchanged.
    """

    def __init__(self, path: str, sync: Sync = "process") -> None:
        if not is_name(path):
            raise FileUnavailableError(f"cannot open {path!r}: no file can have this name")
        self.name = os.path.abspath(path)
        self.path = os.path.realpath(path)
        self._sync = sync
        self.created = False
        """Whether the file was made by this opening."""
        self.marked = False
        """Whether the file itself says that it is open, and where: before anything is acknowledged."""
        self._sound = True
        """Whether all of the file was checked, so that closing it may seal it."""
        self._wal: tuple[int, int] | None = None
        self._log_ready = False
        self._inherited = False
        self.redo = RedoLog(self.path, self.name, sync=sync == "power")
        with self._os_errors():
            self._refuse_unusable()
            self._lock = FileLock(self.path, self.name)
        try:
            with self._os_errors():
                self._find_logs()
                if not os.path.exists(self.path) or os.path.getsize(self.path) == 0:
                    self._create()
                self._lock.lock_data(self.path)
                if not self.created:
                    self._sound = check_file(self.path, self.name, self.redo)
                self.redo.mode = stat.S_IMODE(os.stat(self.path).st_mode)
            self.connection = self._open(sync)
        except BaseException:
            self.redo.close(remove=False)
            self._lock.release()
            raise
        try:
            with contextlib.suppress(OSError):
                wal = os.stat(self.path + "-wal")
                self._wal = (wal.st_dev, wal.st_ino)
            self.reread()
        except BaseException:
            self.connection.close()
            self.redo.close(remove=False)
            self._lock.release()
            raise

    def _refuse_unusable(self) -> None:
        refuse_others(self.path)
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(status.st_mode):
            raise FileUnavailableError(f"cannot open {self.name}: it is {kind_of(status.st_mode)}, not a file")
        if not os.access(self.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise FileUnavailableError(f"cannot open {self.name}: it is read-only")

    def _find_logs(self) -> None:
        """Take the name of the file beside which the logs are, where a process that was killed used a hard link."""
        if not os.path.exists(self.path) or os.path.getsize(self.path) == 0:
            return
        self._lock.lock_data(self.path)
        stamp = main_stamp(self.path)
        if stamp is None or stamp.home is None or stamp.home == self.path or self.redo.exists(stamp.token):
            return
        try:
            found = os.path.samefile(stamp.home, self.path)
        except OSError:
            found = False
        if found:
            self._lock.release()
            self.path = stamp.home
            self._lock = FileLock(self.path, self.name)
            self.redo = RedoLog(self.path, self.path, sync=self._sync == "power")

    def _create(self) -> None:
        """Create the file under another name first, so that an incomplete file never has the final name."""
        for rest in (self.path + "-wal", self.redo.path):
            if os.path.exists(rest) and os.path.getsize(rest):
                raise DamagedFileError(
                    f"{self.name} is empty or gone, but {rest} is there; restore the file, or remove the other"
                )
        scratch = f"{self.path}-new"
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            there = None
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)  # of a process that was killed: the file is locked by this one
            os.close(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            connection = sqlite3.connect(scratch)
            try:
                connection.execute("PRAGMA journal_mode = MEMORY")  # what is left of it after a kill is not used
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                create_tables(connection)
            finally:
                connection.close()
            # With a -wal from the beginning: to change to it later, SQLite writes a rollback journal.
            with open(scratch, "r+b") as file:
                file.seek(WAL_MODE_AT)
                file.write(WAL_MODE)
            self._put(scratch, there)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(scratch)
        self.created = True

    def _put(self, scratch: str, there: os.stat_result | None) -> None:
        """Give the new file its name. An empty file that is there keeps its permissions, its owner and its links."""
        if there is None:
            os.replace(scratch, self.path)
            return
        if there.st_nlink == 1:
            with contextlib.suppress(OSError):
                os.chmod(scratch, stat.S_IMODE(there.st_mode))
                if hasattr(os, "chown"):
                    os.chown(scratch, there.st_uid, there.st_gid)
            made = os.stat(scratch)
            if (made.st_uid, made.st_gid, made.st_mode) == (there.st_uid, there.st_gid, there.st_mode):
                self._lock.data_replaced()
                os.replace(scratch, self.path)
                return
        # The header comes last, so that a file that is not whole is recognized by no one.
        with open(scratch, "rb") as source, open(self.path, "r+b") as file:
            content = source.read()
            file.write(bytes(100) + content[100:])
            file.flush()
            file.seek(0)
            file.write(content[:100])

    def damaged(self, what: str) -> DamagedFileError:
        """The error for a file in which `what` is wrong."""
        return damaged(self.name, what)

    def _open(self, sync: Sync) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, cached_statements=256)
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            # Without a sync per commit the log still survives the death of the process: the system has it.
            connection.execute(f"PRAGMA synchronous = {'FULL' if sync == 'power' else 'NORMAL'}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `after_commit`
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -32768")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise FileInUseError(
                    f"{self.name} is in use by another process; only one may have it open", None
                ) from error
            if isinstance(error, sqlite3.OperationalError) or is_unavailable(error):
                raise FileUnavailableError(f"cannot open {self.name}: {self.reason(error)}") from error
            raise self.damaged(str(error)) from error
        return connection

    # Writing

    def stamp_transaction(self, time: int) -> None:
        """Put the next generation into the open transaction, and in the first one that the file is open.

        Args:
            time: The engine's time in µs.
        """
        stamp = self.stamp
        if not self.marked:
            if self._format() < FORMAT:
                for column in _ADDED if self._format() < _TIMED_FORMAT else ():
                    self.connection.execute(f"ALTER TABLE generation ADD COLUMN {column}")
                self.connection.execute(f"PRAGMA user_version = {FORMAT}")
            if stamp.home is None or not stamp.token:
                stamp.previous, stamp.token = stamp.token, secrets.randbits(62) + 1
            stamp.home = self.path
            if not self.redo.size:
                self.redo.begin(stamp.number, stamp.token)
        self.connection.execute(
            "UPDATE generation SET number = ?, seal = NULL, base = ?, token = ?, previous = ?, home = ?, time = ?",
            (stamp.number + 1, stamp.base, stamp.token, stamp.previous, stored_path(stamp.home), time),
        )

    def after_commit(self) -> None:
        """Begin the next generation after a transaction, and write a long -wal back into the file.

        The transaction is done, so nothing here may fail: what is not possible now is tried before the next change.
        """
        self.stamp.number += 1
        self.stamp.seal = None
        self._log_ready = False
        try:
            self.redo.begin(self.stamp.number, self.stamp.token)
        except OSError:
            return
        self._log_ready = True
        if not self.marked:
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if self._sync == 'power' else 'OFF'}")
            self.marked = self._checkpoint("PASSIVE")
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if self._sync == 'power' else 'NORMAL'}")
        elif _size(self.path + "-wal") > LONG_WAL:
            self._checkpoint("RESTART")

    def log(self, changes: list[Change], time: int) -> None:
        """Add one batch of changes to the redo log, instead of a transaction."""
        if not self._log_ready:
            self.redo.resume(self.stamp.number, self.stamp.token)
            self._log_ready = True
        self.redo.append(changes, time)

    def _checkpoint(self, mode: str) -> bool:
        """Write the -wal back into the file. Returns whether that was possible: on a full disk the log just stays."""
        try:
            busy, frames, written = self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error:
            return False
        if busy or frames != written:
            return False
        self.stamp.base = self.stamp.number
        return True

    def reread(self) -> None:
        """Forget what was not committed."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.stamp = read_stamp(self.connection)
        self._log_ready = False
        main = main_stamp(self.path)
        self.marked = (
            main is not None
            and self.stamp.home == main.home == self.path
            and self.stamp.token == main.token
            and not self.redo.outdated
        )

    def moved(self) -> str | None:
        """What was replaced or removed while the file was open; None where everything is in its place."""
        if not _is(self.path, self._lock.file):
            return f"{self.name} was replaced, moved or removed while it was open"
        if self._wal is not None and not _is(self.path + "-wal", self._wal):
            return f"{self.name}-wal was replaced or removed while {self.name} was open"
        log = self.redo.status
        if log is not None and not _is(self.redo.path, (log.st_dev, log.st_ino)):
            return f"{self.redo.path} was replaced or removed while {self.name} was open"
        return None

    def reason(self, error: BaseException) -> str:
        """Say what an error of the system or of SQLite comes from."""
        reason = getattr(error, "strerror", None) or str(error)
        full = getattr(error, "errno", None) in _DISK_FULL
        full = full or getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        if not full and getattr(error, "errno", None) in (None, errno.EIO):  # of a kind that does not say it
            with contextlib.suppress(OSError):
                full = shutil.disk_usage(os.path.dirname(self.path)).free < FREE_TO_WRITE
        return f"the disk is full: {reason}" if full else reason

    # Closing

    def seal(self, time: int) -> None:
        """Write everything into the file, and that it is closed, with a checksum of it where it is not too large."""
        connection = self.connection
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise FileUnavailableError(f"{self.name} could not be written: it is locked")
        in_place = _is(self.path, self._lock.file)
        checksum = None
        if in_place and os.path.getsize(self.path) <= SEALED:
            if not self._sound:
                Content(self.path, self.name, connection, self.stamp).check_whole()
            checksum = checksum_of(self.path, connection)
        connection.execute(
            "UPDATE generation SET seal = ?, base = number, home = NULL, time = ?",
            (checksum, time),
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self, *, clean: bool) -> None:
        """Close the file and free the lock. Unless `clean`, the redo log is still needed."""
        if self._inherited:
            return
        with contextlib.ExitStack() as ending:  # whatever fails, the rest is released
            ending.callback(self._lock.release)
            ending.callback(self._close_log, clean)
            ending.callback(self.connection.close)

    def _close_log(self, clean: bool) -> None:
        wal, log = self.path + "-wal", None
        void = self.stamp.home is None and not self.redo.size  # such as a process leaves that was killed while closing
        try:
            log = self.redo.status
        finally:
            mine = log is not None and _is(self.redo.path, (log.st_dev, log.st_ino))
            self.redo.close(remove=(clean or void) and mine)
        # SQLite leaves the -wal of a file that was moved; beside another file it would be taken for its own.
        if clean and not _is(self.path, self._lock.file) and _is(wal, self._wal):
            os.unlink(wal)

    def abandon(self) -> None:
        """Release everything in a forked child, and touch nothing: the file belongs to the parent."""
        self._inherited = True
        # Closing the connection, which its deletion does too, would delete the parent's -wal.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.connection))
        self.redo.close(remove=False)
        self._lock.forget()

    @property
    def is_current(self) -> bool:
        """Whether the file has the newest format."""
        return self._format() == FORMAT

    def _format(self) -> int:
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    @contextlib.contextmanager
    def _os_errors(self) -> Iterator[None]:
        """Errors of the file system as errors of the engine."""
        try:
            yield
        except EmbeddedError:
            raise
        except (OSError, sqlite3.OperationalError) as error:
            raise FileUnavailableError(f"cannot open {self.name}: {self.reason(error)}") from error


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _is(path: str, file: tuple[int, int] | None) -> bool:
    """Whether a path is that file, by device and inode."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == file
