"""The exceptions of the embedded engine: `EmbeddedError` and its leaves, each also the builtin that fits it.

::

    EmbeddedError (Exception)
    ├── ServerClosedError (ConnectionError)     the server object was closed, or its file failed under it
    ├── FileInUseError (BlockingIOError)        another process, or this one, has the file open; `pid` says which
    ├── NotAnEngineFileError (ValueError)       the file was written by something else
    ├── FileUnavailableError (OSError)          the file cannot be made, read or written
    ├── DamagedFileError (OSError)              the file was ours and can no longer be read
    ├── NewerFileError (ValueError)             the file was written by a later release
    ├── TransferError (ValueError)              a dump that cannot be read, or a key that cannot be moved
    └── UnsafeBindError (PermissionError)       serving beyond loopback without a password
"""

from __future__ import annotations

__all__ = [
    "DamagedFileError",
    "EmbeddedError",
    "FileInUseError",
    "FileUnavailableError",
    "NewerFileError",
    "NotAnEngineFileError",
    "ServerClosedError",
    "TransferError",
    "UnsafeBindError",
]


class EmbeddedError(Exception):
    """The root of everything the embedded engine itself raises."""


class ServerClosedError(EmbeddedError, ConnectionError):
    """The server was closed, or could no longer write its file and has stopped answering."""


class FileInUseError(EmbeddedError, BlockingIOError):
    """Another server has the file open. `pid` is the process that holds it, or None when it could not be read."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class NotAnEngineFileError(EmbeddedError, ValueError):
    """The file holds something else. It was left as it is."""


class FileUnavailableError(EmbeddedError, OSError):
    """The file cannot be made, read or written: no such directory, no permission, a full disk."""


class DamagedFileError(EmbeddedError, OSError):
    """The file is damaged. It was left as it is."""


class NewerFileError(EmbeddedError, ValueError):
    """The file was written by a later release of this library. It was left as it is."""


class TransferError(EmbeddedError, ValueError):
    """A dump that is not one, is damaged or cut short, or a key that cannot be moved."""


class UnsafeBindError(EmbeddedError, PermissionError):
    """Serving on an address that other machines can reach needs a password."""
