"""`profile`: the reply of FT.PROFILE, how long a query took and what each part of it finds.

The engine answers a query with one SQL statement, so it has no iterators to time. The tree shown is the query's own;
its counters are the documents that each part finds alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.execute.words import expand
from relay_models.embedded.search.index.documents import Value
from relay_models.embedded.search.numbers import format_number
from relay_models.embedded.search.syntax.nodes import (
    Everything,
    Fuzzy,
    Ids,
    IncompleteWord,
    Missing,
    Node,
    NodeVisitor,
    Not,
    Numeric,
    Optional,
    Param,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    TagPart,
    Token,
    Union,
)

__all__ = ["Stopwatch", "profile"]

Map = dict[bytes, Any]
Row = dict[bytes, Value]


class Stopwatch:
    """The times of one command, in milliseconds, and its steps."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.read = self.planned = 0.0
        """When its arguments had been parsed, and when its query had been planned, since its start."""
        self.steps: list[tuple[str, float, int]] = []
        """(name, time of it and of those before it, rows) of each step."""

    def now(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    def trace(self, name: str, rows: Iterator[Row]) -> Iterator[Row]:
        """Pass on the rows of a step, and record how many they are and how long they took."""
        self.steps.append((name, 0.0, 0))
        return self._traced(len(self.steps) - 1, name, rows)

    def _traced(self, place: int, name: str, rows: Iterator[Row]) -> Iterator[Row]:
        spent, number = 0.0, 0
        while True:
            since = self.now()
            row = next(rows, None)
            spent += self.now() - since
            number += row is not None
            self.steps[place] = (name, spent, number)
            if row is None:
                return
            yield row


def profile(selection: Selection, results: Any, watch: Stopwatch, protocol: int, *, limited: bool) -> Any:
    """The reply of FT.PROFILE, in the shape of `protocol`.

    `results` is the reply of the command itself. `limited` leaves out what unions of expanded words consist of.
    """
    total = watch.now()
    steps, before = [], 0.0
    for name, spent, number in watch.steps:
        steps.append({b"Type": name.encode(), b"Time": max(0.0, spent - before), b"Counter": number})
        before = spent
    shard: Map = {
        b"Total profile time": total,
        b"Parsing time": watch.read,
        b"Pipeline creation time": watch.planned - watch.read,
        b"Total GIL time": total,
        b"Warning": b"None",
        b"Iterators profile": _Tree(selection, limited).root(),
        b"Result processors profile": steps,
    }
    reply: Map = {b"Shards": [shard], b"Coordinator": {}}
    if protocol >= 3:
        return {b"Results": results, b"Profile": reply}
    return [results, _flat(reply)]


def _flat(value: Any) -> Any:
    """A reply without maps and doubles, as RESP2 has it."""
    if isinstance(value, dict):
        return [part for pair in value.items() for part in (pair[0], _flat(pair[1]))]
    if isinstance(value, list):
        return [_flat(part) for part in value]
    return format_number(value) if isinstance(value, float) else value


class _Tree(NodeVisitor[Map]):
    """A query as the real server's iterators."""

    def __init__(self, selection: Selection, limited: bool) -> None:
        self._selection = selection
        self._limited = limited

    def root(self) -> Map:
        node = self._selection.node
        return self._line("EMPTY", 0) if node is None or self._selection.empty else self.visit(node)

    @staticmethod
    def _line(kind: str, counter: int, before: Map | None = None) -> Map:
        return {b"Type": kind.encode(), **(before or {}), b"Time": 0.0, b"Counter": counter}

    def _count(self, node: Node) -> int:
        return self._selection.count_of(node)

    def visit_token(self, node: Token) -> Map:
        forms = [node.text, *node.expansions]
        return self._union("UNION", self._count(node), self._words("TEXT", node, forms), whole=True)

    def visit_prefix(self, node: Prefix) -> Map:
        return self._incomplete("PREFIX", node)

    def visit_pattern(self, node: Pattern) -> Map:
        return self._incomplete("WILDCARD", node)

    def visit_fuzzy(self, node: Fuzzy) -> Map:
        return self._incomplete("FUZZY", node)

    def _incomplete(self, kind: str, node: IncompleteWord) -> Map:
        words = self._words("TEXT", node, expand(self._selection.context, node))
        return self._union(f"{kind} - {node.text.decode('utf-8', 'replace')}", self._count(node), words)

    def visit_numeric(self, node: Numeric) -> Map:
        counter = self._count(node)
        low = -math.inf if node.low is None else node.low
        high = math.inf if node.high is None else node.high
        assert not isinstance(low, Param)
        assert not isinstance(high, Param)
        return self._line("NUMERIC", counter, {b"Term": b"%g - %g" % (low, high)}) | {b"Size": counter}

    def visit_tag(self, node: Tag) -> Map:
        return self._union("TAG", self._count(node), [self._tag(node, part) for part in node.parts])

    def visit_everything(self, node: Everything) -> Map:
        return self._line("WILDCARD", self._count(node))

    def visit_ids(self, node: Ids) -> Map:
        return self._line("ID-LIST", self._count(node))

    def visit_missing(self, node: Missing) -> Map:
        return self._line("MISSING", self._count(node))

    def visit_not(self, node: Not) -> Map:
        return self._line("NOT", self._count(node)) | {b"Child iterator": self.visit(node.children[0])}

    def visit_optional(self, node: Optional) -> Map:
        return self._line("OPTIONAL", self._count(node)) | {b"Child iterator": self.visit(node.children[0])}

    def visit_phrase(self, node: Phrase) -> Map:
        if len(node.children) == 1:
            return self.visit(node.children[0])
        counter = self._count(node)
        return self._line("INTERSECT", counter) | {b"Child iterators": [self.visit(child) for child in node.children]}

    def visit_union(self, node: Union) -> Map:
        if len(node.children) == 1:
            return self.visit(node.children[0])
        return self._union("UNION", self._count(node), [self.visit(child) for child in node.children], whole=True)

    def _words(self, kind: str, node: Node, words: list[bytes]) -> list[Map]:
        lines = []
        for word in words:
            form = Token(word)
            form.fields = node.fields
            counter = self._selection.count_of(form)
            if counter:
                lines.append(self._line(kind, counter, {b"Term": word}) | {b"Size": counter})
        return lines

    def _tag(self, node: Tag, part: TagPart) -> Map:
        one = Tag(node.field)
        one.children = [part]
        words = part.children if isinstance(part, Phrase) else [part]
        text = b" ".join(getattr(word, "text", b"") for word in words)
        counter = self._count(one)
        return self._line("TAG", counter, {b"Term": text}) | {b"Size": counter}

    def _union(self, kind: str, counter: int, children: list[Map], *, whole: bool = False) -> Map:
        """A union; `whole` lists its children even where the profile is limited."""
        if not children:
            return self._line("EMPTY", 0)
        if len(children) == 1:
            return children[0]
        shown: Any = children
        if self._limited and not whole:
            shown = b"The number of iterators in the union is %d" % len(children)
        return self._line("UNION", counter, {b"Query type": kind.encode()}) | {b"Child iterators": shown}
