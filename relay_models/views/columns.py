"""`known_columns`, `quoted`, `find_run`: the columns that are shown, literals of filters, documents by their id."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from relay_models import Document, Run
from relay_models._checks import shown
from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.errors import NotFoundError, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_models.sync import RedisBackend

__all__ = ["equal_to", "find_model", "find_run", "known_columns", "model_name", "quoted", "with_shown_values"]


def known_columns(document: type[Document]) -> dict[str, Column[Any]]:
    """The columns of a document class that can be shown, by name; that of a store's runs is its ``runs.document``."""
    return {name: column for name, column in document.columns().items() if column.kind is not Kind.WORDS}


def with_shown_values(item: Document, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table of documents, with members of enums and decimals where files have numbers."""
    columns = item.columns()

    def is_shown_otherwise(name: str) -> bool:
        column = columns.get(name)
        return column is not None and (bool(column.type.members) or column.type.python is Decimal)

    return {name: getattr(item, name) if is_shown_otherwise(name) else value for name, value in row.items()}


def model_name(document: type[Document]) -> str:
    """The name of a model of a user's, as in keys and URLs."""
    return document._kind.rpartition(":")[2]


def find_model(backend: RedisBackend, name: str) -> type[Document]:
    """The model of a user's with a name, that of its class or the one in keys.

    Raises:
        NotFoundError: the store was opened with none of that name.
    """
    known = {model_name(model): model for model in backend.models}
    classes = [model for model in backend.models if model.__name__ == name]
    if name in known:
        return known[name]
    if len(classes) == 1:
        return classes[0]
    raise NotFoundError(
        f"there is no model {shown(name)}; there are {', '.join(known)}"
        if known
        else f"there is no model {shown(name)}: the store was opened without models of your own (--models)"
    )


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"})


def quoted(text: str) -> str:
    """A text as a literal of the filter language."""
    return f'"{text.translate(_ESCAPES)}"'


def equal_to(column: Column[Any], value: Any) -> str:
    """The condition that documents with a value of a column meet: of one with lists, with one of its items."""
    value = getattr(value, "value", value)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"{column.name} = {value if isinstance(value, int) else quoted(str(value))}"


def find_run(backend: RedisBackend, wanted: str, agent: str | None = None) -> Run:
    """The run with an id, or the only one whose id begins so, with its record.

    Raises:
        NotFoundError: there is none.
        QueryError: there are several.
    """
    run_id = wanted.strip().strip("….").lower()
    columns = backend.runs.document.columns()
    found: Any = []
    if run_id:
        column = columns["run_id"]
        parts: list[Any] = [column == run_id if len(run_id) == 36 else column.startswith(run_id)]
        if agent is not None:
            parts.append(columns["agent_id"] == agent)
        found = backend.find_runs(parts, limit=3)
    if not found:
        raise NotFoundError(f"there is no run {shown(wanted)}" + ("" if agent is None else f" of agent {shown(agent)}"))
    if len(found) > 1:
        some = ", ".join(f"{run.run_id} of {shown(run.agent_id)}" for run in found[:2])
        raise QueryError(f"several runs begin with {shown(wanted)}: {some}, …")
    run: Run = found[0]
    return run
