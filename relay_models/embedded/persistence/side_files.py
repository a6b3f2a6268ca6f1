"""`open_own` and `refuse_others`: of the files beside a data file, only the engine's own are used."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from relay_models.embedded.errors import FileUnavailableError

__all__ = ["WAL_MODE", "WAL_MODE_AT", "kind_of", "open_own", "refuse_others"]

# What the header of an SQLite file with a -wal has for the versions of its format, and the offset in bytes.
WAL_MODE: Final = b"\2\2"
WAL_MODE_AT: Final = 18

_BINARY: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Links are not followed, and opening a FIFO does not wait for its other end.
_CAUTIOUS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def kind_of(mode: int) -> str:
    """What a file that is no plain file is, by its mode."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def open_own(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file of the engine's own, such as a log; what else is there under its name is left alone.

    Raises:
        FileUnavailableError: It is a link, a FIFO, a device or a directory.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | _BINARY | _CAUTIOUS, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _in_the_way(path, kind_of(os.lstat(path).st_mode)) from None
        raise
    try:
        found = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(found):
            raise _in_the_way(path, kind_of(found))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def refuse_others(path: str) -> None:
    """Refuse a data file beside which something else has the name of one of its logs.

    Raises:
        FileUnavailableError: A log is no plain file, or there is a rollback journal, which SQLite would apply.
    """
    for log in (f"{path}-wal", f"{path}-redo", f"{path}-journal"):
        try:
            status = os.lstat(log)
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise _in_the_way(log, kind_of(status.st_mode))
        if log.endswith("-journal") and status.st_size and _has_wal(path):
            raise FileUnavailableError(
                f"{log} is the journal of another program, and SQLite would apply it to this file: move it away"
            )


def _has_wal(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(WAL_MODE_AT)
            return file.read(len(WAL_MODE)) == WAL_MODE
    except OSError:
        return False


def _in_the_way(path: str, what: str) -> FileUnavailableError:
    return FileUnavailableError(f"{path} is {what}, and not a file of this engine: move it away")
