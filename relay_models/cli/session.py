"""What every command shares: which store, JSON or tables, and how errors and broken pipes end.

Exit codes: 0 done · 1 done in part (bad lines, unreadable documents) · 2 a command line, filter or option that means
nothing · 3 the store could not do it · 4 not found · 5 data that cannot be read · 130 interrupted.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from relay_models.errors import (
    InvalidConfigurationError,
    MissingExtraError,
    NotFoundError,
    QueryError,
    RelayModelsError,
    SerializationError,
    StorageError,
)

if TYPE_CHECKING:
    from relay_models.cli.output import Output
    from relay_models.errors import CorruptDocumentError
    from relay_models.sync import RedisBackend

__all__ = ["DATA", "INCOMPLETE", "NOT_FOUND", "STORE", "USAGE", "Session", "command", "exit_code", "guarded"]

INCOMPLETE, USAGE, STORE, NOT_FOUND, DATA, INTERRUPTED = 1, 2, 3, 4, 5, 130

DEFAULT_PREFIX = "nemo_relay:"

_PANEL = "Which store, and how to answer"
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
        rich_help_panel=_PANEL, show_default=False, dir_okay=False,
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.", rich_help_panel=_PANEL)]

_STORE: dict[str, tuple[Any, Any]] = {"url": (Url, None), "prefix": (Prefix, None), "path": (StorePath, None)}
_JSON: dict[str, tuple[Any, Any]] = {"as_json": (AsJson, False)}


class Session:
    """One run of a command: its store, opened when first asked for, and its output."""

    def __init__(self, url: str | None, prefix: str | None, path: Path | None, as_json: bool) -> None:
        self.as_json = as_json
        self._given = (url, prefix, path)
        self._backend: RedisBackend | None = None
        self.is_in_memory = False
        self.unreadable = 0
        """Documents that were left out because they cannot be read."""

    @functools.cached_property
    def out(self) -> Output:
        """Where answers go."""
        from relay_models.cli.output import Output

        return Output(self.as_json)

    @property
    def prefix(self) -> str:
        """The key prefix asked for."""
        given = self._given[1]
        return os.environ.get("RELAY_MODELS_PREFIX", DEFAULT_PREFIX) if given is None else given

    def where(self) -> tuple[str | None, Path | None]:
        """The URL or the path of the store; what the command line says goes before the environment.

        Raises:
            InvalidConfigurationError: neither is given, or both.
        """
        url, _, path = self._given
        url = url or None
        if url is None and path is None:
            url = os.environ.get("RELAY_MODELS_URL") or None
            path = Path(named) if (named := os.environ.get("RELAY_MODELS_PATH")) else None
        if url is not None and path is not None:
            raise InvalidConfigurationError(
                "say either --url or --path, not both (they may also come from RELAY_MODELS_URL and RELAY_MODELS_PATH)"
            )
        if url is None and path is None:
            raise InvalidConfigurationError(
                "say which store: --path FILE (no server needed) or --url redis://HOST:PORT"
            )
        return url, path

    def open(self, *, must_exist: bool = True, **options: Any) -> RedisBackend:
        """The store. A file that is not there is refused where the command only reads."""
        if self._backend is None:
            from relay_models.sync import RedisBackend

            url, path = self.where()
            if path is not None:
                if must_exist and not path.exists():
                    raise NotFoundError(
                        f"there is no store at {path}; `relay-models import CAPTURE --path {path}` makes one"
                    )
                self._backend = RedisBackend.embedded(path, self.prefix, **options)
            else:
                assert url is not None
                self._backend = RedisBackend.connect(url, self.prefix, **options)
        return self._backend

    @property
    def backend(self) -> RedisBackend:
        """The store, once it is open."""
        assert self._backend is not None
        return self._backend

    def memory(self) -> RedisBackend:
        """A store in memory, gone at the end."""
        from relay_models.sync import RedisBackend

        self._backend = RedisBackend.embedded(None, self.prefix)
        self.is_in_memory = True
        return self._backend

    def complain_of(self, corrupt: list[CorruptDocumentError]) -> None:
        """Name documents that cannot be read, once, which makes the command end with "done in part"."""
        for error in corrupt:
            self.unreadable += 1
            self.out.complain(str(error))
        corrupt.clear()

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._backend is not None:
            self._backend.close()


def command(
    app: typer.Typer, name: str, *, store: bool = True, json: bool = True, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command whose first parameter is its `Session`; the session's options are added to its own."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function, eval_str=True)
        shared = {**(_STORE if store else {}), **(_JSON if json else {})}

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
        app.command(name, **options)(run)
        return function

    return register


class guarded:
    """Turn what a user can cause into one line on standard error and an exit code; close the session at the end."""

    def __init__(self, session: Session | None = None) -> None:
        self.session = session

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if self.session is not None:
                self.session.close()
        except (RelayModelsError, OSError) as closing:
            error = error or closing
        if isinstance(error, BrokenPipeError) and not isinstance(error, StorageError):
            _quiet_stdout()
            raise typer.Exit(0) from error
        if isinstance(error, RelayModelsError):
            fail(str(error), exit_code(error))
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(INTERRUPTED) from error
        if isinstance(error, OSError) and error.filename is not None:
            fail(f"{error.strerror}: {error.filename}", USAGE)


def exit_code(error: RelayModelsError) -> int:
    """The exit code for an error of this library."""
    match error:
        case StorageError():
            return STORE
        case NotFoundError():
            return NOT_FOUND
        case QueryError() | InvalidConfigurationError() | MissingExtraError():
            return USAGE
        case SerializationError():
            return DATA
        case _:
            return STORE


def fail(message: str, code: int) -> NoReturn:
    """Say what went wrong and leave."""
    from relay_models.cli.output import error_line

    error_line(message)
    raise typer.Exit(code)


def _quiet_stdout() -> None:
    """Nobody reads any more (``| head``): let the interpreter's last flush go nowhere instead of complaining."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(devnull)
