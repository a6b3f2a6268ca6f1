"""`ExactFields`: proves by the types of values that JSON text reads back as them, so that it need not be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic_core import TzInfo

__all__ = ["ExactFields"]

# Of a schema what says nothing about which values are valid.
_HARMLESS = frozenset({"type", "ref", "metadata"})
_SCALARS: dict[str, type[Any]] = {"str": str, "int": int, "bool": bool, "uuid": UUID, "date": date, "float": float}
# Settings of a model under which its plain types mean what they mean without.
_SETTINGS = frozenset({
    "title", "ser_json_bytes", "val_json_bytes", "ser_json_inf_nan", "from_attributes", "extra_fields_behavior",
    "frozen", "validate_default", "validate_by_name", "validate_by_alias", "serialize_by_alias",
})  # fmt: skip


class ExactFields:
    """The fields of a model whose values are all of types that JSON text keeps exactly.

    Args:
        types: of each field, by its position, the types of values that are kept.
        checks: position and function of the fields whose values have to meet more than that.
    """

    def __init__(self, types: Sequence[frozenset[type[Any]]], checks: Sequence[tuple[int, Callable[[Any], bool]]]):
        self._types = types
        self._checks = checks

    @classmethod
    def of(cls, schema: Any, names: Iterable[str], harmless: frozenset[Any]) -> ExactFields | None:
        """The fields of a model, or None where its types do not tell.

        Args:
            schema: pydantic's schema of the class.
            names: the fields that are stored.
            harmless: validating functions that give the values of valid fields back.
        """
        if schema is None or not _SETTINGS.issuperset(schema.get("config", {})) or "serialization" in schema:
            return None
        types, checks = [], []
        for position, name in enumerate(names):
            found = _field(schema["schema"]["fields"][name], harmless)
            if found is None:
                return None
            types.append(frozenset(found[0]))
            if found[1] is not None:
                checks.append((position, found[1]))
        return cls(types, checks)

    def keep(self, values: Sequence[Any]) -> bool:
        """Whether the values of the fields are read back as they are; where not, they may be, too."""
        if not all(map(frozenset.__contains__, self._types, map(type, values))):
            return False
        return all(values[position] is None or check(values[position]) for position, check in self._checks)


_Found = tuple[set[type[Any]], Callable[[Any], bool] | None]


def _field(field: Mapping[str, Any], harmless: frozenset[Any]) -> _Found | None:
    if field.keys() - _HARMLESS - {"schema", "validation_alias", "serialization_alias", "frozen"}:
        return None
    return _exact(field["schema"], harmless)


def _exact(schema: Mapping[str, Any], harmless: frozenset[Any]) -> _Found | None:
    """The types of the values that are kept, and what else they have to meet; None for schemas of other kinds."""
    kind, details = schema["type"], schema.keys() - _HARMLESS
    if kind == "default" and "serialization" not in schema:
        return _exact(schema["schema"], harmless)
    if kind == "nullable" and details == {"schema"}:
        found = _exact(schema["schema"], harmless)
        return None if found is None else ({*found[0], type(None)}, found[1])
    if kind == "function-before" and details == {"function", "schema"} and schema["function"]["function"] in harmless:
        return _exact(schema["schema"], harmless)
    if kind in _SCALARS and not details:
        return {_SCALARS[kind]}, None
    if kind == "datetime" and details <= {"microseconds_precision"}:
        return {datetime}, _is_utc
    if kind == "enum" and details <= {"cls", "members", "sub_type"} and _is_plain(schema["cls"]):
        return {schema["cls"]}, None
    if kind == "list" and details == {"items_schema"}:
        item = _exact(schema["items_schema"], harmless)
        if item is not None and item[1] is None:
            return {list}, lambda values: item[0].issuperset(map(type, values))
    return None


def _is_utc(value: datetime) -> bool:
    zone = value.tzinfo
    return zone is UTC or zone is None or (type(zone) is TzInfo and not zone.utcoffset(None))


def _is_plain(enum: type[Enum]) -> bool:
    """Whether the values of an enum's members are all texts or all integers, and no function changes them."""
    types = {type(member.value) for member in enum}
    return len(types) == 1 and types <= {str, int} and "_missing_" not in vars(enum)
