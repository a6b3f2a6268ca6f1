"""`make_environment`: the templates, and what all of them may use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from relay_models import Run, __version__
from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.pictures.svg import DARK, LIGHT, STYLE
from relay_models.pictures.text import plain
from relay_models.views import (
    column_text,
    equal_to,
    heading_text,
    is_right,
    model_name,
    money_text,
    short_id,
    value_text,
)

if TYPE_CHECKING:
    from relay_models.web.question import Question

__all__ = ["FILES", "Cell", "Row", "cell_of", "link_of", "make_environment", "row_view", "static_file"]

FILES = {
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
}
"""The files that pages load, and their media types."""

# A theme that the reader chose, whatever the system's is.
_THEMES = "".join(
    f"[data-theme={name}] .rm-page,[data-theme={name}] .rm{{color-scheme:{name};{colors}}}"
    for name, colors in (("light", LIGHT), ("dark", DARK))
)


@cache
def static_file(name: str) -> bytes:
    """The content of a file that pages load. The style sheet begins with the rules of the pictures."""
    content = (files("relay_models.web") / "static" / name).read_bytes()
    return f"{STYLE}{_THEMES}\n".encode() + content if name.endswith(".css") else content


def make_environment() -> Environment:
    """The templates. Every value is escaped; `svg` marks pictures, which escape their own texts."""
    environment = Environment(
        loader=PackageLoader("relay_models.web"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters.update(
        text=value_text,
        plain=plain,
        short_id=short_id,
        heading=heading_text,
        right=is_right,
        svg=Markup,
        money=money_text,
    )
    environment.globals.update(version=__version__)
    return environment


# Columns of runs whose values are ids of runs.
_RUN_IDS = ("parent_run_id", "root_run_id")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a row: its text, and the conditions that its values stand for."""

    column: Column[Any]
    text: str
    choices: tuple[tuple[str, str], ...] = ()
    """Of each value its text and the condition that documents with it meet."""
    note: str = ""
    """What is said beside the value."""
    link: str = ""
    """The page of the document whose id the value is."""

    @property
    def short(self) -> str:
        """The text for a list: of an id its end."""
        return short_id(self.text) if self.link and len(self.text) > 16 else self.text


@dataclass(frozen=True, slots=True)
class Row:
    """A document as a row of a list."""

    id: str
    short_id: str
    url: str
    cells: tuple[Cell, ...]


def cell_of(item: Any, column: Column[Any]) -> Cell:
    """The cell of a document's column."""
    value = getattr(item, column.name, None)
    text = column_text(column, value)
    if column.name == "duration" and value is None and getattr(item, "status", "") == "running":
        text = "running"
    choices: tuple[tuple[str, str], ...] = ()
    if column.kind in (Kind.TAG, Kind.TAGS) and not column.is_uuid and value is not None:
        values = value if isinstance(value, list | set | tuple | frozenset) else [value]
        choices = tuple((value_text(each), equal_to(column, each)) for each in values)
    note = ""
    if column.name == "status" and (errors := getattr(item, "error_types", None)):
        note = value_text(errors)
    return Cell(column, text, choices, note, link_of(column, value))


def link_of(column: Column[Any], value: Any) -> str:
    """The page of the document whose id a value is; empty for other values."""
    target = Run if column.name in _RUN_IDS else column.links
    if target is None or value is None:
        return ""
    if issubclass(target, Run):
        return f"/runs/{quote(str(value), safe='')}"
    if not target.is_own_model():
        return ""
    return f"/models/{quote(model_name(target), safe='')}/item?{urlencode({'id': str(value)})}"


def row_view(item: Any, question: Question) -> Row:
    """A document as a row of a list, without the column of its id."""
    name = "run_id" if question.is_about_runs else "pk"
    key = str(getattr(item, name))
    if question.is_about_runs:
        url = f"/runs/{key}?{urlencode({'agent': item.agent_id})}"
    else:
        url = f"{question.path}/item?{urlencode({'id': key})}"
    is_long = len(key) > 16
    shown = tuple(cell_of(item, column) for column in question.shown if column.name != name)
    return Row(key, short_id(key) if is_long else value_text(key) or "(empty)", url, shown)
