"""`compile_glob` and `compile_wildcard`: patterns with stars, matched in time linear in the text.

Between two stars it suffices to look for the leftmost match of each part, for a part's length is fixed. So each part is
an atomic group, which is never matched a second time; fakeredis' and other translations to regular expressions try
every combination, and twelve stars on a word of 36 letters never end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

__all__ = ["compile_glob", "compile_wildcard", "compile_word_wildcard"]

STAR = ""


def _joined(tokens: Iterable[str]) -> str:
    """A regular expression for single characters and stars, to be matched from the start to the end of a text."""
    parts: list[str] = [""]
    for token in tokens:
        if token is STAR:
            parts.append("")
        else:
            parts[-1] += token
    if len(parts) == 1:
        return parts[0] + r"\Z"
    first, *middle, last = parts
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + ".*" + last + r"\Z"


@functools.lru_cache(maxsize=256)
def compile_glob(pattern: bytes) -> re.Pattern[bytes]:
    """A glob of Redis: ``*``, ``?``, ``[abc]``, ``[^a-z]``, and ``\\`` before a character that stands for itself."""
    return re.compile(_joined(_glob_tokens(pattern.decode("latin-1"))).encode("latin-1"), re.DOTALL)


def _glob_tokens(pattern: str) -> Iterable[str]:
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        at += 1
        if char == "*":
            yield STAR
        elif char == "?":
            yield "."
        elif char == "[":
            token, at = _class(pattern, at)
            yield token
        elif char == "\\" and at < end:
            yield re.escape(pattern[at])
            at += 1
        else:
            yield re.escape(char)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A set of characters, which starts at `at`, and where it ends. One that is not closed ends with the pattern."""
    negated = pattern.startswith("^", at)
    at += negated
    end, members = len(pattern), ""
    while at < end and pattern[at] != "]":
        if pattern[at] == "\\" and at + 1 < end:
            members += re.escape(pattern[at + 1])
            at += 2
        elif at + 2 < end and pattern[at + 1] == "-":
            low, high = sorted((pattern[at], pattern[at + 2]))
            members += f"{re.escape(low)}-{re.escape(high)}"
            at += 3
        else:
            members += re.escape(pattern[at])
            at += 1
    if not members:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{members}]", at + 1


@functools.lru_cache(maxsize=256)
def compile_wildcard(pattern: bytes) -> re.Pattern[bytes]:
    """A pattern of a search for tags: ``?`` is one byte, ``*`` any number of them."""
    return re.compile(_joined(_wildcard_tokens(pattern.decode("latin-1"))).encode("latin-1"), re.DOTALL)


@functools.lru_cache(maxsize=256)
def compile_word_wildcard(pattern: bytes) -> re.Pattern[str]:
    """A pattern of a search for words: ``?`` is one character, ``*`` any number of them."""
    return re.compile(_joined(_wildcard_tokens(pattern.decode("utf-8", "replace"))), re.DOTALL)


def _wildcard_tokens(pattern: str) -> Iterable[str]:
    for char in pattern:
        yield STAR if char == "*" else "." if char == "?" else re.escape(char)
