"""`relay-models runs`: list, show, export, aggregate, watch and label runs."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from typing import Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.commands.label import register_label
from relay_models.cli.file_mode import FileMode, permissions
from relay_models.cli.label_text import find_labels, record_text, show_labels
from relay_models.cli.run_details import show_io, show_tree
from relay_models.cli.run_families import nested_columns
from relay_models.cli.run_selection import (
    column_names,
    each_run,
    find_one,
    has_readable_calls,
    make_filter,
    saved_question,
    split_metrics,
    split_names,
    with_saved,
)
from relay_models.cli.run_tables import show_calls, show_runs
from relay_models.cli.session import Session
from relay_models.errors import InvalidConfigurationError

__all__ = ["register"]

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        "-w",
        metavar="FILTER",
        show_default=False,
        help="Such as: model = gpt-4.1 and duration > 2s",
    ),
]
Agent = Annotated[
    str | None, typer.Option("--agent", "-a", metavar="ID", show_default=False, help="Only runs of this agent.")
]
Order = Annotated[
    str | None,
    typer.Option(
        "--order", "-o", metavar="COLUMN", show_default=False,
        help="Sort by a column; - in front for descending; stored_at unless given.",
    ),
]  # fmt: skip
Saved = Annotated[
    str | None,
    typer.Option(
        "--saved", metavar="NAME", show_default=False,
        help="A saved question, which --where and --agent narrow; see: relay-models saved.",
    ),
]  # fmt: skip
Columns = Annotated[
    str | None,
    typer.Option("--columns", "-c", metavar="A,B,…", show_default=False, help="Columns to show, in order."),
]


class Format(StrEnum):
    """File formats of an export."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    atif = "atif"
    otlp = "otlp"
    openinference = "openinference"


class Rows(StrEnum):
    """What a row of an export is."""

    records = "records"
    runs = "runs"
    calls = "calls"


# Columns of a list of failures.
FAILED_COLUMNS = ["run_id", "agent_id", "started_at", "status", "failed_calls", "error_types", "session_id"]
_TRAJECTORIES = (Format.atif, Format.otlp, Format.openinference)


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(name="runs", help="List, show, export, aggregate, watch and label runs.", no_args_is_help=True)
    for add in (_list, _show, _export, _stats, _watch):
        add(group)
    register_label(group)
    app.add_typer(group)


def _list(group: typer.Typer) -> None:
    @command(group, "list")
    def list_(
        session: Session,
        where: Where = None,
        agent: Agent = None,
        order: Annotated[
            str | None,
            typer.Option(
                "--order", "-o", metavar="COLUMN", show_default=False,
                help="Sort by a column; - in front for descending. [-started_at]",
            ),
        ] = None,
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Maximum number of runs; 0 for all.")] = 20,
        columns: Columns = None,
        saved: Saved = None,
        failed: Annotated[
            bool, typer.Option("--failed", help="Only runs that failed or have a failed call; shows the errors.")
        ] = False,
    ) -> None:  # fmt: skip
        """List runs, the newest first."""
        from relay_models.export import to_dicts  # lazy: start-up time

        names = column_names(session, columns)
        session.open()
        question = saved_question(session, saved)
        if question is not None:
            order, names = order or question.order, names or list(question.columns) or None
        is_named = names is not None
        names = names or (FAILED_COLUMNS if failed else None)
        chosen = make_filter(session, with_saved(where, question), agent, failed=failed)
        found = each_run(session, chosen, order or "-started_at", limit or None)
        if session.as_json:
            session.out.array(row for run in found for row in to_dicts([run], columns=names))
            return
        runs = list(found)
        if not runs:
            session.out.print("no runs" if chosen is None else "no runs match")
            return
        show_runs(session.out, runs, names, named=is_named)
        if limit and len(runs) == limit:
            total = session.backend.count_runs(chosen)
            if total > limit:
                session.out.note(f"{limit:,} of {total:,} runs (--limit 0 shows all)")


