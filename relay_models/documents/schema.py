"""`create_index_command`: the search index of a document type, which follows from its columns."""

from __future__ import annotations

import functools
import hashlib

from relay_models.columns.column import Column, Kind
from relay_models.columns.tags import words_column
from relay_models.documents.base import Document
from relay_models.documents.keys import LAYOUT_VERSION, Keys
from relay_models.documents.kinds import KINDS

__all__ = ["STAMP", "create_index_command", "index_columns", "index_fields", "stamp_name"]


def index_columns(kind: str, *, text: bool = False) -> frozenset[str]:
    """Names of the attributes that the index of a document type has."""
    columns = _indexed(KINDS[kind].document, text)
    return frozenset(
        [STAMP]
        + [column.name for column in columns]
        + [words_column(column) for column in columns if column.kind is Kind.WORDS]
    )


def create_index_command(kind: str, keys: Keys, *, text: bool = False) -> list[str | bytes | int]:
    """FT.CREATE for the index of a document type, as a list of arguments.

    Args:
        kind: name of the document type.
        keys: names of the store's keys and indexes.
        text: with the columns of running text.
    """
    command: list[str | bytes | int] = ["FT.CREATE", keys.index(kind, text=text), "ON", "JSON"]
    command += ["PREFIX", 1, keys.root(kind), "STOPWORDS", 0, "SCHEMA"]
    return [*command, *index_fields(KINDS[kind].document, text=text)]


def index_fields(document: type[Document], *, text: bool = False) -> list[str]:
    """What stands after SCHEMA in the FT.CREATE of a document class.

    Texts are tags without a separator, case-sensitive and kept when empty, so each is found exactly; numbers are
    sortable. Running text is indexed without stemming and stop words: words are cut when they are stored.

    Args:
        document: the document class.
        text: with the columns of running text.
    """
    fields: list[str] = []
    for column in _indexed(document, text):
        if column.kind is Kind.WORDS:
            # The same words twice: in their order for phrases, and as values that can be listed, for beginnings.
            fields += [column.path, "AS", column.name, "TEXT", "NOSTEM"]
            fields += [column.path, "AS", words_column(column), *_WORD_VALUES]
            continue
        fields += [column.path, "AS", column.name, *_TYPES[column.kind]]
        # Where a text may be absent, the index must keep that to be asked for it; numbers show it by their range.
        if (
            column.kind in (Kind.TAGS, Kind.SCORES)
            or (column.kind is Kind.TAG and column.nullable)
            or column.name in _REPORTED
        ):
            fields.append("INDEXMISSING")
        if column.kind is Kind.TAG:
            fields += ["SORTABLE", "UNF"]
        elif column.ordered:
            fields.append("SORTABLE")
    return [*fields, f"$.{stamp_name(document, text=text)}", "AS", STAMP, "NUMERIC", "SORTABLE"]


STAMP = "made_at"
"""The attribute that says for which version of a document (its ``updated_at``) its columns were computed."""


@functools.cache
def stamp_name(document: type[Document], *, text: bool = False) -> str:
    """The member of a document that `STAMP` is, which each layout has of its own.

    Whoever writes a document by another layout changes its ``updated_at`` and not this: the two then differ, and the
    document's columns have to be computed again.
    """
    name = f"made_v{LAYOUT_VERSION}{'t' if text and document.kind == 'run' else ''}"
    if KINDS[document.kind].document is document:
        return name
    columns = [f"{column.path} {column.kind}" for column in _indexed(document, text)]
    return f"{name}_{hashlib.sha256(' '.join(columns).encode()).hexdigest()[:8]}"


# Columns that every document of ours has: what lacks them was written by something else.
_REPORTED = ("agent_id", "stored_at")

_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.TAG: ("TAG", "CASESENSITIVE", "INDEXEMPTY"),
    Kind.TAGS: ("TAG", "CASESENSITIVE", "INDEXEMPTY"),
    Kind.SCORES: ("TAG", "CASESENSITIVE"),
    Kind.COUNT: ("NUMERIC",),
    Kind.NUMBER: ("NUMERIC",),
    Kind.TIME: ("NUMERIC",),
    Kind.DURATION: ("NUMERIC",),
}


_WORD_VALUES = ("TAG", "SEPARATOR", " ", "CASESENSITIVE", "INDEXMISSING")


def _indexed(document: type[Document], text: bool) -> list[Column[object]]:
    return [column for column in document.columns().values() if text or column.kind is not Kind.WORDS]
