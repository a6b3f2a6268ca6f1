"""`relay-models sessions`: list sessions, with their runs, tokens, cost and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.run_selection import make_filter
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["register"]

_METRICS = (
    "count", "min(started_at)", "max(started_at)", "sum(input_tokens)", "sum(output_tokens)", "sum(cost)",
    "sum(estimated_cost)", "sum(failed_calls)",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "sessions")
    def sessions(
        session: Session,
        where: Annotated[
            str | None,
            typer.Option("--where", "-w", metavar="FILTER", show_default=False, help="Such as: started > -1d"),
        ] = None,
        agent: Annotated[
            str | None, typer.Option("--agent", "-a", metavar="ID", show_default=False, help="Only runs of this agent.")
        ] = None,
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Maximum number of sessions; 0 for all.")] = 20,
    ) -> None:
        """List sessions (conversations), the latest first: runs, first and last, tokens, cost, failures."""
        from relay_models.documents import Run  # lazy: start-up time

        backend = session.open()
        chosen = make_filter(session, where, agent)
        in_session = Run.session_id != None  # noqa: E711 - an expression
        chosen = in_session if chosen is None else chosen & in_session
        rows = [dict(row.items()) for row in backend.aggregate_runs(by="session_id", metrics=_METRICS, filter=chosen)]
        failed: dict[Any, Any] = {
            row["session_id"]: row["count"]
            for row in backend.aggregate_runs(by="session_id", filter=chosen & (Run.status == "failed"))
        }
        found = sorted((_summary(row, failed) for row in rows), key=lambda row: row["last_started_at"], reverse=True)
        shown = found[: limit or None]
        if session.as_json:
            session.out.array(shown)
            return
        if not found:
            session.out.print("no runs belong to a session" if where is None and agent is None else "no runs match")
            return
        _show(session, shown)
        if len(shown) < len(found):
            session.out.note(f"{len(shown):,} of {len(found):,} sessions (--limit 0 shows all)")


def _summary(row: Mapping[str, Any], failed: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "session_id": row["session_id"],
        "runs": row["count"],
        "failed_runs": failed.get(row["session_id"], 0),
        "failed_calls": row["sum(failed_calls)"] or 0,
        "first_started_at": row["min(started_at)"],
        "last_started_at": row["max(started_at)"],
        "input_tokens": row["sum(input_tokens)"],
        "output_tokens": row["sum(output_tokens)"],
        "cost": row["sum(cost)"],
        "estimated_cost": row["sum(estimated_cost)"],
    }


def _show(session: Session, rows: list[dict[str, Any]]) -> None:
    from relay_models.cli.output import Column, cell_text  # lazy: start-up time

    columns = (
        Column("session", priority=9, least=14),
        Column("runs", right=True, priority=8, least=4),
        Column("failed", right=True, priority=7, least=4),
        Column("failed calls", right=True, priority=6, least=4),
        Column("first run began", priority=3, least=19),
        Column("last run began", priority=6, least=19),
        Column("input", right=True, priority=5, least=5),
        Column("output", right=True, priority=5, least=5),
        Column("cost", right=True, priority=6, least=5),
    )
    names = (
        "runs",
        "failed_runs",
        "failed_calls",
        "first_started_at",
        "last_started_at",
        "input_tokens",
        "output_tokens",
    )
    session.out.table(
        columns,
        [[str(row["session_id"]), *(cell_text(row[name]) for name in names), _cost(row)] for row in rows],
    )


def _cost(row: Mapping[str, Any]) -> str:
    """The cost that was told and estimated; an estimate is marked."""
    from relay_models.cli.output import cell_text  # lazy: start-up time

    told, estimated = row["cost"], row["estimated_cost"]
    if not estimated:
        return cell_text(told)
    return f"~{cell_text((told or 0.0) + estimated)}"
