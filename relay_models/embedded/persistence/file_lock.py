"""`FileLock`: the exclusive right to a data file, however it is named, freed by the system when its process dies.

Two locks make it up. A lock file beside the data file, which exists before the file does, names the holder. A lock on
the data file itself goes with the file: it is found through hard links and bind mounts, and when the lock file was
removed. The `filelock` package has neither the holder's process nor a lock on the data file, so the locks are our own.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import sys
import threading
import weakref
from typing import Final

from relay_models.embedded.errors import FileInUseError, FileUnavailableError
from relay_models.embedded.persistence.side_files import open_own

__all__ = ["FileLock"]

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

# On Windows other processes cannot read the locked byte, so it is far behind the text.
_LOCKED_BYTE: Final = 1 << 30

# The byte of the data file that is locked, far behind the bytes that SQLite locks.
_DATA_BYTE: Final = 1 << 60

# A lock of an open file description, where the system has them. Unlike other locks of POSIX it stays when another
# descriptor of the file is closed in this process, and no child inherits it.
_OFD_SETLK: Final = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None

# What a lock file holds: the holder's process, or nothing.
_PID: Final = re.compile(rb"\d*\n?")

_guard = threading.Lock()
_held: weakref.WeakSet[FileLock] = weakref.WeakSet()
_files: dict[tuple[int, int], weakref.ref[FileLock]] = {}
"""The data files that this process has open: device and inode."""


class FileLock:
    """The exclusive right to the file at `path`, which errors call `name`. Raises `FileInUseError`."""

    def __init__(self, path: str, name: str) -> None:
        self.path = path + ".lock"
        self.name = name
        self.file: tuple[int, int] | None = None
        """Device and inode of the data file; None before it exists."""
        self._data = self._descriptor = -1
        with _guard:
            self._register(path)
            try:
                self._descriptor = self._acquire(path)
            except BaseException:
                self._unregister()
                raise
        _held.add(self)

    def _register(self, path: str) -> None:
        try:
            status = os.stat(path)
        except OSError:
            return
        file = (status.st_dev, status.st_ino)
        holder = _files.get(file)
        if holder is not None and holder() is not None:
            raise FileInUseError(_in_use(self.name, os.getpid()), os.getpid())
        self.file = file
        _files[file] = weakref.ref(self)

    def _unregister(self) -> None:
        if self.file is not None and (holder := _files.get(self.file)) is not None and holder() is self:
            del _files[self.file]

    def _acquire(self, path: str) -> int:
        try:
            mode = os.stat(path).st_mode & 0o666  # a user who may open the file may need the lock
        except OSError:
            mode = 0o600
        while True:
            descriptor = open_own(self.path, os.O_RDWR | os.O_CREAT, mode)
            try:
                if self._take(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _take(self, descriptor: int) -> bool:
        """Lock the lock file; False where its holder has removed it meanwhile."""
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            pid = _read_pid(descriptor)
            raise FileInUseError(_in_use(self.name, pid), pid) from None
        try:
            if os.stat(self.path).st_ino != os.fstat(descriptor).st_ino:
                return False
        except FileNotFoundError:
            return False
        if not _PID.fullmatch(os.read(descriptor, 64)):
            raise FileUnavailableError(f"{self.path} is not a lock file of this engine: move it away")
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, b"%d\n" % os.getpid())
        return True

    def lock_data(self, path: str) -> None:
        """Lock the data file itself, once it exists. Raises `FileInUseError`."""
        with _guard:
            if self.file is None:
                self._register(path)
        if _OFD_SETLK is None or self._data >= 0:
            return
        self._data = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with contextlib.suppress(PermissionError):
            try:
                fcntl.fcntl(self._data, _OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, _DATA_BYTE, 1, 0))
            except BlockingIOError:
                raise FileInUseError(_in_use(self.name, None), None) from None
            except OSError:
                pass  # the file system has no locks; the lock file remains

    def data_replaced(self) -> None:
        """Forget the data file, which another one with the same name replaces; lock that one next."""
        self._close_data()
        self._unregister()
        self.file = None

    def _close_data(self) -> None:
        if self._data >= 0:
            os.close(self._data)
            self._data = -1

    def release(self) -> None:
        """Release the right and remove the lock file."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):  # the directory may have become read-only; the lock is freed all the same
            if os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino:
                os.unlink(self.path)
        self.forget()

    def forget(self) -> None:
        """Close the file without removing it: what a forked child does, whose parent still holds the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._close_data()
        self._unregister()


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt  # pragma: no cover - Windows

    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)  # pragma: no cover
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pragma: no cover
    os.lseek(descriptor, 0, os.SEEK_SET)  # pragma: no cover


def _read_pid(descriptor: int) -> int | None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return int(os.read(descriptor, 32))
    except (OSError, ValueError):
        return None


def _in_use(path: str, pid: int | None) -> str:
    if pid == os.getpid():
        return f"{path} is already open in this process; use that server, or close it first"
    holder = "another process" if pid is None else f"process {pid}"
    return f"{path} is in use by {holder}; only one may have it open. Serve it to share it, or stop that process"


def _forget_in_child() -> None:
    global _guard
    _guard = threading.Lock()
    _files.clear()
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
