"""Replies to FT.SEARCH, FT.AGGREGATE, FT.CURSOR and FT.TAGVALS taken apart, RESP2 and RESP3 alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_models.columns.tags import unescape_tag
from relay_models.errors import IncompleteAnswerError
from relay_models.query.steps import Answer

__all__ = [
    "Documents",
    "Rows",
    "check_complete",
    "decode_attributes",
    "decode_cursor",
    "decode_documents",
    "decode_rows",
    "decode_total",
    "decode_values",
    "incomplete",
]


@dataclass(slots=True)
class Rows:
    """Rows of an answer, each a mapping of names to bytes, and the server's warnings.

    A row is None where its document was replaced or deleted while a cursor was open, or has just expired.
    """

    rows: list[dict[bytes, Any] | None]
    warnings: list[str] = field(default_factory=list)

    def present(self) -> list[dict[bytes, Any]]:
        """The rows that are there."""
        return [row for row in self.rows if row is not None]


def decode_rows(reply: Any) -> Rows:
    """Read the reply to FT.AGGREGATE."""
    if isinstance(reply, Mapping):
        fields = _by_bytes(reply)
        return Rows([_row(row) for row in fields.get(b"results", ())], _warnings(fields))
    return Rows([None if row is None else _pairs(row) for row in reply[1:]])


def _row(row: Any) -> dict[bytes, Any] | None:
    if row is None:
        return None
    values = _by_bytes(row)[b"extra_attributes"]
    return None if values is None else dict(_by_bytes(values))


def decode_cursor(reply: Any) -> tuple[Rows, int]:
    """Read the reply to FT.AGGREGATE WITHCURSOR or FT.CURSOR READ: the rows, and the cursor (0 at the end)."""
    found, cursor = reply
    return decode_rows(found), int(cursor)


def decode_total(reply: Any) -> tuple[int, list[str]]:
    """Read the reply to FT.SEARCH with LIMIT 0 0: how many documents match, and the warnings."""
    if isinstance(reply, Mapping):
        fields = _by_bytes(reply)
        return int(fields[b"total_results"]), _warnings(fields)
    return int(reply[0]), []


def decode_values(reply: Any) -> list[str]:
    """Read the reply to FT.TAGVALS: the values that a column has, as users know them."""
    return [unescape_tag(_text(value)) for value in reply]


@dataclass(frozen=True, slots=True)
class Documents:
    """How many documents an index has, and a number that grows whenever one is replaced or deleted."""

    count: int
    replaced: int


def decode_documents(reply: Any) -> Documents:
    """Read the reply to FT.INFO: every document that is written gets a greater number."""
    fields = _by_bytes(reply if isinstance(reply, Mapping) else _pairs(reply))
    count = int(float(fields[b"num_docs"]))
    return Documents(count, int(float(fields[b"max_doc_id"])) - count)


def decode_attributes(reply: Any) -> set[str]:
    """Read the reply to FT.INFO: the names of what the index holds."""
    fields = reply if isinstance(reply, Mapping) else _pairs(reply)
    names = set()
    for entry in _by_bytes(fields).get(b"attributes", ()):
        # In RESP2 a list of names and values that ends with flags.
        pairs = entry.items() if isinstance(entry, Mapping) else zip(entry[::2], entry[1::2], strict=False)
        names |= {_text(value) for name, value in pairs if _text(name) == "attribute"}
    return names


def incomplete(warnings: list[str], answer: Answer, limit_ms: int) -> str | None:
    """Why an answer may lack something, or None where it is known to be whole.

    RESP3 says so in a warning. RESP2 does not: there, an answer that took less than the server's time limit is whole,
    and one that took longer cannot be told from a part.
    """
    if warnings:
        return "; ".join(warnings)
    if limit_ms and not _tells(answer.reply) and answer.elapsed_ms >= limit_ms:
        return (
            f"it took {answer.elapsed_ms:.0f} ms, at least the time limit of {limit_ms} ms, and RESP2 does not tell a "
            "part from the whole"
        )
    return None


def check_complete(warnings: list[str], answer: Answer, limit_ms: int, partial: bool, found: Any = None) -> str | None:
    """`incomplete`, raised as `IncompleteAnswerError` unless `partial` answers are welcome."""
    why = incomplete(warnings, answer, limit_ms)
    if why is not None and not partial:
        raise IncompleteAnswerError(
            f"the server may have cut its answer short: {why}; narrow the filter, allow more time, or ask for what "
            "there is with on_incomplete='partial'",
            found,
        )
    return why


def _tells(reply: Any) -> bool:
    if isinstance(reply, list) and reply:
        reply = reply[0]
    return isinstance(reply, Mapping)


def _warnings(fields: Mapping[bytes, Any]) -> list[str]:
    found = fields.get(b"warning") or ()
    return [_text(warning) for warning in ([found] if isinstance(found, bytes | str) else found)]


def _pairs(row: list[Any]) -> dict[bytes, Any]:
    return {_bytes(name): value for name, value in zip(row[::2], row[1::2], strict=True)}


def _by_bytes(fields: Any) -> Mapping[bytes, Any]:
    if type(fields) is not dict and not isinstance(fields, Mapping):
        return _pairs(fields)
    first = next(iter(fields), b"")
    return fields if type(first) is bytes else {_bytes(name): value for name, value in fields.items()}


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
