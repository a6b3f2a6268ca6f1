"""`import_capture`: store the content of a capture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay_models._checks import shown
from relay_models.cli.capture import BadLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_models.cli.capture import Capture, Entry
    from relay_models.records import RunRecord
    from relay_models.records.redact import Redaction
    from relay_models.sync import RedisBackend

__all__ = ["MAX_NOTES", "PLURALS", "Imported", "import_capture", "read_run", "store_artifact"]

PLURALS = {
    "run": "runs", "plan": "plans", "trie": "tries", "accumulators": "accumulators", "observations": "observations",
    "stability": "stability results",
}  # fmt: skip


MAX_NOTES = 1_000
"""Notes to show in full: every run of a file may have some."""


@dataclass
class Imported:
    """The result of an import."""

    source: str
    native_prefix: str
    counts: dict[str, int] = field(default_factory=dict)
    """Values stored, by kind."""
    replaced: int = 0
    """Runs that were already in the store."""
    bad: list[dict[str, str | int | None]] = field(default_factory=list)
    """Values that could not be imported: their line or key, and the reason."""
    notes: list[dict[str, str | int | None]] = field(default_factory=list)
    """What was imported but not understood, or kept in another form; the first of them."""
    noted: int = 0
    """How many such notes there are."""
    more: dict[str, int] = field(default_factory=dict)
    """Other counts."""


def import_capture(
    backend: RedisBackend,
    capture: Capture,
    source: str,
    seen: Callable[[int], None] = lambda count: None,
    redact: Redaction | None = None,
) -> Imported:
    """Store all values of a capture.

    Args:
        backend: the store.
        capture: the capture.
        source: how the user named it.
        seen: called with the number of values read since the last call.
        redact: what removes secrets from runs.
    """
    stored: Counter[str] = Counter()
    for entry in capture.entries(capture.artifacts, seen):
        try:
            store_artifact(backend, entry)
            stored[entry.kind] += 1
        except ValueError as error:
            capture.refuse(entry.line, entry.key or None, str(error))

    # The line of each run, to report those that the server refuses.
    lines: list[int] = []
    withheld: list[int] = []
    noted: list[BadLine] = []

    def runs() -> Iterator[RunRecord]:
        for entry in capture.entries(capture.runs, seen):
            try:
                record, notes = read_run(entry)
            except ValueError as error:
                capture.refuse(entry.line, entry.key or None, str(error))
                continue
            noted.extend(BadLine(entry.line, entry.key or None, note) for note in notes)
            if redact is not None:
                try:
                    redacted = redact(record)
                except Exception as error:
                    capture.refuse(entry.line, entry.key or None, f"its redaction failed: {error}")
                    continue
                if redacted is None:
                    withheld.append(entry.line)
                    continue
                record = redacted
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
        _named(capture.bad),
        _named(sorted(noted, key=lambda note: note.line)[:MAX_NOTES]),
        len(noted),
        {"lines": capture.lines, "cache_entries": capture.cache_entries, "withheld": len(withheld)},
    )


def _named(lines: list[BadLine]) -> list[dict[str, str | int | None]]:
    return [{"line": each.line, "key": each.key, "reason": each.reason} for each in lines]


def read_run(entry: Entry) -> tuple[RunRecord, list[str]]:
    """Decode the run of an entry.

    Returns:
        The run, and what of it was not understood.

    Raises:
        ValueError: It is not a run record, or not the one that its key names.
    """
    from relay_models.records import mending  # lazy: start-up time

    record, _, notes = mending.read_run(entry.text)
    if entry.key and (record.agent_id, str(record.id)) != (entry.agent_id, str(entry.run_id).lower()):
        raise ValueError(
            f"the key is of agent {shown(entry.agent_id)}, the run of {shown(record.agent_id)} with id {record.id}"
        )
    return record, notes


def store_artifact(backend: RedisBackend, entry: Entry) -> None:
    """Store an artifact.

    Raises:
        ValueError: The text is not a record of its kind, or not of the agent that its key names.
    """
    from relay_models.native.layout import RECORD_TYPES  # lazy: start-up time
    from relay_models.records import from_json  # lazy: start-up time

    record = from_json(RECORD_TYPES[entry.kind], entry.text)
    if entry.kind == "plan":
        if record.agent_id != entry.agent_id:
            raise ValueError(f"the key is of agent {shown(entry.agent_id)}, the plan of {shown(record.agent_id)}")
        backend.store_plan(record)
    else:
        getattr(backend, f"store_{entry.kind}")(entry.agent_id, record)
