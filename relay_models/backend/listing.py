"""The commands that list an agent's runs in order, page after page, by where the last page ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay_models.backend.replies import KeyRow
from relay_models.columns.tags import tag_parameter

__all__ = [
    "Page",
    "agents_command",
    "first_page",
    "indexed_command",
    "next_page",
    "page_command",
    "scan_command",
    "strays_command",
    "texts_command",
]


@dataclass(frozen=True, slots=True)
class Page:
    """The next `limit` rows stored at or after `since`, without those in `seen`.

    The server orders by the time stored alone, so rows of the instant at which a page ends may be on both sides of
    its end: the next page begins with that instant, and what the last one gave of it is left out.
    """

    limit: int
    usual: int
    since: int | None = None
    seen: frozenset[bytes] = frozenset()

    def new(self, rows: Sequence[KeyRow]) -> list[KeyRow]:
        """The rows that no page before has given, in order of time and key."""
        return sorted(row for row in rows if row.key not in self.seen)


def first_page(limit: int) -> Page:
    """Where listing begins."""
    return Page(limit, limit)


def next_page(page: Page, rows: Sequence[KeyRow], new: Sequence[KeyRow]) -> Page | None:
    """Where listing goes on after `rows` were answered, of which `new` are new; None at the end."""
    if len(rows) < page.limit:
        return None
    if not new:
        # More runs share this instant than fit in the page.
        return replace(page, limit=page.limit * 2)
    since = new[-1].stored_at
    known = page.seen if since == page.since else frozenset()
    return Page(page.usual, page.usual, since, known.union(row.key for row in new if row.stored_at == since))


def page_command(alias: str, agent_id: str, page: Page, timeout_ms: int) -> list[bytes | str | int]:
    """FT.SEARCH for the keys of a page and when they were stored."""
    since = "-inf" if page.since is None else str(page.since)
    return [
        *("FT.SEARCH", alias, f"@agent_id:{{$agent}} @stored_at:[{since} +inf]", "RETURN", 1, "stored_at"),
        *("SORTBY", "stored_at", "ASC", "LIMIT", 0, page.limit),
        *("PARAMS", 2, "agent", tag_parameter(agent_id)),
        *("TIMEOUT", timeout_ms, "DIALECT", 2),
    ]


def texts_command(alias: str, agent_id: str, rows: Sequence[KeyRow], timeout_ms: int) -> list[bytes | str | int]:
    """FT.SEARCH for the record texts of `rows`, which follow each other in the list.

    The search returns the text as it is; JSON.MGET would wrap it in JSON once more, to be undone here.
    """
    return [
        *("FT.SEARCH", alias, f"@agent_id:{{$agent}} @stored_at:[{rows[0].stored_at} {rows[-1].stored_at}]"),
        *("RETURN", 3, "$.record", "AS", "record"),
        # Sorted, or the server would compute how well each one fits.
        *("SORTBY", "stored_at", "ASC", "LIMIT", 0, len(rows)),
        *("PARAMS", 2, "agent", tag_parameter(agent_id)),
        *("TIMEOUT", timeout_ms, "DIALECT", 2),
    ]


def strays_command(alias: str) -> list[bytes | str | int]:
    """FT.SEARCH for the keys of documents that no list can show, as they lack what it goes by."""
    query = "ismissing(@agent_id) | ismissing(@stored_at)"
    return ["FT.SEARCH", alias, query, "NOCONTENT", "LIMIT", 0, 10_000, "TIMEOUT", 0, "DIALECT", 2]


def indexed_command(alias: str, keys: Sequence[bytes]) -> list[bytes | str | int]:
    """FT.SEARCH for those of `keys` that are in the index."""
    command: list[bytes | str | int] = ["FT.SEARCH", alias, "*", "NOCONTENT", "INKEYS", len(keys), *keys]
    return [*command, "LIMIT", 0, len(keys), "TIMEOUT", 0, "DIALECT", 2]


def scan_command(root: bytes, cursor: bytes | int) -> list[bytes | str | int]:
    """SCAN for all keys that begin with `root`, whatever signs it holds that patterns give a meaning."""
    pattern = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", root) + b"*"
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", 1000]


def agents_command(alias: str, timeout_ms: int) -> list[bytes | str | int]:
    """FT.AGGREGATE for one row per agent."""
    return [
        *("FT.AGGREGATE", alias, "*"),
        *("APPLY", "@status == 'running'", "AS", "unfinished"),
        *("GROUPBY", 1, "@agent_id", "REDUCE", "COUNT", 0, "AS", "runs"),
        *("REDUCE", "SUM", 1, "@unfinished", "AS", "running"),
        *("REDUCE", "MAX", 1, "@started_at", "AS", "started"),
        *("REDUCE", "MAX", 1, "@stored_at", "AS", "stored"),
        # The server gives ten rows unless told otherwise, and at most a million.
        *("LIMIT", 0, 1_000_000, "TIMEOUT", timeout_ms, "DIALECT", 2),
    ]
