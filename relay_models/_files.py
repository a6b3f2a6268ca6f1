"""`open_output`: write a file atomically where that is possible, and in place where it is not."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

__all__ = ["PRIVATE", "open_output"]

PRIVATE = 0o600
"""Mode of new files that hold prompts: readable by their owner only."""

_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/self/fd|proc/\d+/fd)/(\d+)")
_STANDARD_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


@contextmanager
def open_output(path: str | os.PathLike[str], *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a binary file for writing whose old content stays until the block ends without an error.

    Symbolic links are followed. A regular file is replaced atomically and keeps its mode, owner and extended
    attributes; where a replacement would lose them, or would break a hard link, the file is rewritten in place once the
    block has ended. Pipes, FIFOs, devices and open descriptors (``/dev/fd/N``) are written directly.

    Args:
        path: The file, as the user named it. Errors name it so.
        mode: Permissions of a new file, reduced by the umask. An existing file keeps its own.

    Yields:
        The open file.

    Raises:
        OSError: The file cannot be written; `filename` is `path`.
    """
    name = os.fspath(path)
    _check_name(name)
    opened: _Named | None
    with _naming(name):
        descriptor = _descriptor(name)
        if descriptor is not None:
            opened = _Named(os.dup(descriptor), name)
        else:
            target, status = _resolve(name)
            opened = None if status is None or stat.S_ISREG(status.st_mode) else _open_special(target, name)
    if opened is not None:
        with cast(BinaryIO, io.BufferedWriter(opened)) as file:
            yield file
        return
    if status is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    temporary = None if status is not None and status.st_nlink > 1 else _create_beside(target, name, mode, status)
    if temporary is None:
        yield from _rewrite(target, name)
    else:
        yield from _replace(temporary, target, name)


def _replace(temporary: str, target: str, name: str) -> Iterator[BinaryIO]:
    """Write a temporary file, then rename it to the target."""
    try:
        with cast(BinaryIO, io.BufferedWriter(_Named(temporary, name))) as file:
            yield file
            with _naming(name):
                file.flush()
                os.fsync(file.fileno())
        with _naming(name):
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _rewrite(target: str, name: str) -> Iterator[BinaryIO]:
    """Collect the content elsewhere first, so that an error of the block leaves the target as it is."""
    with tempfile.TemporaryFile() as collected:
        yield cast(BinaryIO, collected)
        collected.seek(0)
        with _naming(name), io.BufferedWriter(_Named(target, name)) as file:
            shutil.copyfileobj(collected, file)
            file.flush()
            os.fsync(file.fileno())


class _Named(io.FileIO):
    """A file whose write errors carry the name that the user gave."""

    def __init__(self, file: str | int, name: str) -> None:
        super().__init__(file, "wb")
        self._shown = name

    def write(self, data: Any) -> int:
        with _naming(self._shown):
            return super().write(data)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error


def _check_name(name: str) -> None:
    """Refuse what no file can be called; the system would not say so, or in other words."""
    try:
        is_valid = bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise OSError(errno.EINVAL, "no file can have this name", name)


def _descriptor(name: str) -> int | None:
    """The open descriptor that a path such as ``/dev/fd/63`` names."""
    if sys.platform == "win32":
        return None
    if name in _STANDARD_STREAMS:
        return _STANDARD_STREAMS[name]
    found = _DESCRIPTOR.fullmatch(name)
    if found is None or (name.startswith("/proc/") and name.split("/")[2] not in ("self", str(os.getpid()))):
        return None
    return int(found[1])


def _resolve(name: str) -> tuple[str, os.stat_result | None]:
    """The file that a path leads to, links followed, and its status; None where it does not exist yet."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        return os.path.realpath(name), None  # also the target of a dangling link
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return (os.path.realpath(name) if stat.S_ISREG(status.st_mode) else name), status


def _open_special(target: str, name: str) -> _Named:
    return _Named(os.open(target, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)), name)


def _create_beside(target: str, name: str, mode: int, status: os.stat_result | None) -> str | None:
    """An empty file in the target's directory, with its attributes; None where it cannot have them."""
    temporary = os.path.join(os.path.dirname(target), f".relay-models-{secrets.token_hex(6)}.part")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        os.close(os.open(temporary, flags, mode if status is None else PRIVATE))
    except OSError as error:
        if status is not None and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return None  # the file may be written, its directory may not
        raise OSError(error.errno, error.strerror, name) from error
    if status is None or _copy_attributes(target, temporary, status):
        return temporary
    os.unlink(temporary)
    return None


def _copy_attributes(source: str, copy: str, status: os.stat_result) -> bool:
    """Give a file the owner, mode and extended attributes of another; False where that is refused."""
    try:
        made = os.stat(copy)
        if hasattr(os, "chown") and (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            os.chown(copy, status.st_uid, status.st_gid)
        if hasattr(os, "listxattr"):
            try:
                names = os.listxattr(source)
            except OSError:
                names = []  # the file system has none
            for name in names:
                os.setxattr(copy, name, os.getxattr(source, name))
        os.chmod(copy, stat.S_IMODE(status.st_mode))
    except OSError:
        return False
    return True
