"""`writing` and `reading`: a dump's file, by its name or open already."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Final, cast

from relay_models.embedded.errors import InvalidArgumentError
from relay_models.embedded.persistence.file_checks import is_name

__all__ = ["Target", "reading", "writing"]

Target = str | os.PathLike[str] | IO[bytes]

# Names of descriptors that are open already, which lead to whatever the caller opened.
_DESCRIPTOR: Final = re.compile(r"/dev/(?:fd/\d+|stdout|stderr)|/proc/(?:self|\d+)/fd/\d+")


@contextlib.contextmanager
def writing(target: Target) -> Iterator[IO[bytes]]:
    """Open a dump for writing.

    Links are followed. A file appears, or changes, only when everything was written, and keeps its permissions; a new
    one, which may hold prompts, is for its owner alone. Pipes and devices are written as they are.
    """
    if not isinstance(target, (str, os.PathLike)):
        if not hasattr(target, "write"):
            raise InvalidArgumentError(f"target is a file's name or an open file, not {type(target).__name__}")
        yield target
        return
    name = os.fspath(target)
    _check_name(name)
    try:
        with _output(name) as raw:
            if not name.endswith(".gz"):
                yield raw
                return
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw) as packed:
                yield cast(IO[bytes], packed)
    except OSError as error:
        if error.errno is None or type(error).__module__ != "builtins":  # of the server
            raise
        raise OSError(error.errno, error.strerror, name) from error


@contextlib.contextmanager
def _output(name: str) -> Iterator[IO[bytes]]:
    try:
        status = os.stat(name)
    except FileNotFoundError:
        status = None
    if _DESCRIPTOR.fullmatch(name):
        with open(name, "ab") as file:
            yield file
        return
    if status is not None and not stat.S_ISREG(status.st_mode):
        with open(os.open(name, os.O_WRONLY | getattr(os, "O_BINARY", 0)), "wb") as file:
            yield file
        return
    path = os.path.realpath(name)
    if status is not None:
        os.close(os.open(path, os.O_WRONLY))  # a file that may not be written is not replaced
    scratch = os.path.join(os.path.dirname(path), f".{secrets.token_hex(6)}.part")
    try:
        with open(_create(scratch), "w+b") as file:
            replaces = status is None or _resembles(scratch, status)
            yield file
            file.flush()
            if replaces:
                os.fsync(file.fileno())
            else:
                file.seek(0)
                with open(path, "r+b") as there:
                    shutil.copyfileobj(file, there)
                    there.truncate()
        if replaces:
            os.replace(scratch, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(scratch)


def _check_name(name: str) -> None:
    if not is_name(name):
        raise OSError(errno.EINVAL, "no file can have this name", name)


def _create(scratch: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(scratch, flags, 0o600)
    except PermissionError:
        # Of a folder whose files may be written, but not replaced.
        descriptor, other = tempfile.mkstemp()
        os.unlink(other)
        return descriptor


def _resembles(scratch: str, status: os.stat_result) -> bool:
    """Give a new file the permissions and the owner of the one that it is to replace; False where it cannot have them.

    A file with several names is never replaced: it would keep only one of them.
    """
    if status.st_nlink > 1:
        return False
    with contextlib.suppress(OSError):
        if hasattr(os, "chown"):
            os.chown(scratch, status.st_uid, status.st_gid)
        os.chmod(scratch, stat.S_IMODE(status.st_mode))
    try:
        made = os.stat(scratch)
    except FileNotFoundError:
        return False
    return (made.st_uid, made.st_gid, made.st_mode) == (status.st_uid, status.st_gid, status.st_mode)


@contextlib.contextmanager
def reading(source: Target) -> Iterator[IO[bytes]]:
    """Open a dump for reading."""
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "readline"):
            raise InvalidArgumentError(f"source is a file's name or an open file, not {type(source).__name__}")
        yield source
        return
    name = os.fspath(source)
    _check_name(name)
    opened: Any = gzip.open(name, "rb") if name.endswith(".gz") else open(name, "rb")  # noqa: SIM115
    with opened as file:
        yield file
