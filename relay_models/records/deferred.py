"""Parts of a record that stay JSON text until somebody looks at them.

An agent's prompts and answers are most of a run's bytes and nearly all of its objects, and most readers of a list of
runs never look at them. Such a part is an object of the right type from the start, but an empty one that holds its
text; whoever touches it (an attribute, a comparison, pydantic's own serialisation) makes it an ordinary one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from relay_models.records._base import Record, from_json
from relay_models.records.views import viewing

__all__ = ["Deferring", "deferred_text", "view"]

RecordType = TypeVar("RecordType", bound=Record)

_new, _get, _set = object.__new__, object.__getattribute__, object.__setattr__
# Of the types of records that nobody has touched yet: the types that they become, what reads them, and what makes
# views of their texts.
_KINDS: dict[type, type[Record]] = {}
_READERS: dict[type, Callable[[bytes], Record]] = {}
_VIEWS: dict[type, Callable[[bytes], Any]] = {}

# Held while one thread reads a text, so that no other replaces what the first has given out.
_lock = threading.RLock()
# What Python looks up on the type, past __getattribute__.
_LOOKED_UP_ON_TYPES = ("__copy__", "__deepcopy__", "__eq__", "__iter__", "__replace__", "__rich_repr__", "__str__")


class Deferring(Generic[RecordType]):
    """Makes records of the type `kind` that are read from their JSON text, by `read`, when they are first touched."""

    def __init__(self, kind: type[RecordType], read: Callable[[bytes], RecordType] | None = None) -> None:
        self._class: Any = _class_for(kind)
        self.check = _VIEWS[self._class] = viewing(kind)
        """Raises `msgspec.MsgspecError` or RecursionError where a text may be none of the type."""
        _READERS[self._class] = read or partial(from_json, kind)

    def defer(self, text: bytes) -> RecordType:
        """A record of a text that has been checked."""
        made: RecordType = _new(self._class)
        # The place of private attributes, which records have none of, until it is read.
        _set(made, "__pydantic_private__", text)
        return made


def deferred_text(value: object) -> bytes | None:
    """The text of a record that nobody has touched yet; None for anything else."""
    if type(value) not in _KINDS:
        return None
    held = _get(value, "__pydantic_private__")
    return held if isinstance(held, bytes) else None  # another thread has just read it


def view(record: RecordType) -> RecordType:
    """What there is to see of a record without touching it: itself, or a view of the text of a deferred one."""
    text = deferred_text(record)
    return record if text is None else _VIEWS[type(record)](text)


def _read(self: Any) -> Any:
    """Turn a deferred record into an ordinary one, in its place."""
    with _lock:
        kind = _KINDS.get(type(self))
        if kind is not None:
            made = _READERS[type(self)](_get(self, "__pydantic_private__"))
            for name in ("__dict__", "__pydantic_extra__", "__pydantic_fields_set__", "__pydantic_private__"):
                _set(self, name, _get(made, name))
            _set(self, "__class__", kind)
    return self


def _class_for(kind: type[Record]) -> type[Record]:
    """The subclass whose objects are not read yet. It differs in nothing that an object holds, so they can leave it."""

    def getattribute(self: Any, name: str) -> Any:
        return getattr(_read(self), name)

    def setattribute(self: Any, name: str, value: Any) -> None:
        setattr(_read(self), name, value)

    def delattribute(self: Any, name: str) -> None:
        delattr(_read(self), name)

    def represent(self: Any) -> str:
        try:
            return repr(_read(self))
        except ValueError as error:
            return f"<{kind.__name__} that cannot be read: {error}>"

    def forward(name: str) -> Any:
        return lambda self, *args: getattr(kind, name)(_read(self), *args)

    namespace: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__getattribute__": getattribute,
        "__setattr__": setattribute,
        "__delattr__": delattribute,
        "__repr__": represent,
        "__hash__": None,
        **{name: forward(name) for name in _LOOKED_UP_ON_TYPES if hasattr(kind, name)},
    }
    # Made by `type`, past pydantic's metaclass: the class has its base's fields and validator, not some of its own.
    made: type[Record] = type.__new__(type(kind), kind.__name__, (kind,), namespace)
    _KINDS[made] = kind
    return made


def _forget_lock() -> None:
    """After a fork the lock may be held by a thread that is gone."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
