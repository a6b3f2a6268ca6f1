"""`show_runs` and `show_calls`: print runs and their calls as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_models.cli.output import Column, Output
    from relay_models.records import RunRecord

__all__ = ["listed_cell", "listed_column", "show_calls", "show_runs"]

# name -> (head, right, priority, least)
_LISTED: dict[str, tuple[str, bool, int, int]] = {
    "run_id": ("run", False, 9, 18),
    "agent_id": ("agent", False, 8, 14),
    "started_at": ("began (UTC)", False, 7, 19),
    "duration": ("took", True, 8, 7),
    "status": ("status", False, 4, 7),
    "llm_calls": ("LLM", True, 6, 3),
    "tool_calls": ("tools", True, 6, 5),
    "models": ("models", False, 3, 10),
    "tools": ("tools used", False, 2, 12),
    "total_tokens": ("tokens", True, 5, 6),
    "cost": ("cost", True, 4, 4),
    "failed_calls": ("failed calls", True, 6, 6),
    "error_types": ("errors", False, 6, 14),
    "session_id": ("session", False, 3, 10),
}
_USUAL = ["run_id", "agent_id", "started_at", "duration", "llm_calls", "tool_calls", "total_tokens", "models"]


def show_runs(
    out: Output, runs: Sequence[Any], names: Sequence[str] | None = None, *, named: bool | None = None
) -> None:
    """Print a table of `Run` values; `named` if the user asked for the columns by name."""
    named = bool(names) if named is None else named
    from relay_models.export import to_dicts  # lazy: start-up time
    from relay_models.views.columns import with_shown_values  # lazy: start-up time

    rows = to_dicts(runs, columns=[*(names or _USUAL), "status"])
    rows = [with_shown_values(run, row) for run, row in zip(runs, rows, strict=True)]
    shown = list(names or _USUAL)
    columns = []
    for name in shown:
        sample = next((row[name] for row in rows if row[name] is not None), "")
        columns.append(listed_column(name, named=named, number=isinstance(sample, int | float)))
    out.table(columns, [[listed_cell(row, name, named=named) for name in shown] for row in rows])


def listed_column(name: str, *, named: bool = False, number: bool = False) -> Column:
    """Return how a column of runs is shown; `named` if the user asked for it by name."""
    from relay_models.cli.output import Column  # lazy: start-up time

    head, right, priority, least = _LISTED.get(name, (name, number, 5, 8))
    return Column(name if named else head, right, 9 if named and priority > 6 else priority, least)


def listed_cell(row: dict[str, Any], name: str, *, named: bool = False) -> str:
    """Return a value of a run as the text of a cell."""
    from relay_models.cli.output import cell_text  # lazy: start-up time
    from relay_models.pictures.text import cells, clip_cells  # lazy: start-up time

    value = row[name]
    if name == "duration" and value is None:
        return "running" if row["status"] == "running" else ""
    if isinstance(value, list) and len(value) > 1 and not named:
        first = value[0] if cells(value[0]) <= 18 else clip_cells(value[0], 18)
        return f"{first} +{len(value) - 1}"
    return cell_text(value)


def show_calls(out: Output, record: RunRecord) -> None:
    """Print a run's headline and a table of its calls."""
    from relay_models.cli.output import Column  # lazy: start-up time
    from relay_models.pictures.labels import outcome  # lazy: start-up time
    from relay_models.pictures.layout import lay_out  # lazy: start-up time
    from relay_models.pictures.run import facts  # lazy: start-up time
    from relay_models.pictures.text import clock_text, duration_text, join_facts, plain  # lazy: start-up time

    layout = lay_out(record, "calls")
    out.print(plain(record.agent_id), style="bold")
    out.print(str(record.id), style="bright_black")
    out.print(join_facts([clock_text(record.started_at.nanoseconds), *facts(record, layout)], out.page_width))
    out.print("")
    columns = (
        Column("", right=True, priority=4, least=2),
        Column("kind", priority=6, least=4),
        Column("name", priority=9, least=12),
        Column("after", right=True, priority=5, least=7),
        Column("took", right=True, priority=8, least=7),
        Column("prompt", right=True, priority=6, least=6),
        Column("output", right=True, priority=6, least=6),
        Column("model", priority=5, least=12),
        Column("outcome", priority=3, least=8),
    )

    def count(value: int | None) -> str:
        return "" if value is None else f"{value:,}"

    out.table(
        columns,
        [
            (
                str(bar.index + 1), bar.kind_text, "  " * bar.depth + bar.name, duration_text(bar.start),
                "" if bar.duration is None else duration_text(bar.duration), count(bar.prompt_tokens),
                count(bar.output_tokens), bar.model or "", outcome(bar),
            )
            for bar in layout.bars
        ],
    )  # fmt: skip
