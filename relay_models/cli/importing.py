"""`relay-models import`: a capture into a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .session import INCOMPLETE, Session, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_models.records import RunRecord
    from relay_models.sync import RedisBackend

    from .capture import Capture, Entry

__all__ = ["import_capture", "register"]

SHOWN_BAD = 20
REPLACED = "replaced runs"
PLURALS = {
    "run": "runs", "plan": "plans", "trie": "tries", "accumulators": "accumulators", "observations": "observations",
    "stability": "stability results",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "import")
    def import_(
        session: Session,
        source: Annotated[
            str,
            typer.Argument(
                metavar="CAPTURE",
                show_default=False,
                help="A .jsonl or .jsonl.gz file of native keys or of run records; - for standard input; "
                "or the redis:// URL of a NeMo Relay deployment.",
            ),
        ],
        native_prefix: Annotated[
            str | None,
            typer.Option(metavar="TEXT", help="What its keys begin with; found out from a file.", show_default=False),
        ] = None,
    ) -> None:
        """Load what NeMo Relay stored into the store: runs, plans, tries, accumulators, observations, stability.

        Lines that cannot be read are named with their number and reason; all others are imported. The exit code is
        then 1. Importing again replaces what is there, so it can be repeated.
        """
        if "://" in source:
            _import_url(session, source, native_prefix)
            return
        from .capture import open_capture

        with open_capture(source, native_prefix) as capture:
            backend = session.open(must_exist=False)
            with progress(session, len(capture.runs) + len(capture.artifacts)) as seen:
                counts = import_capture(backend, capture, seen)
        report_import(session, capture, counts)
        if capture.bad:
            raise typer.Exit(INCOMPLETE)


def _import_url(session: Session, url: str, native_prefix: str | None) -> None:
    from relay_models.errors import InvalidConfigurationError

    try:
        from . import interop
    except ImportError:
        raise InvalidConfigurationError("CAPTURE is a file; this installation cannot read from a URL") from None
    interop.import_url(session, url, native_prefix)


def import_capture(backend: RedisBackend, capture: Capture, seen: Callable[[int], None]) -> dict[str, int]:
    """Store all of a capture; counts by kind. What cannot be stored is in ``capture.bad`` afterwards."""
    stored: Counter[str] = Counter()
    for entry in capture.entries(capture.artifacts, seen):
        try:
            store_artifact(backend, entry)
            stored[entry.kind] += 1
        except ValueError as error:
            capture.refuse(entry.line, entry.key or None, reason(error))

    lines: list[int] = []

    def runs() -> Iterator[RunRecord]:
        for entry in capture.entries(capture.runs, seen):
            try:
                record = read_run(entry)
            except ValueError as error:
                capture.refuse(entry.line, entry.key or None, reason(error))
            else:
                lines.append(entry.line)
                yield record

    report = backend.store_runs(runs(), on_refused="skip")
    for refused in report.refused:
        capture.refuse(lines[refused.position], None, str(refused.error))
    capture.bad.sort(key=lambda bad: bad.line)
    stored["run"] = report.stored
    return {PLURALS[kind]: stored[kind] for kind in PLURALS} | {REPLACED: report.replaced}


def read_run(entry: Entry) -> RunRecord:
    """The run of an entry.

    Raises:
        ValueError: it is no run record, or not the one that its key names.
    """
    from relay_models.records import RunRecord

    record = RunRecord.model_validate_json(entry.text)
    if entry.key and (record.agent_id, str(record.id)) != (entry.agent_id, str(entry.run_id).lower()):
        raise ValueError(f"the key is of agent {entry.agent_id!r}, the run of {record.agent_id!r} with id {record.id}")
    return record


def store_artifact(backend: RedisBackend, entry: Entry) -> None:
    """Store what is not a run.

    Raises:
        ValueError: the text is not a record of its kind.
    """
    from pydantic import TypeAdapter

    from relay_models.records import AccumulatorState, ExecutionPlan, PromptIR, StabilityAnalysisResult, TrieEnvelope

    match entry.kind:
        case "plan":
            plan = ExecutionPlan.model_validate_json(entry.text)
            if plan.agent_id != entry.agent_id:
                raise ValueError(f"the key is of agent {entry.agent_id!r}, the plan says {plan.agent_id!r}")
            backend.store_plan(plan)
        case "trie":
            backend.store_trie(entry.agent_id, TrieEnvelope.model_validate_json(entry.text))
        case "accumulators":
            backend.store_accumulators(entry.agent_id, AccumulatorState.model_validate_json(entry.text))
        case "observations":
            prompts = TypeAdapter(list[PromptIR]).validate_json(entry.text)
            backend.store_observations(entry.agent_id, prompts)
        case "stability":
            backend.store_stability(entry.agent_id, StabilityAnalysisResult.model_validate_json(entry.text))
        case other:
            raise ValueError(f"a {other} is not an artefact")


def reason(error: ValueError) -> str:
    """Why a record was refused, on one line: the first of pydantic's complaints, with the field's path."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    complaints = error.errors(include_url=False, include_context=False, include_input=False)
    path = ".".join(map(str, complaints[0]["loc"]))
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{path}: {complaints[0]['msg']}{more}" if path else f"{complaints[0]['msg']}{more}"


@contextmanager
def progress(session: Session, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while a terminal is there to show it."""
    notes = session.out.notes
    if session.as_json or not notes.is_terminal or total < 50:
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=notes, transient=True) as bar:
        task = bar.add_task("import", total=total)
        waiting = 0

        def seen(count: int) -> None:
            nonlocal waiting
            waiting += count
            if waiting >= 50:
                bar.advance(task, waiting)
                waiting = 0

        yield seen


def report_import(session: Session, capture: Capture, counts: dict[str, int]) -> None:
    """Say what was imported, and name the bad lines."""
    out = session.out
    if out.as_json:
        bad = [{"line": bad.line, "key": bad.key, "reason": bad.reason} for bad in capture.bad]
        out.object(
            {
                "imported": {name.replace(" ", "_"): count for name, count in counts.items() if name != REPLACED},
                "replaced_runs": counts[REPLACED],
                "lines": capture.lines,
                "native_prefix": capture.prefix,
                "bad": bad,
            }
        )
        return
    from .output import Column

    for bad in capture.bad[:SHOWN_BAD]:
        out.complain(f"line {bad.line}: {bad.reason}" + (f"  [{bad.key}]" if bad.key else ""))
    if len(capture.bad) > SHOWN_BAD:
        out.complain(f"… and {len(capture.bad) - SHOWN_BAD:,} more bad lines (--json names all)")
    replaced = counts.pop(REPLACED)
    rows = [(name, f"{count:,}") for name, count in counts.items() if count]
    if rows:
        out.table([Column("imported", priority=9), Column("", right=True, priority=9, least=1)], rows)
    if replaced:
        out.print(f"{replaced:,} of the runs were there already and were replaced", style="bright_black")
    if not rows:
        out.print("nothing was imported")
    if capture.bad:
        out.complain(f"{len(capture.bad):,} of {capture.lines:,} lines were not imported")
