"""The synchronous twins of `relay_models.native`: the same names and behaviour, for `relay_models.sync` backends."""

from __future__ import annotations

from relay_models.native._sync.exporter import export_native
from relay_models.native._sync.follower import Follower, follow_native
from relay_models.native._sync.importer import import_native
from relay_models.native._sync.source import NativeSource

__all__ = ["Follower", "NativeSource", "export_native", "follow_native", "import_native"]
