"""Text to terms: how RediSearch cuts, folds and stems a TEXT value."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import snowballstemmer

__all__ = ["MINIMUM_STEM_LENGTH", "SEPARATORS", "Word", "fold", "stem", "tokens", "unescape"]

SEPARATORS = b" \t,./(){}[]:;~!@#$%^&*-=+|'`\"<>?"
"""The characters between words, unless a backslash stands before them."""

MINIMUM_STEM_LENGTH = 4

_TOKEN = re.compile(rb"(?:\\.|[^" + re.escape(SEPARATORS) + rb"\\])+|\\", re.DOTALL)
_DROPPED = re.compile(rb"\\(.)|[\x00-\x1f\x7f]", re.DOTALL)
_ESCAPED = re.compile(rb"\\([!-/:-@\[-`{-~\s])")


class Word(NamedTuple):
    """One word of a text: its folded form, and where it stands in the text's bytes."""

    term: bytes
    start: int
    end: int


def fold(text: bytes) -> bytes:
    """Lower case, by Unicode; bytes that are not UTF-8 stay."""
    if text.isascii():
        return text.lower()
    try:
        return text.decode().lower().encode()
    except UnicodeDecodeError:
        return text.lower()


def unescape(text: bytes) -> bytes:
    """Take out the backslashes before punctuation and blanks."""
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text


def tokens(text: bytes, stop_words: frozenset[bytes]) -> Iterator[Word]:
    """The words of a text, without stop words. A text ends at its first NUL."""
    end = text.find(b"\0")
    if end >= 0:
        text = text[:end]
    for found in _TOKEN.finditer(text):
        raw = found[0]
        if not raw.isalnum():
            raw = _DROPPED.sub(lambda match: match[1] or b"", raw)
        term = fold(raw)
        if term and term not in stop_words:
            yield Word(term, found.start(), found.end())


@functools.lru_cache(maxsize=32)
def _stemmer(language: str) -> Any:
    return snowballstemmer.stemmer(language)


@functools.lru_cache(maxsize=65536)
def stem(term: bytes, language: str) -> bytes | None:
    """The stem of a folded term; None for a language without a stemmer. Texts' short words are not to be stemmed."""
    try:
        stemmed: str = _stemmer(language).stemWord(term.decode())
    except (KeyError, UnicodeDecodeError):
        return None
    return stemmed.encode()
