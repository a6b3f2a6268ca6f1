"""NeMo Relay's own Redis layout: read it, import it, follow it, and write it back for a warm start."""

from __future__ import annotations

from relay_models.native._async.exporter import export_native
from relay_models.native._async.follower import Follower, follow_native
from relay_models.native._async.importer import import_native
from relay_models.native._async.source import NativeSource
from relay_models.native.layout import NativeKey, NativeKeys
from relay_models.native.reports import BadValue, ExportReport, FollowMetrics, ImportReport

__all__ = [
    "BadValue",
    "ExportReport",
    "FollowMetrics",
    "Follower",
    "ImportReport",
    "NativeKey",
    "NativeKeys",
    "NativeSource",
    "export_native",
    "follow_native",
    "import_native",
]
