"""`relay-models agents`: list the agents in a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from relay_models.cli.command import command
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from relay_models.cli.output import Output

__all__ = ["register", "show_agents"]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "agents")
    def agents(session: Session) -> None:
        """List the agents: how many runs each has, how many are running, and when the last one started."""
        found = session.open().agents()
        if session.as_json:
            session.out.array(asdict(agent) for agent in found)
        elif found:
            show_agents(session.out, found)
        else:
            session.out.print("no runs are stored")


def show_agents(out: Output, agents: Sequence[object]) -> None:
    """A table of `AgentSummary` values."""
    from relay_models.cli.output import Column, age_text, cell_text  # lazy: start-up time

    now = datetime.now(UTC)
    columns = (
        Column("agent", priority=9, least=12),
        Column("runs", right=True, priority=8, least=1),
        Column("running", right=True, priority=5, least=1),
        Column("last run started", priority=6, least=19),
        Column("", priority=3, least=4, style="bright_black"),
    )
    rows = []
    for agent in agents:
        row = asdict(agent)  # type: ignore[call-overload]
        last = row["last_started_at"]
        counts = cell_text(row["runs"]), cell_text(row["running"])
        rows.append((row["agent_id"], *counts, cell_text(last), age_text(last, now)))
    out.table(columns, rows)
