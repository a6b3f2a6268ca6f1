"""The sync twins: the same names and behavior as in `relay_models`, without ``await``."""

from __future__ import annotations

from relay_models.backend.sync import RedisBackend, StorageBackend

__all__ = ["RedisBackend", "StorageBackend"]
