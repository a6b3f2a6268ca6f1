# ruff: noqa
# Generated from relay_models/backend/_async/queries.py by scripts/generate_sync.py: change that, not this.
"""Questions over many runs: which agents there are, which runs a filter finds and how many."""

from __future__ import annotations

from relay_models.backend._sync.base import BackendBase
from relay_models.backend._listing import agents_command
from relay_models.backend._replies import decode_agents
from relay_models.backend._reports import AgentSummary

__all__ = ["Queries"]


class Queries(BackendBase):
    """The operations that read the index."""

    def agents(self) -> list[AgentSummary]:
        """Every agent that has runs: how many, how many are running, its latest activity; ordered by name."""
        command = agents_command(self._keys.alias("run"), self._query_ms)
        return decode_agents(self._indexes.ask(*command))
