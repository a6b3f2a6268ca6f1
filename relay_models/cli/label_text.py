"""`show_labels` and `record_text`: the labels of a run, as text and in its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_models.cli.output import Output
    from relay_models.cli.session import Session
    from relay_models.documents import Labels, Origin
    from relay_models.records import RunRecord

__all__ = ["find_labels", "record_text", "show_labels"]


def find_labels(session: Session, record: RunRecord) -> Labels:
    """Return the labels of a stored run; none where it was deleted meanwhile."""
    from relay_models.documents import Labels, Run  # lazy: start-up time

    same = (Run.agent_id == record.agent_id) & (Run.run_id == record.id)
    for run in session.backend.find_runs(same, limit=1, columns=True):
        return run.labels
    return Labels()


def show_labels(out: Output, labels: Labels) -> None:
    """Print tags, scores and notes, each with its origin; nothing where there are none."""
    from relay_models.pictures.text import plain  # lazy: start-up time

    lines = [f"tag    {plain(tag)}  {_said(origin)}" for tag, origin in labels.tags.items()]
    lines += [f"score  {plain(name)} = {score.value:g}  {_said(score.origin)}" for name, score in labels.scores.items()]
    lines += [f"note   {plain(note.text)}  {_said(note.origin)}" for note in labels.notes]
    if lines:
        out.print("")
    for line in lines:
        out.print(line)


def record_text(record: RunRecord, labels: Labels) -> str:
    """The JSON text of a record, with a member ``labels`` at its end where there are any."""
    text = record.model_dump_json()
    if not labels:
        return text
    name = "labels" if "labels" not in (record.model_extra or {}) else "run_labels"
    return f"{text[:-1]},{json.dumps(name)}:{json.dumps(labels.to_dict(), ensure_ascii=False)}}}"


def _said(origin: Origin) -> str:
    from relay_models.pictures.text import plain  # lazy: start-up time

    name = "" if origin.by is None else f" {plain(origin.by)}"
    return f"({plain(origin.source)}{name}, {origin.at:%Y-%m-%d %H:%M})"
