"""`Record`: the base of all wire values. It keeps unknown fields, and distinguishes absent fields from null."""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import (
    CoreConfig,
    ErrorDetails,
    InitErrorDetails,
    PydanticCustomError,
    SchemaSerializer,
    from_json as parse_json,
    to_json as to_json_text,
)

from relay_models._checks import shown
from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.records.depth import MAX_DEPTH, is_too_deep
from relay_models.records.timestamp import Timestamp

__all__ = ["Record", "from_json", "to_json", "uuid7"]

Factories = Mapping[str, Callable[[], Any]]
U32 = Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)]
I64 = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
U64 = Annotated[int, Field(strict=True, ge=0, le=2**64 - 1)]
F64 = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Bool = Annotated[bool, Field(strict=True)]


def _call_index(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and (value == "0" or value[0] != "0"):
        value = int(value) if len(value) <= 10 else 2**32
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32:
        return value
    raise PydanticCustomError("call_index", "a call index is a whole number from 0 to 4294967295")


CallIndex = Annotated[
    int, PlainValidator(_call_index), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 1})
]


# The error of a record that has not what it requires, also when what is not understood is left out of it.
LOOSE_ERROR = "loose_record"
# The types of records of which that is said, by name.
LOOSE_RECORDS: dict[str, type[Record]] = {}


class OpenEnum(StrEnum):
    """An enumeration that a later release of NeMo Relay may extend: an unknown word becomes a member of its own.

    Such a member equals its text, is written as it came, and has `is_known` false. Iteration does not list it.

    Example:
        ```python
        CallKind("guardrail").is_known  # False
        ```
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether this release of the library knows the word."""
        return self._value_ in type(self)._value2member_map_


