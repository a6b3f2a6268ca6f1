"""`relay-models import`: import files of any known format, or a running NeMo Relay deployment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.exit_codes import INCOMPLETE
from relay_models.cli.import_capture import PLURALS, Imported, import_capture
from relay_models.cli.passwords import NativePasswordFile, PromptForNativePassword, native_options
from relay_models.cli.session import Session
from relay_models.cli.storing import MaxCallBytes, MaxTextLength, Prices, Redact, load_prices, make_redactor
from relay_models.errors import InvalidConfigurationError

if TYPE_CHECKING:
    from relay_models.native import ImportReport
    from relay_models.records.prices import PriceTable
    from relay_models.records.redact import Redaction

__all__ = ["register"]

SHOWN_BAD = 20


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "import")
    def import_(
        session: Session,
        sources: Annotated[
            list[str],
            typer.Argument(
                metavar="SOURCE...", show_default=False,
                help="Files (- is standard input), or the redis:// URL of a NeMo Relay deployment.",
            ),
        ],
        native_prefix: Annotated[
            str | None,
            typer.Option(
                metavar="TEXT", show_default=False,
                help="The prefix of its keys. By default detected in a capture, and nemo_relay: for a URL.",
            ),
        ] = None,
        full: Annotated[
            bool, typer.Option("--full", help="From a URL: read everything again, not only what is new.")
        ] = False,
        agent: Annotated[
            str | None,
            typer.Option(
                "--agent", "-a", metavar="ID", show_default=False,
                help="The agent of runs from event files. By default the name of their scope.",
            ),
        ] = None,
        redact: Redact = None,
        max_text_length: MaxTextLength = None,
        max_call_bytes: MaxCallBytes = None,
        prices: Prices = None,
        native_password_file: NativePasswordFile = None,
        ask_native_password: PromptForNativePassword = False,
    ) -> None:  # fmt: skip
        """Import runs, and what NeMo Relay learned from them.

        A file is recognized by its content, also compressed by gzip: captures of NeMo Relay's keys and run records
        (JSON lines), NeMo Relay's events (ATOF), trajectories (ATIF), OpenTelemetry spans (OTLP JSON). Event files
        that were rotated are given together, oldest first. What cannot be read is listed with its line or key and the
        reason; everything else is imported, and the exit code is 1. Importing again changes nothing.
        """
        redactor = make_redactor(redact, max_text_length, max_call_bytes)
        table = load_prices(prices)
        urls = [source for source in sources if "://" in source]
        if urls and len(sources) > 1:
            raise InvalidConfigurationError("import a URL alone; several sources must be files")
        if urls:
            options = native_options(session.out, urls[0], "SOURCE", native_password_file, ask_native_password)
            session.open(must_exist=False, prices=table)
            reports = [_from_url(session, urls[0], native_prefix, full, options | {"redact": redactor})]
        else:
            reports = _from_files(session, sources, native_prefix, agent, redactor, table)
        for done in reports:
            _report(session, done)
        if any(done.bad for done in reports):
            raise typer.Exit(INCOMPLETE)


def _from_files(
    session: Session, sources: list[str], native_prefix: str | None, agent: str | None, redactor: Redaction | None,
    prices: PriceTable | None,
) -> list[Imported]:  # fmt: skip
    """Import captures one by one, and all other files together."""
    from relay_models.cli.import_files import as_file, import_files, is_capture  # lazy: start-up time

    reports: list[Imported] = []
    others: dict[str, str] = {}
    with ExitStack() as opened:
        for source in sources:
            path = opened.enter_context(as_file(source))
            if is_capture(path):
                reports.append(_from_capture(session, path, source, native_prefix, redactor, prices))
            else:
                others[path] = source
        if others:
            backend = session.open(must_exist=False, prices=prices)
            sizes = {path: os.path.getsize(path) for path in others}
            read = dict.fromkeys(others, 0)
            with _progress(session, sum(sizes.values()), in_bytes=True) as bar:

                def seen(path: str, position: int) -> None:
                    read[path] = position
                    bar.reach(sum(read.values()), sum(sizes.values()))

                reports.append(import_files(backend, others, agent, redactor, seen))
    return reports


def _from_capture(
    session: Session, path: str, source: str, native_prefix: str | None, redactor: Redaction | None,
    prices: PriceTable | None,
) -> Imported:  # fmt: skip
    from relay_models.cli.capture import open_capture  # lazy: start-up time

    with open_capture(path, native_prefix) as capture:
        backend = session.open(must_exist=False, prices=prices)
        with _progress(session, len(capture.runs) + len(capture.artifacts)) as bar:
            return import_capture(backend, capture, source, bar.advance, redactor)


def _from_url(session: Session, url: str, native_prefix: str | None, full: bool, options: dict[str, Any]) -> Imported:
    from relay_models.native.layout import DEFAULT_PREFIX  # lazy: start-up time
    from relay_models.native.sync import import_native  # lazy: start-up time

    prefix = DEFAULT_PREFIX if native_prefix is None else native_prefix
    backend = session.backend
    with _progress(session, None) as bar:

        def show_progress(report: ImportReport) -> None:
            bar.reach(report.done, report.entries)

        report = import_native(url, backend, native_prefix=prefix, full=full, on_progress=show_progress, **options)
    return Imported(
        report.source,
        prefix,
        {kind: report.artifacts.get(kind, 0) for kind in PLURALS} | {"run": report.runs},
        report.replaced,
        [{"key": bad.key, "reason": bad.reason} for bad in report.bad],
        [{"key": note.key, "reason": note.reason} for note in report.notes],
        report.noted,
        {
            "unchanged": report.unchanged,
            "missing_runs": report.missing,
            "cache_entries": report.cache_entries,
            "withheld": report.withheld,
        },
    )


class _Bar:
    """Progress that is not shown; `_VisibleBar` is shown on a terminal."""

    def advance(self, count: int) -> None:
        """Count more values as done."""

    def reach(self, done: int, total: int) -> None:
        """Set how many values are done, and how many there are."""


@contextmanager
def _progress(session: Session, total: int | None, *, in_bytes: bool = False) -> Iterator[_Bar]:
    """Show a progress bar on standard error, if that is a terminal."""
    notes = session.out.notes
    if session.as_json or not notes.is_terminal or (total is not None and total < 50):
        yield _Bar()
        return
    # lazy: start-up time
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = TextColumn("importing"), BarColumn(), amount, TimeRemainingColumn()
    with Progress(*columns, console=notes, transient=True) as progress:
        task = progress.add_task("import", total=total)

        class _VisibleBar(_Bar):
            waiting = 0

            def advance(self, count: int) -> None:
                self.waiting += count
                if self.waiting >= 50:
                    progress.advance(task, self.waiting)
                    self.waiting = 0

            def reach(self, done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

        yield _VisibleBar()


def _line(named: dict[str, str | int | None], source: str) -> str:
    """A line of the report: where something was found, and what."""
    where = str(named["key"])
    if "line" in named:
        file = named.get("file", source)
        where = f"{'standard input' if file == '-' else file}, line {named['line']}"
    key = f"  [{named['key']}]" if "line" in named and named["key"] else ""
    return f"{where}: {named['reason']}{key}"


def _report(session: Session, done: Imported) -> None:
    """Print what was imported, and what was not and why."""
    from relay_models.cli.output import Column, counted  # lazy: start-up time

    out = session.out
    if out.as_json:
        counts = {PLURALS[kind].replace(" ", "_"): count for kind, count in done.counts.items()}
        head: dict[str, Any] = {"source": done.source, "native_prefix": done.native_prefix, "imported": counts}
        out.object(head | {"replaced_runs": done.replaced, **done.more, "bad": done.bad, "notes": done.notes})
        return
    for bad in done.bad[:SHOWN_BAD]:
        out.warn(_line(bad, done.source))
    if len(done.bad) > SHOWN_BAD:
        out.warn(f"… and {len(done.bad) - SHOWN_BAD:,} more (--json lists all)")
    for note in done.notes[:SHOWN_BAD]:
        out.warn(_line(note, done.source))
    if done.noted > SHOWN_BAD:
        out.warn(f"… and {done.noted - SHOWN_BAD:,} more values like these (--json lists {len(done.notes):,})")
    if done.noted:
        out.warn(f"{done.noted:,} values were imported, but not understood or not as they came")
    rows = [(PLURALS[kind], f"{count:,}") for kind, count in done.counts.items() if count]
    if rows:
        out.table([Column("imported", priority=9), Column("", right=True, priority=9, least=1)], rows)
    elif done.more.get("unchanged") and not done.bad:
        out.print("nothing new")
    else:
        out.print("nothing was imported")
    if (unchanged := done.more.get("unchanged")) and rows:
        out.print(f"already stored as they are: {counted(unchanged, 'run')}", style="bright_black")
    if done.replaced:
        out.print(f"already stored and replaced: {counted(done.replaced, 'run')}", style="bright_black")
    if skipped := done.more.get("cache_entries"):
        out.print(
            f"skipped {counted(skipped, 'entry', 'entries')} of NeMo Relay's caches, which are no state of an agent",
            style="bright_black",
        )
    if withheld := done.more.get("withheld"):
        out.print(f"left out by a redaction: {counted(withheld, 'run')}", style="bright_black")
    if done.bad:
        total = f" of {done.more['lines']:,} lines" if "lines" in done.more else ""
        out.warn(f"{len(done.bad):,}{total} could not be imported")