def _show(group: typer.Typer) -> None:
    @command(group, "show")
    def show(
        session: Session,
        run_id: Annotated[
            str, typer.Argument(metavar="ID", show_default=False, help="The run's id, or its beginning; or: latest")
        ],
        agent: Agent = None,
        timeline: Annotated[bool, typer.Option("--timeline", "-t", help="Draw the calls on a time axis.")] = False,
        save: Annotated[
            str | None,
            typer.Option(metavar="FILE", show_default=False, help="Save the timeline as .svg, .html or .txt."),
        ] = None,
        io: Annotated[
            bool, typer.Option("--io", help="Show what went into each call and came out, cut to a few lines.")
        ] = False,
        full: Annotated[bool, typer.Option("--full", help="With --io: show all of it.")] = False,
    ) -> None:
        """Show one run: its calls with their times, tokens and models, and the runs that it is nested with."""
        if full and not io:
            raise InvalidConfigurationError("--full goes with --io")
        from relay_models.pictures import Timeline  # lazy: start-up time

        record = find_one(session, run_id, agent)
        if save is not None:
            path = Timeline(record).save(save)
            session.out.note(f"saved {path}")
        if session.as_json:
            session.out.raw(record_text(record, find_labels(session, record)))
        elif timeline:
            session.out.console.print(Timeline(record), width=session.out.page_width)
        elif io:
            show_io(session.out, record, full=full)
        else:
            show_calls(session.out, record)
            root = None if record.ext is None else record.ext.root_run_id
            rows = nested_columns(session.backend, str(record.id), None if root is None else str(root))
            if len(rows) > 1:
                session.out.print("")
                show_tree(session.out, record, rows)
            show_labels(session.out, find_labels(session, record))


def _export(group: typer.Typer) -> None:
    @command(group, "export", json=False)
    def export(
        session: Session,
        target: Annotated[
            str, typer.Argument(metavar="[FILE]", show_default=False, help="The file to write; - for standard output.")
        ] = "-",
        where: Where = None,
        agent: Agent = None,
        saved: Saved = None,
        order: Order = None,
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Maximum number of runs; 0 for all.")] = 0,
        columns: Columns = None,
        format: Annotated[
            Format | None,
            typer.Option(
                "--format",
                "-f",
                show_default=False,
                help="By default from the ending of FILE, else jsonl. atif writes a trajectory per line, otlp and "
                "openinference an OTLP export request per line.",
            ),
        ] = None,
        rows: Annotated[
            Rows | None,
            typer.Option(show_default=False, help="One row per run or per call; or whole records (jsonl only)."),
        ] = None,
        keep_formulas: Annotated[
            bool,
            typer.Option("--keep-formulas", help="CSV: write texts such as =1+1 unchanged, without ' in front."),
        ] = False,
        mode: FileMode = "600",
    ) -> None:
        """Export runs to a file, in bounded memory. JSON lines of whole records (the default) are lossless."""
        names = split_names(columns) if rows is Rows.calls else column_names(session, columns)
        question = saved_question(session, saved)
        format = _format_of(target, format)
        if question is not None:
            order = order or question.order
            # Whole records have no columns, and calls have their own.
            if rows is Rows.runs or (rows is None and format in (Format.csv, Format.parquet)):
                names = names or list(question.columns) or None
        where = with_saved(where, question)
        _write_export(
            session, target, where, agent, order or "stored_at", limit, names, format, rows, keep_formulas, mode
        )


def _format_of(target: str, format: Format | None) -> Format:
    """The format that --format names, else the ending of the file."""
    ending = target.rpartition(".")[2].lower()
    return format or next((known for known in Format if known == ending), Format.jsonl)


def _write_export(
    session: Session, target: str, where: str | None, agent: str | None, order: str, limit: int,
    names: list[str] | None, format: Format, rows: Rows | None, keep_formulas: bool, mode: str,
) -> None:  # fmt: skip
    import sys  # lazy: start-up time

    from relay_models.export import write_csv, write_jsonl, write_parquet  # lazy: start-up time
    from relay_models.export.rows import RowsOf  # lazy: start-up time

    if format in _TRAJECTORIES:
        if rows is not None or names:
            raise InvalidConfigurationError(f"--format {format} writes whole runs, without --rows and --columns")
        _write_trajectories(
            session, target, make_filter(session, where, agent), order, limit, format, permissions(mode)
        )
        return
    if rows is None:
        rows = Rows.runs if format is not Format.jsonl or names else Rows.records
    if rows is Rows.records and (format is not Format.jsonl or names):
        raise InvalidConfigurationError(
            "whole records are written as jsonl and without --columns; use --rows runs or --rows calls"
        )
    if format is Format.parquet and target == "-" and sys.stdout.isatty():
        raise InvalidConfigurationError("Parquet is a binary format: name a FILE, or pipe it into another program")
    mode_of_file = permissions(mode)
    session.open()
    runs = each_run(session, make_filter(session, where, agent), order, limit or None, bodies=rows is not Rows.runs)
    if rows is Rows.calls:
        runs = (run for run in runs if has_readable_calls(session, run, names))
    source = RowsOf(session.run_document, runs)
    sink: Any = sys.stdout.buffer if target == "-" else target
    table: Any = None if rows is Rows.records else rows.value
    match format:
        case Format.jsonl:
            count = write_jsonl(source, sink, rows=table, columns=names, mode=mode_of_file)
        case Format.csv:
            count = write_csv(
                source, sink, rows=table, columns=names, mode=mode_of_file, escape_formulas=not keep_formulas
            )
        case Format.parquet:
            count = write_parquet(source, sink, rows=table, columns=names, mode=mode_of_file)
    if target == "-":
        sys.stdout.flush()
    else:
        from relay_models.cli.output import counted  # lazy: start-up time

        session.out.note(f"wrote {counted(count, 'call' if rows is Rows.calls else 'run')} to {target}")


