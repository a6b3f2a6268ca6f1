"""A query's tree to an SQL condition over an index's tables.

Everything that SQL can say is left to it, so that a query costs what it finds. Only phrases are worked out in Python.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from collections.abc import Callable, Sequence

from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.fuzzy import within_distance
from relay_models.embedded.search.execute.iterators import AnyOf, Iterator, Reader, Record, intersection
from relay_models.embedded.search.execute.phrases import Phrases
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import Tables, key_hash, value_column
from relay_models.embedded.search.index.tokenizer import fold, fold_part, unescape
from relay_models.embedded.search.syntax.nodes import (
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

__all__ = ["Planner", "wildcard_regex"]

NOTHING, ALL = "0", "1"
_TEXT = FieldType.TEXT


def wildcard_regex(pattern: bytes) -> re.Pattern[bytes]:
    r"""What ``w'…'`` matches in tags: ? is one byte, * any number of them. Backslashes are taken out before."""
    parts = [_WILD.get(bytes((byte,))) or re.escape(bytes((byte,))) for byte in pattern]
    return re.compile(b"".join(parts) + rb"\Z", re.DOTALL)


def _word_regex(pattern: bytes) -> re.Pattern[str]:
    """The same for words, where ? is one character."""
    parts = [_WILD[char].decode() if char in _WILD else re.escape(char.decode()) for char in _characters(pattern)]
    return re.compile("".join(parts) + r"\Z", re.DOTALL)


def _longest_part(pattern: bytes) -> bytes | None:
    """The part of a pattern between its * by which words are found where their ends are kept (WITHSUFFIXTRIE).

    The real server means to pass over parts with ?, but counts them against the best part so far, wrapping around.
    """
    text = pattern.decode("utf-8", "replace")
    best, found = -(1 << 31), None
    for match in re.finditer(r"[^*]+", text):
        part = match[0]
        if len(part) < 2:
            continue
        inner = match.end() < len(text)
        best -= part.count("?")
        if best < -(1 << 31):
            best += 1 << 32
        score = len(part) + 1 - (5 if inner else 0)
        if score >= best:
            best, found = score, part + "*" if inner else part
    return None if found is None else found.encode()


_WILD = {b"*": b".*", b"?": b"."}


def _characters(text: bytes) -> list[bytes]:
    return [char.encode() for char in text.decode("utf-8", "replace")]


def _without_escapes(pattern: bytes) -> bytes:
    """A pattern without its backslashes, which keep no * and no ? from their meaning."""
    return re.sub(rb"\\(.?)", rb"\1", pattern, flags=re.DOTALL)


def _after(prefix: bytes) -> bytes | None:
    """The first string that sorts behind all that start with `prefix`; None where there is none."""
    bare = prefix.rstrip(b"\xff")
    return None if not bare else bare[:-1] + bytes((bare[-1] + 1,))


def _is_double(node: Node) -> bool:
    return isinstance(node, Not) and isinstance(node.children[0], Not)


def _joined(parts: list[str], operator: str) -> str:
    """The parts in one condition, in halves of halves: SQLite limits how deep, not how wide, conditions are."""
    if len(parts) <= 32:
        return "(" + operator.join(parts) + ")"
    middle = len(parts) // 2
    return "(" + _joined(parts[:middle], operator) + operator + _joined(parts[middle:], operator) + ")"


def _signed(mask: int) -> int:
    return mask - (1 << 64) if mask >= 1 << 63 else mask


def _in_trie(word: bytes) -> bool:
    """Whether the real server can expand to a word: it keeps 16 bits of each character."""
    return not any(byte >= 0xF0 for byte in word)


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
        self.connection = connection
        self._spec = spec
        self.tables = Tables(spec.number)
        self.settings = settings
        self.fields = fields
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
            if node.stemmed == ALL_FIELDS:
                return self._words([node.text, *node.expansions], node)
            forms = node.forms()
            masks = dict.fromkeys(only for _, only in forms)
            return self._any([self._words([word for word, its in forms if its == only], node, only) for only in masks])
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
        if isinstance(node, Optional):
            # It finds all, but what is wrong with it is said.
            start = len(self.arguments)
            self.condition(node.children[0])
            del self.arguments[start:]
            return ALL
        if isinstance(node, Everything):
            return ALL
        if isinstance(node, Numeric):
            return self._numeric(node)
        if isinstance(node, Tag):
            return self._tag(node)
        if isinstance(node, Missing):
            self.arguments.append(node.field.number)
            return f"d.docid IN (SELECT docid FROM {self.tables.missing} WHERE field = ?)"
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

    def settle(self, node: Node) -> None:
        """Give the texts of a tree the form in which they are looked for, which is what FT.EXPLAIN shows."""
        if isinstance(node, Tag):
            if self._holds_tags(node.field):
                for child in node.children:
                    self._settle_tag(node.field, child)
            return
        if isinstance(node, Pattern):
            node.text = _without_escapes(node.text)
        for child in node.children:
            self.settle(child)

    def _settle_tag(self, field: FieldSpec, child: Node) -> None:
        if isinstance(child, (Token, Prefix, Pattern)):
            child.text = self._tag_text(field, child.text)
            if isinstance(child, Pattern):
                child.text = _without_escapes(child.text)
        elif isinstance(child, Phrase):
            for word in child.children:
                self._settle_tag(field, word)

    def _holds_tags(self, field: FieldSpec) -> bool:
        """Whether any document has had a tag here: without that the real server does not look at the texts."""
        if field.many:
            return True
        if field.type is _TEXT:
            return False
        sql = f"SELECT EXISTS (SELECT 1 FROM {self.tables.docs} WHERE {value_column(field)} IS NOT NULL)"
        return bool(self.connection.execute(sql).fetchone()[0])

    # Text

    def mask(self, node: Node, only: int = ALL_FIELDS) -> int | None:
        """The fields a node looks in, or None for all of them."""
        fields = node.fields & only & self.fields & self._every_field
        return None if fields == self._every_field else fields

    def _words(self, words: Sequence[bytes], node: Node, only: int = ALL_FIELDS) -> str:
        mask = self.mask(node, only)
        if not words or mask == 0:
            return NOTHING
        self.arguments += words
        sql = f"d.docid IN (SELECT docid FROM {self.tables.words} WHERE word IN ({_marks(words)})"
        if mask is not None:
            self.arguments.append(_signed(mask))
            sql += " AND fields & ?"
        return sql + ")"

    def expand(self, node: Prefix | Pattern | Fuzzy) -> list[bytes]:
        """The indexed words that an incomplete word stands for."""
        limit = self.settings.numbers["MAXEXPANSIONS"]
        if isinstance(node, Fuzzy):
            wanted = fold_part(node.text)
            words = self._vocabulary(lambda word: within_distance(wanted, word, node.distance), limit)
            return [*words, b""] if node.with_empty and len(node.text) <= node.distance else words
        if isinstance(node, Pattern):
            return self._expand_pattern(node, limit)
        text = fold_part(node.text)
        if len(node.text) < self.settings.numbers["MINPREFIX"]:
            return []
        if node.at_end:
            suffixed = self._suffixed(node)
            if node.at_start:
                return self._vocabulary(lambda word: text in word, limit, suffixed)
            return self._vocabulary(lambda word: word.endswith(text), limit, suffixed)
        end = _after(text)
        sql = f"SELECT DISTINCT word FROM {self.tables.words} WHERE word >= ?" + (" AND word < ?" if end else "")
        arguments = (text, end, limit) if end else (text, limit)
        return [word for (word,) in self.connection.execute(f"{sql} LIMIT ?", arguments) if _in_trie(word)]

    def _expand_pattern(self, node: Pattern, limit: int) -> list[bytes]:
        pattern = _without_escapes(node.text)
        suffixed = self._suffixed(node)
        folded = fold_part(pattern)
        part = _longest_part(folded) if suffixed else None
        if part is not None:
            # The part finds the words by their ends; the whole pattern is compared with them as it is written.
            ends, whole = _word_regex(part), wildcard_regex(pattern)
            return self._vocabulary(
                lambda word: whole.match(word) and ends.search(word.decode("utf-8", "replace")), limit, suffixed
            )
        words = _word_regex(folded)
        return self._vocabulary(lambda word: words.match(word.decode("utf-8", "replace")), limit)

    def _suffixed(self, node: Node) -> int:
        """The fields WITHSUFFIXTRIE, to whose words the ends and middles of words belong where there are such fields.

        Raises `SearchError` where the node looks in others only.
        """
        suffixed = sum(1 << field.bit for field in self._spec.fields if field.suffix_trie and field.type is _TEXT)
        if suffixed and node.fields != ALL_FIELDS and node.fields & ~suffixed:
            raise SearchError("Contains query on fields without WITHSUFFIXTRIE support")
        return suffixed

    def _in_fields(self, word: bytes, fields: int) -> bool:
        sql = f"SELECT 1 FROM {self.tables.words} WHERE word = ? AND fields & ? LIMIT 1"
        return self.connection.execute(sql, (word, _signed(fields))).fetchone() is not None

    def _vocabulary(self, fits: Callable[[bytes], object], limit: int, fields: int = 0) -> list[bytes]:
        """The words that fit, only those that stand in the fields where some are given."""
        found: list[bytes] = []
        # Hop from word to word along the primary key instead of reading all of its rows.
        sql = f"SELECT word FROM {self.tables.words} WHERE word > ? ORDER BY word LIMIT 1"
        row = self.connection.execute(f"SELECT min(word) FROM {self.tables.words}").fetchone()
        while row is not None and row[0] is not None and len(found) < limit:
            word: bytes = row[0]
            if word and fits(word):
                stands = self._in_fields(word, fields) if fields and word[:1] != b"+" else not fields and _in_trie(word)
                if stands:
                    found.append(word)
            row = self.connection.execute(sql, (word,)).fetchone()
        return found

    def _phrase(self, node: Phrase) -> str:
        slop, in_order = 0, True
        if not node.exact:
            slop = node.slop if node.slop is not None and node.slop >= 0 else -1 if self._slop is None else self._slop
            in_order = self._in_order or bool(node.in_order)
        if len(node.children) == 1:
            return self.condition(node.children[0])
        conditions = [self.condition(child) for child in node.children] if slop < 0 and not in_order else []
        if conditions or "NOOFFSETS" in self._spec.options:
            return self._all(conditions or [self.condition(child) for child in node.children])
        self.arguments.append("[" + ",".join(map(str, Phrases(self).near(node, slop, in_order))) + "]")
        return "d.docid IN (SELECT value FROM json_each(?))"

    def only_one(self, node: Node | None) -> int | None:
        """The one document that an intersection may still find where the real server loses the others.

        It does where it begins with what is not not something, and every document from one on is that something: the
        inner of the two has then come to its end in looking for the first document.
        """
        if not isinstance(node, Phrase) or len(node.children) < 2 or not any(map(_is_double, node.children)):
            return None
        count, last = self.connection.execute(f"SELECT count(*), max(docid) FROM {self.tables.docs}").fetchone()
        first = node.children[0]
        if not (node.exact or self._in_order or node.in_order):
            first = min(node.children, key=lambda child: self._estimate(child, count))
        if count != last or not _is_double(first):
            return None
        found = sorted(self.found(first.children[0].children[0]))
        return found[0] if found and found[-1] == last and found[0] + len(found) - 1 == last else None

    def _estimate(self, node: Node, count: int) -> int:
        """How many documents the real server expects of a node; of `count` in all."""
        if isinstance(node, Token):
            sql = f"SELECT count(*) FROM {self.tables.words} WHERE word = ?"
            return sum(self.connection.execute(sql, (word,)).fetchone()[0] for word, _ in node.forms())
        if isinstance(node, Union):
            return sum(self._estimate(child, count) for child in node.children)
        if isinstance(node, Phrase):
            return min((self._estimate(child, count) for child in node.children), default=0)
        if isinstance(node, Numeric) and node.field.many:
            test, arguments = self._between("value", node)
            sql = f"SELECT count(*) FROM {self.tables.numbers} WHERE field = ? AND {test}"
            (values,) = self.connection.execute(sql, (node.field.number, *arguments)).fetchone()
            return max(int(values), len(self.found(node)))
        return count if isinstance(node, (Not, Optional)) else len(self.found(node))

    def is_walked(self, node: Phrase) -> bool:
        """Whether an intersection is of nothing but words and single tags."""

        def words(child: Node) -> bool:
            return isinstance(child, Token) or (isinstance(child, Union) and all(map(words, child.children)))

        def tag(child: Node) -> bool:
            return isinstance(child, Tag) and len(child.children) == 1 and isinstance(child.children[0], Token)

        return (
            len(node.children) > 1
            and any(map(words, node.children))
            and all(words(child) or tag(child) for child in node.children)
        )

    def walk(
        self,
        node: Phrase,
        postings: Callable[[bytes, Token, float, int], tuple[list[int], int]],
        tagged: Callable[[Tag, list[int]], None],
    ) -> list[tuple[int, dict[int, Record]]]:
        """The documents of an intersection of words, and what the real server knows to have found of each child.

        `postings` gives the documents of a word, and how many there are without regard to fields; `tagged` is told
        those of a tag. Both are called in the order of the leaves' numbers.
        """
        count = itertools.count()

        def iterator(child: Node) -> Iterator | None:
            if isinstance(child, Tag):
                documents = sorted(self.found(child))
                tagged(child, documents)
                return Reader(next(count), documents, len(documents)) if documents else None
            if isinstance(child, Token):
                weights = [child.weight, *[1.0] * len(child.expansions)]
                forms: list[Iterator | None] = []
                for (word, only), weight in zip(child.forms(), weights, strict=True):
                    documents, estimated = postings(word, child, weight, only)
                    number = next(count)
                    forms.append(Reader(number, documents, estimated) if estimated else None)
                return merged(forms, 1.0)
            return merged(list(map(iterator, child.children)), child.weight)

        def merged(parts: list[Iterator | None], weight: float) -> Iterator | None:
            there = [part for part in parts if part is not None]
            return there[0] if len(there) == 1 else AnyOf(there, weight, weight == 0) if there else None

        children = list(map(iterator, node.children))
        there = [child for child in children if child is not None]
        in_order = node.exact or self._in_order or bool(node.in_order)
        return intersection(there, in_order=in_order) if len(there) == len(children) else []

    def found(self, node: Node) -> set[int]:
        """The documents that a part of the query finds by itself."""
        own = Planner(
            self.connection,
            self._spec,
            self.settings,
            fields=self.fields,
            slop=self._slop,
            in_order=self._in_order,
        )
        sql = f"SELECT d.docid FROM {self.tables.docs} d WHERE {own.condition(node)}"
        return {docid for (docid,) in self.connection.execute(sql, own.arguments)}

    # Numbers and tags

    def _prepare(self, field: FieldSpec) -> None:
        """Make what finding by a field needs, or leave that to whoever asked for it."""
        if self._later is None:
            self.tables.prepare(self.connection, self._spec, field)
        else:
            self._later.append(field)

    def _numeric(self, node: Numeric) -> str:
        column, field = value_column(node.field), node.field
        if field.noindex or column is None:
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
        return f"({single} OR d.docid IN (SELECT docid FROM {self.tables.numbers} WHERE field = ? AND {many}))"

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
        if field.noindex or field.type is _TEXT:
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
                    f"d.docid IN (SELECT docid FROM {self.tables.tags} WHERE field = ? AND tag IN ({_marks(exact)}))"
                )
        for child in node.children:
            if isinstance(child, (Prefix, Pattern)):
                self._tag_part(field, child, parts)
        return self._any(parts)

    def tag_values(self, node: Tag) -> list[bytes]:
        """The tags that a node's incomplete tags stand for, as many as MAXEXPANSIONS allows."""
        field, found = node.field, list[bytes]()
        if field.type is _TEXT:
            return found
        for child in node.children:
            if not isinstance(child, (Prefix, Pattern)):
                continue
            column = f"v{field.number}"
            test, arguments = self._tag_test(field, child, column)
            if test == NOTHING:
                continue
            sql = f"SELECT {column} FROM {self.tables.docs} WHERE {test}"
            if field.many:
                side, more = self._tag_test(field, child, "tag")
                sql += f" UNION SELECT tag FROM {self.tables.tags} WHERE field = ? AND {side}"
                arguments = [*arguments, field.number, *more]
            limit = self.settings.numbers["MAXEXPANSIONS"]
            sql = f"SELECT DISTINCT * FROM ({sql}) ORDER BY 1 LIMIT ?"
            found += [value for (value,) in self.connection.execute(sql, (*arguments, limit))]
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
                parts.append(f"d.docid IN (SELECT docid FROM {self.tables.tags} WHERE field = ? AND {test})")
            else:
                self.arguments += arguments
                parts.append(f"({test})")

    def _tag_test(self, field: FieldSpec, child: Prefix | Pattern, column: str) -> tuple[str, list[object]]:
        if isinstance(child, Pattern):
            # A pattern of nothing, which only a parameter gives, does not even find the empty tag.
            if not child.text:
                return NOTHING, []
            return f"ft_fits({column}, ?)", [_without_escapes(self._tag_text(field, child.text))]
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
