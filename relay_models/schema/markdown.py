"""Pages of the schema reference as Markdown: a kind of state, shared types, the overview of all keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from relay_models.documents.kinds import KINDS, DocumentKind, first_paragraph
from relay_models.schema.columns import document_rows, document_text, index_command_text
from relay_models.schema.diagrams import entity_diagram, nesting_diagram
from relay_models.schema.fields import FieldRow, field_rows, nested

__all__ = ["kind_page", "models_page", "overview_page", "types_page"]

_COLUMNS = (
    "What queries filter, sort and group by. All are computed from the record when it is stored. In the index, "
    "times and durations are whole microseconds; in Python they are `datetime` and `timedelta`. A `TAG` is an exact "
    "text, case-sensitive."
)
_RECORD = (
    "kept as JSON text in the field `record`, exactly as it came. "
    "Fields that are not listed are kept too, at every level."
)


def kind_page(
    kind: DocumentKind,
    *,
    example: str = "",
    elsewhere: Mapping[type[BaseModel], str] | None = None,
    schema_link: str = "",
    site: bool = False,
    diagrams: bool = True,
) -> str:
    """The page of one kind: its key, its columns, its record's types, the index that is made.

    Args:
        kind: which.
        example: a record as JSON text, shown as it is.
        elsewhere: types that another page describes, and that page's address.
        schema_link: the address of its JSON Schema.
        site: whether the page is for a site, which follows links.
        diagrams: whether that site draws Mermaid diagrams.
    """
    others = elsewhere or {}
    models = [model for model in nested(kind.record, others) if model not in others]
    links = {model: f"#{model.__name__.lower()}" for model in models} | dict(others) if site else {}
    parts = [f"# {kind.title}", document_text(kind), _facts(kind, schema_link)]
    parts += ["## Columns", _COLUMNS, _columns(kind, site=site)]
    parts += ["## Record", f"`{kind.shape_text}`, {_RECORD}"]
    if site and diagrams and len(models) > 1:
        parts.append(_diagram(nesting_diagram([kind.record], stop=others)))
    for model in models:
        parts += [f"### {model.__name__}", *_type(model, links)]
    parts += [
        "## Index",
        "Sent when a store is opened that has no index yet:",
        f"```text\n{index_command_text(kind)}\n```",
    ]
    if example:
        said = "As NeMo Relay wrote it; long lists and texts are cut here."
        parts += ["## Example", said, f"```json\n{example}\n```"]
    return _page(parts)


def types_page(title: str, intro: str, models: Sequence[type[BaseModel]], *, site: bool = False) -> str:
    """A page of record types that are parts of others."""
    links = {model: f"#{model.__name__.lower()}" for model in models} if site else {}
    parts = [f"# {title}", intro]
    for model in models:
        parts += [f"## {model.__name__}", *_type(model, links)]
    return _page(parts)


def overview_page(*, site: bool = False, kinds: Mapping[str, DocumentKind] = KINDS) -> str:
    """Every kind with its record and its key, and the keys under which NeMo Relay keeps the same."""
    names = {kind: f"[{kind.title}]({name}.md)" if site else kind.title for name, kind in kinds.items()}
    ours = [[name, f"`{kind.shape_text}`", f"`{kind.key}`"] for kind, name in names.items()]
    theirs = [[name, f"`{kind.native_key}`"] for kind, name in names.items() if not kind.document.is_own_model()]
    parts = [
        "# Schema",
        f"{_count(len(kinds))} kinds of documents, each a JSON document under a key of its own. "
        "Nothing else is written: no lists of ids, no counters.",
        _table(["Document", "Record", "Key"], ours),
        "`prefix` is the store's key prefix, `nemo_relay:` by default. `agent_id` is any text. `run_id` is a UUID "
        "in its canonical form, so it is always the last 36 characters of a run's key. An agent has any number of runs "
        "and at most one of everything else.",
    ]
    if site:
        diagram = entity_diagram((kind.name, kind.key, kind.many) for kind in kinds.values())
        parts.append(_diagram(diagram))
    parts += [
        "## Beside NeMo Relay's own keys",
        "NeMo Relay keeps the same state as JSON strings. The two layouts never collide: they may share a Redis and a "
        "prefix.",
        _table(["Document", "NeMo Relay's key"], theirs),
    ]
    return _page(parts)


def models_page(title: str, kinds: Mapping[str, DocumentKind]) -> str:
    """The page of a site that lists a user's models, with links to the page of each.

    Args:
        title: its heading.
        kinds: the models by the names of their pages.
    """
    rows = [[f"[{kind.title}]({name}.md)", document_text(kind), f"`{kind.key}`"] for name, kind in kinds.items()]
    return _page([f"# {title}", _table(["Document", "Meaning", "Key"], rows)])


def _count(number: int) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
    return words[number] if number < len(words) else str(number)


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _diagram(text: str) -> str:
    # The frame scrolls where the page is narrower than the picture.
    return f'<div class="diagram" markdown>\n\n```mermaid\n{text}\n```\n\n</div>'


def _facts(kind: DocumentKind, schema_link: str) -> str:
    rows = [["Record", f"`{kind.shape_text}`"]]
    if not kind.document.is_own_model():
        rows += [
            ["Per agent", "any number" if kind.many else "one; storing another replaces it"],
            ["NeMo Relay's own key", f"`{kind.native_key}`"],
        ]
    if schema_link:
        rows.append(["JSON Schema", f"[{schema_link.rpartition('/')[2]}]({schema_link})"])
    return _table(["Key", f"`{kind.key}`"], rows)


def _columns(kind: DocumentKind, *, site: bool) -> str:
    rows = []
    for row in document_rows(kind):
        notes = [
            row.meaning,
            "Several values." if row.many else "",
            "Only with `index_text=True`." if row.on_request else "",
        ]
        meaning = " ".join(note for note in notes if note)
        if site:  # a long path breaks at its dots
            meaning = re.sub(r"(?<=\w|\])\.(?=\w)", ".<wbr>", meaning)
        index = f"`{row.type}`" if row.type else "no"
        rows.append([f"`{row.name}`", index, "yes" if row.sortable else "", row.unit, meaning])
    return _table(["Column", "Index", "Sortable", "Unit", "Meaning"], rows)


def _type(model: type[BaseModel], links: Mapping[type[BaseModel], str]) -> list[str]:
    about = first_paragraph(model)
    rows = field_rows(model)
    with_unit = any(row.unit for row in rows)
    cells = []
    for row in rows:
        unit = [row.unit] if with_unit else []
        cells.append([f"`{row.name}`", _linked(row, links), *unit, _presence(row), row.meaning])
    heads = ["Field", "Type", *(["Unit"] if with_unit else []), "Present", "Meaning"]
    return [about, _table(heads, cells) if cells else ""]


def _linked(row: FieldRow, links: Mapping[type[BaseModel], str]) -> str:
    """The type of a field as code, the record types in it as links. A table has no room for pipes: it says "or"."""
    known = {model.__name__: links[model] for model in row.models if model in links}
    names = re.compile(r"\b(" + "|".join(map(re.escape, known)) + r")\b") if known else None
    choices = []
    for choice in re.split(r" \| (?![^\[]*\])", row.shape):
        pieces = names.split(choice) if names else [choice]
        codes = (f"[`{piece}`]({known[piece]})" if piece in known else f"`{piece}`" for piece in pieces if piece)
        choices.append("".join(codes))
    return " or ".join(choices)


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
