"""`ItemCodec`: items of own models as the documents that are stored, and the items in stored documents."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

from pydantic import AliasChoices, BaseModel, PydanticUndefinedAnnotation, PydanticUserError, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, SchemaValidator, from_json, to_json

from relay_models._checks import reason_of, shown
from relay_models.columns.column import COLUMN, Column, Origin
from relay_models.columns.info import OWN
from relay_models.columns.kind import Kind
from relay_models.columns.tags import escape_tag
from relay_models.columns.types import as_stored
from relay_models.documents.codec import dump_document, own_members
from relay_models.documents.exact_fields import ExactFields
from relay_models.documents.own_models import RESERVED, STORED
from relay_models.documents.schema import stamp_name
from relay_models.errors import InvalidConfigurationError, InvalidRecordError

__all__ = ["EncodedItem", "ItemCodec", "codec_of"]

# Types whose values equality tells apart once their types are the same.
_FLAT = frozenset({str, int, bool, bytes, type(None), UUID, date, time, timedelta})


class EncodedItem:
    """An item as the document that is stored, encoded once and stamped as often as it is sent.

    Args:
        codec: the codec of the item's model.
        members: the members of the document without the times of storing.
    """

    __slots__ = ("_codec", "_members")

    def __init__(self, codec: ItemCodec, members: dict[str, Any]) -> None:
        self._codec = codec
        self._members = members

    @property
    def text(self) -> str:
        """The item's JSON text."""
        text: str = self._members["record"]
        return text

    def creation(self, now_us: int) -> bytes:
        """The document, stored for the first time at `now_us` (epoch microseconds)."""
        return dump_document({**self._members, "stored_at": now_us, "updated_at": now_us, self._codec.stamp: now_us})

    def patch(self, now_us: int) -> bytes:
        """The patch for JSON.MERGE that makes a stored document this one, but keeps its ``stored_at``."""
        absent = self._codec.absent
        own = {OWN: absent | self._members.get(OWN, {})} if absent else {}
        return dump_document({**self._members, **own, "updated_at": now_us, self._codec.stamp: now_us})


