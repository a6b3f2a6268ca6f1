"""The indexed columns of a document as rows, read off the FT.CREATE that is sent, and that command as text."""

from __future__ import annotations

from dataclasses import dataclass

from relay_models.documents import Keys, create_index_command
from relay_models.documents.kinds import DocumentKind, first_paragraph

__all__ = ["ColumnRow", "column_rows", "document_rows", "document_text", "index_command_text"]

EXAMPLE_PREFIX = "nemo_relay:"


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One column of a document.

    Args:
        name: as queries name it.
        path: where in the document it stands.
        type: ``TAG``, ``NUMERIC`` or ``TEXT``; empty for a field that is not indexed.
        options: the words after the type, such as ``CASESENSITIVE``.
        on_request: the column is only there where a store was opened with `index_text`.
        unit: of the number in the index, or empty.
        meaning: the field's description.
    """

    name: str
    path: str
    type: str
    options: tuple[str, ...]
    on_request: bool
    unit: str
    meaning: str

    @property
    def sortable(self) -> bool:
        """Whether results can be sorted by it inside the index."""
        return "SORTABLE" in self.options

    @property
    def many(self) -> bool:
        """Whether a document may have several values in it."""
        return self.path.endswith("[*]")


def _command(kind: DocumentKind, *, text: bool) -> list[str]:
    command = create_index_command(kind.name, Keys(EXAMPLE_PREFIX), text=text, document=kind.document)
    return [word.decode() if isinstance(word, bytes) else str(word) for word in command]


def _groups(kind: DocumentKind, *, text: bool) -> tuple[list[str], list[list[str]]]:
    """The command up to SCHEMA, and the words of each column."""
    words = _command(kind, text=text)
    start = words.index("SCHEMA") + 1
    groups: list[list[str]] = []
    for word in words[start:]:
        if word.startswith("$"):
            groups.append([])
        groups[-1].append(word)
    return words[:start], groups


def column_rows(kind: DocumentKind) -> list[ColumnRow]:
    """The columns of the index, in its order; those that are there only on request come marked."""
    columns = {column.index_name: column for column in kind.document.columns().values()}
    standard = {group[0] for group in _groups(kind, text=False)[1]}
    rows = []
    for path, _, name, index, *options in _groups(kind, text=True)[1]:
        if name in columns:  # what else there is, is a second index over the same values, for the compiler's use
            unit, about = columns[name].unit, columns[name].about
            rows.append(ColumnRow(columns[name].name, path, index, tuple(options), path not in standard, unit, about))
    return rows


def document_rows(kind: DocumentKind) -> list[ColumnRow]:
    """All fields of the document: the columns, and what is kept beside them without being indexed."""
    if kind.document.is_own_model():
        about = f"The fields as JSON text: {kind.shape_text}."
        return [*column_rows(kind), ColumnRow("record", "$.record", "", (), False, "", about)]
    packed = ", compressed in a store that compresses" if kind.name == "run" else ""
    return [
        *column_rows(kind),
        *([] if kind.many else [ColumnRow("pk", "$.pk", "", (), False, "", "The agent id: redis-om's name of it.")]),
        ColumnRow("record", "$.record", "", (), False, "", f"The record as JSON text{packed}: {kind.shape_text}."),
    ]


def index_command_text(kind: DocumentKind) -> str:
    """The FT.CREATE that makes the index, a column a line."""
    head, groups = _groups(kind, text=False)
    lines = [" ".join(_quoted(word) for word in head)]
    lines += ["    " + " ".join(_quoted(word) for word in group) for group in groups]
    return "\n".join(lines)


def _quoted(word: str) -> str:
    return (
        word
        if word and not set(word) & set(" '\"\\|{}")
        else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def document_text(kind: DocumentKind) -> str:
    """What a kind's document is: the first paragraph of its class's docstring."""
    return first_paragraph(kind.document)
