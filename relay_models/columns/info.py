"""`ColumnInfo`: all that is declared of a column, and `find_column` by its name or a short one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Self, TypeVar

from relay_models.columns.kind import NUMERIC, Kind
from relay_models.columns.types import ColumnType

__all__ = ["OWN", "SORT_REST", "ColumnInfo", "Origin", "column_name", "find_column", "rest_steps", "unquote"]

OWN = "own"
"""The member of a stored document that holds the values of a user's columns, as the index reads them."""

SORT_REST = "sort_rest"
"""What rows are sorted by after a number, of which the shards of a cluster send twelve digits: the rest of it."""

# What the names of columns begin with in an index where they are written as the hexadecimal digits of their UTF-8.
_ENCODED = "u8_"

ColumnInfoType = TypeVar("ColumnInfoType", bound="ColumnInfo")


class Origin(StrEnum):
    """Where a column's value comes from."""

    RECORD = "record"
    """Computed from the record."""
    KEY = "key"
    """Given by the caller beside the record: what the record is stored for."""
    STORE = "store"
    """Set when it is stored."""


def rest_steps(name: str) -> list[str | int]:
    """What of an aggregate makes `SORT_REST` of a number that every row has."""
    return ["APPLY", f'@{name} - to_number(format("%s", @{name}))', "AS", SORT_REST]


class ColumnInfo:
    """What is declared of a column.

    Args:
        name: as in the document, in results and in the filter language.
        type: what its annotation means to the index.
        about: one line of meaning, and where the value comes from.
        unit: of the stored number.
        aliases: shorter names that filters, orders and the command line take.
        heading: its title in a table, where space is scarce; the name unless given.
        origin: where the value comes from.
        value: makes the value from the record; None takes the attribute of that name of the document's summary.
        document: name of the document type, for messages.
        own: a user declared it; its values are kept by name, apart from those of built-in columns.
        links: the document class whose ids it holds.
        sortable: the index keeps its values for orders and aggregates, which otherwise read the documents.

    Attributes:
        index_name: its name in an index: ASCII letters, digits and ``_``, as others cannot stand in a query.
        own_name: the name of its values in the documents, where a user declared it. It says what they are: while the
            type of a column is changed, documents have the values of both types, for the old index and the new one.
    """

    __slots__ = (
        "about", "aliases", "document", "heading", "index_name", "kind", "links", "name", "origin", "own", "own_name",
        "sortable", "type", "unit", "value",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        type: ColumnType,
        about: str = "",
        *,
        unit: str = "",
        aliases: tuple[str, ...] = (),
        heading: str = "",
        origin: Origin = Origin.RECORD,
        value: Callable[[Any], Any] | None = None,
        document: str = "",
        own: bool = False,
        links: Any = None,
        sortable: bool = True,
    ) -> None:
        self.name = name
        self.index_name = name if name.isascii() else f"{_ENCODED}{name.encode().hex()}"
        self.type = type
        self.kind: Kind = type.kind
        self.own_name = f"{Kind.NUMBER if self.kind is Kind.COUNT else self.kind}_{self.index_name}"
        self.about = about
        self.unit = unit
        self.aliases = aliases
        self.heading = heading or name
        self.origin = origin
        self.value = value
        self.document = document
        self.own = own
        self.links = links
        self.sortable = sortable

    def copy_for(self, document: str) -> Self:
        """The same column of another document type."""
        return type(self)(
            self.name, self.type, self.about, unit=self.unit, aliases=self.aliases, heading=self.heading,
            origin=self.origin, value=self.value, document=document,
            own=self.own, links=self.links, sortable=self.sortable,
        )  # fmt: skip

    @property
    def nullable(self) -> bool:
        """There may be no value."""
        return self.type.nullable

    @property
    def choices(self) -> tuple[str, ...]:
        """All texts there are, where they are few and known."""
        return self.type.choices

    @property
    def is_uuid(self) -> bool:
        """It holds UUIDs: hexadecimal texts, about as many as there are documents."""
        return self.type.is_uuid

    @property
    def ordered(self) -> bool:
        """It holds numbers: it can be compared, sorted and summed."""
        return self.kind in NUMERIC

    @property
    def sort_name(self) -> str:
        """The name by which a server sorts rows."""
        return self.index_name

    @property
    def sort_names(self) -> tuple[str, ...]:
        """All names by which a server sorts rows: `sort_name`, and what tells values apart that it does not."""
        return (self.sort_name,)

    def sort_steps(self) -> list[str | int]:
        """What of an aggregate makes the values of `sort_names`, where the index has none."""
        return ["LOAD", len(self.loads), *self.loads] if self.loads else []

    @property
    def loads(self) -> tuple[str, ...]:
        """What an aggregate must load before its expressions can use the column: what the index does not keep."""
        return () if self.sortable else (f"@{self.index_name}",)

    @property
    def path(self) -> str:
        """Where the values are in the JSON document, as the index reads them."""
        return f"{self.member_path}[*]" if self.kind is Kind.TAGS else self.member_path

    @property
    def member_path(self) -> str:
        """Where the value is in the JSON document, as one member."""
        return f"$.{OWN}.{self.own_name}" if self.own else f"$.{self.name}"

    @property
    def stored_in(self) -> str:
        """Name of the column of the document that has the values."""
        return self.name

    def read(self, values: Mapping[str, Any]) -> Any:
        """The column's value among the stored values of a document; None where there is none."""
        return values.get(self.name)

    def member(self, name: str) -> Any:
        """The column that is written with this name after a dot, where a column has such; None for others."""
        return None

    def __repr__(self) -> str:
        return f"{self.document}.{self.name}" if self.document else self.name


def column_name(index_name: str) -> str:
    """The name of the column that an index names so."""
    if not index_name.startswith(_ENCODED):
        return index_name
    try:
        return bytes.fromhex(index_name.removeprefix(_ENCODED)).decode()
    except ValueError:
        return index_name


def find_column(columns: Mapping[str, ColumnInfoType], name: str) -> ColumnInfoType | None:
    """The column of that name, in any case, or with that short name; None where there is none.

    ``score.helpfulness`` is the score of that name; a name with blanks is quoted: ``score."to the point"``.
    """
    found = columns.get(name)
    if found is not None:
        return found
    before, dot, after = name.partition(".")
    if not before.isascii():
        # As Python does with the names in a class.
        found = columns.get(unicodedata.normalize("NFKC", before))
        if found is not None and not dot:
            return found
    lowered = before.lower()
    found = columns.get(lowered) or next((column for column in columns.values() if lowered in column.aliases), None)
    if not dot or found is None:
        return None if dot else found
    return found.member(unquote(after) if after[:1] in ("'", '"') else after) if after else None


_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}


def unquote(text: str) -> str:
    """A quoted text of the filter language without its quotes; ValueError for a code that is no character."""

    def replace(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None:
            return _NAMED.get(match[3], match[3])
        if int(code, 16) > 0x10FFFF or 0xD800 <= int(code, 16) <= 0xDFFF:
            raise ValueError(f"\\u{{{code}}} is not a character")
        return chr(int(code, 16))

    return _ESCAPE.sub(replace, text[1:-1])
