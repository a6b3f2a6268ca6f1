"""``--mode``: the permissions of a file that a command writes."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from relay_models._checks import shown
from relay_models.errors import InvalidConfigurationError

__all__ = ["FileMode", "permissions"]

FileMode = Annotated[
    str, typer.Option("--mode", metavar="OCTAL", help="Permissions of a new file: what it holds may be private.")
]


def permissions(mode: str) -> int:
    """Read file permissions as chmod does: octal digits."""
    if re.fullmatch(r"0?[0-7]{3}", mode) is None:
        raise InvalidConfigurationError(f"--mode takes three octal digits, such as 640, not {shown(mode)}")
    return int(mode, 8)