def _write_trajectories(
    session: Session, target: str, chosen: Any, order: str, limit: int, format: Format, mode: int
) -> None:
    """Write a trajectory, or an export request, per line: a run with the runs below it."""
    # lazy: start-up time
    import json
    import sys

    from relay_models._files import open_output
    from relay_models.cli.output import counted
    from relay_models.cli.run_families import families
    from relay_models.trajectories import to_atif, to_otlp

    backend = session.open()
    runs = (run.record for run in each_run(session, chosen, order, limit or None, bodies=True))
    count = 0
    with open_output(target, mode=mode) if target != "-" else nullcontext(sys.stdout.buffer) as file:
        for run, below in families(backend, runs, chosen):
            if format is Format.atif:
                value = to_atif(run, below)
            else:
                value = to_otlp([run, *below], "gen_ai" if format is Format.otlp else "openinference")
            file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            count += 1 + len(below)
    if target == "-":
        sys.stdout.flush()
    else:
        session.out.note(f"wrote {counted(count, 'run')} to {target}")


def _stats(group: typer.Typer) -> None:
    @command(group, "stats")
    def stats(
        session: Session,
        by: Annotated[
            str | None,
            typer.Option(metavar="A,B,…", show_default=False, help="Columns to group by, such as models or agent."),
        ] = None,
        every: Annotated[
            str | None,
            typer.Option(metavar="SPAN", show_default=False, help="One row per interval, such as 1h or 1d."),
        ] = None,
        time: Annotated[
            str, typer.Option("--time", metavar="COLUMN", help="The column of times that --every divides.")
        ] = "started_at",
        metrics: Annotated[
            str,
            typer.Option("--metrics", "-m", metavar="M,N,…", help="Such as count, avg(duration), p95(total_tokens)."),
        ] = "count,avg(duration),p95(duration),sum(total_tokens)",
        where: Where = None,
        agent: Agent = None,
        saved: Saved = None,
        order: Annotated[
            str | None,
            typer.Option(
                "--order",
                "-o",
                metavar="COLUMN",
                show_default=False,
                help="Sort by a column of the result.",
            ),
        ] = None,
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Maximum number of rows; 0 for all.")] = 0,
        fill: Annotated[bool, typer.Option("--fill", help="Also show intervals without runs.")] = False,
        approximate: Annotated[
            bool, typer.Option("--approximate", help="Allow the server's estimates where they are quicker.")
        ] = False,
        zone: Annotated[
            str | None,
            typer.Option(
                "--tz",
                metavar="ZONE",
                show_default=False,
                help="Time zone, such as Europe/Berlin. [UTC]",
            ),
        ] = None,
        save: Annotated[
            str | None,
            typer.Option(metavar="FILE", show_default=False, help="Save a chart as .svg, .png or .pdf."),
        ] = None,
    ) -> None:
        """Aggregate runs by columns, by intervals of time, or both."""
        groups = split_names(by) or []
        rows = session.open().aggregate_runs(
            by=groups, every=every, metrics=split_metrics(metrics), time=time,
            filter=make_filter(session, with_saved(where, saved_question(session, saved)), agent),
            order_by=order, limit=limit or None, fill=fill, tz=zone, approximate=approximate,
        )  # fmt: skip
        from relay_models.cli.aggregate_tables import save_chart, show_stats  # lazy: start-up time

        if save is not None:
            save_chart(session, rows, save)
        show_stats(session, rows)
        if rows.estimated:
            session.out.note(f"estimated by the server: {', '.join(rows.estimated)}")


def _watch(group: typer.Typer) -> None:
    @command(group, "watch")
    def watch(
        session: Session,
        where: Where = None,
        agent: Agent = None,
        columns: Columns = None,
        interval: Annotated[float, typer.Option(min=0.05, help="Seconds between polls.")] = 1.0,
        count: Annotated[int, typer.Option("--count", "-n", min=0, help="Stop after this many runs; 0 for never.")] = 0,
        since_start: Annotated[bool, typer.Option("--all", help="Start with the runs already stored.")] = False,
        new: Annotated[bool, typer.Option("--new", help="Only new runs, not those stored again with changes.")] = False,
    ) -> None:
        """Show new and changed runs as they are stored, until interrupted."""
        from relay_models.cli.run_watch import watch_runs  # lazy: start-up time

        watch_runs(
            session, make_filter(session, where, agent), column_names(session, columns), interval=interval, count=count,
            from_start=since_start, changes=not new,
        )  # fmt: skip
