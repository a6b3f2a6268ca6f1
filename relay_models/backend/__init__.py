"""Where records are kept: `RedisBackend` (asyncio; its twin is in `relay_models.sync`) and `StorageBackend`."""

from __future__ import annotations

from relay_models.backend._async.backend import RedisBackend
from relay_models.backend._async.protocol import StorageBackend
from relay_models.backend.reports import AgentSummary, RefusedRecord, StoreReport

__all__ = ["AgentSummary", "RedisBackend", "RefusedRecord", "StorageBackend", "StoreReport"]
