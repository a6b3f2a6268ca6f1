# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/bound.py by scripts/generate_sync.py: change that, not this.
"""`BoundModel`: a model bound to one store, with the methods that redis-om's users know."""

from __future__ import annotations

from collections.abc import Iterator, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from relay_models._checks import shown
from relay_models.backend._sync.model_collection import ModelCollection
from relay_models.backend.reports import StoreReport
from relay_models.columns.column import Column
from relay_models.documents import Document
from relay_models.errors import NotFoundError, QueryError, UnknownAttributeError
from relay_models.transport.sync import AnyIterable

__all__ = ["BoundFind", "BoundModel"]

D = TypeVar("D", bound=Document)


class BoundModel(Generic[D]):
    """A model of one store; made by ``backend.bind(Feedback)``. Any number of stores bind the same class.

    Its items know the store: those that it makes, saves and finds have ``save``, ``update``, ``delete`` and ``expire``.

    Example:
        ```python
        Feedbacks = backend.bind(Feedback)
        item = Feedbacks(run_id=run.id, rating=2)
        item.save()
        item.update(rating=4)
        ```

    Attributes:
        model: the class.
        collection: its documents, with all methods that there are.
    """

    def __init__(self, collection: ModelCollection[D]) -> None:
        self.model = collection.document
        self.collection = collection

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_") or "model" not in vars(self):
                raise AttributeError(name)
            owner = self.model.__name__
            hint = f"columns are of the class, {owner}.{name}" if name in self.model.columns() else "see .collection"
            raise UnknownAttributeError(f"{owner} bound to a store has no {name!r}: {hint}")

    def __call__(self, /, **values: Any) -> D:
        """Make an item; it is not saved."""
        return self._bound(self.model(**values))

    def save(self, item: D, *, ttl: timedelta | None = None) -> D:
        """Save an item, in place of one with the same id, and return it."""
        self.collection.save(item, ttl=ttl)
        return self._bound(item)

    def add(self, items: AnyIterable[D], *, ttl: timedelta | None = None) -> StoreReport:
        """Save many items: `ModelCollection.save_many`."""
        return self.collection.save_many(items, ttl=ttl)

    def get(self, pk: Any) -> D:
        """The document with this id.

        Raises:
            NotFoundError: there is none.
        """
        found = self.collection.get(pk)
        if found is None:
            raise NotFoundError(f"there is no {self.model.__name__} {shown(pk)}")
        return self._bound(found)

    def update(self, item: D | str, /, **changes: Any) -> D:
        """Change fields of a document, given as item or id: `ModelCollection.update`.

        Returns:
            The document as it is stored now. An item that was given is this document afterwards, too.
        """
        changed = self._bound(self.collection.update(item, **changes))
        if not isinstance(item, self.model):
            return changed
        item.__dict__.update(changed.__dict__)
        object.__setattr__(item, "__pydantic_extra__", changed.__pydantic_extra__)
        return self._bound(item)

    def delete(self, pk: Any) -> bool:
        """Delete the document with this id, or the item's; False where there is none."""
        return self.collection.delete_one(pk)

    def expire(self, item: Any, seconds: float | timedelta) -> bool:
        """Keep a document, given as item or id, this long from now on; False where there is none."""
        ttl = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        return self.collection.expire(item, ttl)

    def find(self, *filters: Any) -> BoundFind[D]:
        """A query for the documents that meet all `filters`; nothing is sent before one of its methods is awaited."""
        return BoundFind(self, filters)

    def _bound(self, item: D) -> D:
        """An item that knows this store."""
        item._binding = self
        return item

    def __copy__(self) -> BoundModel[D]:
        return self

    def __deepcopy__(self, memo: object) -> BoundModel[D]:
        return self

    def __reduce__(self) -> Any:
        # An item that is pickled leaves its store behind.
        return _nothing, ()


def _nothing() -> None:
    """What a pickled item is bound to."""


@dataclass(frozen=True, slots=True)
class BoundFind(Generic[D]):
    """A query of a `BoundModel`; `find` and `sort_by` return a new one."""

    bound: BoundModel[D]
    filters: tuple[Any, ...] = ()
    order: str | None = None

    def find(self, *filters: Any) -> BoundFind[D]:
        """Narrow the query by more filters."""
        return replace(self, filters=(*self.filters, *filters))

    def sort_by(self, column: str | Column[Any]) -> BoundFind[D]:
        """Sort by a column: ``"-rating"`` or ``-Feedback.rating``."""
        return replace(self, order=column.name if isinstance(column, Column) else column)

    def all(self) -> list[D]:
        """All documents, in order; read page by page, and complete."""
        return self._bound(self.bound.collection.find(list(self.filters), order_by=self.order, limit=None))

    def page(self, offset: int = 0, limit: int = 50) -> list[D]:
        """`limit` documents after the first `offset`.

        The server reads those before, too: for page after page, `Collection.find` with ``after=page.next`` is better.
        """
        if offset < 0:
            raise QueryError(f"offset is a number of documents from 0 on, not {shown(offset)}")
        page = self.bound.collection.find(list(self.filters), order_by=self.order, limit=offset + limit)
        return self._bound(page)[offset:]

    def first(self) -> D:
        """The first document.

        Raises:
            NotFoundError: there is none.
        """
        page = self.bound.collection.find(list(self.filters), order_by=self.order, limit=1)
        if not page:
            raise NotFoundError(f"no {self.bound.model.__name__} meets the filter")
        return self._bound(page)[0]

    def count(self) -> int:
        """How many documents there are."""
        return self.bound.collection.count(list(self.filters))

    def exists(self) -> bool:
        """Whether there is a document."""
        return self.count() > 0

    def delete(self) -> int:
        """Delete the documents and return how many there were.

        Raises:
            QueryError: there is no filter; ``find("all").delete()`` deletes everything.
        """
        filters = list(self.filters)
        return self.bound.collection.delete(filters[0] if len(filters) == 1 else filters)

    def update(self, /, **changes: Any) -> int:
        """Change fields of each document and return how many there were; one that is deleted meanwhile is left out."""
        changed = 0
        for item in self.all():
            try:
                self.bound.collection.update(item, **changes)
            except NotFoundError:
                continue
            changed += 1
        return changed

    def __iter__(self) -> Iterator[D]:
        for item in self.bound.collection.stream(list(self.filters), order_by=self.order):
            yield self.bound._bound(item)

    def _bound(self, items: Iterable[D]) -> list[D]:
        return [self.bound._bound(item) for item in items]
