"""The command line's root: its commands, its help, and how it ends."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from relay_models import __version__
from relay_models.cli.commands import (
    agents,
    compress,
    demo,
    import_,
    migrate,
    models,
    native,
    prices,
    receive,
    runs,
    saved,
    schema,
    server,
    sessions,
    web,
)
from relay_models.cli.exit_codes import guarded

__all__ = ["app", "main"]

EPILOG = (
    "Stores: --path FILE is an embedded store that needs no server, --url URL a Redis with JSON and search. The "
    "environment variables RELAY_MODELS_PATH, RELAY_MODELS_URL, RELAY_MODELS_PREFIX and RELAY_MODELS_PASSWORD do the "
    "same; RELAY_MODELS_PRICES names a price table. "
    "With --json a list is one JSON array, and continuous output (runs watch, follow) is one JSON object per "
    "line. Exit codes: 0 done, 1 done in part, 2 wrong usage or filter, 3 the store failed, 4 not found, 5 unreadable "
    "data, 6 refused by the operating system (permission, disk space, port, directory)."
)

app = typer.Typer(
    name="relay-models",
    help="Keep and query what AI agents did: NeMo Relay's runs, plans, tries and prompt statistics.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"relay-models {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


for part in (
    import_,
    agents,
    runs,
    models,
    saved,
    sessions,
    web,
    prices,
    demo,
    schema,
    migrate,
    compress,
    server,
    native,
    receive,
):
    part.register(app)


def main() -> None:
    """Run the `relay-models` command."""
    _open_closed_streams()
    code: int | str | None = 0
    try:
        with guarded():
            try:
                app()
            except SystemExit as leaving:
                code = leaving.code
            sys.stdout.flush()
    except typer.Exit as leaving:
        code = leaving.exit_code
    raise SystemExit(code)


def _open_closed_streams() -> None:
    """Replace standard streams that the caller closed (``>&-``)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
