"""`guarded`: turn errors into one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import typer

from relay_models.errors import (
    IndexOutdatedError,
    InvalidConfigurationError,
    MissingExtraError,
    NotFoundError,
    QueryError,
    RelayModelsError,
    SerializationError,
    StorageError,
    UnknownColumnError,
)

if TYPE_CHECKING:
    from relay_models.cli.session import Session

__all__ = ["DATA", "INCOMPLETE", "INTERRUPTED", "NOT_FOUND", "STORE", "SYSTEM", "USAGE", "exit_code", "guarded"]

INCOMPLETE = 1
"""Done in part: lines or documents were left out because they cannot be read."""
USAGE = 2
"""A wrong command line, filter or option."""
STORE = 3
"""The store failed."""
NOT_FOUND = 4
"""There is no such run, file or store."""
DATA = 5
"""Data that cannot be read."""
SYSTEM = 6
"""The operating system refused: no permission, no space, a port in use, a directory instead of a file."""
INTERRUPTED = 130
"""Interrupted by Ctrl-C."""


class guarded:
    """Context manager that ends the command with one line and an exit code where an error occurs.

    Args:
        session: A session to close at the end.
    """

    def __init__(self, session: Session | None = None) -> None:
        self.session = session

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.session is not None:
                self.session.close()
        except (RelayModelsError, OSError) as closing:
            error = error or closing
        if isinstance(error, BrokenPipeError) and not isinstance(error, StorageError):
            _discard_stdout()
            raise typer.Exit(0) from error
        if isinstance(error, RelayModelsError):
            is_about_columns = isinstance(error, IndexOutdatedError | UnknownColumnError)
            hint = self.session.models_hint if is_about_columns and self.session is not None else ""
            fail(f"{error}\n{hint}" if hint else str(error), exit_code(error))
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(INTERRUPTED) from error
        if isinstance(error, OSError):
            fail(_system_message(error), SYSTEM)


def exit_code(error: RelayModelsError) -> int:
    """Return the exit code for an error of this library."""
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
    """Print an error and end the command."""
    from relay_models.cli.output import error_line  # lazy: start-up time

    error_line(message)
    raise typer.Exit(code)


def _system_message(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    name = error.filename
    if name is None and _is_stdout_broken():
        name = "standard output"
        _discard_stdout()
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return reason if name is None else f"{name}: {reason}"


def _is_stdout_broken() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _discard_stdout() -> None:
    """Redirect standard output to nowhere, so that the interpreter's last flush cannot fail."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(devnull)
