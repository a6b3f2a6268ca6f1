"""`relay-models compress`: train dictionaries, compress the records of a store, or make them plain again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from relay_models.cli.command import command
from relay_models.cli.progress import Progress
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from relay_models.backend.compression import CompressionResult, CompressionStatus

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(
        name="compress",
        help="Keep the records of runs compressed: much less memory, the same answers.",
        no_args_is_help=True,
    )
    for add in (_status, _train, _apply, _undo):
        add(group)
    app.add_typer(group)


def _status(group: typer.Typer) -> None:
    @command(group, "status")
    def status(session: Session) -> None:
        """Show how records are kept, and the dictionaries that they need."""
        _show_status(session, session.open().compression.status())


def _train(group: typer.Typer) -> None:
    @command(group, "train")
    def train(
        session: Session,
        runs: Annotated[int, typer.Option("--runs", min=1, help="Maximum number of runs to train from.")] = 1000,
        size: Annotated[int, typer.Option("--size", min=256, help="Maximum bytes of the dictionary.")] = 16384,
    ) -> None:
        """Train a dictionary from the newest runs, for all that is stored from now on.

        The dictionary holds fragments of these runs, and stays when they are deleted. Run apply to use it for what is
        stored already.
        """
        found = session.open().compression.train(runs=runs, size=size)
        if session.as_json:
            session.out.line(dataclasses.asdict(found))
        else:
            session.out.print(
                f"records are compressed with the dictionary {found.id} from now on ({found.bytes:,} bytes)"
            )


def _apply(group: typer.Typer) -> None:
    @command(group, "apply")
    def apply(session: Session) -> None:
        """Make the store compress, train a dictionary if it has 500 runs and none, and compress what is stored.

        Others read and write meanwhile. Programs of releases without compression refuse the store from now on. After an
        interruption, run it again: what is done is not done again.
        """
        _show_result(session, session.open().compression.apply(Progress(session)), "compressed")


def _undo(group: typer.Typer) -> None:
    @command(group, "undo")
    def undo(session: Session) -> None:
        """Make all records plain, and the store one that does not compress. Dictionaries stay.

        Stop writers that have the store open first, or run this again afterwards.
        """
        _show_result(session, session.open().compression.undo(Progress(session)), "made plain")


def _show_status(session: Session, status: CompressionStatus) -> None:
    if session.as_json:
        session.out.line(dataclasses.asdict(status))
        return
    session.out.print(f"records are {'compressed' if status.is_on else 'kept plain'} when they are stored")
    session.out.print(f"runs: {status.runs:,}, compressed: {status.compressed:,}")
    for dictionary in status.dictionaries:
        size = "missing" if dictionary.bytes is None else f"{dictionary.bytes:,} bytes"
        current = ", current" if dictionary.is_current else ""
        session.out.print(f"dictionary {dictionary.id}: {size}, {dictionary.runs:,} runs{current}")


def _show_result(session: Session, result: CompressionResult, what: str) -> None:
    if session.as_json:
        session.out.line(dataclasses.asdict(result))
    else:
        session.out.print(
            f"{what}: {result.rewritten:,} records, {result.bytes_before:,} bytes before, {result.bytes_after:,} now"
        )
    for key in result.unreadable:
        session.out.warn(f"{key}; it stays as it is")
    session.unreadable += len(result.unreadable)
