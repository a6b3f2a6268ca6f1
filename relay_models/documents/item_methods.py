"""`ItemMethod`: redis-om's ``item.save()`` and its like, which an item has once it is bound to a store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Protocol

__all__ = ["Binding", "ItemMethod"]


class Binding(Protocol):
    """What an item is bound to: a model of one store."""

    def save(self, item: Any, **options: Any) -> Any:
        """Save the item."""

    def update(self, item: Any, **changes: Any) -> Any:
        """Change fields of the item."""

    def delete(self, item: Any) -> Any:
        """Delete the item."""

    def expire(self, item: Any, seconds: Any) -> Any:
        """Let the item expire."""


class ItemMethod:
    """A method of an item that is bound to a store; on the class, and on an item that is not, calling it raises.

    Args:
        instead: what is to be called instead, with ``{kind}`` for the document type's name.
    """

    def __init__(self, instead: str) -> None:
        self.instead = instead
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, item: Any, owner: Any) -> Callable[..., Any]:
        binding: Binding | None = None if item is None else (item.__pydantic_private__ or {}).get("_binding")
        if binding is None:
            return partial(self._refuse, owner)
        return partial(getattr(binding, self.name), item)

    def _refuse(self, owner: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise owner._misused(self.name, self.instead.format(kind=owner._kind))
