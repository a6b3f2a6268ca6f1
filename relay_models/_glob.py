"""`Glob`: patterns of ``*`` and ``?`` matched in linear time, and `escape_glob` for texts inside such patterns."""

from __future__ import annotations

from functools import lru_cache
from typing import AnyStr

__all__ = ["Glob", "escape_glob"]

_ANY = None
"""Stands for ``?`` in a piece of a pattern."""


def escape_glob(text: AnyStr) -> AnyStr:
    """Escape a text for a Redis pattern (SCAN, KEYS, PSUBSCRIBE), so that no character in it is special."""
    special = b"\\*?[" if isinstance(text, bytes) else "\\*?["
    backslash = special[:1]
    for index in range(len(special)):
        character = special[index : index + 1]
        text = text.replace(character, backslash + character)
    return text


class Glob:
    """A pattern in which ``*`` is any characters, ``?`` any one, and a backslash takes the next one literally.

    A text is matched in time proportional to its length, whatever the pattern: the pieces between the stars are found
    one after the other, each at its first occurrence.
    """

    __slots__ = ("_first", "_last", "_middle", "_starred")

    def __init__(self, pattern: str) -> None:
        pieces = _pieces(pattern)
        self._starred = len(pieces) > 1
        self._first = _Piece(pieces[0])
        self._last = _Piece(pieces[-1])
        self._middle = [_Piece(piece) for piece in pieces[1:-1] if piece]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, pattern: str) -> Glob:
        """A cached `Glob`."""
        return cls(pattern)

    def fits(self, text: str) -> bool:
        """Whether the whole text fits."""
        first, last = self._first, self._last
        if not self._starred:
            return len(text) == first.length and first.is_at(text, 0)
        end = len(text) - last.length
        if end < first.length or not first.is_at(text, 0) or not last.is_at(text, end):
            return False
        position = first.length
        for piece in self._middle:
            found = piece.find(text, position, end)
            if found < 0:
                return False
            position = found + piece.length
        return True


class _Piece:
    """Characters between two stars; some may be any."""

    __slots__ = ("_characters", "_literal", "_masks", "length")

    def __init__(self, characters: list[str | None]) -> None:
        self._characters = characters
        self.length = len(characters)
        self._literal = None if _ANY in characters else "".join(map(str, characters))
        self._masks: dict[str | None, int] = {}

    def is_at(self, text: str, position: int) -> bool:
        if self._literal is not None:
            return text.startswith(self._literal, position)
        return all(
            wanted is _ANY or wanted == found
            for wanted, found in zip(self._characters, text[position : position + self.length], strict=True)
        )

    def find(self, text: str, start: int, end: int) -> int:
        """The first occurrence in ``text[start:end]``, or -1."""
        if self._literal is not None:
            return text.find(self._literal, start, end)
        # Shift-and: bit n of the state says that the characters up to n match the text up to here.
        if not self._masks:
            anything = sum(1 << index for index, wanted in enumerate(self._characters) if wanted is _ANY)
            self._masks = {_ANY: anything}
            for index, wanted in enumerate(self._characters):
                if wanted is not _ANY:
                    self._masks[wanted] = self._masks.get(wanted, anything) | 1 << index
        masks, anything, full = self._masks, self._masks[_ANY], 1 << (self.length - 1)
        state = 0
        for position in range(start, end):
            state = (state << 1 | 1) & masks.get(text[position], anything)
            if state & full:
                return position - self.length + 1
        return -1


def _pieces(pattern: str) -> list[list[str | None]]:
    pieces: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            pieces.append([])
        elif character == "?":
            pieces[-1].append(_ANY)
        else:
            pieces[-1].append(next(characters, "\\") if character == "\\" else character)
    return pieces
