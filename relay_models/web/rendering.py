"""`make_environment`: the templates, and what all of them may use."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from relay_models import __version__
from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.pictures.svg import STYLE
from relay_models.pictures.text import plain
from relay_models.views import column_text, heading_text, is_right, quoted, short_id, value_text

__all__ = ["FILES", "make_environment", "run_cells", "static_file"]

FILES = {"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8"}
"""The files that pages load, and their media types."""


@cache
def static_file(name: str) -> bytes:
    """The content of a file that pages load. The style sheet ends with the rules of the pictures."""
    content = (files("relay_models.web") / "static" / name).read_bytes()
    return content + STYLE.encode() if name.endswith(".css") else content


def make_environment() -> Environment:
    """The templates. Every value is escaped; `svg` marks pictures, which escape their own texts."""
    environment = Environment(
        loader=PackageLoader("relay_models.web"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters.update(
        text=value_text, plain=plain, short_id=short_id, heading=heading_text, right=is_right, svg=Markup
    )
    environment.globals.update(version=__version__)
    return environment


def run_cells(run: Any, columns: tuple[Column[Any], ...]) -> list[dict[str, Any]]:
    """The cells of a run's row: each with its text, and the conditions that its values stand for."""
    cells = []
    for column in columns:
        value = getattr(run, column.name, None)
        text = column_text(column, value)
        if column.name == "duration" and value is None and getattr(run, "status", "") == "running":
            text = "running"
        choices: list[tuple[str, str]] = []
        if column.kind in (Kind.TAG, Kind.TAGS) and not column.is_uuid and value is not None:
            values = value if isinstance(value, list | set | tuple | frozenset) else [value]
            choices = [(value_text(each), f"{column.name} = {quoted(_raw(each))}") for each in values]
        cells.append(
            {
                "column": column,
                "text": short_id(value) if column.is_uuid and value is not None else text,
                "full": text,
                "choices": choices,
                "link": column.name == "run_id",
            }
        )
    return cells


def _raw(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(getattr(value, "value", value))
