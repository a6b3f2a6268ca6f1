"""`LooseRecord`: a record whose fields may hold what this release does not understand, which is kept as it came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from relay_models.records.record import FIRST_SERIALIZES, LOOSE_ERROR, LOOSE_RECORDS, Record

__all__ = ["Loose", "LooseRecord", "unknown_shapes"]

RecordType = TypeVar("RecordType", bound=Record)


class LooseRecord(Record):
    """A record of a part of the wire format that grows with every release and every provider.

    A value that is not what its field says is kept as it came: it is written again, `model_extra` holds it under the
    field's name, the field itself is as if it was absent, and `not_understood` names it. That holds where a record is
    read as a part of a run. Made directly, with a constructor or ``model_validate``, it refuses such a value.
    """

    @property
    def not_understood(self) -> list[str]:
        """Paths of the values in this record that are not what their field says, such as ``usage.total_tokens``."""
        return [".".join(path) for path in unknown_shapes(self)]

    def __setattr__(self, name: str, value: Any) -> None:
        if not (odd := self._taken_out()):
            super().__setattr__(name, value)
            return
        try:
            super().__setattr__(name, value)
            odd.pop(name, None)
        finally:
            if self.__pydantic_extra__ is not None:
                self.__pydantic_extra__.update(odd)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if self.__pydantic_extra__ and name in type(self).__pydantic_fields__:
            self.__pydantic_extra__.pop(name, None)

    def _taken_out(self) -> dict[str, Any]:
        """Take out what was not understood: pydantic would make it the values of its fields."""
        extra, fields = self.__pydantic_extra__ or {}, type(self).__pydantic_fields__
        return {name: extra.pop(name) for name in list(extra) if name in fields}


class _Loose:
    """Reads a record as pydantic does; where that fails, without the fields that were not understood."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        LOOSE_RECORDS[source.__name__] = source
        schema = handler(source)
        again = core_schema.no_info_wrap_validator_function(_read_understood, schema)
        # The function is called for what the schema refuses only: giving it a value costs more than reading the value.
        return core_schema.union_schema(
            [schema, again],
            mode="left_to_right",
            metadata={FIRST_SERIALIZES: True},
            # Or pydantic would list the errors of both, and what was looked for behind the path of each.
            custom_error_type=LOOSE_ERROR,
            custom_error_message="Input should be an object, with the fields that {record} requires",
            custom_error_context={"record": source.__name__},
        )


Loose = Annotated[RecordType, _Loose()]
"""The type of a field that holds a `LooseRecord`: what is wrong in the record is kept in it."""


def _read_understood(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError as error:
        if not isinstance(value, dict):
            raise
        wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        record = handler({name: item for name, item in value.items() if name not in wrong})
    record.model_extra.update((name, value[name]) for name in value if name in wrong)
    return record


def unknown_shapes(value: Any, *, without: str | None = None) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the values within a record, or a list of them, that are not what their field says.

    Args:
        value: The record or the list; there is nothing in any other value.
        without: A field of the record that is not looked into.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from ((str(index), *path) for path in unknown_shapes(item))
    elif isinstance(value, Record):
        fields = type(value).__pydantic_fields__
        yield from ((name,) for name in value.__pydantic_extra__ or () if name in fields)
        for name in fields:
            if name != without:
                yield from ((name, *path) for path in unknown_shapes(getattr(value, name, None)))
