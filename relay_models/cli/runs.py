"""`relay-models runs`: list, show, export, count up and watch runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.session import Session, command
from relay_models.errors import InvalidConfigurationError, NotFoundError, QueryError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay_models.cli.output import Column, Output
    from relay_models.records import RunRecord

__all__ = ["each_run", "register", "show_runs"]

Where = Annotated[
    str | None,
    typer.Option(
        "--where", "-w", metavar="FILTER", show_default=False, help="Such as: model = gpt-4.1 and duration > 2s"
    ),
]
Agent = Annotated[
    str | None, typer.Option("--agent", "-a", metavar="ID", show_default=False, help="Only this agent's.")
]
Order = Annotated[
    str, typer.Option("--order", "-o", metavar="COLUMN", help="Sort by a column, from the largest with - in front.")
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", "-c", metavar="A,B,…", show_default=False, help="Which columns, in which order."),
]


class Format(StrEnum):
    """File formats of an export."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


class Rows(StrEnum):
    """What a row of an export is."""

    records = "records"
    runs = "runs"
    calls = "calls"


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(name="runs", help="List, show, export, count up and watch runs.", no_args_is_help=True)
    for add in (_list, _show, _export, _stats, _watch):
        add(group)
    app.add_typer(group)


def _list(group: typer.Typer) -> None:
    @command(group, "list")
    def list_(
        session: Session,
        where: Where = None,
        agent: Agent = None,
        order: Order = "-started_at",
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many; 0 for all.")] = 20,
        columns: Columns = None,
    ) -> None:
        """List runs, the newest first."""
        from relay_models.export import to_dicts

        names = column_names(columns)
        session.open()
        found = each_run(session, make_filter(where, agent), order, limit or None)
        if session.as_json:
            session.out.array(row for run in found for row in to_dicts([run], columns=names))
            return
        runs = list(found)
        if not runs:
            session.out.print("no runs" if where is None and agent is None else "no runs match")
            return
        show_runs(session.out, runs, names)
        if limit and len(runs) == limit:
            total = session.backend.count_runs(make_filter(where, agent))
            if total > limit:
                session.out.note(f"{limit:,} of {total:,} runs (--limit 0 shows all)")


def _show(group: typer.Typer) -> None:
    @command(group, "show")
    def show(
        session: Session,
        run_id: Annotated[
            str, typer.Argument(metavar="ID", show_default=False, help="The run's id, or how it begins; or: latest")
        ],
        agent: Agent = None,
        timeline: Annotated[bool, typer.Option("--timeline", "-t", help="Draw the calls on a time axis.")] = False,
        save: Annotated[
            str | None,
            typer.Option(metavar="FILE", show_default=False, help="Save the timeline as .svg, .html or .txt."),
        ] = None,
    ) -> None:
        """Show one run: its calls with their times, tokens and models."""
        from relay_models.pictures import Timeline

        record = find_one(session, run_id, agent)
        if save is not None:
            path = Timeline(record).save(save)
            session.out.note(f"saved {path}")
        if session.as_json:
            session.out.raw(record.model_dump_json())
        elif timeline:
            session.out.console.print(Timeline(record), width=session.out.page_width)
        else:
            show_calls(session.out, record)


def _export(group: typer.Typer) -> None:
    @command(group, "export", json=False)
    def export(
        session: Session,
        target: Annotated[
            str, typer.Argument(metavar="[FILE]", show_default=False, help="Where to; - for standard output.")
        ] = "-",
        where: Where = None,
        agent: Agent = None,
        order: Order = "stored_at",
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many runs; 0 for all.")] = 0,
        columns: Columns = None,
        format: Annotated[
            Format | None,
            typer.Option("--format", "-f", show_default=False, help="By default what FILE ends in, else jsonl."),
        ] = None,
        rows: Annotated[
            Rows | None,
            typer.Option(show_default=False, help="A row per run or per call; or whole records (jsonl only)."),
        ] = None,
        keep_formulas: Annotated[
            bool,
            typer.Option("--keep-formulas", help="CSV: write texts like =1+1 as they are, not with ' in front."),
        ] = False,
    ) -> None:
        """Export runs to a file, however many there are. JSON lines of whole records (the default) lose nothing."""
        names = split_names(columns) if rows is Rows.calls else column_names(columns)
        _write_export(session, target, where, agent, order, limit, names, format, rows, keep_formulas)


