"""`relay-models agents`: list the agents in a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from relay_models.cli.output import Output
    from relay_models.sync import RedisBackend

__all__ = ["register", "show_agents"]

# Between an agent's id and what a profile key adds to it.
PROFILE_MARK = "::model="


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "agents")
    def agents(session: Session) -> None:
        """List the agents: how many runs each has, how many are running, and when the last one started.

        What NeMo Relay learned for one model of an agent has a key of its own (a profile, AGENT::model=…); profiles
        are shown with their agent.
        """
        rows = agent_rows(session.open())
        if session.as_json:
            session.out.array(rows)
        elif rows:
            show_agents(session.out, rows)
        else:
            session.out.print("no runs are stored")


def agent_rows(backend: RedisBackend) -> list[dict[str, Any]]:
    """The agents of a store with their profiles."""
    profiles = _profiles(backend)
    return [{**asdict(agent), "profiles": profiles.get(agent.agent_id, [])} for agent in backend.agents()]


def _profiles(backend: RedisBackend) -> dict[str, list[str]]:
    """The profile keys of prompt observations and stability results, by the agent that they are derived from."""
    found: dict[str, set[str]] = {}
    for artifacts in (backend.observations, backend.stability):
        for row in artifacts.stream(columns=True, on_corrupt="skip"):
            agent_id, mark, _ = row.agent_id.partition(PROFILE_MARK)
            if mark:
                found.setdefault(agent_id, set()).add(row.agent_id)
    return {agent_id: sorted(keys) for agent_id, keys in found.items()}


def show_agents(out: Output, agents: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of `agent_rows`, with the number of their profiles where there are any."""
    from relay_models.cli.output import Column, age_text, cell_text  # lazy: start-up time

    now = datetime.now(UTC)
    has_profiles = any(agent["profiles"] for agent in agents)
    columns = (
        Column("agent", priority=9, least=12),
        Column("runs", right=True, priority=8, least=1),
        Column("running", right=True, priority=5, least=1),
        *((Column("profiles", right=True, priority=4, least=1),) if has_profiles else ()),
        Column("last run started", priority=6, least=19),
        Column("", priority=3, least=4, style="bright_black"),
    )
    rows = []
    for agent in agents:
        last = agent["last_started_at"]
        counts = [cell_text(agent["runs"]), cell_text(agent["running"])]
        if has_profiles:
            counts.append(cell_text(len(agent["profiles"])))
        rows.append((agent["agent_id"], *counts, cell_text(last), age_text(last, now)))
    out.table(columns, rows)