class Record(BaseModel):
    """Base of all wire values.

    Unknown fields are kept at every level (in `model_extra`, and as attributes). A dump holds the fields that were
    read or set and no others, wherever the record stands: alone, in a list, or in another model. So what was absent
    stays absent and what was null stays null. In Python, giving or assigning None to an optional field means that it
    is absent, as NeMo Relay writes it.
    """

    model_config = ConfigDict(
        extra="allow",
        validate_assignment=True,
        protected_namespaces=(),
        ser_json_inf_nan="constants",
        use_attribute_docstrings=False,
    )

    # What a constructor fills in when it is not given. JSON has to bring these fields.
    _fresh: ClassVar[Factories] = {}
    # Fields that are written as null when they are None.
    _nullable: ClassVar[frozenset[str]] = frozenset()
    # Whether objects of the class may keep a field as text, so that they must be asked before they are serialized.
    _is_lazy: ClassVar[bool] = False
    # Serializes the fields that are set; made of the class's schema when it is first needed.
    _serializer: ClassVar[SchemaSerializer | None] = None

    def __init__(self, /, **data: Any) -> None:
        cls = type(self)
        fields = cls.__pydantic_fields__
        values = {
            name: value
            for name, value in data.items()
            if value is not None or name not in fields or name in cls._nullable or fields[name].is_required()
        }
        for name, make in cls._fresh.items():
            if name not in values:
                values[name] = make()
        try:
            self.__pydantic_validator__.validate_python(values, self_instance=self)
        except ValidationError as error:
            raise _explained(error) from None

    # Validation of JSON fills the instance; without this mark pydantic would call __init__ for each one.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._serializer = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if value is None and name in type(self).__pydantic_fields__ and name not in type(self)._nullable:
            self.__pydantic_fields_set__.discard(name)

    @model_serializer(mode="wrap")
    def serialize_set_fields(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo):  # type: ignore[no-untyped-def]
        """Serialize the fields that are set, whatever `exclude_unset` is; pydantic calls this.

        It has no return type, so that the JSON Schema of a dump is that of the fields.
        """
        if not isinstance(self, Record):  # pydantic tries the members of a union, and warns of what is no record
            return handler(self)
        options = {name: getattr(info, name) for name in _OPTIONS}
        if not info.mode_is_json():
            return self.model_dump(mode=info.mode, **options)
        return parse_json(self._serialize(options))  # refuses what JSON cannot hold

    def _prepared(self) -> SchemaSerializer:
        """Parse what is kept as text; the serializer that calls `serialize_set_fields` for no record inside."""
        self._complete()
        cls = type(self)
        if cls._serializer is None:
            schema = _without_wrappers(cls.__pydantic_core_schema__, cls)
            config = {name: value for name, value in cls.model_config.items() if name in CoreConfig.__annotations__}
            # With prebuilt serializers, pydantic would take those of the nested records' classes, with the function.
            cls._serializer = SchemaSerializer(schema, cast(CoreConfig, config), _use_prebuilt=False)
        return cls._serializer

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the record; unlike pydantic's own method, new values are validated, and None means absent.

        Args:
            update: New values of fields.
            deep: Also copy what the record holds.

        Returns:
            The copy.

        Raises:
            ValidationError: A new value is not what its field holds.
        """
        copied = super().model_copy(deep=deep)
        for name, value in (update or {}).items():
            setattr(copied, name, value)
        return copied

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Convert the record to a dict that holds the fields that are set.

        Args:
            **options: What pydantic's own method takes, such as `mode`, `include` and `exclude`; `exclude_unset` is
                always true.

        Returns:
            The dict; with ``mode="json"`` the JSON value that the record was read from.

        Example:
            ```python
            RunRecord(agent_id="planner").model_dump(include={"agent_id"})  # {"agent_id": "planner"}
            ```
        """
        return cast(dict[str, Any], self._prepared().to_python(self, **_options(options)))

    def model_dump_json(self, **options: Any) -> str:
        """Write the record as JSON text: the same JSON value that it was read from.

        Args:
            **options: What pydantic's own method takes, such as `indent`, `include` and `exclude`; `exclude_unset` is
                always true.

        Returns:
            JSON, in one line unless `indent` is given.

        Raises:
            InvalidRecordError: A value in it cannot be written as JSON, such as NaN; names the field's path.
        """
        return (self._serialize(options) if options else self._to_json()).decode()

    def _to_json(self) -> bytes:
        """The record as UTF-8 JSON in one line; raises `InvalidRecordError`."""
        return self._serialize({})

    def _serialize(self, options: dict[str, Any]) -> bytes:
        try:
            data = self._prepared().to_json(self, **_options(options))
        except ValueError as error:
            raise _unserializable(self, error) from None
        # One byte is looked for in a fraction of the time of a word.
        if (b"N" in data and b"NaN" in data) or (b"I" in data and b"Infinity" in data):
            refuse_non_finite(self)
        if is_too_deep(data):
            raise InvalidRecordError(
                f"{type(self).__name__} is nested more than 199 levels deep, which cannot be read again"
            )
        return data

    def _complete(self) -> None:
        """Parse what is kept as text, before pydantic looks at the values of the object."""

    @classmethod
    def _from_json(cls, data: str | bytes) -> Self:
        """The record in a JSON text; raises pydantic's error or ours."""
        return cast(Self, cls.__pydantic_validator__.validate_json(data))


