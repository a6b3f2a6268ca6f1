"""Documents that are their own records: what a class keyword means, ids, and the text that is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from relay_models.columns.column import Column, Origin
from relay_models.columns.types import column_type
from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.records.record import uuid7

__all__ = [
    "MODEL_SEGMENT",
    "STORED",
    "ModelSettings",
    "changed_text",
    "check_fields",
    "check_free_names",
    "check_ttl",
    "item_text",
    "key_text",
    "new_id",
    "read_item",
    "store_columns",
]

MODEL_SEGMENT = "model:"
"""What the kind of every own model begins with."""

RESERVED = frozenset({"pk", "record", "record_json", "kind", "stored_at", "updated_at"})
"""Names that no field of an own model may have."""

# Attributes of documents that a field would hide.
_NEEDED = frozenset({
    "column_values", "columns", "delete", "describe", "expire", "find", "from_stored", "has_labels", "indexed_words",
    "is_own_model", "maker", "matched_values", "own_columns", "record_type", "row_columns", "save", "stored_values",
    "summarize", "summary_type", "to_dict", "update",
})  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# Not part of the text: the id stands in the key, and redis-om's pk is it.
_NOT_STORED = {"pk"}

# Types whose values are equal only where they are the same.
_PLAIN = frozenset({str, int, bool, bytes, UUID})

STORED = object()
"""The context of validation where a stored text is read: the id is known and none is made."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How the documents of an own model are kept.

    Args:
        name: the model's name in keys.
        key: the fields that identify a document; none where it gets a UUIDv7.
        ttl: how long a document is kept after it was last saved, None for ever.
    """

    name: str
    key: tuple[str, ...] = ()
    ttl: timedelta | None = None

    @classmethod
    def of(cls, class_name: str, options: dict[str, Any]) -> ModelSettings:
        """Take the settings out of the keywords of a class statement.

        Raises:
            InvalidConfigurationError: one of them cannot work.
        """
        name = options.pop("name", None) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()
        key = options.pop("key", ())
        ttl = options.pop("ttl", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidConfigurationError(
                f"{class_name}: the name of a model is ASCII letters, digits, '_', '-' and '.', not {name!r}; "
                f"give one, as in class {class_name}(Document, name='…')"
            )
        check_ttl(ttl, class_name)
        return cls(name, (key,) if isinstance(key, str) else tuple(key), ttl)


def check_ttl(ttl: timedelta | None, what: str) -> int:
    """A time to live in milliseconds, 0 for None.

    Raises:
        InvalidConfigurationError: it is no timedelta of a millisecond or more.
    """
    if ttl is None:
        return 0
    if not isinstance(ttl, timedelta) or ttl < timedelta(milliseconds=1):
        raise InvalidConfigurationError(f"{what}: ttl is a timedelta of a millisecond or more, or None, not {ttl!r}")
    return ttl // timedelta(milliseconds=1)


def check_fields(cls: Any, settings: ModelSettings) -> None:
    """Refuse fields that cannot be.

    Raises:
        InvalidConfigurationError: a field has a name that documents use, or the key names no field.
    """
    for name in settings.key:
        if name not in cls.__pydantic_fields__ or name in RESERVED:
            raise InvalidConfigurationError(f"{cls.__name__}: there is no field {name!r} that its key could be made of")


def check_free_names(class_name: str, namespace: Mapping[str, Any], parent: Any) -> None:
    """Refuse fields that would take the place of what documents need.

    Raises:
        InvalidConfigurationError: one would.
    """
    for name in namespace.get("__annotations__", {}):
        if name in RESERVED - {"pk"} or (name in _NEEDED and name not in parent.__pydantic_fields__):
            raise InvalidConfigurationError(
                f"{class_name}.{name}: documents use this name; choose another, such as {class_name.lower()}_{name}"
            )


def store_columns(document: str) -> dict[str, Column[Any]]:
    """The columns that every own model has."""
    id_type, time_type = column_type(str), column_type(datetime | None)
    return {
        "pk": Column("pk", id_type, "Its id.", aliases=("id",), origin=Origin.KEY, document=document),
        "stored_at": Column(
            "stored_at", time_type, "When it was first saved.", unit="µs", origin=Origin.STORE, document=document
        ),
        "updated_at": Column(
            "updated_at", time_type, "When it was last saved.", unit="µs", origin=Origin.STORE, document=document
        ),
    }


def new_id() -> str:
    """A UUIDv7: ids sort by the time at which they were made."""
    return str(uuid7())


def key_text(values: Any) -> str:
    r"""The id that a natural key means: its only value as text, or several with ``:`` between (``\:`` in a value).

    Raises:
        InvalidRecordError: a value cannot be part of an id.
    """
    parts = values if isinstance(values, tuple | list) else (values,)
    texts = [_part(value) for value in parts]
    if len(texts) == 1:
        return texts[0]
    return ":".join(text.replace("\\", "\\\\").replace(":", "\\:") for text in texts)


def _part(value: Any) -> str:
    if isinstance(value, str):
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidRecordError(f"the id {value!r} has a lone surrogate and cannot be stored as text") from None
        return text
    if value is None or isinstance(value, float | bytes | list | dict | set):
        raise InvalidRecordError(f"{value!r} cannot be part of an id: text, an integer, a UUID, a date or an enum can")
    return str(from_json(to_json(value)))


def item_text(item: Any) -> str:
    """The JSON text that is stored of a document; it reads back as the same values.

    Fields that a later version of the class wrote are kept: those of a document that was read stay in its text.

    Raises:
        InvalidRecordError: the item is not valid, or a value would not be read back as it is.
    """
    cls = type(item)
    text = _dump(item)
    values, again = item.__dict__, _validated(cls, text).__dict__
    for name in cls._kept_fields:
        ours, theirs = values.get(name), again.get(name)
        if ours is theirs or (type(ours) in _PLAIN and type(ours) is type(theirs) and ours == theirs):
            continue
        # NaN is not equal to itself; its text is.
        if _differs(ours, theirs) or (ours != theirs and repr(ours) != repr(theirs)):
            raise InvalidRecordError(
                f"{cls.__name__} {item.pk!r}: {name} would not be read back as it is: {ours!r} is JSON that "
                f"means {theirs!r}; annotate the field with the exact type",
                name,
            )
    read: str | None = values.get("record_json")
    if read is None or read == text:
        return text
    return _merged(cls, read, text)


def _differs(ours: Any, theirs: Any) -> bool:
    """Whether equal values are of other types inside: True is 1, and an enum's member may be its value."""
    if type(ours) is not type(theirs):
        return True
    if isinstance(ours, dict):
        return any(_differs(key, other) for key, other in zip(ours, theirs, strict=True)) or any(
            _differs(value, theirs[key]) for key, value in ours.items()
        )
    if isinstance(ours, list | tuple):
        return any(_differs(one, other) for one, other in zip(ours, theirs, strict=True))
    return False