class ItemCodec:
    """Encodes and decodes the items of one model, by what is worked out once for the class.

    Stored are an item's JSON text, as ``record``, and what its columns hold: in ``own`` as the index reads them, and as
    JSON text in ``own_row``.

    Args:
        model: the class.

    Raises:
        InvalidConfigurationError: the annotation of a field names a type that there is not, or that is none.
    """

    def __init__(self, model: Any) -> None:
        _complete(model)
        self.model = model
        self.stamp = stamp_name(model)
        columns: dict[str, Column[Any]] = model._columns
        declared = [column for column in columns.values() if column.own and column.origin is not Origin.STORE]
        self.absent: dict[str, None] = {column.own_name: None for column in declared if column.nullable}
        self._columns = [
            _column_encoder(column, column.name in model._calculated)
            for column in declared
            if column.kind is not Kind.WORDS
        ]
        self._words = {column.name: column.own_name for column in declared if column.kind is Kind.WORDS}
        self._names: tuple[str, ...] = model._kept_fields
        self._pick = _picker(self._names)
        self._is_calculated = bool(model._calculated)
        self._load_time: Any = columns["stored_at"].type.load
        # A later version of the class may have written fields that this one forbids.
        self._extra = "ignore" if model.model_config.get("extra") == "forbid" else None
        self._takes_extra = model.model_config.get("extra") == "allow"
        # Names that no further field of an item can have.
        self._others = {*model.__pydantic_fields__, *model.__pydantic_computed_fields__, *columns, *RESERVED}
        self._aliases = {alias: name for name in self._names for alias in _aliases_of(model.__pydantic_fields__[name])}
        schema, definitions = _model_schema(model.__pydantic_core_schema__)
        # A value of another type than its field's is refused when it would be read; a warning says no more.
        self._dump: Callable[[Any], bytes] = functools.partial(
            model.__pydantic_serializer__.to_json,
            exclude=model._left_out,
            by_alias=False,
            round_trip=True,
            warnings=False,
        )
        # Fields alone are validated in half the time that objects take.
        self._validate_fields: Any = None if model._has_hooks else _field_validator(schema, definitions)
        is_told = self._validate_fields is not None and model.model_config.get("extra") != "allow"
        self._exact = ExactFields.of(schema, self._names, definitions) if is_told else None
        self._validate: Any = model.__pydantic_validator__.validate_json

    def encode(self, item: Any) -> EncodedItem:
        """Encode an item; what is read of it will equal it.

        Fields that a later version of the class wrote are kept: those of a document that was read stay in its text.

        Raises:
            InvalidRecordError: it is not valid, or a value would not be read back as it is.
        """
        text, values = self._written(item)
        own: dict[str, Any] = {}
        for name, compute, store, check, column in self._columns:
            try:
                value = values[name] if compute is None else compute(item)
                if value is None:
                    if not column.nullable:
                        raise ValueError("it is None, and its annotation does not allow that")
                    continue
                stored = value if store is None else store(value)
                if stored != []:
                    own[name] = check(stored) if check is not None else stored
            except Exception as error:
                about = f"{column!r} cannot be stored for {_name(item)}: {reason_of(error)}"
                raise InvalidRecordError(about, name) from error
        members: dict[str, Any] = {"pk": escape_tag(str(item.__dict__["pk"]))}
        if self._columns:
            members |= own_members(self.model, own)
        if self._words:
            words = self.model.indexed_words(item)
            members[OWN] = members.get(OWN, {}) | {self._words[name]: text for name, text in words.items()}
        members["record"] = text
        return EncodedItem(self, members)

    def decode(self, pk: str, text: str, stored_us: int | None, updated_us: int | None) -> Any:
        """The item in a stored document.

        Args:
            pk: its id.
            text: its JSON text.
            stored_us: when it was first stored (epoch microseconds).
            updated_us: when it was last stored.

        Raises:
            InvalidRecordError: the text is none of such an item.
        """
        item = self._read(text)
        data, load = item.__dict__, self._load_time
        data["pk"] = pk
        data["stored_at"] = None if stored_us is None else load(stored_us)
        data["updated_at"] = None if updated_us is None else load(updated_us)
        data["record_json"] = text
        return item

    def change(self, text: str, changes: Mapping[str, Any]) -> Any:
        """The item in a stored document, with some fields changed; what this class does not know stays in its text.

        Raises:
            InvalidRecordError: a change names no field, or the values are not valid.
        """
        model, new = self.model, dict[str, Any]()
        for given, value in changes.items():
            name = given if given in self._names else self._aliases.get(given, given)
            if name not in self._names and (not self._takes_extra or name in self._others):
                known = ", ".join(self._names)
                raise InvalidRecordError(f"{model.__name__} has no field {name!r} to update; it has {known}", name)
            if name in model._settings.key:
                raise InvalidRecordError(
                    f"{model.__name__}.{name} is part of the id: save a new document instead", name
                )
            if name in new:
                raise InvalidRecordError(
                    f"update has two values for {model.__name__}.{name}: {given!r} is it, too", name
                )
            new[name] = value
        current = self._read(text)
        values = {name: current.__dict__[name] for name in self._names}
        try:
            item = model.model_validate({**values, **(current.__pydantic_extra__ or {}), **new}, by_name=True)
        except ValidationError as error:
            raise _invalid(model, error) from None
        item.__dict__["record_json"] = text
        return item

    def _written(self, item: Any) -> tuple[str, Mapping[str, Any]]:
        """The text of an item, and the values that will be read from it, which are the item's.

        Raises:
            InvalidRecordError: it is not valid, or a value would not be read back as it is.
        """
        text, given = self._dumped(item), item.__dict__
        before: str | None = given.get("record_json")
        try:
            ours = self._pick(given)
            is_kept = self._exact is not None and self._exact.keep(ours)
        except KeyError:
            ours, is_kept = tuple(map(given.get, self._names)), False
        if is_kept:
            return text if before is None or before == text else self._merged(before, text), given
        try:
            if self._validate_fields is None:
                again = self._read(text)
                values, extra = again.__dict__, again.__pydantic_extra__
            else:
                values, extra, _ = self._fields(text)
        except InvalidRecordError as error:
            raise InvalidRecordError(
                f"{_name(item)} would not be read back from its JSON: {error}", error.path
            ) from None
        theirs = tuple(map(values.get, self._names))
        if any(map(_differs, ours, theirs)):
            self._check_same(item, zip(self._names, ours, theirs, strict=True))
        if extra != item.__pydantic_extra__ or extra:
            own, others = item.__pydantic_extra__ or {}, extra or {}
            self._check_same(item, ((name, own.get(name), others.get(name)) for name in {**own, **others}))
        return text if before is None or before == text else self._merged(before, text), values

    def _check_same(self, item: Any, pairs: Any) -> None:
        for name, ours, theirs in pairs:
            if _differs(ours, theirs):
                field = self.model.__pydantic_fields__.get(name)
                if field is not None and field.exclude:
                    about = "it is excluded (Field(exclude=True)), and has another value than its default"
                else:
                    about = (
                        f"{shown(ours)} is JSON that means {shown(theirs)}; annotate the field with the exact type, "
                        "and let validators leave valid values as they are"
                    )
                raise InvalidRecordError(f"{_name(item)}: {name} would not be read back as it is: {about}", name)

    def _dumped(self, item: Any) -> str:
        try:
            return self._dump(item).decode()
        except (PydanticSerializationError, UnicodeEncodeError, ValueError) as error:
            raise InvalidRecordError(f"{_name(item)} cannot be stored as JSON: {error}") from None

    def _fields(self, text: str) -> Any:
        """The values, the values of unknown fields and the names that are set, in a text."""
        try:
            return self._validate_fields(text, by_name=True, by_alias=False, context=STORED)
        except ValidationError as error:
            raise _invalid(self.model, error) from None

    def _read(self, text: str) -> Any:
        """The item that a text means."""
        model = self.model
        if self._validate_fields is None:
            try:
                return self._validate(text, by_name=True, by_alias=False, extra=self._extra, context=STORED)
            except ValidationError as error:
                raise _invalid(model, error) from None
        values, extra, names = self._fields(text)
        item = model.__new__(model)
        _set(item, "__dict__", values)
        _set(item, "__pydantic_fields_set__", names)
        _set(item, "__pydantic_extra__", extra)
        _set(item, "__pydantic_private__", {"_record": None, "_binding": None})
        values["stored_at"] = values["updated_at"] = values["record_json"] = None
        if self._is_calculated:
            model._calculate(item)
        return item

    def _merged(self, before: str, text: str) -> str:
        """The new text, with what the text that was read has and this class does not know."""
        read = from_json(before)
        known = from_json(self._dumped(self._read(before)))
        if read == known:
            return text
        after = from_json(text)
        known_names = {*self.model.__pydantic_fields__, *self.model.__pydantic_computed_fields__}
        merged = {
            name: read[name] if name in read and name in after and known.get(name) == after[name] else value
            for name, value in {**read, **after}.items()
            if name in after or name not in known_names
        }
        return to_json(merged, inf_nan_mode="constants").decode()


