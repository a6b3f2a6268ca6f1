"""`Dictionaries`: the word lists of FT.DICTADD, FT.DICTDEL and FT.DICTDUMP. No index uses them."""

from __future__ import annotations

import sqlite3

__all__ = ["Dictionaries"]

MAXIMUM_BYTES = 512
MAXIMUM_CHARACTERS = 256
"""A word must be below; longer ones are silently left out, as on the real server."""


class Dictionaries:
    """All dictionaries of an engine, in one table."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(
            "CREATE TABLE IF NOT EXISTS ft_dictionaries (name BLOB, word BLOB, PRIMARY KEY (name, word)) WITHOUT ROWID"
        )

    def add(self, name: bytes, words: list[bytes]) -> int:
        """Add words. Returns how many were new."""
        fitting = [word for word in words if word and _fits(word)]
        sql = "INSERT OR IGNORE INTO ft_dictionaries VALUES (?, ?)"
        return sum(self._connection.execute(sql, (name, word)).rowcount for word in fitting)

    def delete(self, name: bytes, words: list[bytes]) -> int:
        """Remove words. Returns how many there were."""
        sql = "DELETE FROM ft_dictionaries WHERE name = ? AND word = ?"
        return sum(self._connection.execute(sql, (name, word)).rowcount for word in words)

    def words(self, name: bytes) -> list[bytes]:
        """The words of one dictionary in order; none where there is no such dictionary."""
        sql = "SELECT word FROM ft_dictionaries WHERE name = ? ORDER BY word"
        return [word for (word,) in self._connection.execute(sql, (name,))]

    def clear(self) -> None:
        self._connection.execute("DELETE FROM ft_dictionaries")


def _fits(word: bytes) -> bool:
    return len(word) <= MAXIMUM_BYTES and len(word.decode("utf-8", "replace")) < MAXIMUM_CHARACTERS
