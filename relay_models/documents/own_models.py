"""Documents that are their own records: what a class keyword means, which names fields may have, and ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json, to_json

from relay_models._checks import shown
from relay_models.columns.column import Column, Origin
from relay_models.columns.types import column_type
from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.records.record import uuid7

__all__ = [
    "MODEL_SEGMENT",
    "STORED",
    "ModelSettings",
    "as_datetime",
    "check_fields",
    "check_free_names",
    "check_keywords",
    "check_ttl",
    "key_text",
    "new_id",
    "store_columns",
]

MODEL_SEGMENT = "model:"
"""What the kind of every own model begins with."""

RESERVED = frozenset({"Meta", "pk", "record_json", "stored_at", "updated_at"})
"""Names that no field of an own model may have."""

# Attributes of documents that a field would hide, also those that pydantic keeps for itself.
_NEEDED = frozenset({
    "column_values", "columns", "describe", "from_stored", "has_labels", "indexed_words", "is_own_model", "maker",
    "matched_values", "own_columns", "record_type", "row_columns", "stored_values", "summarize", "summary_type",
    "to_dict", "validate_pk",
}).union(name for name in dir(BaseModel) if name.startswith("model_"))  # fmt: skip
# Further attributes of documents about a record.
_NEEDED_WITH_RECORD = frozenset({"labels", "of", "record"})

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
STORED: dict[str, Any] = {}
"""The context of validation where a stored text is read: the id is known and none is made.

It is a dict, as validators of a user's may ask a context for something.
"""


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
        # A generic class with its parameters, such as Box[int], is called box_int.
        plain = re.sub(r"[^\w.-]+", "_", class_name).strip("_")
        name = options.pop("name", None) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
        key = options.pop("key", ())
        key = (key,) if isinstance(key, str) else key
        if not isinstance(key, tuple | list) or not all(isinstance(field, str) for field in key):
            raise InvalidConfigurationError(
                f"{class_name}: key is the name of a field, or several, as in key=('room', 'number'), not {shown(key)}"
            )
        ttl = options.pop("ttl", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidConfigurationError(
                f"{class_name}: the name of a model is ASCII letters, digits, '_', '-' and '.', not {shown(name)}; "
                f"give one, as in class {class_name}(Document, name='…')"
            )
        check_ttl(ttl, class_name)
        return cls(name, tuple(key), ttl)


def check_ttl(ttl: timedelta | None, what: str) -> int:
    """A time to live in milliseconds, 0 for None.

    Raises:
        InvalidConfigurationError: it is no timedelta of a millisecond or more.
    """
    if ttl is None:
        return 0
    if not isinstance(ttl, timedelta) or ttl < timedelta(milliseconds=1):
        raise InvalidConfigurationError(
            f"{what}: ttl is a timedelta of a millisecond or more, or None, not {shown(ttl)}"
        )
    return ttl // timedelta(milliseconds=1)


def check_fields(cls: Any, settings: ModelSettings) -> None:
    """Refuse fields that cannot be.

    Raises:
        InvalidConfigurationError: a field has a name that documents use, or the key names no field.
    """
    for name in settings.key:
        if name not in cls.__pydantic_fields__ or name in RESERVED:
            raise InvalidConfigurationError(
                f"{cls.__name__}: there is no field {shown(name)} that its key could be made of"
            )


def check_keywords(class_name: str, options: Mapping[str, Any], known: str) -> None:
    """Refuse keywords of a class statement that pydantic would ignore.

    Raises:
        InvalidConfigurationError: there is one.
    """
    for name in options:
        if name not in ConfigDict.__annotations__ and not name.startswith("_"):
            raise InvalidConfigurationError(
                f"{class_name}: a class has no keyword {name!r}; it has those of pydantic's configuration, and {known}"
            )


def check_free_names(class_name: str, fields: Iterable[str], parent: Any, *, has_record: bool = False) -> None:
    """Refuse fields that would take the place of what documents need.

    Args:
        class_name: the name of the class.
        fields: its annotated names, without class variables.
        parent: the class that it extends.
        has_record: its documents are about a record of another type.

    Raises:
        InvalidConfigurationError: one would.
    """
    needed = _NEEDED | _NEEDED_WITH_RECORD if has_record else _NEEDED | (RESERVED - {"pk"})
    for name in fields:
        if name in needed and (name in RESERVED or name not in parent.__pydantic_fields__):
            raise InvalidConfigurationError(
                f"{class_name}.{name}: documents use this name; choose another, such as {class_name.lower()}_{name}"
            )


def check_id(class_name: str, annotation: Any) -> None:
    """Refuse a ``pk`` that is no text.

    Raises:
        InvalidConfigurationError: it is none.
    """
    if annotation not in (str, str | None) and column_type(annotation).python is not str:
        raise InvalidConfigurationError(
            f"{class_name}.pk is text; name a field of another type, and let it be the id: "
            f"class {class_name}(Document, key=('number',))"
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


def as_datetime(value: Any) -> Any:
    """Take the instants of records, such as ``run.started_at``, for a datetime, too."""
    return getattr(value, "datetime", value)


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
        text = str.__str__(value)  # an enum's own would be its name
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidRecordError(
                f"the id {shown(value)} cannot be stored as text: it has a lone surrogate"
            ) from None
        return text
    # Equal values are one id, however they are written.
    if isinstance(value, Decimal) and value.is_finite():
        text = f"{value:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if value == 0 else text
    if isinstance(value, datetime) and value.tzinfo is not None:
        with suppress(OverflowError):
            value = value.astimezone(UTC)
    with suppress(ValueError):  # also of pydantic's
        found = from_json(to_json(value))
        if isinstance(found, str | int) and not isinstance(value, bytes | Decimal):
            return str(found)
    raise InvalidRecordError(f"{shown(value)} cannot be part of an id: text, an integer, a UUID, a date or an enum can")
