"""NeMo Relay's own Redis layout: read it, import it, follow it, and write it back for a warm start."""

from __future__ import annotations

from ._async.exporter import export_native
from ._async.follower import Follower, follow_native
from ._async.importer import import_native
from ._async.source import NativeSource
from .layout import NativeKey, NativeKeys
from .reports import BadValue, ExportReport, FollowMetrics, ImportReport

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
