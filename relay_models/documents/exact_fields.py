"""`ExactFields`: proves by the types of values that JSON text reads back as them, so that it need not be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import SchemaValidator, TzInfo

__all__ = ["ExactFields"]

# Of a schema what says nothing about which values are valid.
_HARMLESS = frozenset({"type", "ref", "metadata"})
_SCALARS: dict[str, type[Any]] = {"str": str, "int": int, "bool": bool, "uuid": UUID, "date": date, "float": float}
# Conditions that change no value.
_CONSTRAINTS = frozenset({"gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern"})
# Settings of a model under which its plain types mean what they mean without.
_SETTINGS = frozenset({
    "title", "ser_json_bytes", "val_json_bytes", "ser_json_inf_nan", "from_attributes", "extra_fields_behavior",
    "frozen", "validate_default", "validate_by_name", "validate_by_alias", "serialize_by_alias",
})  # fmt: skip
# What the schema of a nested model has that makes its objects of nothing but their fields.
_MODEL = frozenset({"cls", "schema", "config", "custom_init", "root_model", "generic_origin"})
# Containers in each other that need not be read; pydantic's reader of JSON takes about 200.
_DEEPEST = 20


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
    def of(cls, schema: Any, names: Iterable[str], definitions: Iterable[Any] = ()) -> ExactFields | None:
        """The fields of a model, or None where its types do not tell.

        Args:
            schema: pydantic's schema of the class.
            names: the fields that are stored.
            definitions: schemas that others refer to.
        """
        if schema is None:
            return None
        return _Proof({one["ref"]: one for one in definitions}).fields(schema, names)

    def keep(self, values: Sequence[Any]) -> bool:
        """Whether the values of the fields are read back as they are; where not, they may be, too."""
        if not all(map(frozenset.__contains__, self._types, map(type, values))):
            return False
        return all(values[position] is None or check(values[position]) for position, check in self._checks)


class _Found(NamedTuple):
    """The types of the values that are kept, and what those that are not None have to meet beyond that."""

    types: frozenset[type[Any]]
    check: Callable[[Any], bool] | None = None

    def keep(self, values: Collection[Any]) -> bool:
        """Whether all of some values are kept."""
        if not self.types.issuperset(map(type, values)):
            return False
        check = self.check
        return check is None or all(value is None or check(value) for value in values)


class _Proof:
    """Finds out which values the schemas of one model keep.

    Args:
        definitions: schemas that others refer to, by their names.
    """

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._is_exact_infinity = True

    def fields(self, schema: Mapping[str, Any], names: Iterable[str]) -> ExactFields | None:
        """The fields of a model; None where one of them does not tell."""
        config = schema.get("config", {})
        if not _SETTINGS.issuperset(config) or "serialization" in schema or schema["schema"]["type"] != "model-fields":
            return None
        before, self._is_exact_infinity = self._is_exact_infinity, config.get("ser_json_inf_nan") == "constants"
        try:
            types, checks = [], []
            for position, name in enumerate(names):
                found = self._field(schema["schema"]["fields"][name])
                if found is None:
                    return None
                types.append(found.types)
                if found.check is not None:
                    checks.append((position, found.check))
            return ExactFields(types, checks)
        finally:
            self._is_exact_infinity = before

    def _field(self, field: Mapping[str, Any]) -> _Found | None:
        if field.keys() - _HARMLESS - {"schema", "validation_alias", "serialization_alias", "frozen"}:
            return None
        return self._exact(field["schema"])

    def _exact(self, schema: Mapping[str, Any]) -> _Found | None:
        """What a schema keeps; None for schemas of other kinds."""
        kind, details = schema["type"], schema.keys() - _HARMLESS
        if kind == "default" and "serialization" not in schema:
            return self._exact(schema["schema"])
        if kind == "nullable" and details == {"schema"}:
            found = self._exact(schema["schema"])
            return None if found is None else _Found(found.types | {type(None)}, found.check)
        if kind == "json-or-python" and details == {"json_schema", "python_schema"}:
            return self._exact(schema["json_schema"])
        if kind == "definition-ref" and details == {"schema_ref"}:
            # A class that refers to itself is not followed: its values may be of any depth.
            known = self._definitions.pop(schema["schema_ref"], None)
            if known is None:
                return None
            try:
                return self._exact(known)
            finally:
                self._definitions[schema["schema_ref"]] = known
        if kind == "any" and not details:
            return _Found(_JSON, _is_json)
        if kind in _SCALARS and details <= _CONSTRAINTS:
            return self._scalar(schema, details)
        if kind == "decimal" and not details:
            return _Found(frozenset({Decimal}), Decimal.is_finite)
        if kind == "datetime" and details <= {"microseconds_precision"}:
            return _Found(frozenset({datetime}), _is_utc)
        if kind == "enum" and details <= {"cls", "members", "sub_type"} and _is_plain(schema["cls"]):
            return _Found(frozenset({schema["cls"]}))
        if kind == "literal" and details == {"expected"}:
            types: frozenset[type[Any]] = frozenset(map(type, schema["expected"]))
            return _Found(types, set(schema["expected"]).__contains__) if types in _NAMES else None
        if kind == "list" and details == {"items_schema"}:
            item = self._exact(schema["items_schema"])
            return None if item is None else _Found(frozenset({list}), item.keep)
        if kind == "dict" and details <= {"keys_schema", "values_schema"}:
            return self._dict(schema)
        if kind == "model" and details <= _MODEL:
            return self._model(schema)
        return None

    def _scalar(self, schema: Mapping[str, Any], constraints: Collection[str]) -> _Found:
        types = frozenset({_SCALARS[schema["type"]]})
        if constraints:
            is_valid = SchemaValidator(schema).isinstance_python
            return _Found(types, lambda value: is_valid(value) and (type(value) is not float or math.isfinite(value)))
        if schema["type"] == "float" and not self._is_exact_infinity:
            return _Found(types, math.isfinite)
        return _Found(types)

    def _dict(self, schema: Mapping[str, Any]) -> _Found | None:
        keys = schema.get("keys_schema", {"type": "any"})
        found = self._exact(schema.get("values_schema", {"type": "any"}))
        if found is None or keys["type"] not in ("str", "any") or keys.keys() - _HARMLESS:
            return None
        return _Found(frozenset({dict}), lambda value: _are_texts(value) and found.keep(value.values()))

    def _model(self, schema: Mapping[str, Any]) -> _Found | None:
        if schema.get("custom_init") or schema.get("root_model") or schema["schema"]["type"] != "model-fields":
            return None
        names = tuple(schema["schema"]["fields"])
        fields = self.fields(schema, names)
        if fields is None:
            return None

        def keeps(item: Any) -> bool:
            values = item.__dict__
            return not item.__pydantic_extra__ and fields.keep([values[name] for name in names])

        return _Found(frozenset({schema["cls"]}), keeps)


_NAMES = (frozenset({str}), frozenset({int}))
_JSON: frozenset[type[Any]] = frozenset({str, int, bool, float, type(None), list, dict})


def _is_json(value: Any, depth: int = 0) -> bool:
    """Whether JSON has a value as it is, with every type in it."""
    kind = type(value)
    if kind is list or kind is dict:
        if depth == _DEEPEST or (kind is dict and not _are_texts(value)):
            return False
        return all(_is_json(inner, depth + 1) for inner in (value if kind is list else value.values()))
    return kind in _JSON and (kind is not float or math.isfinite(value))


def _are_texts(keys: Iterable[Any]) -> bool:
    return all(type(key) is str for key in keys)


def _is_utc(value: datetime) -> bool:
    zone = value.tzinfo
    return zone is UTC or zone is None or (type(zone) is TzInfo and not zone.utcoffset(None))


def _is_plain(enum: type[Enum]) -> bool:
    """Whether the values of an enum's members are all texts or all integers, and no function changes them."""
    types = {type(member.value) for member in enum}
    return len(types) == 1 and types <= {str, int} and "_missing_" not in vars(enum)
