"""`getter`: functions that read the values at a schema's paths from documents."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from relay_models.embedded.json.path import compile_path

__all__ = ["Getter", "elements_name", "getter", "hash_getter", "plain_name"]

Getter = Callable[[Any], "list[Any]"]


def plain_name(path: bytes) -> str | None:
    """The name in a path like ``$.name``, or None for other paths."""
    text = path.decode("utf-8", "replace")
    name = text[2:]
    return name if text.startswith("$.") and name.replace("_", "a").isalnum() else None


def elements_name(path: bytes) -> str | None:
    """The name in a path like ``$.name[*]``, or None for other paths."""
    return plain_name(path.removesuffix(b"[*]")) if path.endswith(b"[*]") else None


@lru_cache(maxsize=4096)
def getter(path: bytes) -> Getter:
    """A function from a JSON document to the values at `path`; paths of plain names need no JSONPath.

    An invalid path has no match.
    """
    text = path.decode("utf-8", "replace")
    if not text.startswith("$"):
        return _nowhere
    if text[1:2] not in ("", ".", "["):
        # Here, unlike in JSON commands, a name may follow the $ directly.
        text = f"$.{text[1:]}"
    if text == "$":
        return lambda document: [document]
    names = text[2:].split(".") if text.startswith("$.") else []
    if names and all(name.replace("_", "a").isalnum() for name in names):
        return _member(names[0]) if len(names) == 1 else _members(names)
    if names and names[-1].endswith("[*]"):
        names[-1] = names[-1].removesuffix("[*]")
        if all(name.replace("_", "a").isalnum() for name in names):
            return _elements(_members(names))
    try:
        return compile_path(text).find
    except ValueError:
        return _nowhere


def _nowhere(document: Any) -> list[Any]:
    return []


def _member(name: str) -> Getter:
    def get(document: Any) -> list[Any]:
        return [document[name]] if type(document) is dict and name in document else []

    return get


def _members(names: list[str]) -> Getter:
    def get(document: Any) -> list[Any]:
        for name in names:
            if type(document) is not dict or name not in document:
                return []
            document = document[name]
        return [document]

    return get


def _elements(get_list: Getter) -> Getter:
    def get(document: Any) -> list[Any]:
        found = get_list(document)
        if not found:
            return []
        value = found[0]
        if type(value) is dict:
            return list(value.values())
        return value if type(value) is list else []

    return get


def hash_getter(path: bytes) -> Getter:
    """The same for a hash: no value or one."""

    def get(document: Any) -> list[Any]:
        value = document.get(path)
        return [] if value is None else [value]

    return get
