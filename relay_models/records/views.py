"""Views: JSON text of records, checked and read by msgspec without making records.

This is for what is done with every run that is imported, listed or stored: checking that its calls are calls, and
computing its columns. A view has the fields and the properties of its record type, with times as `datetime`. Making one
takes a tenth of the time of making the record, but a view has none of the unknown fields. A view is stricter than its
record type in rare things (times in other offsets than Z, whole numbers from 2^63 on), and never more lenient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import msgspec
from pydantic.fields import FieldInfo

from relay_models.records.record import OpenEnum, Record
from relay_models.records.timestamp import Timestamp

__all__ = ["viewing"]


def viewing(kind: type[Record], *, without: Collection[str] = ()) -> Callable[[bytes], Any]:
    """Make a function that reads a JSON array of records of a type as views of them.

    Args:
        kind: The type of record.
        without: Fields, of any level, that are neither read nor checked: for text that is known to be valid.

    Returns:
        The function; it raises `msgspec.MsgspecError` or RecursionError where the text may hold anything else.
    """
    return msgspec.json.Decoder(list[_Views(without).view(kind)]).decode  # type: ignore[misc]


class _Views:
    """The types of views, made from types of records."""

    def __init__(self, without: Collection[str]) -> None:
        self._without = without
        self._made: dict[type[Record], type[msgspec.Struct]] = {}

    def view(self, kind: type[Record]) -> type[msgspec.Struct]:
        if kind not in self._made:
            infos = {name: it for name, it in kind.__pydantic_fields__.items() if name not in self._without}
            namespace: dict[str, Any] = {name: it for name, it in vars(kind).items() if isinstance(it, property)}
            times = [name for name, info in infos.items() if Timestamp in (info.annotation, *get_args(info.annotation))]
            if times and not self._without:
                namespace["__post_init__"] = _utc_only(*times)
            fields = [self._field(name, info) for name, info in infos.items()]
            self._made[kind] = msgspec.defstruct(
                kind.__name__, fields, module=__name__, namespace=namespace, kw_only=True, gc=False
            )
        return self._made[kind]

    def _field(self, name: str, info: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
        kind = self._type(Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation)
        if info.is_required():
            return name, kind
        factory: Any = info.default_factory
        return name, kind, info.default if factory is None else msgspec.field(default_factory=factory)

    def _type(self, kind: Any) -> Any:
        """The type of a field as msgspec has it; any JSON value is looked through, not read."""
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return _bounded(*arguments) if arguments[0] in (int, float) else self._type(arguments[0])
        if origin in (Union, UnionType):
            return reduce(or_, map(self._type, arguments))
        if origin is list:
            return list[self._type(arguments[0])]  # type: ignore[misc]
        if kind == dict[str, Any] or kind in (str, bool, NoneType, UUID):
            return kind
        if kind is Any:
            return msgspec.Raw
        if kind is Timestamp:
            return Annotated[datetime, msgspec.Meta(tz=True)]
        if issubclass(kind, OpenEnum):
            return str
        if issubclass(kind, Record):
            return self.view(kind)
        raise TypeError(f"no view has a field of the type {kind}")


def _bounded(kind: type, *constraints: Any) -> Any:
    """A number with the bounds that pydantic has for it; msgspec's cannot be beyond 2^63."""
    bounds: dict[str, Any] = {}
    for constraint in constraints:
        for each in constraint.metadata if isinstance(constraint, FieldInfo) else (constraint,):
            for name in ("ge", "le"):
                if hasattr(each, name):
                    bounds[name] = min(getattr(each, name), 2**63 - 1)
    return Annotated[kind, msgspec.Meta(**bounds)]


def _utc_only(*names: str) -> Callable[[Any], None]:
    """Refuses other offsets than Z: of the others msgspec takes some that are no RFC 3339."""

    def check(self: Any) -> None:
        for name in names:
            time = getattr(self, name)
            if time is not None and time.tzinfo is not UTC:
                raise ValueError(f"{name} is not in UTC")

    return check
