"""`PasswordSource`: take a password from a prompt, a file or the environment, and warn about visible ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from relay_models.errors import InvalidConfigurationError

if TYPE_CHECKING:
    from relay_models.cli.output import Output

__all__ = [
    "NativePasswordFile",
    "PasswordSource",
    "PromptForNativePassword",
    "has_password",
    "native_options",
    "warn_if_visible",
]

_NATIVE_VARIABLE = "RELAY_MODELS_NATIVE_PASSWORD"

NativePasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--native-password-file", metavar="FILE", show_default=False,
        help=f"The deployment's password: a file's first line. [{_NATIVE_VARIABLE}]",
    ),
]  # fmt: skip
PromptForNativePassword = Annotated[
    bool, typer.Option("--ask-native-password", help="Prompt for the deployment's password.")
]


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """Where a password comes from: first a prompt, then a file, then the environment.

    Args:
        variable: The environment variable.
        file: A file whose first line is the password.
        ask: Prompt for it.
        what: Whose password it is, for the prompt.
    """

    variable: str
    file: Path | None = None
    ask: bool = False
    what: str = "Password"

    @property
    def is_explicit(self) -> bool:
        """Whether the command line asks for a prompt or names a file."""
        return self.ask or self.file is not None

    def read(self) -> str | None:
        """Return the password; None where there is none.

        Raises:
            InvalidConfigurationError: Both a prompt and a file are asked for, or the password is empty.
            OSError: The file cannot be read.
        """
        if self.ask and self.file is not None:
            raise InvalidConfigurationError("the password comes from a prompt or from a file, not from both")
        if self.ask:
            return str(typer.prompt(self.what, hide_input=True, err=True))
        if self.file is not None:
            try:
                with self.file.open(encoding="utf-8-sig") as lines:
                    password = lines.readline().rstrip("\r\n")
            except UnicodeDecodeError:
                raise InvalidConfigurationError(f"the password file {self.file} is not UTF-8 text") from None
            if not password:
                raise InvalidConfigurationError(f"the first line of the password file {self.file} is empty")
            return password
        return os.environ.get(self.variable) or None


def has_password(url: str) -> bool:
    """Whether a URL holds a password."""
    try:
        parts = urlsplit(url)
        return bool(parts.password or parse_qs(parts.query).get("password"))
    except ValueError:
        return "@" in url


def warn_if_visible(out: Output, url: str, option: str, instead: str) -> None:
    """Warn where a URL that was given on the command line holds a password.

    Args:
        out: Where to warn.
        url: The URL.
        option: The option or argument that it was given as.
        instead: What to use in place of it.
    """
    if has_password(url):
        out.warn(f"the password in {option} is visible to all users of this machine in the process list; use {instead}")


def native_options(out: Output, url: str, option: str, file: Path | None, ask: bool) -> dict[str, Any]:
    """Return redis-py's options for a deployment's server: its password, where the URL does not hold it.

    Args:
        out: Where to warn of a visible password.
        url: The deployment's URL, as given on the command line.
        option: The argument that it was given as.
        file: A file whose first line is the password.
        ask: Prompt for it.
    """
    instead = f"--ask-native-password, --native-password-file or {_NATIVE_VARIABLE}"
    warn_if_visible(out, url, option, instead)
    source = PasswordSource(_NATIVE_VARIABLE, file, ask, "Password of the deployment")
    if has_password(url) and not source.is_explicit:
        return {}
    password = source.read()
    return {} if password is None else {"password": password}
