"""The default stop words, which an index leaves out."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_STOP_WORDS"]

DEFAULT_STOP_WORDS: Final = frozenset(
    b"a is the an and are as at be but by for if in into it no not of on or such that their then there these they this"
    b" to was will with".split()
)
