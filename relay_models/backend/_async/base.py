"""`BackendBase`: what the parts of the backend share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from relay_models.backend._async.collection import Collection
from relay_models.backend._async.index import Indexes
from relay_models.backend._async.store import Store
from relay_models.backend._async.unindexed import UnindexedDocuments
from relay_models.documents import Accumulators, Keys, Observations, Plan, Run, Stability, Trie
from relay_models.errors import InvalidConfigurationError
from relay_models.transport._async.link import Link

__all__ = ["BackendBase"]


class BackendBase:
    """One store, and a collection for each type of its documents.

    Attributes:
        runs: the runs.
        plans: the execution plans, one per agent.
        tries: the prediction tries, one per agent.
        accumulators: the running statistics, one per agent.
        observations: the prompt observations, one per agent or profile key.
        stability: the stability results, one per agent or profile key.
    """

    runs: Collection[Run]
    plans: Collection[Plan]
    tries: Collection[Trie]
    accumulators: Collection[Accumulators]
    observations: Collection[Observations]
    stability: Collection[Stability]

    def __init__(
        self,
        link: Link,
        keys: Keys,
        indexes: Indexes,
        timeout: float | None,
        run_ttl: timedelta | None,
        *,
        cache_page_bounds: bool = True,
    ) -> None:
        self._link = link
        self._keys = keys
        self._indexes = indexes
        self._run_ttl_ms = _milliseconds(run_ttl)
        # The server's own limit (500 ms unless configured) would cut answers short without an error.
        # Ours ends before the client stops listening; 0 is no limit.
        limit_ms = max(1, int(timeout * 900)) if timeout else 0
        self._store = Store(link, keys, indexes, limit_ms, cache_page_bounds=cache_page_bounds)
        self._clock = self._store.clock
        self._unindexed = UnindexedDocuments(self._store)
        self.runs = Collection(self._store, Run)
        self.plans = Collection(self._store, Plan)
        self.tries = Collection(self._store, Trie)
        self.accumulators = Collection(self._store, Accumulators)
        self.observations = Collection(self._store, Observations)
        self.stability = Collection(self._store, Stability)

    @property
    def key_prefix(self) -> str:
        """The prefix that separates this store's keys from others."""
        return self._keys.prefix

    @property
    def client(self) -> Any:
        """The redis-py client, for commands of your own."""
        return self._link.client

    async def _set_clock(self) -> None:
        await self._store.set_clock()


def _milliseconds(run_ttl: timedelta | None) -> int:
    if run_ttl is None:
        return 0
    milliseconds = int(run_ttl / timedelta(milliseconds=1)) if isinstance(run_ttl, timedelta) else 0
    if milliseconds < 1:
        raise InvalidConfigurationError(f"run_ttl is a timedelta of a millisecond or more, or None, not {run_ttl!r}")
    return milliseconds
