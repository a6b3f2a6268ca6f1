"""`check_file`: what of a file is looked at before it is opened, so that a refused one is left unchanged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay_models.embedded.errors import DamagedFileError, EmbeddedError, NewerFileError, NotAnEngineFileError
from relay_models.embedded.persistence.encoding import key_checksum
from relay_models.embedded.persistence.redo_log import RedoLog

__all__ = [
    "APPLICATION_ID",
    "FORMAT",
    "UNREADABLE",
    "Content",
    "Stamp",
    "check_file",
    "checksum_of",
    "damaged",
    "is_name",
    "is_unavailable",
    "main_stamp",
    "read_stamp",
    "stored_path",
]

APPLICATION_ID: Final = 0x52656C4D  # "RelM"
FORMAT: Final = 5
OLDEST_FORMAT: Final = 2
SQLITE_HEADER: Final = b"SQLite format 3\0"

# Without a seal, a file up to this size in bytes is checked completely when it is opened; a larger one by samples, for
# a limited time in seconds.
CHECKED_WHOLE: Final = 8 * 1024 * 1024
CHECK_SECONDS: Final = 0.05

# The errors of reading a damaged file: SQLite quotes its broken bytes in messages, rows may be missing, and the
# specification of an index may be garbled.
UNREADABLE: Final = (sqlite3.DatabaseError, ValueError, TypeError, LookupError)

# The errors of SQLite that say nothing about the content of a file.
_UNAVAILABLE: Final = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
)

# Without locks, which the engine has of its own, SQLite keeps the index of a log in memory and not in a file.
_NO_LOCKS: Final = "unix-none" if os.name == "posix" else "win32-none"


@dataclass
class Stamp:
    """The file's row about itself.

    Attributes:
        number: The generation: how many transactions there were.
        seal: A checksum of the closed file; None while it may change.
        base: The generation up to which the file itself has everything. Later ones may be in the -wal alone.
        token: A random number of the opening that last changed the file.
        previous: The token before that.
        home: The path by which the file is open, beside which its logs are; None once it is closed.
        time: The engine's time, in µs, when the file was last changed.
    """

    number: int
    seal: int | None = None
    base: int = 0
    token: int = 0
    previous: int = 0
    home: str | None = None
    time: int = 0


def read_stamp(connection: sqlite3.Connection) -> Stamp:
    """The stamp as a connection sees it. A file of format 2 has only its first two columns."""
    cursor = connection.execute("SELECT * FROM generation")
    names = [column[0] for column in cursor.description]
    values: dict[str, Any] = dict(zip(names, cursor.fetchone(), strict=True))
    if isinstance(home := values.get("home"), bytes):
        values["home"] = os.fsdecode(home)
    return Stamp(**values)


def is_name(name: str) -> bool:
    """Whether a file can be called so."""
    try:
        return bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def stored_path(path: str | None) -> str | bytes | None:
    """A path as it can be stored: the bytes of one that is no UTF-8."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return encoded
    return path


@contextlib.contextmanager
def _reader(path: str, *, main_only: bool) -> Iterator[sqlite3.Connection]:
    """A connection that reads a file and changes nothing, without its -wal or with it."""
    way = "immutable=1" if main_only else f"vfs={_NO_LOCKS}"
    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro&{way}", uri=True)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        yield connection
    finally:
        connection.close()


def main_stamp(path: str) -> Stamp | None:
    """The stamp in the file itself, whatever its -wal has; None where it cannot be read."""
    try:
        with _reader(path, main_only=True) as connection:
            return read_stamp(connection)
    except UNREADABLE:
        return None


