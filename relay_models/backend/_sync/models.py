# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/models.py by scripts/generate_sync.py: change that, not this.
"""`Models`: the collections of a user's own document classes, opened when they are first asked for."""

from __future__ import annotations

from typing import Any, TypeVar

from relay_models.backend._sync.base import BackendBase, RunT
from relay_models.backend._sync.bound import BoundModel
from relay_models.backend._sync.collection import Collection
from relay_models.backend._sync.model_collection import ModelCollection
from relay_models.backend.options import check_model
from relay_models.documents import Document, Run
from relay_models.errors import InvalidConfigurationError

__all__ = ["Models"]

D = TypeVar("D", bound=Document)


class Models(BackendBase[RunT]):
    """The collections of own models."""

    def collection(self, model: type[D]) -> ModelCollection[D]:
        """The documents of a model of your own in this store.

        Its index is made before the first query, if the store has none.

        Args:
            model: a subclass of `Document`.

        Raises:
            InvalidConfigurationError: it is none, or another class has that name here.

        Example:
            ```python
            feedback = backend.collection(Feedback)
            feedback.save(Feedback(run_id=run.id, rating=5))
            ```
        """
        check_model(model)
        if not model.is_own_model():
            raise InvalidConfigurationError(
                f"{model.__name__} is a class of runs: use backend.runs, of a store that is opened with "
                f"models=[{model.__name__}]"
            )
        self._indexes.add(model)
        return ModelCollection(self._store, model, self._linked_collection)

    def bind(self, model: type[D]) -> BoundModel[D]:
        """A model as redis-om's users know it, bound to this store: ``save``, ``get``, ``find(…).all()`` and so on.

        Args:
            model: a subclass of `Document`.

        Raises:
            InvalidConfigurationError: as `collection` raises it.

        Example:
            ```python
            Feedbacks = backend.bind(Feedback)
            item = Feedbacks.find(Feedback.rating <= 2).sort_by("-rating").first()
            ```
        """
        return BoundModel(self.collection(model))

    def _linked_collection(self, model: type[Document]) -> Collection[Any]:
        """The collection that a link leads to."""
        if issubclass(model, Run):
            return self.runs
        if model.is_own_model():
            return self.collection(model)
        built_in: list[Collection[Any]] = [
            self.plans, self.tries, self.accumulators, self.observations, self.stability,
        ]  # fmt: skip
        return next(one for one in built_in if one.document is model)
