"""Pages of the schema reference as Markdown: a kind of state, shared types, the overview of all keys."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from .columns import document_rows, document_text, index_command_text
from .diagrams import entity_diagram, nesting_diagram
from .fields import FieldRow, field_rows, nested
from .kinds import KINDS, Kind

__all__ = ["kind_page", "overview_page", "types_page"]

_COLUMNS = (
    "What queries filter, sort and group by. All are computed from the record when it is stored. In the index, "
    "times and durations are whole microseconds; in Python they are `datetime` and `timedelta`."
)
_RECORD = (
    "kept as JSON text in the field `record`, exactly as it came. "
    "Fields that are not listed are kept too, at every level."
)


def kind_page(
    kind: Kind,
    *,
    example: str = "",
    elsewhere: Mapping[type[BaseModel], str] | None = None,
    schema_link: str = "",
    site: bool = False,
) -> str:
    """The page of one kind: its key, its columns, its record's types, the index that is made.

    Args:
        kind: which.
        example: a record as JSON text, shown as it is.
        elsewhere: types that another page describes, and that page's address.
        schema_link: the address of its JSON Schema.
        site: whether the page is for the site, which draws diagrams and follows links.
    """
    others = elsewhere or {}
    models = [model for model in nested(kind.record, others) if model not in others]
    links = {model: f"#{model.__name__.lower()}" for model in models} | dict(others) if site else {}
    parts = [f"# {kind.title}", document_text(kind), _facts(kind, schema_link)]
    parts += ["## Columns", _COLUMNS, _columns(kind)]
    parts += ["## Record", f"`{kind.shape_text}`, {_RECORD}"]
    if site and len(models) > 1:
        parts.append(f"```mermaid\n{nesting_diagram([kind.record], stop=others)}\n```")
    for model in models:
        parts += [f"### {model.__name__}", *_type(model, links)]
    parts += [
        "## Index",
        "Sent when a store is opened that has no index yet:",
        f"```text\n{index_command_text(kind)}\n```",
    ]
    if example:
        parts += ["## Example", "From a deployment of NeMo Relay 0.10.4.", f"```json\n{example}\n```"]
    return _page(parts)


def types_page(title: str, intro: str, models: Sequence[type[BaseModel]], *, site: bool = False) -> str:
    """A page of record types that are parts of others."""
    links = {model: f"#{model.__name__.lower()}" for model in models} if site else {}
    parts = [f"# {title}", intro]
    for model in models:
        parts += [f"## {model.__name__}", *_type(model, links)]
    return _page(parts)


def overview_page(*, site: bool = False) -> str:
    """Every kind with its record, its key, and the key under which NeMo Relay keeps the same."""
    rows = [
        [
            f"[{kind.title}]({kind.name}.md)" if site else kind.title,
            f"`{kind.shape_text}`",
            "many" if kind.many else "one",
            f"`{kind.key}`",
            f"`{kind.native_key}`",
        ]
        for kind in KINDS.values()
    ]
    parts = [
        "# Schema",
        "Six kinds of state, each a JSON document under a key of its own. "
        "Nothing else is written: no lists of ids, no counters.",
        _table(["Document", "Record", "Per agent", "Key", "NeMo Relay's own key"], rows),
        "`prefix` is the store's key prefix, `nemo_relay:` by default. `agent_id` is any text. `run_id` is a UUID "
        "in its canonical form, so it is always the last 36 characters of a run's key. The two layouts never collide "
        "and may share a Redis and a prefix.",
    ]
    if site:
        diagram = entity_diagram((kind.name, kind.key, kind.many) for kind in KINDS.values())
        parts.append(f"```mermaid\n{diagram}\n```")
    return _page(parts)


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(kind: Kind, schema_link: str) -> str:
    rows = [
        ["Key", f"`{kind.key}`"],
        ["Per agent", "any number" if kind.many else "one; storing another replaces it"],
        ["Record", f"`{kind.shape_text}`"],
        ["NeMo Relay's own key", f"`{kind.native_key}`"],
    ]
    if schema_link:
        rows.append(["JSON Schema", f"[{schema_link.rpartition('/')[2]}]({schema_link})"])
    return _table(["", ""], rows)


def _columns(kind: Kind) -> str:
    rows = []
    for row in document_rows(kind):
        index = " ".join([row.type, *(word for word in row.options if word != "SORTABLE")])
        notes = [
            row.meaning,
            "Several values." if row.many else "",
            "Only with `index_text=True`." if row.on_request else "",
        ]
        cells = [f"`{row.name}`", f"`{index}`" if row.type else "not indexed", "yes" if row.sortable else "", row.unit]
        rows.append([*cells, " ".join(note for note in notes if note)])
    return _table(["Column", "Index", "Sortable", "Unit", "Meaning"], rows)


def _type(model: type[BaseModel], links: Mapping[type[BaseModel], str]) -> list[str]:
    about = (inspect.getdoc(model) or "").partition("\n\n")[0]
    rows = field_rows(model)
    with_unit = any(row.unit for row in rows)
    cells = []
    for row in rows:
        unit = [row.unit] if with_unit else []
        cells.append([f"`{row.name}`", _linked(row, links), *unit, _presence(row), row.meaning])
    heads = ["Field", "Type", *(["Unit"] if with_unit else []), "Present", "Meaning"]
    return [about, _table(heads, cells) if cells else ""]


def _linked(row: FieldRow, links: Mapping[type[BaseModel], str]) -> str:
    """The type of a field as code, the record types in it as links."""
    known = {model.__name__: links[model] for model in row.models if model in links}
    if not known:
        return f"`{row.shape}`"
    names = re.compile(r"\b(" + "|".join(map(re.escape, known)) + r")\b")
    pieces = names.split(row.shape)
    return "".join(f"[`{piece}`]({known[piece]})" if piece in known else f"`{piece}`" for piece in pieces if piece)


def _presence(row: FieldRow) -> str:
    if row.nullable:
        return "always, may be null"
    if row.optional:
        return "optional"
    return f"default `{row.default}`" if row.default else "always"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