def _write_export(
    session: Session, target: str, where: str | None, agent: str | None, order: str, limit: int,
    names: list[str] | None, format: Format | None, rows: Rows | None, keep_formulas: bool,
) -> None:  # fmt: skip
    import sys

    from relay_models.export import write_csv, write_jsonl, write_parquet

    if format is None:
        ending = target.rpartition(".")[2].lower()
        format = next((known for known in Format if known == ending), Format.jsonl)
    if rows is None:
        rows = Rows.runs if format is not Format.jsonl or names else Rows.records
    if rows is Rows.records and (format is not Format.jsonl or names):
        raise InvalidConfigurationError(
            "whole records are jsonl and have no --columns; use --rows runs or --rows calls"
        )
    if format is Format.parquet and target == "-" and sys.stdout.isatty():
        raise InvalidConfigurationError("Parquet is no text: name a FILE, or send it into a pipe")
    session.open()
    runs = each_run(session, make_filter(where, agent), order, limit or None, bodies=rows is not Rows.runs)
    if rows is Rows.calls:
        runs = (run for run in runs if _expandable(session, run, names))
    sink: Any = sys.stdout.buffer if target == "-" else target
    table: Any = None if rows is Rows.records else rows.value
    match format:
        case Format.jsonl:
            count = write_jsonl(runs, sink, rows=table, columns=names)
        case Format.csv:
            count = write_csv(runs, sink, rows=table, columns=names, escape_formulas=not keep_formulas)
        case Format.parquet:
            count = write_parquet(runs, sink, rows=table, columns=names)
    if target == "-":
        sys.stdout.flush()
    else:
        session.out.note(f"wrote {count:,} {'runs' if rows is not Rows.calls else 'calls'} to {target}")


def _stats(group: typer.Typer) -> None:
    @command(group, "stats")
    def stats(
        session: Session,
        by: Annotated[
            str | None,
            typer.Option(metavar="A,B,…", show_default=False, help="Group by columns, such as models or agent."),
        ] = None,
        every: Annotated[
            str | None,
            typer.Option(metavar="SPAN", show_default=False, help="A row per span of time, such as 1h or 1d."),
        ] = None,
        metrics: Annotated[
            str,
            typer.Option("--metrics", "-m", metavar="M,N,…", help="Such as count, avg(duration), p95(total_tokens)."),
        ] = "count,avg(duration),p95(duration),sum(total_tokens)",
        where: Where = None,
        agent: Agent = None,
        order: Annotated[
            str | None,
            typer.Option("--order", "-o", metavar="COLUMN", show_default=False, help="Sort by a column of it."),
        ] = None,
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many rows; 0 for all.")] = 0,
        fill: Annotated[bool, typer.Option("--fill", help="Also show spans of time without runs.")] = False,
        zone: Annotated[
            str | None,
            typer.Option("--tz", metavar="ZONE", show_default=False, help="Whose days and hours: Europe/Berlin. [UTC]"),
        ] = None,
        save: Annotated[
            str | None,
            typer.Option(metavar="FILE", show_default=False, help="Save a chart as .svg, .png or .pdf."),
        ] = None,
    ) -> None:
        """Count runs up: by columns, by spans of time, or both."""
        groups = split_names(by) or []
        rows = session.open().aggregate_runs(
            by=groups, every=every, metrics=split_metrics(metrics), filter=make_filter(where, agent),
            order_by=order, limit=limit or None, fill=fill, tz=zone,
        )  # fmt: skip
        from relay_models.cli.stats import save_chart, show_stats

        read = list(rows)
        if save is not None:
            save_chart(session, read, save)
        show_stats(session, read)


def _watch(group: typer.Typer) -> None:
    @command(group, "watch")
    def watch(
        session: Session,
        where: Where = None,
        agent: Agent = None,
        columns: Columns = None,
        interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
        count: Annotated[int, typer.Option("--count", "-n", min=0, help="Leave after so many runs; 0 for never.")] = 0,
        since_start: Annotated[bool, typer.Option("--all", help="Begin with the runs that are there already.")] = False,
        new: Annotated[bool, typer.Option("--new", help="Not those that are stored again, with changes.")] = False,
    ) -> None:
        """Show new and changed runs as they are stored, until interrupted."""
        from relay_models.cli.watch import watch_runs

        watch_runs(
            session, make_filter(where, agent), column_names(columns), interval=interval, count=count,
            from_start=since_start, changes=not new,
        )  # fmt: skip


def split_names(text: str | None) -> list[str] | None:
    """Names from a comma-separated option."""
    if text is None:
        return None
    if names := [name.strip() for name in text.split(",") if name.strip()]:
        return names
    raise InvalidConfigurationError("a list of column names is wanted, such as agent_id,duration")


def column_names(text: str | None) -> list[str] | None:
    """Columns of runs from --columns, where the shorter names of the filter language are welcome too."""
    from relay_models.columns.aliases import ALIASES

    names = split_names(text)
    return None if names is None else [ALIASES.get(name, name) for name in names]


