"""`relay-models prices`: check a price table against the stored runs, and estimate their costs by it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import Any

import typer

from relay_models.cli.command import command
from relay_models.cli.exit_codes import INCOMPLETE
from relay_models.cli.run_selection import each_run
from relay_models.cli.session import Session
from relay_models.cli.storing import Prices, load_prices
from relay_models.errors import InvalidConfigurationError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(
        name="prices", help="Estimate what runs cost, by a price table of your own.", no_args_is_help=True
    )

    @command(group, "check")
    def check(session: Session, prices: Prices = None) -> None:
        """Show which models of the stored runs the table has a price for, by the date of their calls.

        Exits with 1 where a call has neither a cost nor a price.
        """
        session.open()
        table = _table(prices)
        found: Counter[tuple[str, str, str]] = Counter()
        for run in each_run(session, None, "started_at", None, bodies=True):
            for call in run.record.calls:
                if call.kind != "llm":
                    continue
                model = call.model_name or ""
                if call.cost is not None and call.cost.amount is not None:
                    state = "cost is told"
                elif not model:
                    state = "no model is told"
                elif table.find(model, provider=call.name, day=call.started_at.datetime.astimezone(UTC).date()) is None:
                    state = "no price"
                else:
                    state = "estimated" if table.estimate(call) is not None else "no tokens are told"
                found[model, call.name, state] += 1
        rows = [
            {"model": model or None, "provider": provider, "state": state, "calls": count}
            for (model, provider, state), count in sorted(found.items())
        ]
        _show(session, rows)
        if any(row["state"] == "no price" for row in rows):
            raise typer.Exit(INCOMPLETE)

    @command(group, "apply", json=False)
    def apply(session: Session, prices: Prices = None) -> None:
        """Estimate the costs of all stored runs by the table: recompute the column estimated_cost."""
        backend = session.open()
        table = _table(prices)
        backend.estimate_costs(table)
        session.out.note(f"estimated costs are those of {table.source}")

    app.add_typer(group)


def _table(prices: Any) -> Any:
    table = load_prices(prices)
    if table is None:
        raise InvalidConfigurationError(
            "name a price table: --prices FILE, RELAY_MODELS_PRICES, or prices of [tool.relay-models] in pyproject.toml"
        )
    return table


def _show(session: Session, rows: list[dict[str, Any]]) -> None:
    from relay_models.cli.output import Column  # lazy: start-up time

    if session.as_json:
        session.out.array(rows)
        return
    if not rows:
        session.out.print("no LLM calls are stored")
        return
    columns = (
        Column("model", priority=9, least=14),
        Column("provider", priority=6, least=8),
        Column("calls", right=True, priority=7, least=5),
        Column("cost", priority=9, least=12),
    )
    session.out.table(
        columns, [[row["model"] or "(none)", row["provider"], f"{row['calls']:,}", row["state"]] for row in rows]
    )
