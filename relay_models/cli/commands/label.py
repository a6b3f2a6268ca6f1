"""`relay-models runs label`: put tags, scores and notes on runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay_models._checks import shown
from relay_models.cli.command import command
from relay_models.cli.label_text import show_labels
from relay_models.cli.run_selection import find_one, make_filter
from relay_models.cli.session import Session
from relay_models.errors import InvalidConfigurationError, InvalidRecordError

__all__ = ["register_label"]


def register_label(group: typer.Typer) -> None:
    """Add the command to the group of commands about runs."""

    @command(group, "label")
    def label(
        session: Session,
        run_id: Annotated[
            str | None,
            typer.Argument(metavar="[ID]", show_default=False, help="The run's id, or its beginning; or: latest"),
        ] = None,
        where: Annotated[
            str | None,
            typer.Option(
                "--where", "-w", metavar="FILTER", show_default=False, help="Label all runs that match; no ID then."
            ),
        ] = None,
        agent: Annotated[
            str | None,
            typer.Option("--agent", "-a", metavar="ID", show_default=False, help="Only runs of this agent."),
        ] = None,
        tag: Annotated[
            list[str] | None, typer.Option(metavar="TAG", show_default=False, help="Add a tag; may be repeated.")
        ] = None,
        remove_tag: Annotated[
            list[str] | None,
            typer.Option(metavar="TAG", show_default=False, help="Take a tag away; may be repeated."),
        ] = None,
        score: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME=NUMBER", show_default=False, help="Set a score; may be repeated."),
        ] = None,
        remove_score: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME", show_default=False, help="Take a score away; may be repeated."),
        ] = None,
        note: Annotated[str | None, typer.Option(metavar="TEXT", show_default=False, help="Add a note.")] = None,
        source: Annotated[
            str, typer.Option(metavar="WORD", help="What says so: human, evaluator, or a word of your own.")
        ] = "human",
        by: Annotated[
            str | None, typer.Option(metavar="NAME", show_default=False, help="Name of the person or the evaluator.")
        ] = None,
    ) -> None:
        """Put tags, scores and notes on runs; they stay when a run is stored again."""
        if (run_id is None) == (where is None):
            raise InvalidConfigurationError("name the run by its ID, or all runs by --where FILTER; all runs: -w all")
        labels: dict[str, Any] = {
            "tags": tag or (), "remove_tags": remove_tag or (), "scores": dict(map(_score, score or ())),
            "remove_scores": remove_score or (), "note": note, "source": source, "by": by,
        }  # fmt: skip
        try:
            _label(session, run_id, where, agent, labels)
        except InvalidRecordError as error:
            raise InvalidConfigurationError(str(error)) from None


def _label(session: Session, run_id: str | None, where: str | None, agent: str | None, labels: dict[str, Any]) -> None:
    if run_id is None:
        session.open()
        count = session.backend.runs.label_where(make_filter(session, where, agent), **labels)
        if session.as_json:
            session.out.line({"labelled": count})
        else:
            from relay_models.cli.output import counted  # lazy: start-up time

            session.out.print(f"labelled {counted(count, 'run')}")
        return
    record = find_one(session, run_id, agent)
    found = session.backend.runs.label(record, **labels)
    if session.as_json:
        session.out.line({"run_id": str(record.id), **found.column_values()})
    else:
        session.out.print(str(record.id), style="bright_black")
        show_labels(session.out, found)


def _score(text: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        if equals:
            return name, float(number)
    except ValueError:
        pass
    raise InvalidConfigurationError(f"--score takes NAME=NUMBER, such as helpfulness=0.8, not {shown(text)}")
