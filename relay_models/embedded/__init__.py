"""A Redis with JSON and search inside the process: `EmbeddedServer`. Imports nothing else of relay_models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_models.embedded.errors import (
        DamagedFileError,
        EmbeddedError,
        FileInUseError,
        FileUnavailableError,
        InvalidArgumentError,
        NewerFileError,
        NotAnEngineFileError,
        ServerClosedError,
        TransferError,
        UnsafeBindError,
    )
    from relay_models.embedded.persistence.transfer import DumpReport, RestoreReport, dump, restore
    from relay_models.embedded.server.embedded_server import EmbeddedServer
    from relay_models.embedded.server.serving import Endpoint, serve, serving, serving_in_thread

__all__ = [
    "DamagedFileError",
    "DumpReport",
    "EmbeddedError",
    "EmbeddedServer",
    "Endpoint",
    "FileInUseError",
    "FileUnavailableError",
    "InvalidArgumentError",
    "NewerFileError",
    "NotAnEngineFileError",
    "RestoreReport",
    "ServerClosedError",
    "TransferError",
    "UnsafeBindError",
    "dump",
    "restore",
    "serve",
    "serving",
    "serving_in_thread",
]

# Where the public names are defined. They are imported when first used, because the pytest plugin is in this package
# and every pytest run of an environment imports it.
_HOMES = {
    "server.embedded_server": ("EmbeddedServer",),
    "server.serving": ("Endpoint", "serve", "serving", "serving_in_thread"),
    "persistence.transfer": ("DumpReport", "RestoreReport", "dump", "restore"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "errors")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