_set = object.__setattr__


@functools.lru_cache(maxsize=256)
def codec_of(model: type[Any]) -> ItemCodec:
    """The codec of a model."""
    return ItemCodec(model)


def _complete(model: Any) -> None:
    """Resolve the annotations of a class that names types which were defined after it."""
    try:
        model.model_rebuild(_parent_namespace_depth=0)
    except PydanticUndefinedAnnotation as error:
        raise InvalidConfigurationError(
            f"{model.__name__}: the annotation of a field names {error.name}, which is not defined where the class is; "
            f"where it is defined in a function, after the class, call {model.__name__}.model_rebuild() there"
        ) from None
    except PydanticUserError as error:
        raise InvalidConfigurationError(f"{model.__name__}: {error.message}") from error
    for name, field in model.__pydantic_fields__.items():
        if COLUMN in field.metadata and name not in model._columns:
            raise InvalidConfigurationError(
                f"{model.__name__}.{name} is annotated as Column[…]: declare it by = column(…)"
            )


def _aliases_of(field: FieldInfo) -> Iterator[str]:
    """The names by which an object is given a field."""
    for alias in (field.alias, field.validation_alias):
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            if isinstance(choice, str):
                yield choice


def _column_encoder(column: Column[Any], is_calculated: bool) -> tuple[str, Any, Any, Any, Column[Any]]:
    """Name, function of the item (None: the field's own value), how it is stored, how that is checked, the column."""
    store = None if column.type.store is as_stored else column.type.store
    # What a function gives can be of any type; the values of fields are validated, but may be infinite.
    check = column.type.checked if is_calculated or column.kind is Kind.NUMBER else None
    return column.name, column.value if is_calculated else None, store, check, column


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """A function that takes these values, as a tuple, out of a mapping."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


def _model_schema(schema: Any) -> tuple[Any, list[Any]]:
    """The schema of a model's class, and those that it refers to; None where validators stand before or after it."""
    definitions: list[Any] = []
    if schema["type"] == "definitions":
        definitions, schema = schema["definitions"], schema["schema"]
    if schema["type"] == "definition-ref":
        schema = next(one for one in definitions if one.get("ref") == schema["schema_ref"])
    is_plain = schema["type"] == "model" and schema["schema"]["type"] == "model-fields"
    return (schema if is_plain else None), definitions


