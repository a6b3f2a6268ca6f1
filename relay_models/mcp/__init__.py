"""A store for assistants over the Model Context Protocol (the extra ``mcp``): tools that read, and one that labels.

Built on the public API of the package and on the official SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from relay_models.errors import MissingExtraError

if TYPE_CHECKING:
    from relay_models.mcp.server import create_server, serve_mcp

__all__ = ["create_server", "serve_mcp"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module("relay_models.mcp.server"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise MissingExtraError(
            "the MCP server needs the official SDK, which is not installed: pip install 'relay-models[mcp]'", name="mcp"
        ) from error
    globals()[name] = value
    return value
