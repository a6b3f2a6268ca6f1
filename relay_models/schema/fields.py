"""The fields of a record type as rows, read off the pydantic model: name, type, unit, presence, meaning."""

from __future__ import annotations

import enum
import types
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["FieldRow", "field_rows", "mentioned", "nested", "type_text"]


UNITS = {"_ms": "ms", "_tokens": "tokens", "token_count": "tokens"}
"""What the number in a field counts, by the end of its name."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of a record type.

    Args:
        name: as in the JSON.
        shape: its type as a reader would write it, without the None of an optional field: ``list[CallRecord]``.
        unit: ``ms``, ``tokens`` …, or empty.
        optional: left out of the JSON while it is None.
        nullable: always in the JSON, as null while it is None.
        default: as JSON would show it, or empty.
        meaning: the field's description.
        models: the record types that `shape` mentions.
    """

    name: str
    shape: str
    unit: str
    optional: bool
    nullable: bool
    default: str
    meaning: str
    models: tuple[type[BaseModel], ...]


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; one part for anything else."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def type_text(annotation: Any) -> str:
    """An annotation as one would write it: ``list[CallRecord]``, ``"llm" | "tool"``, ``str``."""
    if annotation is None or annotation is type(None):
        return "null"
    if annotation is Any:
        return "any JSON"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if hasattr(annotation, "__value__"):  # a `type X = ...` alias
        return type_text(annotation.__value__)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_text(part) for part in arguments))
    if origin is Literal:
        return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    if origin is dict and arguments == (str, Any):
        return "object"
    if origin is not None and hasattr(origin, "__name__"):
        name = {Mapping: "dict", Sequence: "list"}.get(origin, origin.__name__)
        inner = ", ".join(type_text(argument) for argument in arguments if argument is not Ellipsis)
        return f"{name}[{inner}]" if inner else name
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " | ".join(_member_text(member) for member in annotation)
    return getattr(annotation, "__name__", str(annotation))


def _member_text(member: enum.Enum) -> str:
    """The value of a member as JSON has it; the name that stands for a number beside it."""
    return f'"{member.value}"' if isinstance(member.value, str) else f"{member.value} ({member.name})"


def mentioned(annotation: Any) -> Iterator[type[BaseModel]]:
    """The record types inside an annotation, in the order in which they stand there."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    if hasattr(annotation, "__value__"):
        yield from mentioned(annotation.__value__)
    for argument in get_args(annotation):
        yield from mentioned(argument)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={}) if field.default_factory else field.default
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple | dict | set) and not value:
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else ""


def _unit(name: str, field: FieldInfo) -> str:
    """What the numbers of a field count: as it says, else as NeMo Relay's names end."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "unit" in extra:
        return str(extra["unit"])
    return next((unit for ending, unit in UNITS.items() if name == ending.lstrip("_") or name.endswith(ending)), "")


def _row(model: type[BaseModel], name: str, field: FieldInfo) -> FieldRow:
    parts = _parts(field.annotation)
    # Records tell null from absent; any other model has only the annotation to go by.
    written_null = name in getattr(model, "_nullable", ())
    optional = not field.is_required() and not written_null and field.default is None
    return FieldRow(
        name=field.serialization_alias or field.alias or name,
        shape=" | ".join(dict.fromkeys(type_text(part) for part in parts if part is not type(None))),
        unit=_unit(name, field),
        optional=optional,
        nullable=written_null,
        default="" if optional or written_null else _default(field),
        meaning=" ".join((field.description or "").split()),
        models=tuple(dict.fromkeys(mentioned(field.annotation))),
    )


def field_rows(model: type[BaseModel]) -> list[FieldRow]:
    """The fields of one record type, in their order."""
    return [_row(model, name, field) for name, field in model.model_fields.items()]


def nested(model: type[BaseModel], stop: Container[type[BaseModel]] = ()) -> list[type[BaseModel]]:
    """The type itself and every record type inside it, each once, outer ones first; types in `stop` aren't entered."""
    found: list[type[BaseModel]] = [model]
    for outer in found:  # grows while it is walked: a breadth-first search
        if outer in stop:
            continue
        for field in outer.model_fields.values():
            for inner in mentioned(field.annotation):
                if inner not in found:
                    found.append(inner)
    return found
