"""`column`: declares a column of a document class, once, with all that is said of it."""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from relay_models._checks import shown
from relay_models.columns.column import Column, Origin
from relay_models.columns.kind import Kind
from relay_models.columns.scores import ScoreColumns
from relay_models.columns.types import ColumnType, column_type
from relay_models.documents.own_models import as_datetime
from relay_models.errors import InvalidConfigurationError

__all__ = ["Declaration", "column"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `column` was given; `DocumentMeta` makes a field and a `Column` of it."""

    about: str
    value: Callable[[Any], Any] | None
    unit: str
    aliases: tuple[str, ...]
    heading: str
    origin: Origin
    text: bool
    is_uuid: bool
    links: Any
    sortable: bool
    options: dict[str, Any]

    def field(self, document: str, name: str) -> Any:
        """The field of the model.

        Raises:
            InvalidConfigurationError: `column` has no such option, or pydantic refuses the options.
        """
        for option in self.options:
            if option not in _FIELD_OPTIONS:
                raise InvalidConfigurationError(
                    f"{document}.{name}: column(…) has no option {option!r}; beside those of its own it has those of "
                    "pydantic's Field, such as default and ge"
                )
        try:
            return Field(description=self.about, **self.options)
        except (TypeError, PydanticUserError) as error:
            raise InvalidConfigurationError(f"{document}.{name}: {getattr(error, 'message', error)}") from None

    def column(self, document: str, name: str, annotation: Any, *, own: bool = False) -> Column[Any]:
        """The column, once the annotation of the field is known; `own` for one that a user declares.

        Raises:
            InvalidConfigurationError: no index has values of that type.
        """
        try:
            type = column_type(annotation, text=self.text, is_uuid=self.is_uuid)
        except InvalidConfigurationError as error:
            raise InvalidConfigurationError(f"{document}.{name}: {error}") from None
        if own and self.text and type.python not in (str, list[str]):
            raise InvalidConfigurationError(f"{document}.{name}: text=True is for str and list[str], not {annotation}")
        if self.links is not None and self.links != document and not hasattr(self.links, "_columns"):
            raise InvalidConfigurationError(
                f"{document}.{name}: links is a document class, such as Run, or the name of the class itself, "
                f"not {shown(self.links)}"
            )
        if type.kind is Kind.SCORES and self.origin is not Origin.STORE:
            raise InvalidConfigurationError(f"{document}.{name}: no index has values of the type {annotation}")
        made = ScoreColumns if type.kind is Kind.SCORES else Column
        value = self.value
        if own and value is not None and type.kind is not Kind.WORDS:
            value = _validated(value, annotation, type)
        return made(
            name, type, self.about, unit=self.unit or _UNITS.get(type.kind, ""), aliases=self.aliases,
            heading=self.heading, origin=self.origin, value=value, document=document,
            own=own, links=self.links, sortable=self.sortable,
        )  # fmt: skip


def _validated(compute: Callable[[Any], Any], annotation: Any, column: ColumnType) -> Callable[[Any], Any]:
    """A function of a user's, whose values become what the annotation says, as those of a pydantic field do.

    What it says is what is read back: a text that no member of an enum has would make the document unreadable.
    """
    validate, is_time = TypeAdapter(annotation).validate_python, column.kind is Kind.TIME
    # What is of that type already, where the annotation says no more than a type.
    exact = column.python if annotation in (column.python, column.python | None) else None

    def value(record: Any) -> Any:
        made = compute(record)
        if made is None or type(made) is exact:
            return made
        try:
            return validate(as_datetime(made) if is_time else made)
        except ValidationError as error:
            raise ValueError(f"{shown(made)}: {error.errors(include_url=False)[0]['msg']}") from None

    return value


_FIELD_OPTIONS = frozenset(inspect.signature(Field).parameters) - {"description", "extra"}

# Words of the filter language that begin a condition, and columns of aggregates and of commands that compute them.
_RESERVED = frozenset({"not", "all", "none", "count", "bucket", "n", "span", "own", "row", "own_row"})
_RESERVED_PATTERN = re.compile(r"(g|has|n|sum|min|max)[0-9]+|.*_words|u8_.*")

# Units that follow from the kind.
_UNITS = {Kind.TIME: "µs", Kind.DURATION: "µs"}


def column(
    about: str | Callable[[Any], Any] = "",
    /,
    *,
    value: Callable[[Any], Any] | None = None,
    unit: str = "",
    aliases: tuple[str, ...] = (),
    heading: str = "",
    origin: Origin = Origin.RECORD,
    text: bool = False,
    is_uuid: bool = False,
    links: Any = None,
    sortable: bool = True,
    **options: Any,
) -> Any:
    """Declare a field of a document class as a column of its index.

    The annotation says what it holds: ``Column[timedelta | None]``. From it follow the type in the index, whether
    there may be no value, how the value is stored and read, and which operators there are.

    Args:
        about: one line of meaning, and where the value comes from; a function is taken as `value`.
        value: makes the value from the record. Without it, the value is the attribute of the column's name of what
            `Document.summarize` makes of the record, as it is stored.
        unit: of the stored number.
        aliases: shorter names that filters, orders and the command line take.
        heading: its title in a table, where space is scarce.
        origin: where the value comes from, where that is not the record.
        text: it is running text that is searched by its words and never read back.
        is_uuid: a column of texts holds UUIDs.
        links: the document class whose ids it holds: run ids for `Run`, the ``pk`` of others. A class names itself as
            text, as in ``links="Comment"``.
        sortable: the index keeps the values for orders and aggregates, 32 bytes of a server's memory for a number, more
            for a text. Without, these read the values from the documents, which takes about ten times as long;
            filters are as quick.
        options: of the pydantic field, such as ``default``, ``ge`` and ``le``.

    Example:
        ```python
        class Plan(Document):
            groups: Column[int] = column("Groups of tools.", value=lambda plan: len(plan.parallel_groups))
        ```
    """
    if not isinstance(about, str):
        value, about = about, ""
    return Declaration(about, value, unit, aliases, heading, origin, text, is_uuid, links, sortable, options)


def check_name(document: str, name: str) -> None:
    """Refuse a name of a user's column that means something else in filters, aggregates or a server's queries.

    Raises:
        InvalidConfigurationError: it does.
    """
    if not name.isidentifier():
        raise InvalidConfigurationError(f"{document}: {name!r} is no name that a column can have: no Python identifier")
    if unicodedata.normalize("NFKC", name).casefold() in _RESERVED or _RESERVED_PATTERN.fullmatch(name):
        raise InvalidConfigurationError(
            f"{document}.{name}: filters and aggregates use the name {name!r} themselves; choose another for the column"
        )


def check_names(document: str, names: Iterable[str], taken: Container[str]) -> None:
    """Refuse declarations of names that the document has already.

    Raises:
        InvalidConfigurationError: one is taken.
    """
    for name in names:
        if name in taken:
            raise InvalidConfigurationError(
                f"{document}.{name}: there is a column of that name already; choose another name"
            )


def apply_default(field: Any, column: Column[Any]) -> bool:
    """Give a field the default that its column's type implies; whether that changed it."""
    if field.default is not PydanticUndefined or field.default_factory is not None or not column.nullable:
        return False
    if column.type.empty is not None:
        field.default_factory = column.type.empty
    else:
        field.default = None
    return True
