"""Keep and query what AI agents did: NeMo Relay's adaptive state as model objects over Redis."""

from __future__ import annotations

from ._version import __version__
from .errors import RelayModelsError

__all__ = ["RelayModelsError", "__version__"]
