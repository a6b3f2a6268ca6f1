"""`object_maker`: objects of a document class made from stored values, many of one shape, without validation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["object_maker"]


@functools.lru_cache(maxsize=256)
def object_maker(cls: Any, names: tuple[str, ...]) -> Callable[[Sequence[Any], str | None], Any]:
    """A function from stored values, in the order of `names`, and the record's JSON text to an object of `cls`.

    Nothing is validated. Names that are not columns are ignored; a value that its column cannot have raises
    ValueError or TypeError.
    """
    columns = cls.columns()
    # What all objects start from; the values replace what is in it.
    plain = [name for name in cls.__pydantic_fields__ if name not in columns]
    blank: dict[str, Any] = {"pk": None, **dict.fromkeys(columns), **dict.fromkeys(plain), "record_json": None}
    surplus = [name for name in names if name not in blank]
    loads = [(name, column.type.load) for name, column in columns.items() if column.type.load is not None]
    empties = [(name, column.type.empty) for name, column in columns.items() if column.type.empty is not None]
    # Pydantic only ever adds the names of fields to this set, and here are all of them: objects can share it.
    fields = set(blank)
    new, write, key = cls.__new__, object.__setattr__, cls._pk

    def make(values: Sequence[Any], text: str | None) -> Any:
        data = blank.copy()
        data.update(zip(names, values, strict=True))
        for name in surplus:
            del data[name]
        for name, load in loads:
            if (stored := data[name]) is not None:
                data[name] = load(stored)
        for name, empty in empties:
            if data[name] is None:
                data[name] = empty()
        data["record_json"] = text
        data["pk"] = key(data)
        made = new(cls)
        write(made, "__dict__", data)
        write(made, "__pydantic_fields_set__", fields)
        write(made, "__pydantic_extra__", None)
        write(made, "__pydantic_private__", {"_record": None, "_binding": None})
        return made

    return make
