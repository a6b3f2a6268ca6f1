"""Mermaid diagrams: how the types of a record nest, and which documents belong to an agent."""

from __future__ import annotations

from collections.abc import Container, Iterable

from pydantic import BaseModel

from relay_models.schema.fields import field_rows, nested

__all__ = ["entity_diagram", "nesting_diagram"]

MOST_FIELDS = 9
"""How many plain fields a box names before it says how many more there are."""


def nesting_diagram(roots: Iterable[type[BaseModel]], *, stop: Container[type[BaseModel]] = ()) -> str:
    """A class diagram of record types: a box per type with its plain fields, an arrow per field that holds a type.

    Types in `stop` are shown without their insides.
    """
    boxes: list[str] = []
    arrows: list[str] = []
    seen: list[type[BaseModel]] = []
    for root in roots:
        seen += [model for model in nested(root, stop) if model not in seen]
    for model in seen:
        if model in stop:
            boxes.append(f"    class {model.__name__}")
            continue
        plain: list[str] = []
        for row in field_rows(model):
            mark = "?" if row.optional else ""
            if not row.models:
                plain.append(row.name + mark)
            many = row.shape.startswith(("list[", "dict["))
            count = '"*"' if many else '"0..1"' if row.optional or row.nullable else '"1"'
            arrows += [f"    {model.__name__} *-- {count} {inner.__name__} : {row.name}" for inner in row.models]
        if len(plain) > MOST_FIELDS + 1:
            plain = [*plain[:MOST_FIELDS], f"… {len(plain) - MOST_FIELDS} more"]
        body = "".join(f"\n        {name}" for name in plain)
        boxes.append(f"    class {model.__name__} {{{body}\n    }}" if body else f"    class {model.__name__}")
    return "\n".join(["classDiagram", "    direction LR", *boxes, *arrows])


def entity_diagram(kinds: Iterable[tuple[str, str, bool]]) -> str:
    """An entity diagram of the store: an agent and its documents.

    Args:
        kinds: for each document its name, its key, and whether an agent has many of them.
    """
    close = '%%{init: {"er": {"nodeSpacing": 24, "rankSpacing": 90}}}%%'
    lines = [close, "erDiagram", "    direction LR", "    AGENT {", "        text agent_id", "    }"]
    for name, key, many in kinds:
        end = "o{" if many else "o|"
        lines += [f'    AGENT ||--{end} {name.upper()} : "{"has many" if many else "has one"}"']
        lines += [f"    {name.upper()} {{", f'        json key "{key}"', "    }"]
    return "\n".join(lines)
