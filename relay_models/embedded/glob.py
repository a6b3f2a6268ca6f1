"""`compile_glob` and `compile_wildcard`: patterns with stars, matched in time linear in the text.

Between two stars it suffices to look for the leftmost match of each part, for a part's length is fixed. So each part is
an atomic group, which is never matched a second time; fakeredis' and other translations to regular expressions try
every combination, and twelve stars on a word of 36 letters never end. Long patterns are not compiled at all: their
literal parts are searched as bytes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import AnyStr, Final, Generic, Protocol, TypeVar

from fakeredis._helpers import SimpleError

__all__ = ["Matcher", "compile_glob", "compile_wildcard", "compile_word_wildcard"]

# Characters of a pattern that is compiled as a whole, and kept for the next time.
MAX_COMPILED: Final = 500
# Bytes of a long pattern that is kept for the next time: a subscriber's is matched at each message.
MAX_KEPT: Final = 100_000
# Length of a part between stars that has more than literal characters: all of it may be tried at each place of a text.
MAX_SEARCHED: Final = 1000
# Sets of characters and runs of ? in a part.
MAX_TOKENS: Final = 10_000
# Bytes of a set of characters.
MAX_CLASS: Final = 10_000

RUNS: Final = re.compile(r"[^*?\[\\]+|\*+|\?+|\[|\\", re.DOTALL)
WILDCARD_RUNS: Final = re.compile(r"[^*?]+|\*+|\?+", re.DOTALL)


Text = TypeVar("Text", bytes, str, contravariant=True)


class Matcher(Protocol[Text]):
    """What a pattern is compiled to."""

    def match(self, text: Text, /) -> object | None:
        """Something unless the whole text does not fit."""


class _Part:
    """What stands between two stars: literal characters, or a regular expression of fixed length."""

    def __init__(self) -> None:
        self.literals: list[str] = []
        self.tokens: list[str] = []
        """The same as regular expressions; empty while all is literal."""
        self.length = 0

    def add(self, literal: str) -> None:
        self.literals.append(literal)
        if self.tokens:
            self.tokens.append(re.escape(literal))
        self.length += len(literal)

    def add_token(self, expression: str, times: int = 1) -> None:
        if not self.tokens:
            self.tokens = [re.escape("".join(self.literals))]
        self.tokens.append(expression if times == 1 else f"{expression}{{{times}}}")
        self.length += times

    @property
    def text(self) -> str:
        return "".join(self.literals)

    @property
    def expression(self) -> str:
        return "".join(self.tokens) or re.escape(self.text)


def _compiled(parts: list[_Part]) -> str:
    """A regular expression for a short pattern, to be matched from the start to the end of a text."""
    if len(parts) == 1:
        return parts[0].expression + r"\Z"
    first, *middle, last = (part.expression for part in parts)
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + ".*" + last + r"\Z"


class _LongPattern(Generic[AnyStr]):
    """The parts of a long pattern.

    Args:
        parts: What stands between the stars.
        encode: Makes what is matched of a pattern's characters.
    """

    def __init__(self, parts: list[_Part], encode: Callable[[str], AnyStr]) -> None:
        def matched(part: _Part) -> AnyStr | re.Pattern[AnyStr]:
            if len(part.tokens) > MAX_TOKENS:
                raise SimpleError("ERR the pattern is too complex")
            return re.compile(encode(part.expression), re.DOTALL) if part.tokens else encode(part.text)

        if any(part.tokens and part.length > MAX_SEARCHED for part in parts[1:-1]):
            raise SimpleError(
                f"ERR the pattern is too complex: over {MAX_SEARCHED} characters with ? or [ between stars"
            )
        self._length = sum(part.length for part in parts)
        self._whole = len(parts) == 1
        self._first: tuple[AnyStr | re.Pattern[AnyStr], int] = matched(parts[0]), parts[0].length
        self._last: tuple[AnyStr | re.Pattern[AnyStr], int] = matched(parts[-1]), parts[-1].length
        self._middle: list[tuple[AnyStr | re.Pattern[AnyStr], int]] = [
            (matched(part), part.length) for part in parts[1:-1] if part.length
        ]

    def match(self, text: AnyStr, /) -> object | None:
        if len(text) < self._length or (self._whole and len(text) > self._length):
            return None
        end = len(text) - self._last[1]
        if not _is_at(self._first[0], text, 0) or not _is_at(self._last[0], text, end):
            return None
        position = self._first[1]
        for part, length in self._middle:
            found = _find(part, text, position, end)
            if found < 0:
                return None
            position = found + length
        return self


def _is_at(part: AnyStr | re.Pattern[AnyStr], text: AnyStr, position: int) -> bool:
    if isinstance(part, re.Pattern):
        return part.match(text, position) is not None
    return text.startswith(part, position)


def _find(part: AnyStr | re.Pattern[AnyStr], text: AnyStr, start: int, end: int) -> int:
    if isinstance(part, re.Pattern):
        found = part.search(text, start, end)
        return -1 if found is None else found.start()
    return text.find(part, start, end)


def compile_glob(pattern: bytes) -> Matcher[bytes]:
    """A glob of Redis: ``*``, ``?``, ``[abc]``, ``[^a-z]``, and ``\\`` before a character that stands for itself.

    Raises `SimpleError` for a long one that would take too long to match.
    """
    if len(pattern) <= MAX_COMPILED:
        return _short_glob(pattern)
    return _kept_glob(pattern) if len(pattern) <= MAX_KEPT else _long_glob(pattern)


def _long_glob(pattern: bytes) -> _LongPattern[bytes]:
    return _LongPattern(_glob_parts(pattern), _latin)


_kept_glob = functools.lru_cache(maxsize=32)(_long_glob)


@functools.lru_cache(maxsize=256)
def _short_glob(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(_latin(_compiled(_glob_parts(pattern))), re.DOTALL)


def _latin(text: str) -> bytes:
    return text.encode("latin-1")


def _glob_parts(raw: bytes) -> list[_Part]:
    pattern = raw.decode("latin-1")
    parts, at, end = [_Part()], 0, len(pattern)
    while at < end:
        run = RUNS.match(pattern, at)
        assert run is not None
        text, at = run.group(), run.end()
        if text[0] == "*":
            parts.append(_Part())
        elif text[0] == "?":
            parts[-1].add_token(".", len(text))
        elif text == "[":
            token, at = _class(pattern, at)
            parts[-1].add_token(token)
        elif text == "\\" and at < end:
            parts[-1].add(pattern[at])
            at += 1
        else:
            parts[-1].add(text)
    return parts


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A set of characters, which starts at `at`, and where it ends. One that is not closed ends with the pattern."""
    negated = pattern.startswith("^", at)
    at += negated
    start, end, members = at, len(pattern), []
    while at < end and pattern[at] != "]":
        if at - start > MAX_CLASS:
            raise SimpleError("ERR the pattern is too complex: a set of characters is too long")
        if pattern[at] == "\\" and at + 1 < end:
            members.append(re.escape(pattern[at + 1]))
            at += 2
        elif at + 2 < end and pattern[at + 1] == "-":
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            members.append(re.escape(pattern[at]))
            at += 1
    if not members:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(members)}]", at + 1


