"""The exceptions of the embedded engine: subclasses of `EmbeddedError`, each also of the builtin that fits it.

::

    EmbeddedError (Exception)
    ├── ServerClosedError (ConnectionError)  the server object was closed, or its file failed
    ├── FileInUseError (BlockingIOError)     another process, or this one, has the file open; `pid` is its number
    ├── NotAnEngineFileError (ValueError)    the file was written by something else
    ├── FileUnavailableError (OSError)       the file cannot be created, read or written
    ├── DamagedFileError (OSError)           the file is one of the engine's and can no longer be read
    ├── NewerFileError (ValueError)          the file was written by a later release
    ├── TransferError (ValueError)           a dump that cannot be read, or a key that cannot be moved
    ├── UnsafeBindError (PermissionError)    serving beyond loopback without a password
    └── InvalidArgumentError (ValueError)    an argument of another type, or out of range
"""

from __future__ import annotations

__all__ = [
    "DamagedFileError",
    "EmbeddedError",
    "FileInUseError",
    "FileUnavailableError",
    "InvalidArgumentError",
    "NewerFileError",
    "NotAnEngineFileError",
    "ServerClosedError",
    "TransferError",
    "UnsafeBindError",
]


class EmbeddedError(Exception):
    """Base class of everything that the embedded engine itself raises."""


class ServerClosedError(EmbeddedError, ConnectionError):
    """The server was closed, or could no longer write its file and has stopped answering."""


class FileInUseError(EmbeddedError, BlockingIOError):
    """Another server has the file open.

    Attributes:
        pid: The process that holds the file; None where that could not be read.
    """

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class NotAnEngineFileError(EmbeddedError, ValueError):
    """The file was written by something else. It was left unchanged."""


class FileUnavailableError(EmbeddedError, OSError):
    """The file cannot be created, read or written: no such directory, no permission, a full disk."""


class DamagedFileError(EmbeddedError, OSError):
    """The file is damaged. It was left unchanged."""


class NewerFileError(EmbeddedError, ValueError):
    """The file was written by a later release of this library. It was left unchanged."""


class TransferError(EmbeddedError, ValueError):
    """A dump is damaged, incomplete or something else, or a key cannot be moved."""


class UnsafeBindError(EmbeddedError, PermissionError):
    """Serving on an address that other machines can reach needs a password."""


class InvalidArgumentError(EmbeddedError, ValueError):
    """An argument is of another type than it can be, or out of range; the message says what it can be."""
