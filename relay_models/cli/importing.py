"""`relay-models import`: a capture, or a running NeMo Relay deployment, into a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from relay_models.cli.session import INCOMPLETE, Session, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_models.cli.capture import Capture, Entry
    from relay_models.native.reports import ImportReport
    from relay_models.records import RunRecord
    from relay_models.sync import RedisBackend

__all__ = ["Imported", "import_capture", "read_run", "register", "store_artifact"]

SHOWN_BAD = 20
PLURALS = {
    "run": "runs", "plan": "plans", "trie": "tries", "accumulators": "accumulators", "observations": "observations",
    "stability": "stability results",
}  # fmt: skip


@dataclass
class Imported:
    """What an import did."""

    source: str
    native_prefix: str
    counts: dict[str, int] = field(default_factory=dict)
    """Values stored, by kind."""
    replaced: int = 0
    """Runs that were in the store already."""
    bad: list[dict[str, str | int | None]] = field(default_factory=list)
    """What could not be imported: its line or its key, and the reason."""
    more: dict[str, int] = field(default_factory=dict)
    """Other counts worth telling."""


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
                help="What its keys begin with: found out from a capture; nemo_relay: behind a URL.",
            ),
        ] = None,
        full: Annotated[
            bool, typer.Option("--full", help="From a URL: read everything again, not only what is new.")
        ] = False,
    ) -> None:  # fmt: skip
        """Load what NeMo Relay stored into the store: runs, plans, tries, accumulators, observations, stability.

        A capture has a JSON object a line, {"key": …, "type": …, "value": …}, or a run record as runs export writes.
        What cannot be read is named with its line or key and the reason; all else is imported, and the exit code is 1.
        Importing again replaces what is there, so it can be repeated.
        """
        done = (
            _from_url(session, source, native_prefix, full)
            if "://" in source
            else _from_file(session, source, native_prefix)
        )
        _tell(session, done)
        if done.bad:
            raise typer.Exit(INCOMPLETE)


def _from_file(session: Session, source: str, native_prefix: str | None) -> Imported:
    from relay_models.cli.capture import open_capture

    with open_capture(source, native_prefix) as capture:
        backend = session.open(must_exist=False)
        with _progress(session, len(capture.runs) + len(capture.artifacts)) as bar:
            return import_capture(backend, capture, source, bar.advance)


def _from_url(session: Session, url: str, native_prefix: str | None, full: bool) -> Imported:
    from relay_models.native.layout import DEFAULT_PREFIX
    from relay_models.native.sync import import_native

    prefix = DEFAULT_PREFIX if native_prefix is None else native_prefix
    backend = session.open(must_exist=False)
    with _progress(session, None) as bar:

        def told(report: ImportReport) -> None:
            bar.reach(report.done, report.entries)

        report = import_native(url, backend, native_prefix=prefix, full=full, on_progress=told)
    return Imported(
        report.source,
        prefix,
        {kind: report.artifacts.get(kind, 0) for kind in PLURALS} | {"run": report.runs},
        report.replaced,
        [{"key": bad.key, "reason": bad.reason} for bad in report.bad],
        {"unchanged": report.unchanged, "missing_runs": report.missing},
    )


def import_capture(
    backend: RedisBackend, capture: Capture, source: str, seen: Callable[[int], None] = lambda count: None
) -> Imported:
    """Store all of a capture. `seen` is told how many values were read since it was last called."""
    stored: Counter[str] = Counter()
    for entry in capture.entries(capture.artifacts, seen):
        try:
            store_artifact(backend, entry)
            stored[entry.kind] += 1
        except ValueError as error:
            capture.refuse(entry.line, entry.key or None, str(error))

    # Where each run comes from, for those that the server refuses.
    lines: list[int] = []

    def runs() -> Iterator[RunRecord]:
        for entry in capture.entries(capture.runs, seen):
            try:
                record = read_run(entry)
            except ValueError as error:
                capture.refuse(entry.line, entry.key or None, str(error))
            else:
                lines.append(entry.line)
                yield record

    report = backend.store_runs(runs(), on_refused="skip")
    for refused in report.refused:
        capture.refuse(lines[refused.position], None, str(refused.error))
    capture.bad.sort(key=lambda bad: bad.line)
    stored["run"] = report.stored
    return Imported(
        source,
        capture.prefix,
        {kind: stored[kind] for kind in PLURALS},
        report.replaced,
        [{"line": bad.line, "key": bad.key, "reason": bad.reason} for bad in capture.bad],
        {"lines": capture.lines},
    )


def read_run(entry: Entry) -> RunRecord:
    """The run of an entry.

    Raises:
        ValueError: it is no run record, or not the one that its key names.
    """
    from relay_models.records import RunRecord, from_json

    record = from_json(RunRecord, entry.text)
    if entry.key and (record.agent_id, str(record.id)) != (entry.agent_id, str(entry.run_id).lower()):
        raise ValueError(f"the key is of agent {entry.agent_id!r}, the run of {record.agent_id!r} with id {record.id}")
    return record


def store_artifact(backend: RedisBackend, entry: Entry) -> None:
    """Store what is not a run.

    Raises:
        ValueError: the text is not a record of its kind, or not of the agent that its key names.
    """
    from relay_models.native.layout import RECORD_TYPES
    from relay_models.records import from_json

    record = from_json(RECORD_TYPES[entry.kind], entry.text)
    if entry.kind == "plan":
        if record.agent_id != entry.agent_id:
            raise ValueError(f"the key is of agent {entry.agent_id!r}, the plan of {record.agent_id!r}")
        backend.store_plan(record)
    else:
        getattr(backend, f"store_{entry.kind}")(entry.agent_id, record)


class _Bar:
    """Progress that nobody sees; `_SeenBar` is the one on a terminal."""

    def advance(self, count: int) -> None:
        """So many more are done."""

    def reach(self, done: int, total: int) -> None:
        """So many of so many are done."""


@contextmanager
def _progress(session: Session, total: int | None) -> Iterator[_Bar]:
    """A bar on standard error while a terminal is there to show it."""
    notes = session.out.notes
    if session.as_json or not notes.is_terminal or (total is not None and total < 50):
        yield _Bar()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=notes, transient=True) as progress:
        task = progress.add_task("import", total=total)

        class _SeenBar(_Bar):
            waiting = 0

            def advance(self, count: int) -> None:
                self.waiting += count
                if self.waiting >= 50:
                    progress.advance(task, self.waiting)
                    self.waiting = 0

            def reach(self, done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

        yield _SeenBar()


def _tell(session: Session, done: Imported) -> None:
    """Say what was imported, and name what was not."""
    from relay_models.cli.output import Column

    out = session.out
    if out.as_json:
        counts = {PLURALS[kind].replace(" ", "_"): count for kind, count in done.counts.items()}
        head = {"source": done.source, "native_prefix": done.native_prefix, "imported": counts}
        out.object(head | {"replaced_runs": done.replaced, **done.more, "bad": done.bad})
        return
    for bad in done.bad[:SHOWN_BAD]:
        where = f"line {bad['line']}" if "line" in bad else str(bad["key"])
        key = f"  [{bad['key']}]" if "line" in bad and bad["key"] else ""
        out.complain(f"{where}: {bad['reason']}{key}")
    if len(done.bad) > SHOWN_BAD:
        out.complain(f"… and {len(done.bad) - SHOWN_BAD:,} more (--json names all)")
    rows = [(PLURALS[kind], f"{count:,}") for kind, count in done.counts.items() if count]
    if rows:
        out.table([Column("imported", priority=9), Column("", right=True, priority=9, least=1)], rows)
    elif done.more.get("unchanged") and not done.bad:
        out.print("nothing is new")
    else:
        out.print("nothing was imported")
    if done.replaced:
        out.print(f"{done.replaced:,} of the runs were there already and were replaced", style="bright_black")
    if done.bad:
        total = f" of {done.more['lines']:,} lines" if "lines" in done.more else ""
        out.complain(f"{len(done.bad):,}{total} could not be imported")
