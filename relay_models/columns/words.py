"""Words of running text, cut here in one way for the index, for queries and for plain Python, so that they agree."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay_models._checks import shown
from relay_models.errors import QueryError

__all__ = ["BOUNDARY", "WordQuery", "words_of", "words_text"]

BOUNDARY = "__"
"""A word that no text has; between two texts it keeps a phrase from running over."""

# Scripts that are written without blanks: each character is a word, so that a part of a text is found as a phrase.
_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]|[^\W_぀-ヿ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
# The tokenizer of RediSearch treats longer words in ways of its own.
_LONGEST = 100


def words_of(text: str) -> list[str]:
    """The words of a text in order, without case, marks and punctuation.

    A word is ASCII letters and digits; any other letter is written as its code in hexadecimal between underscores,
    which no server cuts or folds in its own way.
    """
    if text.isascii():
        return [word[:_LONGEST] for word in _ASCII_WORD.findall(text.lower())]
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(character for character in folded if not unicodedata.combining(character))
    return [_encoded(word) for word in _WORD.findall(unicodedata.normalize("NFKC", bare))]


def words_text(texts: Iterable[str]) -> str:
    """The words of several texts as the index gets them: with blanks between, and a boundary between two texts."""
    return f" {BOUNDARY} ".join(" ".join(words) for words in map(words_of, texts) if words)


def _encoded(word: str) -> str:
    if word.isascii():
        return word[:_LONGEST]
    length = 0
    parts: list[str] = []
    for character in word:
        part = character if character.isascii() else f"_{ord(character):x}_"
        length += len(part)
        if length > _LONGEST:
            break
        parts.append(part)
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class WordQuery:
    """Phrases that must all occur: each is its words, and whether the last is only the beginning of one."""

    text: str
    phrases: tuple[tuple[tuple[str, ...], bool], ...]

    @classmethod
    def parse(cls, text: str) -> WordQuery:
        """Read ``word "a phrase" begin*``.

        Raises:
            QueryError: there is no word in it.
        """
        if not isinstance(text, str):
            raise QueryError(f"words are searched as text, not {shown(text)}")
        phrases: list[tuple[tuple[str, ...], bool]] = []
        for quoted, bare in re.findall(r'"([^"]*)"?|([^\s"]+)', text):
            words = tuple(words_of(quoted or bare))
            begins = not quoted and bare.endswith("*")
            if not words:
                continue
            phrases.append((words, begins))
        if not phrases:
            raise QueryError(f"there is no word in {shown(text)}")
        return cls(text, tuple(phrases))

    def accepts(self, words: Sequence[str]) -> bool:
        """Whether all phrases occur in the words of a text (`words_of`, with boundaries)."""
        return all(_occurs(phrase, begins, words) for phrase, begins in self.phrases)


def _occurs(phrase: tuple[str, ...], begins: bool, words: Sequence[str]) -> bool:
    *exact, last = phrase
    for start in range(len(words) - len(exact)):
        if list(words[start : start + len(exact)]) == exact:
            final = words[start + len(exact)]
            if final == last or (begins and final.startswith(last)):
                return True
    return False
