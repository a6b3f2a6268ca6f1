"""`relay-models models`: list, show and export the documents of a user's own models."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models._checks import shown
from relay_models.cli.command import command
from relay_models.cli.file_mode import FileMode, permissions
from relay_models.cli.run_selection import column_names
from relay_models.cli.session import Session
from relay_models.errors import InvalidConfigurationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_models.documents import Document

__all__ = ["register"]

Name = Annotated[
    str, typer.Argument(metavar="MODEL", show_default=False, help="The name of a model that --models or the like load.")
]
Where = Annotated[
    str | None,
    typer.Option("--where", "-w", metavar="FILTER", show_default=False, help="Such as: rating <= 2 and stored > -1d"),
]
Order = Annotated[
    str, typer.Option("--order", "-o", metavar="COLUMN", help="Sort by a column; - in front for descending.")
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", "-c", metavar="A,B,…", show_default=False, help="Columns, in order; all by default."),
]


class Format(StrEnum):
    """File formats of an export."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(name="models", help="List, show and export documents of your own models.", no_args_is_help=True)
    for add in (_list, _show, _export):
        add(group)
    app.add_typer(group)


def _list(group: typer.Typer) -> None:
    @command(group, "list")
    def list_(
        session: Session,
        model: Name,
        where: Where = None,
        order: Order = "-stored_at",
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Maximum number; 0 for all.")] = 20,
        columns: Columns = None,
    ) -> None:
        """List the documents of a model, the newest first."""
        from relay_models.cli.output import Column, cell_text  # lazy: start-up time
        from relay_models.export import to_dicts  # lazy: start-up time
        from relay_models.views import is_right, known_columns, with_shown_values  # lazy: start-up time

        document = _model(session, model)
        names = column_names(session, columns, document)
        items = _each(session, document, where, order, limit)
        rows = ((item, row) for item in items for row in to_dicts([item], columns=names))
        if session.as_json:
            session.out.array(row for _, row in rows)
            return
        found = [with_shown_values(item, row) for item, row in rows]
        if not found:
            session.out.print("no documents" if where is None else "no documents match")
            if not session.backend.collection(document).count():
                _note_others(session)
            return
        known = known_columns(document)
        heads = [Column(name, name in known and is_right(known[name]), 9 if names else 5, 8) for name in found[0]]
        session.out.table(heads, [[cell_text(value) for value in row.values()] for row in found])
        if limit and len(found) == limit:
            total = session.backend.collection(document).count(where)
            if total > limit:
                session.out.note(f"{limit:,} of {total:,} documents (--limit 0 shows all)")


def _note_others(session: Session) -> None:
    """Say which models the store has that no class here is of: a class that was renamed starts with nothing."""
    from relay_models.cli.commands.migrate import WITHOUT_CLASS  # lazy: start-up time

    for plan in session.backend.migrations.plan():
        if plan.state == "unknown":
            session.out.note(f"{plan.kind}: {plan.documents:,} documents, {WITHOUT_CLASS}")


def _show(group: typer.Typer) -> None:
    @command(group, "show")
    def show(
        session: Session,
        model: Name,
        id: Annotated[str, typer.Argument(metavar="ID", show_default=False, help="The document's pk.")],
    ) -> None:
        """Show a document with all of its fields, as JSON."""
        document = _model(session, model)
        page = session.open().collection(document).find(document.columns()["pk"] == id, limit=1)
        if not page:
            raise NotFoundError(f"there is no {model} {shown(id)}")
        session.out.raw(page[0].model_dump_json(indent=None if session.as_json else 2))


def _export(group: typer.Typer) -> None:
    @command(group, "export", json=False)
    def export(
        session: Session,
        model: Name,
        target: Annotated[
            str, typer.Argument(metavar="[FILE]", show_default=False, help="The file to write; - for standard output.")
        ] = "-",
        where: Where = None,
        order: Order = "stored_at",
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Maximum number; 0 for all.")] = 0,
        columns: Columns = None,
        format: Annotated[
            Format | None,
            typer.Option("--format", "-f", show_default=False, help="By default from the ending of FILE, else jsonl."),
        ] = None,
        mode: FileMode = "600",
    ) -> None:
        """Export documents of a model to a file, in bounded memory. JSON lines without --columns have all fields."""
        from relay_models.cli.output import counted  # lazy: start-up time
        from relay_models.export import write_csv, write_jsonl, write_parquet  # lazy: start-up time
        from relay_models.export.rows import RowsOf  # lazy: start-up time

        document = _model(session, model)
        names = column_names(session, columns, document)
        ending = target.rpartition(".")[2].lower()
        format = format or next((known for known in Format if known == ending), Format.jsonl)
        if format is Format.parquet and target == "-" and sys.stdout.isatty():
            raise InvalidConfigurationError("Parquet is a binary format: name a FILE, or pipe it into another program")
        source = RowsOf(document, _each(session, document, where, order, limit))
        sink: Any = sys.stdout.buffer if target == "-" else target
        write: Any = {Format.jsonl: write_jsonl, Format.csv: write_csv, Format.parquet: write_parquet}[format]
        count = write(source, sink, columns=names, mode=permissions(mode))
        if target == "-":
            sys.stdout.flush()
        else:
            session.out.note(f"wrote {counted(count, 'document')} to {target}")


def _model(session: Session, name: str) -> type[Document]:
    """The model of that name.

    Raises:
        NotFoundError: No model of that name is loaded.
    """
    from relay_models.views.columns import find_model  # lazy: start-up time

    return find_model(session.open(), name)


def _each(session: Session, document: type[Document], where: str | None, order: str, limit: int) -> Iterator[Any]:
    """The documents that meet a filter; those that cannot be read are reported."""
    from relay_models.documents import Find  # lazy: start-up time

    query = Find(document, () if where is None else (where,), order, limit or None)
    items = session.backend.collection(document).stream(query, on_corrupt="skip")
    yield from items
    session.report_unreadable(items.corrupt)
