"""`JsonDocument`: a JSON document as its text, with the parsed value only while it is needed."""

from __future__ import annotations

from typing import Any

from fakeredis.model import BaseModel

from relay_models.embedded.json.text import dumps, loads_members, loads_written

__all__ = ["JsonDocument", "merge", "remove_name"]

_ABSENT: Any = object()


class JsonDocument(BaseModel):
    """The value of a key that holds JSON.

    The text is always the one RedisJSON would answer with, so whole documents are read back without any work, and
    documents cost the memory of their text.
    """

    __slots__ = ("_text", "_value")

    _model_type = b"ReJSON-RL"

    def __init__(self, text: bytes | None, value: Any = _ABSENT) -> None:
        self._text = text
        self._value = value

    @classmethod
    def of(cls, value: Any) -> JsonDocument:
        """A document made from a parsed value, which it may keep."""
        return cls(None, value)

    @property
    def text(self) -> bytes:
        """The document as RedisJSON writes it."""
        text = self._text
        if text is None:
            text = self._text = dumps(self._value)
        return text

    @property
    def value(self) -> Any:
        """The parsed document. The caller must not change it."""
        return loads_written(self._text) if self._value is _ABSENT else self._value  # type: ignore[arg-type]

    def members(self, names: tuple[str, ...]) -> Any:
        """The parsed document, of an object perhaps only the members of these names. The caller must not change it."""
        return loads_members(self._text, names) if self._value is _ABSENT else self._value  # type: ignore[arg-type]

    def __deepcopy__(self, memo: dict[int, Any]) -> JsonDocument:
        return JsonDocument(self.text)

    def forget_value(self) -> None:
        """Keep only the text from now on."""
        if self._value is not _ABSENT:
            _ = self.text
            self._value = _ABSENT


def merge(target: Any, patch: Any) -> Any:
    """`target` with `patch` applied as a JSON merge patch (RFC 7396). `target` may be changed."""
    if type(patch) is not dict:
        return patch
    if type(target) is not dict:
        target = {}
    for name, change in patch.items():
        if change is None:
            if name in target:
                remove_name(target, name)
        else:
            target[name] = merge(target.get(name), change)
    return target


def remove_name(target: dict[str, Any], name: str) -> None:
    """Remove one member as RedisJSON does: the last member takes its place."""
    last = next(reversed(target))
    if last == name:
        del target[name]
        return
    moved = target[last]
    members = [(last, moved) if key == name else (key, value) for key, value in target.items() if key != last]
    target.clear()
    target.update(members)