def compile_wildcard(pattern: bytes) -> Matcher[bytes]:
    """A pattern of a search for tags: ``?`` is one byte, ``*`` any number of them."""
    if len(pattern) <= MAX_COMPILED:
        return _short_wildcard(pattern)
    return _LongPattern(_wildcard_parts(pattern.decode("latin-1")), _latin)


@functools.lru_cache(maxsize=256)
def _short_wildcard(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(_latin(_compiled(_wildcard_parts(pattern.decode("latin-1")))), re.DOTALL)


def compile_word_wildcard(pattern: bytes) -> Matcher[str]:
    """A pattern of a search for words: ``?`` is one character, ``*`` any number of them."""
    if len(pattern) <= MAX_COMPILED:
        return _short_word_wildcard(pattern)
    return _LongPattern(_wildcard_parts(pattern.decode("utf-8", "replace")), str)


@functools.lru_cache(maxsize=256)
def _short_word_wildcard(pattern: bytes) -> re.Pattern[str]:
    return re.compile(_compiled(_wildcard_parts(pattern.decode("utf-8", "replace"))), re.DOTALL)


def _wildcard_parts(pattern: str) -> list[_Part]:
    parts = [_Part()]
    for text in _runs(pattern):
        if text[0] == "*":
            parts.append(_Part())
        elif text[0] == "?":
            parts[-1].add_token(".", len(text))
        else:
            parts[-1].add(text)
    return parts


def _runs(pattern: str) -> Iterator[str]:
    return (run.group() for run in WILDCARD_RUNS.finditer(pattern))