def _with_definitions(schema: Any, definitions: list[Any]) -> Any:
    return {"type": "definitions", "schema": schema, "definitions": definitions} if definitions else schema


def _field_validator(schema: Any, definitions: list[Any]) -> Any:
    """Validates the JSON text of an item into its values, without making the item."""
    if schema is None or schema.get("custom_init"):
        return None
    config: Any = {**schema.get("config", {})}
    if config.get("extra_fields_behavior") == "forbid":
        config["extra_fields_behavior"] = "ignore"
    return SchemaValidator(_with_definitions(schema["schema"], definitions), config).validate_json


def _differs(ours: Any, theirs: Any) -> bool:
    """Whether a value is another one than the one that was read: also where they are equal, as True is to 1."""
    kind = type(ours)
    if kind is not type(theirs):
        return True
    differs = _comparison(kind)  # type: ignore[arg-type]  # a type is hashable
    return bool(ours != theirs) if differs is None else differs(ours, theirs)


@functools.lru_cache(maxsize=1024)
def _comparison(kind: type[Any]) -> Callable[[Any, Any], bool] | None:
    """What tells values of a type apart; None where that is their equality."""
    if issubclass(kind, float | Decimal):
        return lambda ours, theirs: ours != theirs and not (ours != ours and theirs != theirs)  # NaN is none
    if issubclass(kind, datetime):
        return _differs_as_datetime
    if issubclass(kind, dict):
        return _differs_as_dict
    if issubclass(kind, list | tuple | deque):
        return _differs_as_list
    if issubclass(kind, set | frozenset):
        return _differs_as_set
    if issubclass(kind, BaseModel):
        return _differs_as_model
    if is_dataclass(kind):
        names = [field.name for field in fields(kind) if field.compare]
        return lambda ours, theirs: any(_differs(getattr(ours, name), getattr(theirs, name)) for name in names)
    return None


def _differs_as_model(ours: BaseModel, theirs: BaseModel) -> bool:
    """By the fields: objects may have cached properties beside them."""
    names = type(ours).__pydantic_fields__
    if any(_differs(ours.__dict__.get(name), theirs.__dict__.get(name)) for name in names):
        return True
    return _differs(ours.__pydantic_extra__, theirs.__pydantic_extra__)


def _differs_as_datetime(ours: datetime, theirs: datetime) -> bool:
    """By the instant: where a clock shows a time twice, no two zones have equal datetimes."""
    if ours == theirs:
        return False
    zones = ours.utcoffset(), theirs.utcoffset()
    return None in zones or ours.astimezone(UTC) != theirs.astimezone(UTC)


def _differs_as_list(ours: Any, theirs: Any) -> bool:
    types = list(map(type, ours))
    if types != list(map(type, theirs)):
        return True
    return bool(ours != theirs) if _FLAT.issuperset(types) else any(map(_differs, ours, theirs))


def _differs_as_set(ours: Any, theirs: Any) -> bool:
    same = {value: value for value in theirs}
    return ours != theirs or any(_differs(value, same[value]) for value in ours)


def _differs_as_dict(ours: Any, theirs: Any) -> bool:
    if ours.keys() != theirs.keys() or _differs_as_list(list(ours), list(theirs)):
        return True
    return any(_differs(value, theirs[key]) for key, value in ours.items())


def _name(item: Any) -> str:
    return f"{type(item).__name__} {shown(item.__dict__.get('pk'))}"


def _invalid(model: Any, error: ValidationError) -> InvalidRecordError:
    found = error.errors(include_url=False, include_context=False)
    path = ".".join(map(str, found[0]["loc"]))
    # A validator of the whole model names no field.
    told = "; ".join(": ".join([*filter(None, [".".join(map(str, each["loc"]))]), each["msg"]]) for each in found[:3])
    return InvalidRecordError(f"this is no valid {model.__name__}: {told}", path)
