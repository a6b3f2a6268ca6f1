"""Documents that lie under a store's keys but that the index cannot show, because something else wrote them."""

from __future__ import annotations

from relay_models.backend._async.index import Indexes
from relay_models.backend.listing import indexed_command, scan_command, strays_command
from relay_models.backend.replies import decode_ids, decode_index_info
from relay_models.documents import Keys
from relay_models.errors import CorruptDocumentError
from relay_models.transport import Transport, translate

__all__ = ["Strays"]

_NO_COLUMNS = "it has no agent_id or no stored_at: something else wrote it"
_REFUSED = "the index refused it: a column holds a value of another type"


class Strays:
    """Finds what listing would otherwise leave out without a word.

    Two kinds: documents without the columns that a list needs, which the index can name, and documents that the index
    refused, of which it only keeps count. When that count has changed, all keys are looked through once.
    """

    def __init__(self, link: Transport, keys: Keys, indexes: Indexes) -> None:
        self._link = link
        self._keys = keys
        self._indexes = indexes
        self._failures = 0
        self._refused: frozenset[bytes] = frozenset()

    async def of_agent(self, agent_id: str) -> list[CorruptDocumentError]:
        """The strays among an agent's keys, as errors that name them."""
        alias = self._keys.alias("run")
        bare = decode_ids(await self._indexes.ask(*strays_command(alias)))
        failures = decode_index_info(await self._link.execute("FT.INFO", alias)).failures
        if failures != self._failures:
            self._refused = frozenset(await self._look_through())
            self._failures = failures
        refused = await self._unindexed(sorted(self._refused)) if self._refused else []
        reasons = [(key, _NO_COLUMNS) for key in bare] + [(key, _REFUSED) for key in refused]
        return [
            CorruptDocumentError(key.decode("utf-8", "backslashreplace"), reason)
            for key, reason in reasons
            if self._is_of(agent_id, key)
        ]

    def _is_of(self, agent_id: str, key: bytes) -> bool:
        try:
            return self._keys.split_run(key)[0] == agent_id
        except ValueError:
            return False

    async def _look_through(self) -> list[bytes]:
        """All keys of runs that are not in the index."""
        missing: list[bytes] = []
        cursor: bytes | int = 0
        while True:
            cursor, found = await self._link.execute(*scan_command(self._keys.root("run"), cursor))
            if found:
                missing += await self._unindexed(found)
            if int(cursor) == 0:
                return missing

    async def _unindexed(self, keys: list[bytes]) -> list[bytes]:
        """Those of `keys` that exist and are not in the index."""
        alias = self._keys.alias("run")
        shown = set(decode_ids(await self._indexes.ask(*indexed_command(alias, keys))))
        hidden = [key for key in keys if key not in shown]
        if not hidden:
            return []
        replies = await self._link.pipeline([("EXISTS", key) for key in hidden])
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, self._link.target, ("EXISTS",)) from None
        return [key for key, reply in zip(hidden, replies, strict=True) if reply]
