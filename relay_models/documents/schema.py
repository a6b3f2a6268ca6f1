"""The search indexes: which columns they have, and the commands that make them."""

from __future__ import annotations

from relay_models.columns.column import Column, Kind
from relay_models.columns.tags import words_column
from relay_models.documents.keys import Keys
from relay_models.documents.kinds import KINDS

__all__ = ["create_index_command", "index_columns"]


def index_columns(kind: str, *, text: bool = False) -> frozenset[str]:
    """Names of the columns that the index of a kind has."""
    columns = _indexed(kind, text)
    return frozenset(
        [column.name for column in columns] + [words_column(column) for column in columns if column.kind is Kind.WORDS]
    )


def create_index_command(kind: str, keys: Keys, *, text: bool = False) -> list[str | bytes | int]:
    """FT.CREATE for the index of a kind, as a list of arguments.

    Texts are tags without a separator, case-sensitive and kept when empty, so each is found exactly; numbers are
    sortable. `text` adds the column of words, without stemming and stop words: words are cut when they are stored.
    """
    schema: list[str | bytes | int] = []
    for column in _indexed(kind, text):
        if column.kind is Kind.WORDS:
            # The same words twice: in their order for phrases, and as values that can be listed, for beginnings.
            schema += [column.path, "AS", column.name, "TEXT", "NOSTEM"]
            schema += [
                column.path,
                "AS",
                words_column(column),
                "TAG",
                "SEPARATOR",
                " ",
                "CASESENSITIVE",
                "INDEXMISSING",
            ]
            continue
        schema += [column.path, "AS", column.name, *_TYPES[column.kind]]
        # Where a text may be absent, the index must keep that to be asked for it; numbers show it by their range.
        if column.kind is Kind.TAGS or (column.kind is Kind.TAG and column.nullable) or column.name in _REPORTED:
            schema.append("INDEXMISSING")
        if column.kind is Kind.TAG:
            schema += ["SORTABLE", "UNF"]
        elif column.ordered:
            schema.append("SORTABLE")
    return [
        *("FT.CREATE", keys.index(kind, text=text), "ON", "JSON", "PREFIX", 1, keys.root(kind)),
        *("STOPWORDS", 0, "SCHEMA", *schema),
    ]


# Columns that every document of ours has: what lacks them was written by something else.
_REPORTED = ("agent_id", "stored_at")

_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.TAG: ("TAG", "CASESENSITIVE", "INDEXEMPTY"),
    Kind.TAGS: ("TAG", "CASESENSITIVE", "INDEXEMPTY"),
    Kind.COUNT: ("NUMERIC",),
    Kind.NUMBER: ("NUMERIC",),
    Kind.TIME: ("NUMERIC",),
    Kind.DURATION: ("NUMERIC",),
}


def _indexed(kind: str, text: bool) -> list[Column[object]]:
    return [column for column in KINDS[kind].document.columns().values() if text or column.kind is not Kind.WORDS]
