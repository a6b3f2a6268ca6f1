"""How the real server goes through an intersection: what it estimates, and what it knows of the documents it finds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias

from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.iterators import AnyOf, Iterator, Record, WordReader, intersection
from relay_models.embedded.search.execute.ranges import between
from relay_models.embedded.search.syntax.nodes import (
    DefaultVisitor,
    Node,
    Not,
    Numeric,
    Optional,
    Phrase,
    Tag,
    Token,
    Union,
)

__all__ = ["Found", "is_traversed", "only_one", "traverse"]

Found: TypeAlias = Callable[[Node], set[int]]
"""Gives the documents that a part of a query finds alone."""


class _Estimator(DefaultVisitor[int]):
    """How many documents the real server expects of a node; of `count` in all."""

    def __init__(self, context: QueryContext, found: Found, count: int) -> None:
        self._context = context
        self._found = found
        self._count = count

    def visit_token(self, node: Token) -> int:
        sql = f"SELECT count(*) FROM {self._context.tables.words} WHERE word = ?"
        return sum(self._context.connection.execute(sql, (word,)).fetchone()[0] for word, _ in node.forms())

    def visit_union(self, node: Union) -> int:
        return sum(map(self.visit, node.children))

    def visit_phrase(self, node: Phrase) -> int:
        return min(map(self.visit, node.children), default=0)

    def visit_numeric(self, node: Numeric) -> int:
        if not node.field.many:
            return len(self._found(node))
        test, arguments = between("value", node)
        sql = f"SELECT count(*) FROM {self._context.tables.numbers} WHERE field = ? AND {test}"
        (values,) = self._context.connection.execute(sql, (node.field.number, *arguments)).fetchone()
        return max(int(values), len(self._found(node)))

    def visit_not(self, node: Not) -> int:
        return self._count

    def visit_optional(self, node: Optional) -> int:
        return self._count

    def visit_other(self, node: Node) -> int:
        return len(self._found(node))


def _is_double(node: Node) -> bool:
    return isinstance(node, Not) and isinstance(node.children[0], Not)


def only_one(context: QueryContext, found: Found, node: Node | None) -> int | None:
    """The only document that an intersection finds where the real server loses the others.

    It loses them where the intersection begins with a double negation, and every document from one on matches what is
    negated: the inner negation has then reached its end while looking for the first document.
    """
    if not isinstance(node, Phrase) or len(node.children) < 2 or not any(map(_is_double, node.children)):
        return None
    count, last = context.connection.execute(f"SELECT count(*), max(docid) FROM {context.tables.docs}").fetchone()
    estimator = _Estimator(context, found, count)
    first = node.children[0]
    if not (node.exact or context.in_order or node.in_order):
        first = min(node.children, key=estimator.visit)
    if count != last or not _is_double(first):
        return None
    excluded = sorted(found(first.children[0].children[0]))
    ends_last = excluded and excluded[-1] == last and excluded[0] + len(excluded) - 1 == last
    return excluded[0] if ends_last else None


def is_traversed(node: Phrase) -> bool:
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


def traverse(
    context: QueryContext,
    found: Found,
    node: Phrase,
    postings: Callable[[bytes, Token, float, int], tuple[list[int], int]],
    tagged: Callable[[Tag, list[int]], None],
) -> list[tuple[int, dict[int, Record]]]:
    """Go through the documents of an intersection of words as the real server does.

    Args:
        context: The index and the request's limits.
        found: Gives the documents of a node.
        node: The intersection, one that `is_traversed`.
        postings: Gives the documents of a word, and how many there are in any field.
        tagged: Receives the documents of each tag. Both are called in the order of the leaves' numbers.

    Returns:
        The documents, each with what the real server knows to have found of each child.
    """
    count = itertools.count()

    def iterator(child: Node) -> Iterator | None:
        if isinstance(child, Tag):
            documents = sorted(found(child))
            tagged(child, documents)
            return WordReader(next(count), documents, len(documents)) if documents else None
        if isinstance(child, Token):
            weights = [child.weight, *[1.0] * len(child.expansions)]
            forms: list[Iterator | None] = []
            for (word, only), weight in zip(child.forms(), weights, strict=True):
                documents, estimated = postings(word, child, weight, only)
                number = next(count)
                forms.append(WordReader(number, documents, estimated) if estimated else None)
            return merged(forms, 1.0)
        return merged(list(map(iterator, child.children)), child.weight)

    def merged(parts: list[Iterator | None], weight: float) -> Iterator | None:
        there = [part for part in parts if part is not None]
        return there[0] if len(there) == 1 else AnyOf(there, weight, weight == 0) if there else None

    children = list(map(iterator, node.children))
    there = [child for child in children if child is not None]
    in_order = node.exact or context.in_order or bool(node.in_order)
    return intersection(there, in_order=in_order) if len(there) == len(children) else []
