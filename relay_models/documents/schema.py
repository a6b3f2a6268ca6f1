"""`create_index_command`: the search index of a document type, which follows from its columns."""

from __future__ import annotations

import functools
import hashlib

from relay_models.columns.column import Column, Kind
from relay_models.columns.tags import words_column
from relay_models.documents.base import Document
from relay_models.documents.keys import COLUMNS_VERSION, Keys
from relay_models.documents.kinds import KINDS

__all__ = ["STAMP", "create_index_command", "index_columns", "index_fields", "own_layout", "stamp_name"]


def index_columns(kind: str, *, text: bool = False, document: type[Document] | None = None) -> frozenset[str]:
    """Names of the attributes that the index of a document type has; `document` where it is not the built-in one."""
    columns = _indexed(KINDS[kind].document if document is None else document, text)
    return frozenset(
        [STAMP]
        + [column.index_name for column in columns]
        + [words_column(column) for column in columns if column.kind is Kind.WORDS]
    )


def create_index_command(
    kind: str, keys: Keys, *, text: bool = False, document: type[Document] | None = None
) -> list[str | bytes | int]:
    """FT.CREATE for the index of a document type, as a list of arguments.

    Args:
        kind: name of the document type.
        keys: names of the store's keys and indexes.
        text: with the columns of running text.
        document: the document class, where that is not the built-in one.
    """
    document = KINDS[kind].document if document is None else document
    name = keys.index(kind, text=text, own=own_layout(document))
    command: list[str | bytes | int] = ["FT.CREATE", name, "ON", "JSON"]
    command += ["PREFIX", 1, keys.root(kind), "STOPWORDS", 0, "SCHEMA"]
    return [*command, *index_fields(document, text=text)]


def own_layout(document: type[Document]) -> str:
    """What identifies the columns that a user declared: a hash of their names and types; empty without any."""
    fields = [(made.own_name, made.kind.value, made.nullable) for made in document.columns().values() if made.own]
    return hashlib.sha256(repr(sorted(fields)).encode()).hexdigest()[:12] if fields else ""


def index_fields(document: type[Document], *, text: bool = False) -> list[str]:
    """What stands after SCHEMA in the FT.CREATE of a document class.

    Texts are tags without a separator, case-sensitive and kept when empty, so each is found exactly; texts and
    numbers are sortable unless their declaration says otherwise. Running text is indexed without stemming and stop
    words: words are cut when they are stored.

    Args:
        document: the document class.
        text: with the columns of running text.
    """
    fields: list[str] = []
    for column in _indexed(document, text):
        if column.kind is Kind.WORDS:
            # The same words twice: in their order for phrases, and as values that can be listed, for beginnings.
            fields += [column.path, "AS", column.index_name, "TEXT", "NOSTEM"]
            fields += [column.path, "AS", words_column(column), *_WORD_VALUES]
            continue
        fields += [column.path, "AS", column.index_name, *_TYPES[column.kind]]
        # Where a text may be absent, the index must keep that to be asked for it; numbers show it by their range.
        several = column.kind in (Kind.TAGS, Kind.SCORES)
        if several or (column.kind is Kind.TAG and column.nullable) or column.name in _REPORTED:
            fields.append("INDEXMISSING")
        if column.sortable and column.kind is Kind.TAG:
            fields += ["SORTABLE", "UNF"]
        elif column.sortable and column.ordered:
            fields.append("SORTABLE")
    return [*fields, f"$.{stamp_name(document, text=text)}", "AS", STAMP, "NUMERIC"]


STAMP = "made_at"
"""The attribute that says for which version of a document (its ``updated_at``) its columns were computed."""


@functools.cache
def stamp_name(document: type[Document], *, text: bool = False) -> str:
    """The member of a document that `STAMP` is, which each set of columns has of its own.

    A writer of other columns changes the ``updated_at`` of a document and not this: the two then differ, and the
    columns of the document have to be computed again.
    """
    own = own_layout(document)
    return f"made_v{COLUMNS_VERSION}{'t' if text and document._kind == 'run' else ''}{f'_{own}' if own else ''}"


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
    return [
        column
        for column in document.columns().values()
        if text or column.kind is not Kind.WORDS or document.is_own_model()
    ]
