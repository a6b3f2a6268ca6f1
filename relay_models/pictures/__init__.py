"""Pictures of records: a run's timeline, a trie, a stability result, aggregates as charts."""

from __future__ import annotations

from relay_models.pictures.charts import chart
from relay_models.pictures.picture import Picture
from relay_models.pictures.run import Timeline
from relay_models.pictures.stability import StabilityBar
from relay_models.pictures.trie import TrieTree

__all__ = ["Picture", "StabilityBar", "Timeline", "TrieTree", "chart"]
