"""`relay-models saved`: the named questions that a store keeps."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay_models._checks import shown
from relay_models.cli.command import command
from relay_models.cli.run_selection import column_names
from relay_models.cli.session import Session
from relay_models.errors import CorruptDocumentsError, NotFoundError

__all__ = ["register"]

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The question's name.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(name="saved", help="Save, list and delete named questions.", no_args_is_help=True)
    for add in (_list, _save, _delete):
        add(group)
    app.add_typer(group)


def _list(group: typer.Typer) -> None:
    @command(group, "list")
    def list_(session: Session) -> None:
        """List the saved questions."""
        from relay_models.cli.output import Column  # lazy: start-up time

        try:
            questions = session.open().saved.all()
        except CorruptDocumentsError as found:
            questions = found.good
            session.report_unreadable(list(found.errors))
        if session.as_json:
            session.out.array(_fields(question) for question in questions)
        elif not questions:
            session.out.print("no saved questions")
        else:
            columns = (Column("name", priority=9), Column("filter", priority=8), Column("columns"), Column("order"))
            session.out.table(columns, [(q.name, q.filter or "all", ",".join(q.columns), q.order) for q in questions])


def _fields(question: Any) -> dict[str, Any]:
    return {
        "name": question.name, "filter": question.filter, "columns": list(question.columns), "order": question.order,
    }  # fmt: skip


def _save(group: typer.Typer) -> None:
    @command(group, "save", json=False)
    def save(
        session: Session,
        name: Name,
        where: Annotated[
            str, typer.Option("--where", "-w", metavar="FILTER", show_default=False, help="The filter; else all runs.")
        ] = "",
        columns: Annotated[
            str | None, typer.Option("--columns", "-c", metavar="A,B,…", show_default=False, help="Columns to show.")
        ] = None,
        order: Annotated[
            str, typer.Option("--order", "-o", metavar="COLUMN", help="Sort by a column; - in front for descending.")
        ] = "-started_at",
    ) -> None:
        """Save a question, for `runs list --saved NAME` and the web page. One with this name is replaced."""
        from relay_models import SavedQuestion  # lazy: start-up time

        question = SavedQuestion(name, where, tuple(column_names(session, columns) or ()), order)
        session.open().saved.save(question)
        session.out.note(f"saved {name}")


def _delete(group: typer.Typer) -> None:
    @command(group, "delete", json=False)
    def delete(session: Session, name: Name) -> None:
        """Delete a saved question."""
        if not session.open().saved.delete(name):
            raise NotFoundError(f"there is no saved question {shown(name)}")
        session.out.note(f"deleted {name}")
