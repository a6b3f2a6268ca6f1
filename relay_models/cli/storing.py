"""Options of the commands that store runs: what is redacted, what is cut, and by which prices costs are estimated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models._checks import shown
from relay_models._project import project_setting
from relay_models.errors import InvalidConfigurationError

if TYPE_CHECKING:
    from relay_models.records.prices import PriceTable
    from relay_models.records.redact import Redaction

__all__ = ["MaxCallBytes", "MaxTextLength", "Prices", "Redact", "load_prices", "make_redactor"]

_PANEL = "What is stored"
Redact = Annotated[
    list[str] | None,
    typer.Option(
        "--redact", metavar="JSONPATH", show_default=False, rich_help_panel=_PANEL,
        help="Remove what is at this path of a run before it is stored, such as '$..api_key'; can be repeated.",
    ),
]  # fmt: skip
MaxTextLength = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default=False, rich_help_panel=_PANEL,
        help="Cut each text in a call after N characters; what was cut is noted.",
    ),
]  # fmt: skip
MaxCallBytes = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default=False, rich_help_panel=_PANEL,
        help="Leave output, input, request and response out of calls beyond N bytes; that is noted.",
    ),
]  # fmt: skip
Prices = Annotated[
    Path | None,
    typer.Option(
        "--prices", metavar="FILE", show_default=False, rich_help_panel=_PANEL,
        help="Estimate costs that are not told by this price table (TOML or JSON). "
        "[RELAY_MODELS_PRICES; prices of tool.relay-models in pyproject.toml]",
    ),
]  # fmt: skip


def load_prices(given: Path | None) -> PriceTable | None:
    """Read the price table of ``--prices``, else of the environment, else of the project's pyproject.toml.

    Returns:
        The table; None where none of them names one.

    Raises:
        InvalidConfigurationError: the file is no price table.
    """
    named = given or os.environ.get("RELAY_MODELS_PRICES") or _configured_prices()
    if not named:
        return None
    from relay_models.records.prices import PriceTable  # lazy: start-up time

    return PriceTable.load(named)


def _configured_prices() -> Path | None:
    """``prices`` of ``[tool.relay-models]`` in the nearest pyproject.toml, relative to that file."""
    project, named = project_setting("prices")
    if project is None or named is None:
        return None
    if not isinstance(named, str) or not named:
        raise InvalidConfigurationError(f"{project}: [tool.relay-models] prices is a file's name, not {shown(named)}")
    return project.parent / named


def make_redactor(
    redact: list[str] | None, max_text_length: int | None, max_call_bytes: int | None
) -> Redaction | None:
    """Return what the options say; None where there is nothing to remove or cut.

    Raises:
        InvalidConfigurationError: a path does not parse, or a limit is too low.
    """
    from relay_models.records.redact import as_redactor  # lazy: start-up time

    options: dict[str, Any] = {"max_text_length": max_text_length, "max_call_bytes": max_call_bytes}
    return as_redactor(redact, **options)
