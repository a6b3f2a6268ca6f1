"""Decoders of replies, RESP2 and RESP3 alike, and whether an answer is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from relay_models.columns.tags import unescape_tag
from relay_models.errors import IncompleteAnswerError
from relay_models.query.steps import Answer

__all__ = [
    "IndexInfo",
    "Rows",
    "check_complete",
    "decode_body",
    "decode_cursor",
    "decode_index_info",
    "decode_rows",
    "decode_time",
    "decode_total",
    "decode_values",
    "incomplete",
    "record_slots",
]

# Warnings that do not say that rows are missing, by a part of their text. Every other warning means a partial answer.
# Redis 8.10 with search-workers 0 runs a query with its own maximum in place of a longer TIMEOUT, and says so.
_HARMLESS = ("effective timeout was capped",)
# The path of a record's text, as rows name it.
_RECORD = b"$.record"


@dataclass(slots=True)
class Rows:
    """Rows of an answer, each a mapping of names to bytes, and the warnings that rows may be missing.

    A row is None where its document was replaced or deleted while a cursor was open, or has just expired: the reply has
    null there, a cluster's a row without columns.
    """

    rows: list[dict[bytes, Any] | None]
    warnings: list[str] = field(default_factory=list)

    def present(self) -> list[dict[bytes, Any]]:
        """The rows whose documents exist."""
        return [row for row in self.rows if row is not None]


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An index as FT.INFO describes it.

    `name` is the index's own name behind an alias. `replaced` grows whenever a document is replaced or deleted.
    """

    name: str
    indexing: bool
    filled: float
    documents: int
    failures: int
    columns: frozenset[str]
    replaced: int = 0
    fields: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Name, path and declaring words of each column."""
    bytes: int = 0
    types: Mapping[str, str] = field(default_factory=dict)
    """The index type (TAG, NUMERIC, TEXT) of each attribute."""
    out_of_memory: bool = False
    """Whether the server stopped filling it for lack of memory, which Redis 8 says."""


def decode_rows(reply: Any) -> Rows:
    """Decode the reply to FT.AGGREGATE."""
    if isinstance(reply, Mapping):
        fields = _by_bytes(reply)
        return Rows([_row(row) for row in fields.get(b"results", ())], _warnings(fields))
    return Rows([_pairs(row) if row else None for row in reply[1:]])


def decode_cursor(reply: Any) -> tuple[Rows, int]:
    """Decode the reply to FT.AGGREGATE WITHCURSOR or FT.CURSOR READ: the rows, and the cursor (0 at the end)."""
    found, cursor = reply
    return decode_rows(found), int(cursor)


def decode_total(reply: Any) -> tuple[int, list[str]]:
    """Decode the reply to FT.SEARCH with LIMIT 0 0: how many documents match, and the warnings."""
    if isinstance(reply, Mapping):
        fields = _by_bytes(reply)
        return int(fields[b"total_results"]), _warnings(fields)
    return int(reply[0]), []


def decode_values(reply: Any) -> list[str]:
    """Decode the reply to FT.TAGVALS: the values of a column, unescaped."""
    return [unescape_tag(_text(value)) for value in reply]


def decode_index_info(reply: Any) -> IndexInfo:
    """Decode the reply to FT.INFO."""
    fields = _by_bytes(reply)
    failed = _by_bytes(fields.get(b"Index Errors", {})).get(b"background indexing status", b"")
    # Every document that is written gets a greater internal number.
    documents, greatest = _integer(fields.get(b"num_docs")), _integer(fields.get(b"max_doc_id"))
    return IndexInfo(
        name=_text(fields.get(b"index_name", b"")),
        indexing=bool(_integer(fields.get(b"indexing"))),
        filled=float(fields.get(b"percent_indexed", 1)),
        documents=documents,
        failures=_integer(fields.get(b"hash_indexing_failures")),
        columns=frozenset(name for entry in fields.get(b"attributes", ()) for name in _attribute(entry)),
        types={
            name: kind
            for entry in fields.get(b"attributes", ())
            for name, kind in zip(_attribute(entry), _attribute(entry, "type"), strict=False)
        },
        replaced=greatest - documents,
        fields=tuple(_field(entry) for entry in fields.get(b"attributes", ())),
        bytes=_size(_number(fields.get(b"total_index_memory_sz_mb"))),
        out_of_memory="OOM" in _text(failed),
    )


def _size(megabytes: float) -> int:
    """Bytes, 0 for a number that has gone below zero on the server, where it is an unsigned one."""
    return int(megabytes * 2**20) if megabytes < 2**43 else 0


def decode_body(reply: bytes | None) -> str | None:
    """Decode a reply to JSON.GET or JSON.MGET of ``$.record``: the record's text, or None without such a document.

    Raises:
        ValueError: the document has no text there.
    """
    if reply is None:
        return None
    found = from_json(reply)
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], str):
        raise ValueError("it has no record text")
    return found[0]


def record_slots(reply: Any) -> Iterator[tuple[Any, Any, bytes]]:
    """The texts of records in a reply to FT.AGGREGATE or FT.CURSOR READ: what holds each, its place in that, the text.

    A text may be replaced in its place before the reply is decoded.
    """
    if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], list | Mapping):
        reply = reply[0]  # the rest is a cursor
    if isinstance(reply, Mapping):
        rows = (_by_bytes(row).get(b"extra_attributes") for row in _by_bytes(reply).get(b"results", ()) if row)
    else:
        rows = iter(reply[1:])
    for row in rows:
        if isinstance(row, dict):
            place: Any = _RECORD if _RECORD in row else _RECORD.decode()
            text = row.get(place)
        elif isinstance(row, list):
            place = next((at + 1 for at in range(0, len(row) - 1, 2) if _bytes(row[at]) == _RECORD), None)
            text = None if place is None else row[place]
        else:
            continue
        if isinstance(text, bytes):
            yield row, place, text


def decode_time(reply: Any) -> int:
    """Decode the reply to TIME, in microseconds."""
    seconds, microseconds = reply
    return int(seconds) * 1_000_000 + int(microseconds)


def incomplete(warnings: list[str], answer: Answer, limit_ms: int) -> str | None:
    """Why an answer may be partial, or None where it is known to be complete.

    RESP3 says so in a warning. RESP2 does not: there, an answer that took less than the server's time limit is
    complete, and one that took longer may be partial.
    """
    if warnings:
        return "; ".join(warnings)
    if limit_ms and not _is_resp3(answer.reply) and answer.elapsed_ms >= limit_ms:
        return (
            f"it took {answer.elapsed_ms:.0f} ms, at least the time limit of {limit_ms} ms, and RESP2 does not say "
            "whether an answer is complete"
        )
    return None


def check_complete(warnings: list[str], answer: Answer, limit_ms: int, partial: bool, found: Any = None) -> str | None:
    """Like `incomplete`, but raise `IncompleteAnswerError` unless `partial` answers are allowed."""
    why = incomplete(warnings, answer, limit_ms)
    if why is not None and not partial:
        raise IncompleteAnswerError(
            f"the server may have cut its answer short: {why}; narrow the filter, allow more time, or ask for what "
            "there is with on_incomplete='partial'",
            found,
        )
    return why


def _row(row: Any) -> dict[bytes, Any] | None:
    if row is None:
        return None
    values = _by_bytes(row)[b"extra_attributes"]
    return dict(_by_bytes(values)) if values else None


def _attribute(entry: Any, of: str = "attribute") -> list[str]:
    # In RESP2 a list of names and values that ends with flags.
    pairs = entry.items() if isinstance(entry, Mapping) else zip(entry[::2], entry[1::2], strict=False)
    return [_text(value) for name, value in pairs if _text(name) == of]


def _field(entry: Any) -> tuple[str, str, tuple[str, ...]]:
    """A column as FT.INFO describes it; RESP2 has names and values, then flags."""
    if isinstance(entry, Mapping):
        words = {_text(name): value for name, value in entry.items()}
        flags = [_text(flag) for flag in words.get("flags", ())]
    else:
        known = [_text(part) for part in entry]
        pairs = 8 if "SEPARATOR" in known[6:7] or "WEIGHT" in known[6:7] else 6
        words = dict(zip(known[:pairs:2], known[1:pairs:2], strict=True))
        flags = known[pairs:]
    # In the order in which FT.CREATE takes them.
    flags.sort(key=lambda flag: flag in ("SORTABLE", "UNF"))
    separator = ["SEPARATOR", found] if (found := _text(words.get("SEPARATOR", ""))) else []
    return _text(words["attribute"]), _text(words["identifier"]), (_text(words["type"]), *separator, *flags)


def _number(value: Any) -> float:
    return 0.0 if value is None else float(value)


def _is_resp3(reply: Any) -> bool:
    if isinstance(reply, list) and reply:
        reply = reply[0]
    return isinstance(reply, Mapping)


def _warnings(fields: Mapping[bytes, Any]) -> list[str]:
    found = fields.get(b"warning") or ()
    texts = [_text(warning) for warning in ([found] if isinstance(found, bytes | str) else found)]
    return [text for text in texts if not any(part in text.lower() for part in _HARMLESS)]


def _pairs(row: list[Any]) -> dict[bytes, Any]:
    return {_bytes(name): value for name, value in zip(row[::2], row[1::2], strict=False)}


def _by_bytes(fields: Any) -> Mapping[bytes, Any]:
    if type(fields) is not dict and not isinstance(fields, Mapping):
        return _pairs(fields)
    first = next(iter(fields), b"")
    return fields if type(first) is bytes else {_bytes(name): value for name, value in fields.items()}


def _integer(value: Any) -> int:
    return 0 if value is None else int(float(value))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
