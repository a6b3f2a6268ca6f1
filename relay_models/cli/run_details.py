"""`show_tree` and `show_io`: print the runs around a run, and what went into its calls and came out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_models.cli.output import Output
    from relay_models.records import CallExtensions, CallRecord, Record, RunExtensions, RunRecord

__all__ = ["show_io", "show_tree"]

# Characters of an input or output that are shown without --full.
_SHOWN = 400


def show_tree(out: Output, record: RunRecord, rows: Sequence[Any]) -> None:
    """Print the tree of nested runs that a run is in; nothing where it is alone.

    Args:
        out: where to print.
        record: the run, which is marked.
        rows: the columns of all runs of the tree.
    """
    from relay_models._time import microseconds_of  # lazy: start-up time
    from relay_models.pictures.text import duration_text, plain  # lazy: start-up time

    if len(rows) < 2:
        return
    by_parent: dict[str | None, list[Any]] = {}
    known = {row.run_id for row in rows}
    for row in rows:
        by_parent.setdefault(row.parent_run_id if row.parent_run_id in known else None, []).append(row)
    out.print("nested runs", style="bold")
    seen: set[str] = set()
    waiting = [(row, 0) for row in reversed(by_parent.get(None, []))]
    while waiting:
        row, depth = waiting.pop()
        if row.run_id in seen:  # parents that name each other
            continue
        seen.add(row.run_id)
        took = "" if row.duration is None else f", {duration_text(microseconds_of(row.duration) * 1000)}"
        failures = f", {row.failed_calls:,} failed calls" if row.failed_calls else ""
        here = "  <- this run" if row.run_id == str(record.id) else ""
        failed = f", failed: {', '.join(map(plain, row.error_types))}" if row.error_types else failures
        line = f"{'  ' * depth}{plain(row.agent_id)}  {row.run_id}  {row.status}{took}{failed}{here}"
        out.print(line, style="red" if row.status == "failed" else None)
        waiting += [(child, depth + 1) for child in reversed(by_parent.get(row.run_id, []))]
    out.print("")


def show_io(out: Output, record: RunRecord, *, full: bool) -> None:
    """Print the input and output of the run and of each call: arguments and results, requests and responses.

    Args:
        out: where to print.
        record: the run.
        full: whether texts are shown whole.
    """
    from relay_models.pictures.layout import describe_error  # lazy: start-up time
    from relay_models.pictures.text import plain  # lazy: start-up time

    own = [] if record.ext is None else _known(record.ext, "input", "output")
    if own:
        out.print(f"run of {plain(record.agent_id)}", style="bold")
        _show_parts(out, own, full)
        _show_cuts(out, record.ext)
    for number, call in enumerate(record.calls, 1):
        out.print(f"{number} {call.kind} {plain(call.name)}", style="bold")
        _show_parts(out, _parts(call), full)
        if call.ext is not None and call.ext.status == "failed":
            out.print(f"  failed: {plain(' '.join(describe_error(call.ext.error).split()))}".rstrip(": "), style="red")
        _show_cuts(out, call.ext)
    if not own and not any(True for call in record.calls for _ in _parts(call)):
        out.print("no input or output is stored for the calls of this run")


def _show_parts(out: Output, parts: Sequence[tuple[str, Any]], full: bool) -> None:
    from relay_models.pictures.text import plain  # lazy: start-up time

    for name, value in parts:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2 if full else None)
        size = f"{len(text):,} characters"
        cut = not full and len(text) > _SHOWN
        out.print(f"  {name} ({size}{f', the first {_SHOWN} are shown' if cut else ''})", style="bright_black")
        for line in (text[:_SHOWN] + "…" if cut else text).split("\n"):
            out.print(f"    {plain(line)}")


def _show_cuts(out: Output, extensions: CallExtensions | RunExtensions | None) -> None:
    from relay_models.pictures.text import plain  # lazy: start-up time

    for mark in (None if extensions is None else extensions.cut) or ():
        out.print(
            f"  cut before it was stored: {plain(mark.path)}, {mark.kept:,} of {mark.size:,} kept", style="bright_black"
        )


def _parts(call: CallRecord) -> list[tuple[str, Any]]:
    """What is stored of a call's input and output, by name."""
    given, answered = ([] if call.ext is None else _known(call.ext, name) for name in ("input", "output"))
    request = [("request", value) for _, value in _known(call, "annotated_request")]
    return [*given, *request, *(("response", value) for _, value in _known(call, "annotated_response")), *answered]


def _known(record: Record, *names: str) -> list[tuple[str, Any]]:
    """Values of fields as JSON, also of those that are not what their field says, without those that are null."""
    value = record.model_dump(mode="json", include=set(names))
    kept = {name: (record.model_extra or {}).get(name) for name in names}
    found = ((name, value.get(name, kept[name])) for name in names)
    return [(name, item) for name, item in found if item is not None]
