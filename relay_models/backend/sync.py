"""The sync twins of `relay_models.backend`: the same names and behavior, without ``await``."""

from __future__ import annotations

from relay_models.backend._sync.backend import RedisBackend
from relay_models.backend._sync.protocol import StorageBackend

__all__ = ["RedisBackend", "StorageBackend"]
