"""Searches on a cluster that asks a shard several times: asked and answered so that each document counts once.

Before Redis 8.4 a coordinator asks a primary once for each of its ranges of slots.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from relay_models.transport.command_table import Part, name_of

__all__ = ["Undoubling"]

_KEY = "@__key"
_KEY_FIELD = b"__key"
_PROPERTY = re.compile(r"@(\w+)")
# How many arguments follow a word of FT.AGGREGATE; None where the first of them says how many more.
_ARGUMENTS: dict[str, int | None] = {
    **dict.fromkeys(("LOAD", "GROUPBY", "SORTBY", "PARAMS"), None),
    "APPLY": 1,
    "FILTER": 1,
    "AS": 1,
    "MAX": 1,
    "LIMIT": 2,
    "COUNT": 1,
    "MAXIDLE": 1,
    "TIMEOUT": 1,
    "DIALECT": 1,
}
# Words after which nothing reads columns.
_OPTIONS = frozenset(("WITHCURSOR", "PARAMS", "TIMEOUT", "DIALECT", "LIMIT", "VERBATIM"))

_Clause = list[Part]


class Undoubling:
    """One search and the answers to it, in RESP2.

    Rows come several times and are dropped by their keys; more of them are asked for, so that those which remain
    are as many as were asked for, unless there are fewer. Groups are made of groups by key.

    Args:
        command: the search.
        times: how many times some shard is asked.

    Attributes:
        command: the search to send in its place; None where it cannot be put right.
    """

    def __init__(self, command: Sequence[Part], times: int) -> None:
        self._times = times
        self._seen: set[bytes] = set()
        self._answered: Callable[[list[Any]], list[Any]] = self._rows
        self.command: Sequence[Part] | None = None
        name = name_of(command)
        if name == "FT.AGGREGATE":
            self.command = self._aggregate([str(part) if isinstance(part, str) else part for part in command])
        elif name == "FT.SEARCH":
            self.command = self._search(list(command))
        elif name == "FT.TAGVALS":
            self.command, self._answered = command, list

    def answer(self, reply: Any) -> Any:
        """A reply to the search, or to a read of its cursor, with each document once."""
        if isinstance(reply, Exception) or not isinstance(reply, list):
            return reply
        if len(reply) == 2 and isinstance(reply[0], list) and isinstance(reply[1], int):
            return [self._answered(reply[0]), reply[1]]
        return self._answered(reply)

    def _aggregate(self, command: list[Any]) -> Sequence[Part]:
        head, clauses = command[:3], list(_clauses(command[3:]))
        names = [_word(clause[0]) for clause in clauses]
        loads = [clause for clause, name in zip(clauses, names, strict=True) if name == "LOAD"]
        if "GROUPBY" in names:
            self._answered = list
            if "REDUCE" not in names:  # equal groups are one already
                return command
            # Grouped as late as can be: a column without a value exists in a group by it.
            place = names.index("GROUPBY")
            steps = [clause for clause in clauses[:place] if _word(clause[0]) != "LOAD"]
            rest = [clause for clause in clauses[place:] if _word(clause[0]) != "LOAD"]
            columns = _columns(rest)
            once: _Clause = ["GROUPBY", len(columns) + 1, _KEY, *(f"@{column}" for column in columns)]
            return [*head, *_loaded(loads), *(part for clause in [*steps, once, *rest] for part in clause)]
        for clause in clauses:
            if _word(clause[0]) in ("MAX", "LIMIT"):
                clause[-1] = int(clause[-1]) * self._times
        if not loads:
            clauses.insert(0, ["LOAD", 1, _KEY])
        else:
            loads[0][:] = _loaded(loads[:1])
        return [*head, *(part for clause in clauses for part in clause)]

    def _search(self, command: list[Any]) -> Sequence[Part] | None:
        words = [_word(part) for part in command]
        at = words.index("LIMIT") if "LIMIT" in words else len(words)
        if [str(part) for part in command[at + 1 : at + 3]] != ["0", "0"]:
            return None
        if "INKEYS" in words:
            self._answered = self._distinct
            number = int(command[words.index("INKEYS") + 1])
            command[at + 2] = number * self._times
            return command if "NOCONTENT" in words else [*command[:at], "NOCONTENT", *command[at:]]
        self._answered = _total
        options = [part for part in command[3:at] if _word(part) != "NOCONTENT"] + command[at + 3 :]
        count = ("LOAD", 1, _KEY, "GROUPBY", 1, _KEY, "GROUPBY", 0, "REDUCE", "COUNT", 0, "AS", "n")
        return ["FT.AGGREGATE", *command[1:3], *count, *options]

    def _rows(self, rows: list[Any]) -> list[Any]:
        found = rows[:1]
        for row in rows[1:]:
            key = row[row.index(_KEY_FIELD) + 1] if row and _KEY_FIELD in row[::2] else None
            if key is None or key not in self._seen:
                found.append(row)
            if key is not None:
                self._seen.add(key)
        return found

    def _distinct(self, rows: list[Any]) -> list[Any]:
        return [len(set(rows[1:]))]


def _total(rows: list[Any]) -> list[Any]:
    return [sum(int(row[1]) for row in rows[1:])]


def _word(part: Any) -> str:
    return (part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)).upper()


def _clauses(arguments: list[Any]) -> Iterator[_Clause]:
    """The arguments of FT.AGGREGATE after the query, word by word."""
    index = 0
    while index < len(arguments):
        word = _word(arguments[index])
        if word == "REDUCE":
            length = 3 + int(arguments[index + 2])
        else:
            count = _ARGUMENTS.get(word, 0)
            length = 2 + int(arguments[index + 1]) if count is None else 1 + count
        yield arguments[index : index + length]
        index += length


def _columns(rest: Sequence[_Clause]) -> list[str]:
    """The columns that steps read, except those that they make."""
    made: set[str] = set()
    read: dict[str, None] = {}
    for clause in rest:
        word = _word(clause[0])
        if word in _OPTIONS:
            continue
        if word == "AS":
            made.add(str(clause[1]))
            continue
        for part in clause[1:]:
            for name in _PROPERTY.findall(part.decode() if isinstance(part, bytes) else str(part)):
                if name not in made:
                    read[name] = None
    return list(read)


def _loaded(loads: Sequence[_Clause]) -> list[Any]:
    """One LOAD of everything and the key."""
    parts = [part for clause in loads for part in clause[2:]]
    if _KEY not in parts:
        parts.append(_KEY)
    return ["LOAD", len(parts), *parts]
