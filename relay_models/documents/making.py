"""Objects of a document class made from stored values, many of one shape: what can be worked out once is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay_models._time import datetime_of
from relay_models.columns.column import Kind

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["object_maker"]

# What is not read as it is stored, as an expression of the stored value.
_READ = {
    Kind.NUMBER: "None if {0} is None else float({0})",
    Kind.TIME: "None if {0} is None else datetime_of({0})",
    Kind.DURATION: "None if {0} is None else timedelta(0, 0, {0})",
    Kind.TAGS: "[] if {0} is None else {0}",
}


@functools.lru_cache(maxsize=256)
def object_maker(cls: type[Document], names: tuple[str, ...]) -> Callable[[Sequence[Any], str | None], Any]:
    """A function from stored values, in the order of `names`, and the record's JSON text to an object of `cls`.

    Nothing is validated. Names that are no columns are passed over; a value that its column cannot have raises
    ValueError or TypeError.
    """
    columns = cls.columns()
    values = {name: f"v{place}" for place, name in enumerate(names)}
    read = {name: _READ.get(column.kind, "{0}").format(values.get(name, "None")) for name, column in columns.items()}
    # One expression for all columns: a loop over what reads each of them takes a fifth longer.
    pairs = ", ".join(f"{name!r}: {expression}" for name, expression in read.items())
    data_of = eval(
        f"lambda text, {', '.join(values.values())}: {{'pk': None, {pairs}, 'record_json': text}}",
        {"datetime_of": datetime_of, "timedelta": timedelta},
    )
    # Pydantic only ever adds the names of fields to this set, and here are all of them: objects can share it.
    fields = {"pk", *columns, "record_json"}
    new, write, key = cls.__new__, object.__setattr__, cls._pk

    def make(values: Sequence[Any], text: str | None) -> Any:
        data = data_of(text, *values)
        data["pk"] = key(data)
        made = new(cls)
        write(made, "__dict__", data)
        write(made, "__pydantic_fields_set__", fields)
        write(made, "__pydantic_extra__", None)
        write(made, "__pydantic_private__", {"_record": None})
        return made

    return make
