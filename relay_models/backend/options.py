"""StoreOptions: how a store is opened, whatever connection is below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay_models._checks import check_seconds, shown
from relay_models.documents import Document, Keys, Run
from relay_models.documents.compression import Compression, check_compression
from relay_models.errors import InvalidConfigurationError
from relay_models.records.prices import PriceTable

__all__ = ["StoreOptions", "check_model"]


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """The options shared by `RedisBackend.connect`, `embedded` and `from_client`.

    Args:
        key_prefix: the beginning of all keys of the store.
        create_index: whether missing and outdated indexes are created.
        index_text: whether words of prompts and answers are indexed; None does what the store does already.
        run_ttl: how long a run is kept after it was last stored, None for ever.
        index_timeout: maximum wait for existing documents to be indexed (seconds).
        cache_page_bounds: whether the bound of a query's last first page narrows the search for the next one.
        models: a subclass of `Run` whose columns runs get, and document classes whose indexes are made on opening.
        migrate: whether indexes that lack columns are replaced when the store is opened.
        allow_missing: whether documents may be stored without columns that the store has.
        prices: estimates the cost of calls that tell none, when a run is stored.
        compression: how the records of runs are compressed; None does what the store does already.

    Raises:
        InvalidConfigurationError: an option cannot work.
        MissingExtraError: the package that compresses is not installed.
    """

    key_prefix: str = "nemo_relay:"
    create_index: bool = True
    index_text: bool | None = None
    run_ttl: timedelta | None = None
    index_timeout: float = 600.0
    cache_page_bounds: bool = True
    models: Sequence[type[Document]] = ()
    migrate: bool = True
    allow_missing: bool = False
    prices: PriceTable | None = None
    compression: Compression | None = None

    def __post_init__(self) -> None:
        Keys(self.key_prefix)
        check_compression(self.compression)
        if self.index_text not in (None, True, False):
            raise InvalidConfigurationError(f"index_text is True, False or None, not {shown(self.index_text)}")
        if not isinstance(self.prices, PriceTable | None):
            raise InvalidConfigurationError(
                f"prices is a PriceTable, such as PriceTable.load(file), not {shown(self.prices)}"
            )
        if self.run_ttl is not None and self.run_ttl_ms < 1:
            raise InvalidConfigurationError(
                f"run_ttl is a timedelta of a millisecond or more, or None, not {shown(self.run_ttl)}"
            )
        check_seconds("index_timeout", self.index_timeout)
        self.documents()

    def documents(self) -> dict[str, type[Document]]:
        """The models by their kind.

        Raises:
            InvalidConfigurationError: one is no document class that can be opened so, or two have one name.
        """
        if isinstance(self.models, str | type) or not isinstance(self.models, Iterable):
            raise InvalidConfigurationError(f"models is a list of document classes, not {shown(self.models)}")
        found: dict[str, type[Document]] = {}
        for model in self.models:
            check_model(model)
            if found.setdefault(model._kind, model) is not model:
                what, rename = "class of runs", ""
                if model.is_own_model():
                    what = f"model named {model._kind.rpartition(':')[2]!r}"
                    rename = f"; give one of them another name, as in class {model.__name__}(Document, name='…')"
                raise InvalidConfigurationError(
                    f"models has more than one {what}: {found[model._kind]!r} and {model!r}{rename}"
                )
        return found

    @property
    def run_ttl_ms(self) -> int:
        """How long a run is kept (milliseconds), 0 for ever."""
        return int(self.run_ttl / timedelta(milliseconds=1)) if isinstance(self.run_ttl, timedelta) else 0


def check_model(model: Any) -> None:
    """Refuse what is neither a subclass of `Run` nor a document class of one's own.

    Raises:
        InvalidConfigurationError: it is not.
    """
    is_class = isinstance(model, type) and issubclass(model, Document)
    if not is_class or not (issubclass(model, Run) or model.is_own_model()):
        raise InvalidConfigurationError(
            f"a model is a subclass of Run or of Document, such as class Feedback(Document), not {model!r}"
        )
