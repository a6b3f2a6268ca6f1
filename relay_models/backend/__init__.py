"""Where records are kept: `RedisBackend` (asyncio; its twin is in `relay_models.sync`) and the `StorageBackend` protocol."""

from __future__ import annotations

from ._async.backend import RedisBackend
from ._async.protocol import StorageBackend
from ._reports import AgentSummary, RefusedRecord, StoreReport

__all__ = ["AgentSummary", "RedisBackend", "RefusedRecord", "StorageBackend", "StoreReport"]