def is_unavailable(error: BaseException) -> bool:
    """Whether an error of SQLite is about reaching the file and not about what is in it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE


def check_file(path: str, name: str, redo: RedoLog) -> bool:
    """Refuse a file of something else, of a later release, or visibly damaged, without writing to it.

    Args:
        path: The file.
        name: What errors call it.
        redo: Its redo log, which is checked too.

    Returns:
        Whether all of the file was checked; of a large one that was not closed only samples are.
    """
    with open(path, "rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(SQLITE_HEADER):
        raise NotAnEngineFileError(f"{name} is not a file of this engine: it is not an SQLite database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise NotAnEngineFileError(f"{name} is not a file of this engine: it is another program's SQLite database")
    version = int.from_bytes(header[60:64], "big")
    if version > FORMAT:
        raise NewerFileError(f"{name} has format {version}; this release reads up to {FORMAT}. Upgrade to open it")
    if version < OLDEST_FORMAT:
        raise NotAnEngineFileError(f"{name} has format {version}, from before the first release; dump it with that")
    logged = os.path.exists(path + "-wal") and os.path.getsize(path + "-wal") > 0
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    if not logged and os.path.getsize(path) < pages * (65536 if page == 1 else page):
        raise DamagedFileError(f"{name} is cut short; restore it from a backup")
    try:
        with _reader(path, main_only=not logged) as connection:
            stamp = read_stamp(connection)
            main = main_stamp(path) if logged else stamp
            _check_logs(name, stamp, main, redo)
            return Content(path, name, connection, stamp).check(sealed=not logged)
    except EmbeddedError:
        raise
    except UNREADABLE as error:
        if is_unavailable(error):
            raise
        raise damaged(name, str(error)) from error


def _check_logs(name: str, stamp: Stamp, main: Stamp | None, redo: RedoLog) -> None:
    """Check that the -wal and the redo log are those of this file, as it is now."""
    if main is not None and main is not stamp:
        same = main.token == stamp.token or main.token == stamp.previous
        if not same or not stamp.base <= main.number <= stamp.number:
            raise DamagedFileError(
                f"{name} is not the file, or an older copy of the file, to which {name}-wal belongs; restore the file"
                " and its -wal and -redo together, or remove these to do without what they have"
            )
    if stamp.home is not None and not redo.exists(stamp.token):
        raise DamagedFileError(
            f"{name} was not closed, and what was written last is in {stamp.home}-wal and {stamp.home}-redo, which are"
            f" not here; put them beside it under its name, or create an empty {name}-redo to do without them"
        )
    redo.check(stamp.number, stamp.token)


_KEYS: Final = "SELECT id, key, kind, expire, value, checksum FROM keys"


class Content:
    """A look at structure and checksums: all of them in a small file, as many as time allows in a large one."""

    def __init__(self, path: str, name: str, connection: sqlite3.Connection, stamp: Stamp) -> None:
        self._path = path
        self._name = name
        self._connection = connection
        self._stamp = stamp

    def check(self, *, sealed: bool) -> bool:
        """Check the file. Returns whether that was all of it."""
        connection, seal = self._connection, self._stamp.seal
        connection.execute("SELECT id, part, value, expire, checksum FROM parts LIMIT 1").fetchone()
        if sealed and seal is not None:
            if seal != checksum_of(self._path, connection):
                raise damaged(self._name, "it is not what was closed")
            return True
        if os.path.getsize(self._path) <= CHECKED_WHOLE:
            self.check_whole()
            return True
        last = connection.execute(f"{_KEYS} ORDER BY id DESC LIMIT 1").fetchone()
        if last is None:
            return False
        self._check_value(*last)
        deadline = time.monotonic() + CHECK_SECONDS
        step = max(1, last[0] // 100)
        for start in range(1, last[0], step):
            row = connection.execute(f"{_KEYS} WHERE id >= ? LIMIT 1", (start,)).fetchone()
            if row is not None:
                self._check_value(*row)
            if time.monotonic() > deadline:
                break
        return False

    def check_whole(self) -> None:
        """Check the structure of the file, and every key."""
        verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise damaged(self._name, verdict)
        for row in self._connection.execute(_KEYS):
            self._check_value(*row)

    def _check_value(self, id: int, key: bytes, kind: int, expire: float | None, value: bytes, checksum: int) -> None:
        if key_checksum(key, kind, expire, value) != checksum:
            raise damaged(self._name, f"the value of {key!r}")


def checksum_of(path: str, connection: sqlite3.Connection) -> int:
    """A checksum of the file, except for what sealing it changes.

    That is the page with the seal, and in the header the counters of SQLite's transactions and its version.
    """
    size, page = connection.execute("PRAGMA page_size").fetchone()[0], 0
    ((own,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'generation'").fetchall()
    checksum = 0
    with open(path, "rb") as file:
        while content := file.read(size):
            page += 1
            if page == 1:
                content = content[:24] + content[28:92] + content[100:]
            if page != own:
                checksum = zlib.crc32(content, checksum)
    return checksum


def damaged(name: str, what: str) -> DamagedFileError:
    """The error for a file in which `what` is wrong."""
    return DamagedFileError(f"{name} is damaged ({what}); restore it from a backup")
