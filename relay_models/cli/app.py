"""The command line's root: its commands, its help, and how it ends."""

from __future__ import annotations

import importlib.util
import sys
from typing import Annotated

import typer

from relay_models import __version__
from relay_models.cli import agents, demo, importing, runs, schema, server
from relay_models.cli.session import guarded

__all__ = ["app", "main"]

EPILOG = (
    "Which store: --path FILE is an embedded one that needs no server, --url URL a Redis with JSON and search; the "
    "environment may say it as RELAY_MODELS_PATH, RELAY_MODELS_URL and RELAY_MODELS_PREFIX. "
    "With --json a list is one JSON array, and what goes on and on (runs watch, follow) is one JSON object a line. "
    "Exit codes: 0 done, 1 done in part, 2 wrong usage or filter, 3 the store failed, 4 not found, 5 unreadable data."
)

app = typer.Typer(
    name="relay-models",
    help="Keep and query what AI agents did: NeMo Relay's runs, plans, tries and prompt statistics.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and leave.")
    ] = False,
) -> None: ...


for part in (importing, agents, runs, demo, schema, server):
    part.register(app)
if importlib.util.find_spec("relay_models.cli.interop") is not None:
    from relay_models.cli import interop

    interop.register(app)


def main() -> None:
    """The entry point of `relay-models`."""
    try:
        with guarded():
            app()
            sys.stdout.flush()
    except typer.Exit as leaving:
        raise SystemExit(leaving.exit_code) from None