def changed_text(cls: Any, text: str, changes: Mapping[str, Any]) -> tuple[Any, str]:
    """A stored document with some fields changed: the item, and its text, which keeps what this class does not know.

    Raises:
        InvalidRecordError: a change names no field, or the values are not valid.
    """
    for name in changes:
        if name not in cls._kept_fields:
            known = ", ".join(cls._kept_fields)
            raise InvalidRecordError(f"{cls.__name__} has no field {name!r} to update; it has {known}", name)
        if name in cls._settings.key:
            raise InvalidRecordError(f"{cls.__name__}.{name} is part of the id: save a new document instead", name)
    current = _validated(cls, text)
    values = {name: current.__dict__[name] for name in cls._kept_fields}
    try:
        item = cls.model_validate({**values, **changes})
    except ValidationError as error:
        raise _invalid(cls, error) from None
    item.__dict__["record_json"] = text
    return item, item_text(item)


def read_item(cls: Any, pk: str, text: str, stored_us: int | None, updated_us: int | None) -> Any:
    """The item in a stored document; ValueError where the text is none."""
    item = _validated(cls, text)
    data = item.__dict__
    data["pk"] = pk
    load = cls._columns["stored_at"].type.load
    data["stored_at"] = None if stored_us is None else load(stored_us)
    data["updated_at"] = None if updated_us is None else load(updated_us)
    data["record_json"] = text
    return item


def _dump(item: Any) -> str:
    cls = type(item)
    try:
        found: bytes = cls.__pydantic_serializer__.to_json(item, exclude=cls._left_out, by_alias=False)
        return found.decode()
    except (PydanticSerializationError, UnicodeEncodeError, ValueError) as error:
        raise InvalidRecordError(f"{cls.__name__} {item.pk!r} cannot be stored as JSON: {error}") from None


def _validated(cls: Any, text: str) -> Any:
    try:
        return cls.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False, context=STORED)
    except ValidationError as error:
        raise _invalid(cls, error) from None


def _invalid(cls: Any, error: ValidationError) -> InvalidRecordError:
    found = error.errors(include_url=False, include_context=False)
    path = ".".join(map(str, found[0]["loc"]))
    shown = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:3])
    return InvalidRecordError(f"this is no valid {cls.__name__}: {shown}", path)


def _merged(cls: Any, read: str, text: str) -> str:
    """The new text, with what the text that was read has and this class does not know."""
    before = from_json(read)
    known = from_json(_dump(_validated(cls, read)))
    if before == known:
        return text
    after = from_json(text)
    merged = {
        name: before[name] if name in before and name in after and known.get(name) == after[name] else value
        for name, value in {**before, **after}.items()
        if name in after or name not in cls.model_fields
    }
    return to_json(merged, inf_nan_mode="constants").decode()
