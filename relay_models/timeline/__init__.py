"""Pictures of records: a run's timeline, a trie, a stability result, aggregates as charts."""

from __future__ import annotations

from .charts import chart
from .picture import Picture
from .run import Timeline
from .stability import StabilityBar
from .trie import TrieTree

__all__ = ["Picture", "StabilityBar", "Timeline", "TrieTree", "chart"]
