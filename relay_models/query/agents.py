"""`AgentSummary`: an agent and its runs, and the exchange that asks for all agents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay_models._time import datetime_of
from relay_models.columns.tags import unescape_tag
from relay_models.query.compiler import CompiledFilter
from relay_models.query.server_cursor import cursor_steps
from relay_models.query.steps import Steps, aggregate_command

__all__ = ["AgentSummary", "agents_steps"]


@dataclass(frozen=True, slots=True)
class AgentSummary:
    """An agent and its runs: how many there are, how many have no end yet, when the newest began."""

    agent_id: str
    runs: int
    running: int
    last_started_at: datetime | None
    last_stored_at: datetime | None


def agents_steps(alias: str, limit_ms: int) -> Steps[list[AgentSummary]]:
    """Ask for every agent that has runs, ordered by name."""
    command: list[Any] = [
        *aggregate_command(alias, "*"),
        # To a server it is an error to compare what a document lacks, which something else wrote.
        *("APPLY", "exists(@status) && @status == 'running'", "AS", "unfinished"),
        *("GROUPBY", 1, "@agent_id", "REDUCE", "COUNT", 0, "AS", "runs"),
        *("REDUCE", "SUM", 1, "@unfinished", "AS", "running"),
        *("REDUCE", "MAX", 1, "@started_at", "AS", "started"),
        *("REDUCE", "MAX", 1, "@stored_at", "AS", "stored"),
    ]
    rows = yield from cursor_steps(command, CompiledFilter("*"), limit_ms)
    agents = [
        AgentSummary(
            agent_id=unescape_tag(row[b"agent_id"].decode("utf-8", "replace")),
            runs=int(float(row[b"runs"])),
            running=int(float(row[b"running"])),
            last_started_at=_instant(row.get(b"started")),
            last_stored_at=_instant(row.get(b"stored")),
        )
        for row in rows
        if row.get(b"agent_id") is not None
    ]
    return sorted(agents, key=lambda agent: agent.agent_id)


def _instant(value: Any) -> datetime | None:
    """An instant from its microseconds; None where there is none (the server's MAX of nothing is -inf)."""
    try:
        return datetime_of(int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return None
