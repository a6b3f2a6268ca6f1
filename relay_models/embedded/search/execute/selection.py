"""`Selection`: the documents of a query, and the SQL around its condition."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Sequence
from typing import Any

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.intersections import only_one
from relay_models.embedded.search.execute.planner import ALL, NOTHING, Planner, found
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import Tables
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    DefaultVisitor,
    Fuzzy,
    Ids,
    Node,
    Numeric,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
)
from relay_models.embedded.search.syntax.request import QueryRequest
from relay_models.embedded.search.syntax.resolution import read_query

__all__ = ["Selection"]


class Selection:
    """The documents that a request's query finds.

    `condition` is an SQL condition on the rows `d` of the documents' table, `arguments` its arguments.
    """

    def __init__(
        self, connection: sqlite3.Connection, spec: IndexSpec, settings: Settings, request: QueryRequest
    ) -> None:
        self.connection = connection
        self.spec = spec
        self.tables = Tables(spec.number)
        self._from = self._counted = f"{self.tables.docs} d"
        self._unprepared: list[FieldSpec] = []
        self._combined = False
        self.node = self._tree(request)
        fields = ALL_FIELDS if request.in_fields is None else self._mask(request.in_fields)
        self.context = QueryContext(
            connection, spec, settings, fields=fields, slop=request.slop, in_order=request.in_order
        )
        planner = Planner(self.context, later=self._unprepared)
        self.condition = planner.condition(self.node)
        only = only_one(self.context, lambda node: found(self.context, node), self.node)
        if only is not None:
            self.condition = f"({self.condition}) AND d.docid = {only}"
        self.arguments = planner.arguments

    def _tree(self, request: QueryRequest) -> Node | None:
        return read_query(
            request.query,
            self.spec,
            request.params,
            dialect=request.dialect,
            verbatim=request.verbatim,
            expander=request.expander,
            language=request.language,
            stop_words=not request.no_stop_words,
            ordered=request.in_order or (request.slop is not None and request.slop >= 0),
            bare=request.bare,
            limit=functools.partial(self._limit, request),
        )

    def _limit(self, request: QueryRequest, node: Node | None) -> Node | None:
        """The tree with the request's filters and keys around it."""
        extra: list[Node] = []
        for part in request.filters:
            field = self.spec.field(part.field)
            if field is None or field.type is not FieldType.NUMERIC:
                if request.dialect == 1:
                    return None
                if field is None:
                    raise SearchError(f"Unknown Field '{display(part.field)}'")
                raise SearchError(f"Field '{display(part.field)}' is not a numeric field")
            extra.append(Numeric(field, part.low, part.high, part.with_low, part.with_high))
        if request.in_keys is not None:
            extra.append(Ids(request.in_keys))
        for other in extra:
            if isinstance(node, Phrase):
                node.children.insert(0, other)
            elif node is not None:
                both = Phrase(added=True)
                both.children = [other, node]
                node = both
        return node

    def _mask(self, names: list[bytes]) -> int:
        mask = 0
        for name in names:
            field = self.spec.field(name)
            if field is not None and field.type is FieldType.TEXT and field.indexed:
                mask |= 1 << field.bit
        return mask

    def combine(self, sort: str) -> None:
        """Run a query for one tag and ranges of numbers, sorted by a column, on one SQL index over all of these."""
        if not isinstance(self.node, (Phrase, Tag)):
            return
        nodes = self.node.children if isinstance(self.node, Phrase) else [self.node]
        tags = [node for node in nodes if isinstance(node, Tag)]
        numbers = [node.field for node in nodes if isinstance(node, Numeric)]
        if len(tags) != 1 or len(tags) + len(numbers) != len(nodes):
            return
        tag = tags[0]
        if len(tag.children) != 1 or not isinstance(tag.children[0], Token):
            return
        if tag.field.many or any(field.many or field.noindex for field in numbers) or tag.field.noindex:
            return
        by_tag = f"v{tag.field.number}"
        ranges = dict.fromkeys(f"v{field.number}" for field in numbers)
        beside = [column for column in ranges if column != sort]
        # The document's number before the columns of the other ranges: rows come out in their final order then.
        name = self.tables.combine(self.connection, self.spec, [by_tag, sort, *(["docid", *beside] if beside else [])])
        if name is None:
            return
        self._from = self._counted = f"{self.tables.docs} d INDEXED BY {name}"
        self._combined = True
        if ranges and sort not in ranges:
            # With this index, counting reads all rows of the tag; with another one, only those of a range.
            name = self.tables.combine(self.connection, self.spec, [by_tag, *ranges])
            if name is not None:
                self._counted = f"{self.tables.docs} d INDEXED BY {name}"

    def _prepare(self) -> None:
        """Create what the condition needs; nothing where one SQL index serves all of it."""
        while self._unprepared and not self._combined:
            self.tables.prepare(self.connection, self.spec, self._unprepared.pop())

    def prepare_sort(self, field: FieldSpec) -> None:
        """Create what sorting by `field` needs."""
        if not self._combined:
            self.tables.prepare_sort(self.connection, self.spec, field)

    @property
    def has_words(self) -> bool:
        """Whether the query looks for words of texts, which are scored."""
        return self.node is not None and _HAS_WORDS.visit(self.node)

    @property
    def empty(self) -> bool:
        return self.condition == NOTHING

    def count(self) -> int:
        if self.empty:
            return 0
        self._prepare()
        where = "" if self.condition == ALL else f" WHERE {self.condition}"
        row = self.connection.execute(f"SELECT count(*) FROM {self._counted}{where}", self.arguments).fetchone()
        number: int = row[0]
        return number

    def finds_few(self, few: int) -> bool:
        """Whether a condition finds at most this many documents."""
        if self.condition in (ALL, NOTHING):
            return False
        self._prepare()
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {self._from} WHERE {self.condition} LIMIT {few + 1})"
        return bool(self.connection.execute(sql, self.arguments).fetchone()[0] <= few)

    def count_of(self, node: Node) -> int:
        """How many documents a part of the query finds alone."""
        planner = Planner(self.context.unordered())
        condition = planner.condition(node)
        if condition == NOTHING:
            return 0
        sql = f"SELECT count(*) FROM {self.tables.docs} d WHERE {condition}"
        number: int = self.connection.execute(sql, planner.arguments).fetchone()[0]
        return number

    def cover(self, group: list[str], columns: list[str]) -> bool:
        """Read every document from an SQL index over these columns alone, in the order of those of the group.

        Returns whether that is possible, and the documents of each group come in the order of their numbers.
        """
        if self.condition != ALL:
            return False
        cover = self.tables.cover(self.connection, self.spec, group, columns)
        if cover is None:
            return False
        self._from = f"{self.tables.docs} d INDEXED BY {cover.name}"
        return cover.in_order

    def by_document(self) -> None:
        """Read every document in the order of the documents' numbers, which SQL indexes made for others do not have."""
        if self.condition == ALL:
            self._from = f"{self.tables.docs} d NOT INDEXED"

    def rows(
        self, columns: str, tail: str = "", extra: tuple[Any, ...] = (), also: Sequence[str] = ()
    ) -> sqlite3.Cursor:
        """The columns of the rows found.

        Args:
            columns: The SQL of what is selected.
            tail: What orders and limits the rows.
            extra: Arguments of `tail`.
            also: Conditions that the rows must meet, too.
        """
        self._prepare()
        conditions = [*([] if self.condition == ALL else [f"({self.condition})"]), *also]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT {columns} FROM {self._from}{where} {tail}"
        return self.connection.execute(sql, (*self.arguments, *extra))


class _HasWords(DefaultVisitor[bool]):
    def visit_token(self, node: Token) -> bool:
        return True

    def visit_prefix(self, node: Prefix) -> bool:
        return True

    def visit_pattern(self, node: Pattern) -> bool:
        return True

    def visit_fuzzy(self, node: Fuzzy) -> bool:
        return True

    def visit_tag(self, node: Tag) -> bool:
        return False

    def visit_other(self, node: Node) -> bool:
        return any(map(self.visit, node.children))


_HAS_WORDS = _HasWords()
