"""Pictures of records: a run's timeline, a trie, a stability result, aggregates as charts.

In IPython and Jupyter, importing this package makes records show their picture.
"""

from __future__ import annotations

from relay_models.pictures.bars import BarChart
from relay_models.pictures.charts import chart
from relay_models.pictures.notebook import register_notebook_formatters
from relay_models.pictures.picture import Picture
from relay_models.pictures.run import Timeline
from relay_models.pictures.stability import StabilityBar
from relay_models.pictures.trie import TrieTree

__all__ = ["BarChart", "Picture", "StabilityBar", "Timeline", "TrieTree", "chart", "register_notebook_formatters"]

register_notebook_formatters()
