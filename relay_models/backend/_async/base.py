"""`BackendBase`: what the parts of the backend share."""

from __future__ import annotations

from typing import Any, Generic

from typing_extensions import TypeVar

from relay_models.backend._async.collection import Collection
from relay_models.backend._async.compression import RecordCompression
from relay_models.backend._async.dictionaries import Dictionaries
from relay_models.backend._async.index import Indexes
from relay_models.backend._async.migrations import Migrations
from relay_models.backend._async.run_collection import RunCollection
from relay_models.backend._async.saved import SavedQuestions
from relay_models.backend._async.store import Store
from relay_models.backend._async.unindexed import UnindexedDocuments
from relay_models.backend.options import StoreOptions
from relay_models.documents import Accumulators, Document, Keys, Observations, Plan, Run, Stability, Trie
from relay_models.transport import Transport

__all__ = ["BackendBase", "RunT"]


RunT = TypeVar("RunT", bound=Run, default=Run)


class BackendBase(Generic[RunT]):
    """One store, and a collection for each type of its documents.

    Attributes:
        migrations: plans and makes changes of the columns that the store can be asked by.
        compression: trains dictionaries, compresses stored records and makes them plain again.
        runs: the runs.
        plans: the execution plans, one per agent.
        tries: the prediction tries, one per agent.
        accumulators: the running statistics, one per agent.
        observations: the prompt observations, one per agent or profile key.
        stability: the stability results, one per agent or profile key.
        saved: the saved questions about runs.
    """

    migrations: Migrations
    compression: RecordCompression
    runs: RunCollection[RunT]
    plans: Collection[Plan]
    tries: Collection[Trie]
    accumulators: Collection[Accumulators]
    observations: Collection[Observations]
    stability: Collection[Stability]
    saved: SavedQuestions

    def __init__(self, transport: Transport, options: StoreOptions) -> None:
        self._transport = transport
        self._keys = Keys(options.key_prefix)
        self._dictionaries = Dictionaries(transport, self._keys)
        self._indexes = Indexes(
            transport,
            self._keys,
            self._dictionaries,
            create=options.create_index,
            text=options.index_text,
            timeout=options.index_timeout,
            documents=options.documents(),
            migrate=options.migrate,
            allow_missing=options.allow_missing,
            compressed=options.compression is not None,
        )
        self._run_document: Any = options.documents().get("run", Run)
        self._run_ttl_ms = options.run_ttl_ms
        self._prices = options.prices
        # The server's own limit (500 ms unless configured) would cut answers short without an error.
        # Ours ends before the client stops waiting; 0 is no limit.
        limit_ms = max(1, int(transport.timeout * 900)) if transport.timeout else 0
        self._store = Store(
            transport,
            self._keys,
            self._indexes,
            self._dictionaries,
            limit_ms,
            cache_page_bounds=options.cache_page_bounds,
        )
        self._clock = self._store.clock
        self._unindexed = UnindexedDocuments(self._store)
        self.migrations = Migrations(self._indexes)
        self.runs = RunCollection[Any](self._store, self._run_document)
        self.compression = RecordCompression(self._store, self.runs)
        self.plans = Collection(self._store, Plan)
        self.tries = Collection(self._store, Trie)
        self.accumulators = Collection(self._store, Accumulators)
        self.observations = Collection(self._store, Observations)
        self.stability = Collection(self._store, Stability)
        self.saved = SavedQuestions(self._store, self._run_document.columns())

    @property
    def key_prefix(self) -> str:
        """The prefix that separates this store's keys from others."""
        return self._keys.prefix

    @property
    def models(self) -> tuple[type[Document], ...]:
        """The document classes of your own that this backend was opened with or asked for."""
        return tuple(model for model in self._indexes.builder.documents.values() if model.is_own_model())

    @property
    def client(self) -> Any:
        """The redis-py client, for commands of your own."""
        return self._transport.client

    @property
    def transport(self) -> Transport:
        """The connections to the server, with this library's retries and errors."""
        return self._transport

    @property
    def index_text(self) -> bool:
        """Whether words of prompts and answers are indexed when this backend stores a run."""
        return self._indexes.text
