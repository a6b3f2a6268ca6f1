"""`FileLock`: a lock file next to a data file, held by one process at a time and freed by the system when it dies."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Final

from relay_models.embedded.errors import FileInUseError

__all__ = ["FileLock"]

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

# On Windows other processes cannot read the locked byte, so it is far behind the text.
_LOCKED_BYTE: Final = 1 << 30

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """The exclusive right to `path`. Raises `FileInUseError` with the process that has it."""

    def __init__(self, path: str) -> None:
        self.path = path + ".lock"
        self._descriptor = self._acquire(path)
        _held.add(self)

    def _acquire(self, path: str) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
            except OSError:
                pid = _read_pid(descriptor)
                os.close(descriptor)
                raise FileInUseError(_in_use(path, pid), pid) from None
            # The holder before us may have removed the file between our open and our lock.
            try:
                current = os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
            except FileNotFoundError:
                current = False
            if current:
                try:
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, b"%d\n" % os.getpid())
                except OSError:  # a full disk
                    with contextlib.suppress(OSError):
                        os.unlink(self.path)
                    os.close(descriptor)
                    raise
                return descriptor
            os.close(descriptor)

    def release(self) -> None:
        """Release the right and remove the lock file."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):  # the directory may have become read-only; the lock is freed all the same
            os.unlink(self.path)
        self.forget()

    def forget(self) -> None:
        """Close the file without removing it: what a forked child does, whose parent still holds the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
