"""`tokens`: how RediSearch tokenizes, folds and stems a TEXT value."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import snowballstemmer

__all__ = [
    "MINIMUM_STEM_LENGTH",
    "SEPARATORS",
    "Word",
    "fold",
    "fold_part",
    "fold_sorted",
    "stem",
    "tokens",
    "unescape",
    "unescape_each",
]

SEPARATORS = b" \t,./(){}[]:;~!@#$%^&*-=+|'`\"<>?"
"""The characters between words, unless a backslash precedes them."""

MINIMUM_STEM_LENGTH = 4

_TOKEN = re.compile(rb"(?:\\.|[^" + re.escape(SEPARATORS) + rb"\\])+|\\", re.DOTALL)
_DROPPED = re.compile(rb"\\(.)|[\x00-\x1f\x7f]", re.DOTALL)
_ESCAPES = re.compile(rb"\\(?=[!-/:-@\[-`{-~\s])")
_ESCAPED = re.compile(rb"\\([!-/:-@\[-`{-~\s])")


class Word(NamedTuple):
    """One word of a text: its folded form, and its position in the text's bytes."""

    term: bytes
    start: int
    end: int


def fold(text: bytes) -> bytes:
    """Lower case, by Unicode; a text that would become longer stays unchanged, as do bytes that are not UTF-8."""
    lower = fold_part(text)
    return lower if len(lower) <= len(text) else text


def fold_part(text: bytes) -> bytes:
    """Lower case, by Unicode, of a part of a word; bytes that are not UTF-8 stay."""
    if text.isascii():
        return text.lower()
    try:
        # Character by character: the real server has no final sigma.
        return _encoded("".join(map(str.lower, text.decode())))
    except UnicodeDecodeError:
        return text.lower()


def _encoded(text: str) -> bytes:
    """Folded text in UTF-8, in which the real server puts one bit of characters such as emoji in the wrong byte."""
    encoded = text.encode()
    if b"\xf0" not in encoded:
        return encoded
    return _ASTRAL.sub(lambda found: bytes((0xF0, found[1][0] & 0xFE, found[2][0] | (found[1][0] & 1) << 6)), encoded)


_ASTRAL = re.compile(rb"\xf0(.)(.)", re.DOTALL)


def fold_sorted(text: bytes) -> bytes:
    """The form that texts are sorted by: folded, by Unicode, so that sharp s is ss."""
    if text.isascii():
        return text.lower()
    try:
        return _encoded(text.decode().casefold())
    except UnicodeDecodeError:
        return text.lower()


def unescape(text: bytes) -> bytes:
    """Remove the backslashes before punctuation and whitespace."""
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text


def unescape_each(text: bytes, following: bytes = b"") -> bytes:
    """Remove every backslash before punctuation and whitespace, also one before another backslash.

    `following` is the character after the text, which a backslash may precede.
    """
    if b"\\" not in text:
        return text
    plain = _ESCAPES.sub(b"", text + following)
    return plain[: len(plain) - len(following)]


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
    make: Any = snowballstemmer.stemmer  # without types in version 2
    return make(language)


@functools.lru_cache(maxsize=65536)
def stem(term: bytes, language: str) -> bytes | None:
    """The stem of a folded term; None for a language without a stemmer. Short words are not stemmed."""
    try:
        stemmed: str = _stemmer(language).stemWord(term.decode())
    except (KeyError, UnicodeDecodeError):
        return None
    return stemmed.encode()
