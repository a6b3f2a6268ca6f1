"""The synchronous twins: the same names and behaviour as in `relay_models`, without ``await``."""

from __future__ import annotations

from relay_models.backend._sync.backend import RedisBackend
from relay_models.backend._sync.protocol import StorageBackend

__all__ = ["RedisBackend", "StorageBackend"]
