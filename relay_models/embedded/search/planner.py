"""A query's tree to an SQL condition over an index's tables.

Everything that SQL can say is left to it, so that a query costs what it finds. Only phrases, which need the places of
words, are worked out here, from the rows of their words.
"""

from __future__ import annotations

import json
import re
import sqlite3
from array import array
from collections.abc import Iterable, Sequence

from relay_models.embedded.search.fuzzy import within_distance
from relay_models.embedded.search.nodes import (
    ALL_FIELDS,
    Everything,
    Fuzzy,
    Ids,
    Missing,
    Node,
    Not,
    Numeric,
    Optional,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
    Union,
)
from relay_models.embedded.search.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.settings import Settings
from relay_models.embedded.search.tables import Tables, key_hash, value_column
from relay_models.embedded.search.tokenizer import fold, unescape

__all__ = ["Planner", "wildcard_regex"]

Places = dict[int, list[int]]

NOTHING, ALL = "0", "1"


def wildcard_regex(pattern: bytes) -> re.Pattern[bytes]:
    r"""What ``w'…'`` matches: ? is one character, * any number of them, a backslash takes their meaning away."""
    parts, escaped = [], False
    for byte in pattern:
        char = bytes((byte,))
        if escaped:
            parts.append(re.escape(char))
            escaped = False
        elif char == b"\\":
            escaped = True
        elif char == b"*":
            parts.append(b".*")
        elif char == b"?":
            parts.append(b".")
        else:
            parts.append(re.escape(char))
    return re.compile(b"".join(parts) + rb"\Z", re.DOTALL)


def _after(prefix: bytes) -> bytes | None:
    """The first string that sorts behind all that start with `prefix`; None where there is none."""
    bare = prefix.rstrip(b"\xff")
    return None if not bare else bare[:-1] + bytes((bare[-1] + 1,))


def _joined(parts: list[str], operator: str) -> str:
    """The parts in one condition, in halves of halves: SQLite limits how deep, not how wide, conditions are."""
    if len(parts) <= 32:
        return "(" + operator.join(parts) + ")"
    middle = len(parts) // 2
    return "(" + _joined(parts[:middle], operator) + operator + _joined(parts[middle:], operator) + ")"


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


