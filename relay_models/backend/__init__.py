"""Where records are kept: `RedisBackend` (asyncio; its twin is in `relay_models.sync`) and `StorageBackend`."""

from __future__ import annotations

from relay_models.backend._async.backend import RedisBackend
from relay_models.backend._async.bound import BoundFind, BoundModel
from relay_models.backend._async.collection import Collection
from relay_models.backend._async.compression import RecordCompression
from relay_models.backend._async.migrations import Migrations
from relay_models.backend._async.model_collection import ModelCollection
from relay_models.backend._async.protocol import StorageBackend
from relay_models.backend._async.run_collection import RunCollection
from relay_models.backend._async.saved import SavedQuestions
from relay_models.backend._async.streams import RowStream
from relay_models.backend.compression import CompressionResult, CompressionStatus, DictionaryInfo
from relay_models.backend.migration import MigrationPlan, MigrationProgress, MigrationResult
from relay_models.backend.reports import RefusedRecord, StoreReport
from relay_models.query.agents import AgentSummary
from relay_models.query.saved import SavedQuestion

__all__ = [
    "AgentSummary",
    "BoundFind",
    "BoundModel",
    "Collection",
    "CompressionResult",
    "CompressionStatus",
    "DictionaryInfo",
    "MigrationPlan",
    "MigrationProgress",
    "MigrationResult",
    "Migrations",
    "ModelCollection",
    "RecordCompression",
    "RedisBackend",
    "RefusedRecord",
    "RowStream",
    "RunCollection",
    "SavedQuestion",
    "SavedQuestions",
    "StorageBackend",
    "StoreReport",
]
