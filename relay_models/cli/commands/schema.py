"""`relay-models schema`: describe what is stored, as JSON Schema or Markdown."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from relay_models.cli.command import command
from relay_models.cli.session import Session

__all__ = ["register"]


class SchemaFormat(StrEnum):
    """How a schema is written."""

    json_schema = "json-schema"
    markdown = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "schema", store=False, models=True)
    def schema(
        session: Session,
        type_: Annotated[
            str | None,
            typer.Argument(metavar="[TYPE]", show_default=False, help="run, plan, trie, …; without it an overview."),
        ] = None,
        format: Annotated[
            SchemaFormat | None,
            typer.Option("--format", "-f", show_default=False, help="json-schema, or markdown (the default)."),
        ] = None,
    ) -> None:
        """Describe what is stored: fields, columns, keys. Needs no store."""
        from relay_models.documents.kinds import find_kind, kinds_with  # lazy: start-up time
        from relay_models.errors import NotFoundError  # lazy: start-up time
        from relay_models.schema.json_schema import json_schema  # lazy: start-up time
        from relay_models.schema.markdown import kind_page, overview_page  # lazy: start-up time

        kinds = kinds_with(session.models)
        try:
            chosen = None if type_ is None else find_kind(type_, kinds)
        except NotFoundError as error:
            hint = session.models_hint
            raise NotFoundError(f"{error}; {hint}" if hint else str(error)) from None
        as_json = session.as_json if format is None else format is SchemaFormat.json_schema
        if as_json:
            every = {name: json_schema(kind) for name, kind in kinds.items()}
            session.out.object(every if chosen is None else json_schema(chosen))
        else:
            page = overview_page(kinds=kinds) if chosen is None else kind_page(chosen)
            sys.stdout.write(page.rstrip() + "\n")
