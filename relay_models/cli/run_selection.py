"""Select runs, columns and metrics by the options of a command: filters, ids, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_models._checks import shown
from relay_models.errors import InvalidConfigurationError, NotFoundError, QueryError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay_models import SavedQuestion
    from relay_models.cli.session import Session
    from relay_models.documents import Document
    from relay_models.records import RunRecord

__all__ = [
    "column_names",
    "each_run",
    "find_one",
    "has_readable_calls",
    "join_filters",
    "make_filter",
    "saved_question",
    "split_metrics",
    "split_names",
    "with_saved",
]


def split_names(text: str | None) -> list[str] | None:
    """Split a comma-separated option into names."""
    if text is None:
        return None
    if names := [name.strip() for name in text.split(",") if name.strip()]:
        return names
    raise InvalidConfigurationError("expected a list of column names, such as agent_id,duration")


def column_names(session: Session, text: str | None, document: type[Document] | None = None) -> list[str] | None:
    """Return the columns of runs, or another type, that --columns names, also by short names of the filter language."""
    from relay_models.columns.info import find_column  # lazy: start-up time

    names = split_names(text)
    if names is None:
        return None
    columns = (document or session.run_document).columns()
    return [column.name if (column := find_column(columns, name)) else name for name in names]


def split_metrics(text: str) -> list[str]:
    """Split a comma-separated option into metrics; commas in parentheses belong to a metric."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def join_filters(texts: Sequence[str | None]) -> str | None:
    """Return the filter that means all of these; None where all are None."""
    given = [text for text in texts if text is not None]
    return given[0] if len(given) == 1 else " and ".join(f"({text})" for text in given) or None


def make_filter(session: Session, where: str | None, agent: str | None, *, failed: bool = False) -> Any:
    """Return the expression for --where, --agent and --failed; None for all runs.

    Raises:
        QueryError: The filter is blank, does not parse, or is invalid.
    """
    from relay_models.documents import Run  # lazy: start-up time
    from relay_models.query.language.filters import as_expression  # lazy: start-up time

    columns = session.run_document.columns()
    parts = [] if where is None else [as_expression(where, columns)]
    if agent is not None:
        parts.append(Run.agent_id == agent)
    if failed:
        parts.append((Run.status == "failed") | (Run.failed_calls > 0))
    return as_expression(parts, columns) if parts else None


def saved_question(session: Session, name: str | None) -> SavedQuestion | None:
    """Return the saved question that --saved names; None without the option.

    Raises:
        NotFoundError: There is none with that name.
    """
    return None if name is None else session.open().saved.get(name)


def with_saved(where: str | None, question: SavedQuestion | None) -> str | None:
    """Return the filter that --saved and --where mean together; None for all runs."""
    return join_filters([where, None if question is None else question.filter.strip() or None])


def each_run(session: Session, filter: Any, order: str, limit: int | None, *, bodies: bool = False) -> Iterator[Any]:
    """Yield the runs that match a filter, with `bodies` including their records.

    Unreadable documents are reported on standard error, and make the command end with `INCOMPLETE`.
    """
    from relay_models.documents import Find, Run  # lazy: start-up time

    query = Find(Run, () if filter is None else (filter,), order, limit)
    runs = session.backend.stream_runs(query, columns=not bodies, on_corrupt="skip")
    for run in runs:
        session.report_unreadable(runs.corrupt)
        if not bodies or _readable(session, run):
            yield run
    session.report_unreadable(runs.corrupt)


def _readable(session: Session, run: Any) -> bool:
    """Whether the record of a run can be read; if not, a warning is printed."""
    try:
        return run.record is not None
    except SerializationError as error:
        session.unreadable += 1
        session.out.warn(f"run {run.run_id} of agent {shown(run.agent_id)}: {error}")
        return False


def has_readable_calls(session: Session, run: Any, columns: Sequence[str] | None) -> bool:
    """Whether a run's calls can be exported; if not, a warning is printed."""
    from relay_models.export import to_dicts  # lazy: start-up time

    try:
        to_dicts([run], rows="calls", columns=columns)
    except SerializationError as error:
        session.unreadable += 1
        session.out.warn(f"run {run.run_id} of agent {shown(run.agent_id)}: {error}")
        return False
    return True


def _record(run: Any) -> RunRecord:
    record: RunRecord = run.record
    return record


def find_one(session: Session, wanted: str, agent: str | None) -> RunRecord:
    """Return the run with this id, the only one whose id has this prefix, or the latest.

    Raises:
        NotFoundError: There is none.
        QueryError: Several ids have this prefix.
    """
    from relay_models.documents import Run  # lazy: start-up time

    backend = session.open()
    of_agent = None if agent is None else Run.agent_id == agent
    if wanted == "latest":
        page = backend.find_runs(of_agent, order_by="-started_at", limit=1, columns=False)
        for run in page:
            return _record(run)
        raise NotFoundError("no runs are stored" if agent is None else f"agent {shown(agent)} has no runs")
    run_id = wanted.strip().rstrip("….").lower()  # as a table shows it when it cuts it
    matches = Run.run_id == run_id if len(run_id) == 36 else Run.run_id.startswith(run_id)
    found: list[Any] = list(
        backend.find_runs(matches if of_agent is None else matches & of_agent, limit=3, columns=False)
    )
    if not found:
        raise NotFoundError(f"there is no run {shown(wanted)}" + ("" if agent is None else f" of agent {shown(agent)}"))
    if len(found) > 1:
        if len(run_id) == 36:
            agents = " and ".join(repr(run.agent_id) for run in found)
            raise QueryError(f"several agents have a run {wanted}: {agents}; --agent says which")
        some = ", ".join(str(run.run_id) for run in found[:2])
        raise QueryError(f"several runs begin with {shown(wanted)}: {some}, …")
    return _record(found[0])
