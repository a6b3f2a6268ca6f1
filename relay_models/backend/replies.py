"""Replies of the server taken apart, RESP2 and RESP3 alike: index information, pages of keys, bodies of documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic_core import from_json

from relay_models.backend.reports import AgentSummary
from relay_models.columns.tags import unescape_tag

__all__ = [
    "IndexInfo",
    "KeyRow",
    "decode_agents",
    "decode_body",
    "decode_ids",
    "decode_index_info",
    "decode_key_page",
    "decode_texts",
    "first_timestamp",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What FT.INFO says: the index's own `name` behind an alias, how far it is filled, and its columns."""

    name: str
    indexing: bool
    filled: float
    documents: int
    failures: int
    columns: frozenset[str]


class KeyRow(NamedTuple):
    """A key and the place of its document in the list."""

    stored_at: int
    key: bytes


def decode_index_info(reply: Any) -> IndexInfo:
    """Read the reply to FT.INFO."""
    fields = _mapping(reply)
    columns = frozenset(_text(_mapping(entry).get("attribute", b"")) for entry in fields.get("attributes", ()))
    return IndexInfo(
        name=_text(fields["index_name"]),
        indexing=bool(int(float(fields.get("indexing", 0)))),
        filled=float(fields.get("percent_indexed", 1)),
        documents=int(float(fields.get("num_docs", 0))),
        failures=int(float(fields.get("hash_indexing_failures", 0))),
        columns=columns,
    )


def decode_key_page(reply: Any) -> tuple[list[KeyRow], list[str]]:
    """The rows of an FT.SEARCH that returns ``stored_at``, and the server's warnings (which RESP2 has not)."""
    found, warnings = _found(reply)
    return [KeyRow(int(values[b"stored_at"]), key) for key, values in found if b"stored_at" in values], warnings


def decode_texts(reply: Any) -> dict[bytes, bytes]:
    """The record texts that an FT.SEARCH returned, by key; a document without one is left out."""
    return {key: values[b"record"] for key, values in _found(reply)[0] if b"record" in values}


def decode_ids(reply: Any) -> list[bytes]:
    """The keys that an FT.SEARCH with NOCONTENT found."""
    if isinstance(reply, dict):
        return [row[b"id"] for row in reply.get(b"results", ())]
    return list(reply[1:])


def decode_agents(reply: Any) -> tuple[list[AgentSummary], list[str]]:
    """The rows of the FT.AGGREGATE by agent, ordered by name, and the server's warnings (which RESP2 has not)."""
    rows, warnings = _rows(reply)
    agents = [
        AgentSummary(
            agent_id=unescape_tag(_text(row["agent_id"])),
            runs=int(float(row["runs"])),
            running=int(float(row["running"])),
            last_started_at=_instant(row.get("started")),
            last_stored_at=_instant(row.get("stored")),
        )
        for row in rows
        if row.get("agent_id") is not None
    ]
    agents.sort(key=lambda agent: agent.agent_id)
    return agents, warnings


def decode_body(reply: bytes | None) -> str | None:
    """The record's text in a reply to JSON.GET or JSON.MGET of ``$.record``; None where there is no such document.

    Raises ValueError where the document has no text there.
    """
    if reply is None:
        return None
    found = from_json(reply)
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], str):
        raise ValueError("it has no record text")
    return found[0]


def first_timestamp(reply: Any) -> int:
    """The microseconds in a reply to TIME."""
    seconds, microseconds = reply
    return int(seconds) * 1_000_000 + int(microseconds)


def _found(reply: Any) -> tuple[list[tuple[bytes, dict[bytes, Any]]], list[str]]:
    """The keys of an FT.SEARCH with the values it returned, and the server's warnings.

    A document that went away while the server read it is left out, or has no values.
    """
    if isinstance(reply, dict):
        rows = [row for row in reply[b"results"] if row is not None]
        warnings = [_text(warning) for warning in reply.get(b"warning") or ()]
        return [(row[b"id"], row.get(b"extra_attributes") or {}) for row in rows], warnings
    pairs = zip(reply[1::2], reply[2::2], strict=True)
    return [(key, dict(zip(values[::2], values[1::2], strict=True))) for key, values in pairs if values], []


def _rows(reply: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of an FT.AGGREGATE and the server's warnings, which RESP2 has not.

    A row is null where the document went away while the server read it.
    """
    if isinstance(reply, dict):
        fields = _mapping(reply)
        rows = [_mapping(_mapping(row)["extra_attributes"]) for row in fields.get("results", ()) if row is not None]
        return rows, [_text(warning) for warning in fields.get("warning", ()) or ()]
    return [_mapping(row) for row in reply[1:] if row is not None], []


def _instant(value: Any) -> datetime | None:
    """A moment from its microseconds; None where there is none (the server's MAX of nothing is -inf)."""
    try:
        return _EPOCH + timedelta(microseconds=int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return None


def _mapping(reply: Any) -> dict[str, Any]:
    """A RESP3 map, or a RESP2 list of names and values in turn, with its names as text."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    return {_text(name): value for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