def split_metrics(text: str) -> list[str]:
    """Metrics from a comma-separated option; commas within brackets belong to a metric."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def make_filter(where: str | None, agent: str | None) -> Any:
    """The expression for --where and --agent; None for all runs.

    Raises:
        QueryError: the filter is blank, does not parse, or means nothing.
    """
    from relay_models.documents import Run
    from relay_models.query.language.filters import as_expression

    parts = [] if where is None else [as_expression(where)]
    if agent is not None:
        parts.append(Run.agent_id == agent)
    return as_expression(parts) if parts else None


def each_run(session: Session, filter: Any, order: str, limit: int | None, *, bodies: bool = False) -> Iterator[Any]:
    """The runs that a filter finds, page after page: `Run` rows, or with `bodies` ones that have their record.

    Documents that cannot be read are named on standard error, and make the command end with "done in part".
    """
    from relay_models.documents import Run
    from relay_models.query.find import Query
    from relay_models.query.language.filters import as_expression

    query = Query(Run, as_expression(filter), order, limit)
    runs = session.backend.stream_runs(query, columns=not bodies, on_corrupt="skip")
    for run in runs:
        session.complain_of(runs.corrupt)
        if not bodies or _readable(session, run):
            yield run
    session.complain_of(runs.corrupt)


def _readable(session: Session, run: Any) -> bool:
    """Whether the record of a row can be read; if not, that is said."""
    try:
        return run.record is not None
    except SerializationError as error:
        session.unreadable += 1
        session.out.complain(f"run {run.run_id} of agent {run.agent_id!r}: {error}")
        return False


def _expandable(session: Session, run: Any, columns: Sequence[str] | None) -> bool:
    """Whether a run can be written call by call; if not, that is said. What is read for it is kept in the record."""
    from relay_models.export import to_dicts

    try:
        to_dicts([run], rows="calls", columns=columns)
    except SerializationError as error:
        session.unreadable += 1
        session.out.complain(f"run {run.run_id} of agent {run.agent_id!r}: {error}")
        return False
    return True


def _record(run: Any) -> RunRecord:
    record: RunRecord = run.record
    return record


def find_one(session: Session, wanted: str, agent: str | None) -> RunRecord:
    """The run with this id, or the only one whose id begins so, or the latest.

    Raises:
        NotFoundError: there is none.
        QueryError: several begin so.
    """
    from relay_models.documents import Run

    backend = session.open()
    of_agent = None if agent is None else Run.agent_id == agent
    if wanted == "latest":
        page = backend.find_runs(of_agent, order_by="-started_at", limit=1, columns=False)
        for run in page:
            return _record(run)
        raise NotFoundError("no runs are stored" if agent is None else f"agent {agent!r} has no runs")
    run_id = wanted.strip().rstrip("….").lower()  # as a table that had to cut it shows it
    matches = Run.run_id == run_id if len(run_id) == 36 else Run.run_id.startswith(run_id)
    found: list[Any] = list(
        backend.find_runs(matches if of_agent is None else matches & of_agent, limit=3, columns=False)
    )
    if not found:
        raise NotFoundError(f"there is no run {wanted!r}" + ("" if agent is None else f" of agent {agent!r}"))
    if len(found) > 1:
        if len(run_id) == 36:
            agents = " and ".join(repr(run.agent_id) for run in found)
            raise QueryError(f"several agents have a run {wanted}: {agents}; --agent says which")
        shown = ", ".join(str(run.run_id) for run in found[:2])
        raise QueryError(f"several runs begin with {wanted!r}: {shown}, …")
    return _record(found[0])


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
}
_USUAL = ["run_id", "agent_id", "started_at", "duration", "llm_calls", "tool_calls", "total_tokens", "models"]


def show_runs(out: Output, runs: Sequence[Any], names: Sequence[str] | None = None) -> None:
    """A table of `Run` rows."""
    from relay_models.export import to_dicts

    rows = to_dicts(runs, columns=[*(names or _USUAL), "status"])
    shown = list(names or _USUAL)
    columns = []
    for name in shown:
        sample = next((row[name] for row in rows if row[name] is not None), "")
        columns.append(listed_column(name, named=bool(names), number=isinstance(sample, int | float)))
    out.table(columns, [[listed_cell(row, name, named=bool(names)) for name in shown] for row in rows])


def listed_column(name: str, *, named: bool = False, number: bool = False) -> Column:
    """How a column of runs stands in a table; `named` says that the user asked for it by its name."""
    from relay_models.cli.output import Column

    head, right, priority, least = _LISTED.get(name, (name, number, 5, 8))
    return Column(name if named else head, right, 9 if named and priority > 6 else priority, least)


def listed_cell(row: dict[str, Any], name: str, *, named: bool = False) -> str:
    """A value of a run in a table."""
    from relay_models.cli.output import cell_text
    from relay_models.pictures.text import cells, clip_cells

    value = row[name]
    if name == "duration" and value is None:
        return "running" if row["status"] == "running" else ""
    if isinstance(value, list) and len(value) > 1 and not named:
        first = value[0] if cells(value[0]) <= 18 else clip_cells(value[0], 18)
        return f"{first} +{len(value) - 1}"
    return cell_text(value)


def show_calls(out: Output, record: RunRecord) -> None:
    """A run's headline and a table of its calls."""
    from relay_models.cli.output import Column
    from relay_models.pictures.labels import outcome
    from relay_models.pictures.layout import lay_out
    from relay_models.pictures.run import facts
    from relay_models.pictures.text import clock_text, duration_text, join_facts

    layout = lay_out(record, "calls")
    out.print(record.agent_id, style="bold")
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
