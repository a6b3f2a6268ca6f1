"""A Redis with JSON and search inside the process: `EmbeddedServer`. Imports nothing else of relay_models."""

from __future__ import annotations

from relay_models.embedded.errors import (
    DamagedFileError,
    EmbeddedError,
    FileInUseError,
    FileUnavailableError,
    NewerFileError,
    NotAnEngineFileError,
    ServerClosedError,
    TransferError,
    UnsafeBindError,
)
from relay_models.embedded.server import EmbeddedServer

__all__ = [
    "DamagedFileError",
    "EmbeddedError",
    "EmbeddedServer",
    "FileInUseError",
    "FileUnavailableError",
    "NewerFileError",
    "NotAnEngineFileError",
    "ServerClosedError",
    "TransferError",
    "UnsafeBindError",
]
