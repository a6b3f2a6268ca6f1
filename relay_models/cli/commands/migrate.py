"""`relay-models migrate`: plan, make, undo and finish a change of the columns of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.progress import Progress
from relay_models.cli.run_selection import split_names
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from relay_models.backend.migration import MigrationPlan, MigrationResult

__all__ = ["WITHOUT_CLASS", "register"]

IndexText = Annotated[
    bool | None,
    typer.Option(
        "--index-text/--no-index-text",
        show_default=False,
        help="Index the words of prompts and answers; as the store does unless given.",
    ),
]

Remove = Annotated[
    str | None,
    typer.Option(
        "--remove",
        metavar="COLUMN,…",
        show_default=False,
        help="Columns to take away, which no class declares any more.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(
        name="migrate",
        help="Change the columns of a store to those of this release, without downtime.",
        no_args_is_help=True,
    )
    for add in (_plan, _apply, _rollback, _finish):
        add(group)
    app.add_typer(group)


def _plan(group: typer.Typer) -> None:
    @command(group, "plan")
    def plan(session: Session, index_text: IndexText = None, remove: Remove = None) -> None:
        """Show what would change; changes nothing."""
        backend = session.open(migrate=False, index_text=index_text)
        _show_plans(session, backend.migrations.plan(remove=split_names(remove) or []))


def _apply(group: typer.Typer) -> None:
    @command(group, "apply")
    def apply(
        session: Session,
        index_text: IndexText = None,
        allow_missing: Annotated[
            bool,
            typer.Option(
                "--allow-missing", help="Also where the store has columns that this program does not know; they stay."
            ),
        ] = False,
        remove: Remove = None,
        finish: Annotated[
            bool, typer.Option("--finish", help="Then drop the old indexes: no writer of the old layout is left.")
        ] = False,
    ) -> None:
        """Make new indexes beside the old ones, compute columns, switch; the old indexes are kept until finish.

        After an interruption, run it again: it goes on where it was.
        """
        backend = session.open(migrate=False, index_text=index_text, allow_missing=allow_missing)
        report = Progress(session)
        results = backend.migrations.apply(report, remove=split_names(remove) or [])
        if finish:
            results += backend.migrations.finish(report)
        _show_results(session, results)


def _rollback(group: typer.Typer) -> None:
    @command(group, "rollback")
    def rollback(session: Session) -> None:
        """Go back to the old indexes, and drop the new ones. Documents stay as they are."""
        kinds = session.open(migrate=False).migrations.rollback()
        if session.as_json:
            session.out.line({"rolled_back": kinds})
        else:
            session.out.print(f"back to the old index: {', '.join(kinds)}")


def _finish(group: typer.Typer) -> None:
    @command(group, "finish")
    def finish(session: Session) -> None:
        """Compute what old writers left out, then drop the old indexes, once no such writer is left."""
        backend = session.open(migrate=False)
        _show_results(session, backend.migrations.finish(Progress(session)))


def _show_plans(session: Session, plans: list[MigrationPlan]) -> None:
    import dataclasses  # lazy: start-up time

    if session.as_json:
        session.out.array(dataclasses.asdict(plan) for plan in plans)
        return
    for plan in plans:
        if plan.state == "unknown":
            session.out.print(f"{plan.kind}: {plan.documents:,} documents, {WITHOUT_CLASS}")
            continue
        is_begun = plan.state == "unfinished" and plan.index != plan.target
        state = _BEGUN if is_begun else _STATES[plan.state]
        session.out.print(f"{plan.kind}: {state}", style="bold" if plan.state != "current" else "")
        if plan.state == "needed" and plan.index is not None:
            session.out.print(f"  {plan.index} -> {plan.target}")
        changes = {"add": plan.added, "change type": plan.retyped, "remove": plan.removed, "keep": plan.kept}
        for what, names in changes.items():
            if names:
                session.out.print(f"  {what}: {', '.join(names)}")
        if plan.stale or plan.state == "needed":
            session.out.print(
                f"  documents: {plan.documents:,}, to compute: {plan.stale:,}, about {plan.seconds:,.0f} s, "
                f"{plan.bytes / 2**20:,.0f} MB for the second index"
            )


WITHOUT_CLASS = (
    "and no class here: name its module (--models), or, where the class was renamed, its former name, as in "
    'class Later(Document, name="former")'
)

_STATES = {
    "current": "up to date",
    "needed": "to migrate (migrate apply)",
    "unfinished": "migrated; the old index is kept (migrate finish, or rollback)",
}


_BEGUN = "begun, and its index is not in use (migrate apply with the models that it is for, or rollback)"


def _show_results(session: Session, results: list[MigrationResult]) -> None:
    if session.as_json:
        session.out.array(_as_dict(result) for result in results)
        return
    for result in results:
        what = "switched to the new index" if result.switched else "up to date"
        session.out.print(f"{result.kind}: {what}; columns computed of {result.rewritten:,} documents")
        for key in result.unreadable:
            session.out.warn(f"{key} cannot be read and stays as it is")
    session.unreadable += sum(len(result.unreadable) for result in results)
    if not results:
        session.out.print("there is no unfinished migration")


def _as_dict(result: Any) -> dict[str, Any]:
    import dataclasses  # lazy: start-up time

    return dataclasses.asdict(result)