# What `serialize_set_fields` hands on.
_OPTIONS = (
    *("include", "exclude", "context", "by_alias", "exclude_defaults", "exclude_none", "exclude_computed_fields"),
    *("round_trip", "serialize_as_any", "polymorphic_serialization"),
)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The options of a dump for the serializer that a record chooses."""
    options = {**given, "exclude_unset": True}
    if options.pop("serialize_as_any", False):
        # That would look for the serializer of the record again, without end. Subclasses inside are what it is for.
        options["polymorphic_serialization"] = True
    return options


# Mark in the metadata of a union: its first member serializes all of its values.
FIRST_SERIALIZES = "relay_models_first_serializes"


def _without_wrappers(schema: Any, root: type[Record]) -> Any:
    """A core schema by which pydantic alone serializes records, except for those that may be lazy."""
    if isinstance(schema, list):
        return [_without_wrappers(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if FIRST_SERIALIZES in schema.get("metadata", ()):
        return _without_wrappers(schema["choices"][0], root)
    copied = {name: _without_wrappers(item, root) for name, item in schema.items()}
    if schema.get("type") == "model" and "serialization" in schema:
        is_ours = schema["serialization"].get("function") is Record.serialize_set_fields
        if is_ours and (schema["cls"] is root or not schema["cls"]._is_lazy):
            del copied["serialization"]
    return copied


RecordType = TypeVar("RecordType")
_adapters: dict[Any, TypeAdapter[Any]] = {}


def adapter(kind: type[RecordType]) -> TypeAdapter[RecordType]:
    """The (cached) adapter of a type that is no Record, such as ``list[PromptIR]``."""
    try:
        known = _adapters.get(kind)
        if known is None:
            if isinstance(kind, str):
                raise TypeError("a text is no type")
            known = _adapters[kind] = TypeAdapter(kind)
    except Exception as error:  # pydantic has many for what is no type, and so has Python
        what = "a record's class, or a generic such as list[PromptIR]"
        raise InvalidConfigurationError(f"kind is {what}, not {shown(kind)}") from error
    return known


def from_json(kind: type[RecordType], data: str | bytes) -> RecordType:
    """Read a record, or a list of them, from JSON, and check all of it.

    The calls of a `RunRecord` are checked, but kept as text until they are used: most readers of runs never use them.

    Args:
        kind: Type of the record, such as `RunRecord`, or a generic such as ``list[PromptIR]``.
        data: JSON text, UTF-8 when bytes.

    Returns:
        The record.

    Raises:
        InvalidRecordError: It is no JSON, or a value is not what its field says; names the field's path.

    Example:
        ```python
        run = from_json(RunRecord, redis.get(key))
        ```
    """
    if not isinstance(data, str | bytes):
        raise InvalidRecordError(f"a record is read from JSON text, not from {shown(data)}")
    try:
        if isinstance(kind, type) and issubclass(kind, Record):
            return cast(RecordType, kind._from_json(data))
        return adapter(kind).validate_json(data)
    except ValidationError as error:
        raise invalid_record(error, kind) from None


def to_json(record: Record | Iterable[Record]) -> bytes:
    """Write a record, or several as a JSON array, as UTF-8 JSON in one line.

    Args:
        record: The record or the records.

    Returns:
        The JSON text: the same JSON value that the record was read from.

    Raises:
        InvalidRecordError: A value in it cannot be written as JSON; names the field's path.

    Example:
        ```python
        redis.set(key, to_json(run))
        ```
    """
    if isinstance(record, Record):
        return record._to_json()
    if isinstance(record, str | bytes) or not isinstance(record, Iterable):
        raise InvalidRecordError(f"a record or a list of records is written as JSON, not {shown(record)}")
    return b"[" + b",".join([to_json(item) for item in record]) + b"]"


def invalid_record(error: ValidationError, kind: Any) -> InvalidRecordError:
    """The library's own error for one of pydantic's: what, where, and how many more."""
    title = kind.__name__ if isinstance(kind, type) else error.title
    details = error_details(error)
    lines = []
    for detail in details[:3]:
        path = ".".join(str(part) for part in detail["loc"])
        shown = repr(detail["input"])
        if detail["type"] in ("missing", "json_invalid"):
            shown = ""
        elif len(shown) > 80:
            shown = f" (got {shown[:77]}...)"
        else:
            shown = f" (got {shown})"
        lines.append(f"{path or title}: {detail['msg']}{shown}")
    if len(details) > 3:
        lines.append(f"and {len(details) - 3} more")
    path = ".".join(str(part) for part in details[0]["loc"])
    return InvalidRecordError(f"this is no valid {title}: {'; '.join(lines)}", path)


def error_details(error: ValidationError) -> list[ErrorDetails]:
    """What pydantic found wrong; in a record that may hold what is not understood, only what it cannot be without."""
    found: list[ErrorDetails] = []
    for detail in error.errors(include_url=False):
        kind = LOOSE_RECORDS.get(detail.get("ctx", {}).get("record", "")) if detail["type"] == LOOSE_ERROR else None
        if kind is None or not isinstance(detail["input"], dict):
            found.append(detail)
            continue
        try:
            kind.model_validate(detail["input"])
        except ValidationError as inner:
            for each in error_details(inner):
                name = each["loc"][0] if each["loc"] else ""
                if name not in kind.__pydantic_fields__ or kind.__pydantic_fields__[str(name)].is_required():
                    found.append({**each, "loc": (*detail["loc"], *each["loc"])})
    return found or error.errors(include_url=False)


def _explained(error: ValidationError) -> ValidationError:
    """The same error; in a record that may hold what is not understood, with the paths of what is wrong."""
    if all(detail["type"] != LOOSE_ERROR for detail in error.errors(include_url=False, include_input=False)):
        return error
    lines: list[InitErrorDetails] = [
        {"type": PydanticCustomError(each["type"], each["msg"]), "loc": each["loc"], "input": each["input"]}
        for each in error_details(error)
    ]
    return ValidationError.from_exception_data(error.title, lines)


def refuse_non_finite(record: Record) -> None:
    """Raise InvalidRecordError when a number of the record is NaN or infinite; texts may hold those words."""
    for path, value in _leaves(record.model_dump()):
        if isinstance(value, float) and not math.isfinite(value):
            where = ".".join(path)
            raise InvalidRecordError(f"{type(record).__name__}.{where} is {value}, which JSON cannot hold", where)


def _unserializable(record: Record, error: ValueError) -> InvalidRecordError:
    """The error for an object that is no JSON value, or for text with a lone surrogate, with its path."""
    for path, value in _leaves(record.model_dump()):
        if isinstance(value, Timestamp):
            continue
        try:
            to_json_text(value)
        except ValueError as reason:
            where = ".".join(path)
            return InvalidRecordError(f"{type(record).__name__}.{where} cannot be written as JSON: {reason}", where)
    return InvalidRecordError(f"{type(record).__name__} cannot be written as JSON: {error}")


def _leaves(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values that hold no others, in their order, with their paths; no deeper than JSON may be."""
    left: list[tuple[tuple[str, ...], Any]] = [((), value)]
    seen: set[int] = set()  # a dict may hold itself
    while left:
        path, value = left.pop()
        if not isinstance(value, (dict, list, tuple)):
            yield path, value
        elif id(value) not in seen and len(path) <= MAX_DEPTH:
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            left += [((*path, str(key)), item) for key, item in reversed(list(items))]


_uuid_lock = threading.Lock()
_last_uuid = 0


def uuid7() -> UUID:
    """Make a UUIDv7 (RFC 9562): 48 bits of milliseconds, then a counter with a random start, and random bits.

    Within a process each is greater than the one before, even if the clock stands still or goes back.

    Returns:
        The UUID.
    """
    global _last_uuid
    with _uuid_lock:
        # unix_ts_ms (48) · rand_a (12) · rand_b (62), as one number of 122 bits without version and variant.
        fresh = (time.time_ns() // 1_000_000) << 74 | secrets.randbits(73)
        if fresh <= _last_uuid:
            fresh = _last_uuid + 1 + secrets.randbits(32)
        _last_uuid = fresh
    time_and_a, b = fresh >> 62, fresh & (1 << 62) - 1
    milliseconds, a = time_and_a >> 12, time_and_a & 0xFFF
    return UUID(int=(milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | a << 64 | 0b10 << 62 | b)


def _forget_last_uuid() -> None:
    """After a fork the lock may be held by a thread that is gone."""
    global _uuid_lock, _last_uuid
    _uuid_lock, _last_uuid = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_last_uuid)