class Planner:
    """Writes the condition of one query. `arguments` are those of the SQL, in order.

    The fields that are looked in must be made ready for it (`Tables.prepare`). Given a list `later`, that is left to
    the caller, and they are put into it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        spec: IndexSpec,
        settings: Settings,
        *,
        fields: int = ALL_FIELDS,
        slop: int | None = None,
        in_order: bool = False,
        later: list[FieldSpec] | None = None,
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._tables = Tables(spec.number)
        self.settings = settings
        self._fields = fields
        self._slop = slop
        self._in_order = in_order
        self._later = later
        texts = [field for field in spec.fields if field.type is FieldType.TEXT and field.indexed]
        self._every_field = sum(1 << field.bit for field in texts)
        self.arguments: list[object] = []

    def condition(self, node: Node | None) -> str:
        """The condition on the rows `d` of the index's documents."""
        start = len(self.arguments)
        sql = NOTHING if node is None else self._condition(node)
        if sql in (NOTHING, ALL):
            del self.arguments[start:]
        return sql

    def _condition(self, node: Node) -> str:
        if isinstance(node, Token):
            return self._words([node.text, *node.expansions], node)
        if isinstance(node, (Prefix, Pattern, Fuzzy)):
            return self._words(self.expand(node), node)
        if isinstance(node, Phrase):
            return self._phrase(node)
        if isinstance(node, Union):
            return self._any([self.condition(child) for child in node.children])
        if isinstance(node, Not):
            inner = self.condition(node.children[0])
            if inner in (NOTHING, ALL):
                return ALL if inner == NOTHING else NOTHING
            return f"({inner}) IS NOT TRUE"
        if isinstance(node, (Optional, Everything)):
            return ALL
        if isinstance(node, Numeric):
            return self._numeric(node)
        if isinstance(node, Tag):
            return self._tag(node)
        if isinstance(node, Missing):
            self.arguments.append(node.field.number)
            return f"d.docid IN (SELECT docid FROM {self._tables.missing} WHERE field = ?)"
        if isinstance(node, Ids):
            # In one argument, since SQLite limits how many there may be.
            self.arguments.append(json.dumps([key_hash(key) for key in node.keys]))
            self.arguments.append(json.dumps([key.hex() for key in node.keys]))
            among = "d.hash IN (SELECT value FROM json_each(?))"
            return f"({among} AND d.key IN (SELECT ft_bytes(value) FROM json_each(?)))" if node.keys else NOTHING
        raise AssertionError(node)

    @staticmethod
    def _any(parts: list[str]) -> str:
        if ALL in parts:
            return ALL
        parts = [part for part in parts if part != NOTHING]
        return _joined(parts, " OR ") if parts else NOTHING

    @staticmethod
    def _all(parts: list[str]) -> str:
        if NOTHING in parts or not parts:
            return NOTHING
        parts = [part for part in parts if part != ALL]
        return _joined(parts, " AND ") if parts else ALL

    # Text

    def mask(self, node: Node) -> int | None:
        """The fields a node looks in, or None for all of them."""
        fields = node.fields & self._fields & self._every_field
        return None if fields == self._every_field else fields

    def _words(self, words: Sequence[bytes], node: Node) -> str:
        mask = self.mask(node)
        if not words or mask == 0:
            return NOTHING
        self.arguments += words
        sql = f"d.docid IN (SELECT docid FROM {self._tables.words} WHERE word IN ({_marks(words)})"
        if mask is not None:
            self.arguments.append(mask - (1 << 64) if mask >= 1 << 63 else mask)
            sql += " AND fields & ?"
        return sql + ")"

    def expand(self, node: Prefix | Pattern | Fuzzy) -> list[bytes]:
        """The indexed words that an incomplete word stands for."""
        limit = self.settings.numbers["MAXEXPANSIONS"]
        if isinstance(node, Fuzzy):
            return self._vocabulary(lambda word: within_distance(node.text, word, node.distance), limit)
        if isinstance(node, Pattern):
            regex = wildcard_regex(fold(node.text))
            return self._vocabulary(lambda word: regex.match(word) is not None, limit)
        text = fold(node.text)
        if len(text) < self.settings.numbers["MINPREFIX"]:
            return []
        if node.at_end:
            if node.at_start:
                return self._vocabulary(lambda word: text in word, limit)
            return self._vocabulary(lambda word: word.endswith(text), limit)
        end = _after(text)
        sql = f"SELECT DISTINCT word FROM {self._tables.words} WHERE word >= ?" + (" AND word < ?" if end else "")
        arguments = (text, end, limit) if end else (text, limit)
        return [word for (word,) in self._connection.execute(f"{sql} LIMIT ?", arguments)]

    def _vocabulary(self, fits: object, limit: int) -> list[bytes]:
        assert callable(fits)
        found: list[bytes] = []
        # Hop from word to word along the primary key instead of reading all of its rows.
        sql = f"SELECT word FROM {self._tables.words} WHERE word > ? ORDER BY word LIMIT 1"
        row = self._connection.execute(f"SELECT min(word) FROM {self._tables.words}").fetchone()
        while row is not None and row[0] is not None and len(found) < limit:
            word: bytes = row[0]
            if word and fits(word):
                found.append(word)
            row = self._connection.execute(sql, (word,)).fetchone()
        return found

    def _phrase(self, node: Phrase) -> str:
        slop, in_order = node.slop, node.in_order
        if not node.exact and slop is None and in_order is None:
            slop, in_order = self._slop, self._in_order
        if node.exact:
            slop, in_order = 0, True
        if len(node.children) == 1:
            return self.condition(node.children[0])
        if (slop is None or slop < 0) and not in_order:
            return self._all([self.condition(child) for child in node.children])
        found = self._near(node, -1 if slop is None else slop, bool(in_order))
        if found is None:
            return self._all([self.condition(child) for child in node.children])
        self.arguments.append("[" + ",".join(map(str, found)) + "]")
        return "d.docid IN (SELECT value FROM json_each(?))"

    def _near(self, node: Phrase, slop: int, in_order: bool) -> list[int] | None:
        """The documents where the children stand within `slop` of each other; None where too few have places."""
        children: list[Places] = []
        rest: list[Node] = []
        for child in node.children:
            places = self._places(child)
            if places is None:
                rest.append(child)
            else:
                children.append(places)
        if len(children) < 2:
            return None
        documents = set(children[0]).intersection(*children[1:])
        found = [docid for docid in documents if _fits([places[docid] for places in children], slop, in_order)]
        if rest:
            others = Planner(self._connection, self._spec, self.settings, fields=self._fields)
            both = Phrase()
            both.children = [*rest, Everything()]
            condition = others.condition(both)
            sql = f"SELECT d.docid FROM {self._tables.docs} d WHERE {condition}"
            allowed = {docid for (docid,) in self._connection.execute(sql, others.arguments)}
            found = [docid for docid in found if docid in allowed]
        return sorted(found)

    def _places(self, node: Node) -> Places | None:
        """Where a node's words stand in each document that it finds; None for nodes without words."""
        if isinstance(node, Token):
            return self._word_places([node.text, *node.expansions], node)
        if isinstance(node, (Prefix, Pattern, Fuzzy)):
            return self._word_places(self.expand(node), node)
        if not isinstance(node, (Union, Phrase)):
            return None
        parts = [places for places in map(self._places, node.children) if places is not None]
        if not parts:
            return None
        found: set[int] | None = None
        if isinstance(node, Phrase):
            own = Planner(self._connection, self._spec, self.settings, fields=self._fields)
            condition = own.condition(node)
            sql = f"SELECT d.docid FROM {self._tables.docs} d WHERE {condition}"
            found = {docid for (docid,) in self._connection.execute(sql, own.arguments)}
        merged: dict[int, set[int]] = {}
        for places in parts:
            for docid, here in places.items():
                if found is None or docid in found:
                    merged.setdefault(docid, set()).update(here)
        return {docid: sorted(here) for docid, here in merged.items()}

    def _word_places(self, words: Iterable[bytes], node: Node) -> Places:
        mask = self.mask(node)
        places: Places = {}
        for word in words:
            sql = f"SELECT docid, fields, places FROM {self._tables.words} WHERE word = ?"
            for docid, fields, packed in self._connection.execute(sql, (word,)):
                if mask is not None and not fields & mask:
                    continue
                here = array("I", packed).tolist()
                places[docid] = sorted({*places[docid], *here}) if docid in places else here
        return places

    # Numbers and tags

    def _prepare(self, field: FieldSpec) -> None:
        """Make what finding by a field needs, or leave that to whoever asked for it."""
        if self._later is None:
            self._tables.prepare(self._connection, self._spec, field)
        else:
            self._later.append(field)

    def _numeric(self, node: Numeric) -> str:
        column, field = value_column(node.field), node.field
        if field.noindex:
            return NOTHING
        self._prepare(field)
        low, high = node.low, node.high
        assert not hasattr(low, "name")
        if low is not None and high is not None and (low > high):  # type: ignore[operator]
            return NOTHING
        single, arguments = self._between(f"d.{column}", node)
        self.arguments += arguments
        if not field.many:
            return single
        many, arguments = self._between("value", node)
        self.arguments += [field.number, *arguments]
        return f"({single} OR d.docid IN (SELECT docid FROM {self._tables.numbers} WHERE field = ? AND {many}))"

    @staticmethod
    def _between(column: str, node: Numeric) -> tuple[str, list[object]]:
        parts: list[str] = []
        arguments: list[object] = []
        infinity = float("inf")
        if node.low is not None and not (node.low == -infinity and node.with_low):
            parts.append(f"{column} >{'=' if node.with_low else ''} ?")
            arguments.append(node.low)
        if node.high is not None and not (node.high == infinity and node.with_high):
            parts.append(f"{column} <{'=' if node.with_high else ''} ?")
            arguments.append(node.high)
        return " AND ".join(parts) or f"{column} IS NOT NULL", arguments

    def _tag(self, node: Tag) -> str:
        field = node.field
        if field.noindex:
            return NOTHING
        self._prepare(field)
        exact: list[bytes] = []
        parts: list[str] = []
        for child in node.children:
            if isinstance(child, Token):
                exact.append(self._tag_text(field, child.text))
            elif isinstance(child, Phrase):
                exact.append(
                    b" ".join(self._tag_text(field, c.text) if isinstance(c, Token) else b"" for c in child.children)
                )
        if exact:
            self.arguments += exact
            single = f"d.v{field.number} IN ({_marks(exact)})" if len(exact) > 1 else f"d.v{field.number} = ?"
            parts.append(single)
            if field.many:
                self.arguments += [field.number, *exact]
                parts.append(
                    f"d.docid IN (SELECT docid FROM {self._tables.tags} WHERE field = ? AND tag IN ({_marks(exact)}))"
                )
        for child in node.children:
            if isinstance(child, (Prefix, Pattern)):
                self._tag_part(field, child, parts)
        return self._any(parts)

    def tag_values(self, node: Tag) -> list[bytes]:
        """The tags that a node's incomplete tags stand for, as many as MAXEXPANSIONS allows."""
        field, found = node.field, []
        for child in node.children:
            if not isinstance(child, (Prefix, Pattern)):
                continue
            column = f"v{field.number}"
            test, arguments = self._tag_test(field, child, column)
            if test == NOTHING:
                continue
            sql = f"SELECT {column} FROM {self._tables.docs} WHERE {test}"
            if field.many:
                side, more = self._tag_test(field, child, "tag")
                sql += f" UNION SELECT tag FROM {self._tables.tags} WHERE field = ? AND {side}"
                arguments = [*arguments, field.number, *more]
            limit = self.settings.numbers["MAXEXPANSIONS"]
            sql = f"SELECT DISTINCT * FROM ({sql}) ORDER BY 1 LIMIT ?"
            found += [value for (value,) in self._connection.execute(sql, (*arguments, limit))]
        return found

    def _tag_part(self, field: FieldSpec, child: Prefix | Pattern, parts: list[str]) -> None:
        for column, side in ((f"d.v{field.number}", False), ("tag", True)):
            if side and not field.many:
                continue
            test, arguments = self._tag_test(field, child, column)
            if test == NOTHING:
                return
            if side:
                self.arguments += [field.number, *arguments]
                parts.append(f"d.docid IN (SELECT docid FROM {self._tables.tags} WHERE field = ? AND {test})")
            else:
                self.arguments += arguments
                parts.append(f"({test})")

    def _tag_test(self, field: FieldSpec, child: Prefix | Pattern, column: str) -> tuple[str, list[object]]:
        if isinstance(child, Pattern):
            pattern = child.text if field.case_sensitive else fold(child.text)
            return f"ft_fits({column}, ?)", [pattern]
        text = self._tag_text(field, child.text)
        if len(text) < self.settings.numbers["MINPREFIX"]:
            return NOTHING, []
        if not child.at_end:
            end = _after(text)
            return (f"{column} >= ? AND {column} < ?", [text, end]) if end else (f"{column} >= ?", [text])
        if child.at_start:
            return f"instr({column}, ?) > 0", [text]
        return f"substr({column}, ?) = ?", [-len(text), text]

    @staticmethod
    def _tag_text(field: FieldSpec, text: bytes) -> bytes:
        end = text.find(b"\0")
        plain = unescape(text if end < 0 else text[:end])
        return plain if field.case_sensitive else fold(plain)


def _fits(places: list[list[int]], slop: int, in_order: bool) -> bool:
    """Whether one place of each list can be taken so that at most `slop` other words lie between (-1: any number).

    In order, a place may be taken twice, so that the words of "again again" are found where there is one "again".
    """
    most = slop if slop >= 0 else 1 << 31
    if in_order:
        return _in_order(places, most)
    flat = sorted((place, number) for number, each in enumerate(places) for place in each)
    seen: dict[int, int] = {}
    for place, number in flat:
        seen[number] = place
        if len(seen) == len(places):
            first = min(seen.values())
            if first != place and place - first - (len(places) - 1) <= most:
                return True
    return False


def _in_order(places: list[list[int]], most: int) -> bool:
    at = [0] * len(places)
    for first in places[0]:
        last, span = first, 0
        for number in range(1, len(places)):
            here = places[number]
            while at[number] < len(here) and here[at[number]] < last:
                at[number] += 1
            if at[number] == len(here):
                return False
            span += here[at[number]] - last - 1
            last = here[at[number]]
            if span > most:
                break
        else:
            return True
    return False
