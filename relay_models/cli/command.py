"""`command`: register a command with the options that all commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from relay_models.cli.exit_codes import INCOMPLETE, guarded
from relay_models.cli.session import DEFAULT_PREFIX, Session

__all__ = ["command"]

_PANEL = "Store and output"
Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="A Redis server: redis://, rediss:// or unix://. [RELAY_MODELS_URL]",
        rich_help_panel=_PANEL, show_default=False,
    ),
]  # fmt: skip
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix", metavar="TEXT", help=f"The key prefix of the store: {DEFAULT_PREFIX} [RELAY_MODELS_PREFIX]",
        rich_help_panel=_PANEL, show_default=False,
    ),
]  # fmt: skip
StorePath = Annotated[
    Path | None,
    typer.Option(
        "--path", metavar="FILE", help="An embedded store in a file; no server needed. [RELAY_MODELS_PATH]",
        rich_help_panel=_PANEL, show_default=False,
    ),
]  # fmt: skip
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="The server's password: a file's first line. [RELAY_MODELS_PASSWORD]",
        rich_help_panel=_PANEL, show_default=False,
    ),
]  # fmt: skip
Models = Annotated[
    str | None,
    typer.Option(
        "--models", metavar="MODULE,…", show_default=False, rich_help_panel=_PANEL,
        help="Modules with your own Run and Document classes. [RELAY_MODELS_MODELS, or pyproject.toml]",
    ),
]  # fmt: skip
AskPassword = Annotated[
    bool, typer.Option("--ask-password", help="Prompt for the server's password.", rich_help_panel=_PANEL)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.", rich_help_panel=_PANEL)]

_STORE: dict[str, tuple[Any, Any]] = {
    "url": (Url, None),
    "prefix": (Prefix, None),
    "path": (StorePath, None),
    "password_file": (PasswordFile, None),
    "ask_password": (AskPassword, False),
    "models": (Models, None),
}
_MODELS: dict[str, tuple[Any, Any]] = {"models": (Models, None)}
_JSON: dict[str, tuple[Any, Any]] = {"as_json": (AsJson, False)}


def _unwrapped(text: str) -> str:
    """The text of a help with each paragraph as one line, which is wrapped to the terminal's width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def command(
    app: typer.Typer, name: str, *, store: bool = True, models: bool = False, json: bool = True, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command whose first parameter is its `Session`; the session's options are added to its own.

    Args:
        app: Where to register it.
        name: The command's name.
        store: Whether it has the options that name a store.
        models: Whether it has ``--models`` without a store.
        json: Whether it has ``--json``.
        options: Options of typer.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function, eval_str=True)
        shared = {**(_STORE if store else _MODELS if models else {}), **(_JSON if json else {})}

        @functools.wraps(function)
        def run(**values: Any) -> None:
            # A command without a store may have a --path of its own.
            given = {
                key: values.pop(key) if key in shared else default for key, (_, default) in (_STORE | _JSON).items()
            }
            session = Session(**given)
            with guarded(session):
                function(session, **values)
            if session.unreadable:
                raise typer.Exit(INCOMPLETE)

        parameters = [
            *list(own.parameters.values())[1:],
            *(
                inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
                for key, (annotation, default) in shared.items()
            ),
        ]
        ordered = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
        del run.__wrapped__  # else typer reads the inner signature
        run.__doc__ = _unwrapped(function.__doc__ or "")
        app.command(name, **options)(run)
        return function

    return register
