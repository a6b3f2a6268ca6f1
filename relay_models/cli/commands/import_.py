"""`relay-models import`: import a capture or a running NeMo Relay deployment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.exit_codes import INCOMPLETE
from relay_models.cli.import_capture import PLURALS, Imported, import_capture
from relay_models.cli.passwords import NativePasswordFile, PromptForNativePassword, native_options
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from relay_models.native import ImportReport

__all__ = ["register"]

SHOWN_BAD = 20


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "import")
    def import_(
        session: Session,
        source: Annotated[
            str,
            typer.Argument(
                metavar="SOURCE", show_default=False,
                help="A .jsonl or .jsonl.gz capture (- is standard input), or the redis:// URL of a NeMo Relay "
                "deployment.",
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
        native_password_file: NativePasswordFile = None,
        ask_native_password: PromptForNativePassword = False,
    ) -> None:  # fmt: skip
        """Import what NeMo Relay stored: runs, plans, tries, accumulators, observations, stability results.

        A capture has one JSON object per line: {"key": …, "type": …, "value": …}, or a run record as runs export
        writes it. Values that cannot be read are listed with their line or key and the reason; everything else is
        imported, and the exit code is 1. Importing again replaces what is stored, so it can be repeated.
        """
        if "://" in source:
            options = native_options(session.out, source, "SOURCE", native_password_file, ask_native_password)
            done = _from_url(session, source, native_prefix, full, options)
        else:
            done = _from_file(session, source, native_prefix)
        _report(session, done)
        if done.bad:
            raise typer.Exit(INCOMPLETE)


def _from_file(session: Session, source: str, native_prefix: str | None) -> Imported:
    from relay_models.cli.capture import open_capture  # lazy: start-up time

    with open_capture(source, native_prefix) as capture:
        backend = session.open(must_exist=False)
        with _progress(session, len(capture.runs) + len(capture.artifacts)) as bar:
            return import_capture(backend, capture, source, bar.advance)


def _from_url(session: Session, url: str, native_prefix: str | None, full: bool, options: dict[str, Any]) -> Imported:
    from relay_models.native.layout import DEFAULT_PREFIX  # lazy: start-up time
    from relay_models.native.sync import import_native  # lazy: start-up time

    prefix = DEFAULT_PREFIX if native_prefix is None else native_prefix
    backend = session.open(must_exist=False)
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
        {"unchanged": report.unchanged, "missing_runs": report.missing},
    )


class _Bar:
    """Progress that is not shown; `_VisibleBar` is shown on a terminal."""

    def advance(self, count: int) -> None:
        """Count more values as done."""

    def reach(self, done: int, total: int) -> None:
        """Set how many values are done, and how many there are."""


@contextmanager
def _progress(session: Session, total: int | None) -> Iterator[_Bar]:
    """Show a progress bar on standard error, if that is a terminal."""
    notes = session.out.notes
    if session.as_json or not notes.is_terminal or (total is not None and total < 50):
        yield _Bar()
        return
    # lazy: start-up time
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
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


def _report(session: Session, done: Imported) -> None:
    """Print what was imported, and what was not and why."""
    from relay_models.cli.output import Column  # lazy: start-up time

    out = session.out
    if out.as_json:
        counts = {PLURALS[kind].replace(" ", "_"): count for kind, count in done.counts.items()}
        head = {"source": done.source, "native_prefix": done.native_prefix, "imported": counts}
        out.object(head | {"replaced_runs": done.replaced, **done.more, "bad": done.bad})
        return
    for bad in done.bad[:SHOWN_BAD]:
        where = f"line {bad['line']}" if "line" in bad else str(bad["key"])
        key = f"  [{bad['key']}]" if "line" in bad and bad["key"] else ""
        out.warn(f"{where}: {bad['reason']}{key}")
    if len(done.bad) > SHOWN_BAD:
        out.warn(f"… and {len(done.bad) - SHOWN_BAD:,} more (--json lists all)")
    rows = [(PLURALS[kind], f"{count:,}") for kind, count in done.counts.items() if count]
    if rows:
        out.table([Column("imported", priority=9), Column("", right=True, priority=9, least=1)], rows)
    elif done.more.get("unchanged") and not done.bad:
        out.print("nothing new")
    else:
        out.print("nothing was imported")
    if done.replaced:
        out.print(f"{done.replaced:,} of the runs were already stored and have been replaced", style="bright_black")
    if done.bad:
        total = f" of {done.more['lines']:,} lines" if "lines" in done.more else ""
        out.warn(f"{len(done.bad):,}{total} could not be imported")
