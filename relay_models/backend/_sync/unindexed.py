# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/unindexed.py by scripts/generate_sync.py: change that, not this.
"""`UnindexedDocuments`: documents under a store's keys that something else wrote, and that its index does not show."""

from __future__ import annotations

from redis.exceptions import ResponseError

from relay_models.backend._sync.store import Store
from relay_models.backend.scan import scan_command
from relay_models.errors import CorruptDocumentError
from relay_models.query.compiler import CompiledFilter
from relay_models.query.replies import check_complete, decode_index_info, decode_total
from relay_models.query.server_cursor import cursor_steps
from relay_models.query.steps import Command, aggregate_command
from relay_models.transport.sync import translate

__all__ = ["UnindexedDocuments"]

_NO_COLUMNS = "it has no agent_id or no stored_at: something else wrote it"
_REFUSED = "the index refused it: a column holds a value of another type"


class UnindexedDocuments:
    """Finds the runs that a list would otherwise leave out without an error.

    There are two sorts: documents without the columns that a list needs, which the index can name, and documents that
    the index refused, of which it only keeps count. When that count has changed, all keys are searched once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alias = store.keys.alias("run")
        self._failures = 0
        self._refused: frozenset[bytes] = frozenset()

    def of_agent(self, agent_id: str) -> list[CorruptDocumentError]:
        """The unindexed runs of an agent, as errors that name them."""
        bare = self._without_columns()
        failures = decode_index_info(self._store.transport.execute("FT.INFO", self._alias)).failures
        if failures != self._failures:
            self._refused = frozenset(self._search_keys())
            self._failures = failures
        mine = sorted(key for key in self._refused if self._is_of(agent_id, key))
        refused = self._unindexed(mine) if mine else []
        reasons = [(key, _NO_COLUMNS) for key in bare if self._is_of(agent_id, key)]
        reasons += [(key, _REFUSED) for key in refused]
        return [CorruptDocumentError(key.decode("utf-8", "backslashreplace"), reason) for key, reason in reasons]

    def _is_of(self, agent_id: str, key: bytes) -> bool:
        try:
            return self._store.keys.split_run(key)[0] == agent_id
        except ValueError:
            return False

    def _without_columns(self) -> list[bytes]:
        """The keys of documents that lack the columns by which runs are listed."""
        query = "ismissing(@agent_id) | ismissing(@stored_at)"
        command = [*aggregate_command(self._alias, query), "LOAD", 1, "@__key"]
        rows = self._store.run(lambda: cursor_steps(list(command), CompiledFilter(query), 0))
        return [row[b"__key"] for row in rows]

    def _search_keys(self) -> list[bytes]:
        """All keys of runs that are not in the index."""
        missing: list[bytes] = []
        cursor: bytes | int = 0
        while True:
            cursor, found = self._store.transport.execute(*scan_command(self._store.keys.root("run"), cursor))
            if found:
                missing += self._unindexed(found)
            if int(cursor) == 0:
                return missing

    def _unindexed(self, keys: list[bytes]) -> list[bytes]:
        """Those of `keys` that exist and are not in the index."""
        hidden: list[bytes] = []
        parts = [keys]
        while parts:
            # Counted and halved: no server limits a count.
            part = parts.pop()
            command: Command = ["FT.SEARCH", self._alias, "*", "INKEYS", len(part), *part, "LIMIT", 0, 0]
            answer = self._store.ask([*command, "TIMEOUT", 0, "DIALECT", 2])
            count, warnings = decode_total(answer.reply)
            check_complete(warnings, answer, 0, partial=False)
            if count == 0:
                hidden += part
            elif count < len(part):
                middle = len(part) // 2
                parts += [part[:middle], part[middle:]]
        if not hidden:
            return []
        replies = self._store.transport.pipeline([("JSON.GET", key, "$.pk") for key in hidden])
        found = []
        for key, reply in zip(hidden, replies, strict=True):
            if isinstance(reply, ResponseError) and "type" in str(reply).lower():
                found.append(key)
            elif isinstance(reply, Exception):
                raise translate(reply, self._store.transport.target, ("JSON.GET",)) from None
            elif reply is not None:
                found.append(key)
        return found
