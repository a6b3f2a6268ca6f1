"""`Planner`: turns a query's tree into an SQL condition over an index's tables.

Everything that SQL can express is left to it, so that a query costs what it finds. Only phrases are evaluated in
Python.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, TypeGuard, assert_never

from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.phrases import Phrases
from relay_models.embedded.search.execute.ranges import between
from relay_models.embedded.search.execute.tags import tag_test, tag_text
from relay_models.embedded.search.execute.words import expand, signed_mask
from relay_models.embedded.search.index.schema import FieldSpec, FieldType
from relay_models.embedded.search.index.tables import key_hash, packed_column, value_column
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
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
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
    Union,
)

__all__ = ["ALL", "NOTHING", "Planner", "found"]

# Maximum words or tags that are parameters of one statement; SQLite may allow as few as 999 parameters.
WORDS_LIMIT: Final = 500

# Maximum number of documents of a tag that are looked up before the query runs; it takes a millisecond.
FEW_DOCUMENTS: Final = 1_000

# Maximum number of conditions among which a rare tag is looked for.
FEW_CONDITIONS: Final = 32

NOTHING, ALL = "0", "1"
"""The conditions of queries that find no document, and every one."""


def _joined(parts: list[str], operator: str) -> str:
    """Join the parts as a balanced tree: SQLite limits how deep conditions are."""
    if len(parts) <= 32:
        return "(" + operator.join(parts) + ")"
    middle = len(parts) // 2
    return "(" + _joined(parts[:middle], operator) + operator + _joined(parts[middle:], operator) + ")"


def _words_of(node: Token) -> dict[int, list[bytes]]:
    """The words that a token finds, for each set of fields that it finds them in."""
    if node.stemmed == ALL_FIELDS:
        return {ALL_FIELDS: [node.text, *node.expansions]}
    words: dict[int, list[bytes]] = {}
    for word, only in node.forms():
        words.setdefault(only, []).append(word)
    return words


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _any(parts: list[str]) -> str:
    if ALL in parts:
        return ALL
    parts = [part for part in parts if part != NOTHING]
    return _joined(parts, " OR ") if parts else NOTHING


def _all(parts: list[str]) -> str:
    if NOTHING in parts or not parts:
        return NOTHING
    parts = [part for part in parts if part != ALL]
    return _joined(parts, " AND ") if parts else ALL


class Planner(NodeVisitor[str]):
    """Writes the condition of one query. `arguments` are those of the SQL, in order.

    Args:
        context: The index and the request's limits.
        later: Receives the fields that are looked in and must be prepared (`Tables.prepare`) before the SQL runs;
            None to prepare them at once.
    """

    def __init__(self, context: QueryContext, *, later: list[FieldSpec] | None = None) -> None:
        self.context = context
        self.arguments: list[object] = []
        self._tables = context.tables
        self._later = later
        self._few = False
        """Whether the condition is tested on few documents, so that an SQL index over all is of no use."""

    def condition(self, node: Node | None) -> str:
        """The condition on the rows `d` of the index's documents."""
        start = len(self.arguments)
        sql = NOTHING if node is None else self.visit(node)
        if sql in (NOTHING, ALL):
            del self.arguments[start:]
        return sql

    # Words

    def visit_token(self, node: Token) -> str:
        return _any([self._words(words, self.context.mask(node, only)) for only, words in _words_of(node).items()])

    def visit_prefix(self, node: Prefix) -> str:
        return self._incomplete(node)

    def visit_pattern(self, node: Pattern) -> str:
        return self._incomplete(node)

    def visit_fuzzy(self, node: Fuzzy) -> str:
        return self._incomplete(node)

    def _incomplete(self, node: IncompleteWord) -> str:
        return self._words(expand(self.context, node), self.context.mask(node, ALL_FIELDS))

    def _words(self, words: Sequence[bytes], mask: int | None) -> str:
        if not words or mask == 0:
            return NOTHING
        if len(words) > WORDS_LIMIT:
            return self._many_words(words, mask)
        self.arguments += words
        sql = f"d.docid IN (SELECT docid FROM {self._tables.words} WHERE word IN ({_marks(words)})"
        if mask is not None:
            self.arguments.append(signed_mask(mask))
            sql += " AND fields & ?"
        return sql + ")"

    def _many_words(self, words: Sequence[bytes], mask: int | None) -> str:
        """More words than a statement may have parameters: the documents are looked up here."""
        documents: set[int] = set()
        fields = "" if mask is None else f" AND fields & {signed_mask(mask)}"
        for start in range(0, len(words), WORDS_LIMIT):
            some = words[start : start + WORDS_LIMIT]
            sql = f"SELECT DISTINCT docid FROM {self._tables.words} WHERE word IN ({_marks(some)}){fields}"
            documents.update(docid for (docid,) in self.context.connection.execute(sql, some))
        self.arguments.append("[" + ",".join(map(str, sorted(documents))) + "]")
        return "d.docid IN (SELECT value FROM json_each(?))"

    # Nodes with children

    def visit_phrase(self, node: Phrase) -> str:
        if len(node.children) == 1:
            return self.condition(node.children[0])
        context = self.context
        slop, in_order = 0, True
        if not node.exact:
            limit = node.slop if node.slop is not None and node.slop >= 0 else context.slop
            slop = -1 if limit is None else limit
            in_order = context.in_order or bool(node.in_order)
        if (slop < 0 and not in_order) or "NOOFFSETS" in context.spec.options:
            return self._every(node.children)
        documents = Phrases(context, lambda part: found(context, part)).near(node, slop, in_order)
        self.arguments.append("[" + ",".join(map(str, documents)) + "]")
        return "d.docid IN (SELECT value FROM json_each(?))"

    def _every(self, children: list[Node]) -> str:
        """The condition that all children find a document.

        Where one of them is a tag that few documents have, these are looked up now, and the others tested on each. SQL
        would make the whole list of documents of each other tag.
        """
        tags = [child for child in children if _is_one_tag(child)]
        # Of one tag alone, a field of single values is found by its SQL index.
        rare_ones = tags if len(tags) > 1 else [tag for tag in tags if tag.field.many]
        for rare in rare_ones if not self._few and len(children) <= FEW_CONDITIONS else ():
            documents = self._few_documents(rare)
            if documents is None:
                continue
            self._few = True
            self.arguments.append(json.dumps(documents))
            parts = ["d.docid IN (SELECT value FROM json_each(?))"]
            parts += [self.condition(child) for child in children if child is not rare]
            self._few = False
            return _all(parts)
        together, others = _several_tags(children)
        return _all([*(self._all_tags(tags) for tags in together), *map(self.condition, others)])

    def _few_documents(self, node: Tag) -> list[int] | None:
        """The documents of one tag; None where there are more than few."""
        field, tables = node.field, self._tables
        tables.prepare(self.context.connection, self.context.spec, field)
        (part,) = node.parts
        assert isinstance(part, Token)
        tag = tag_text(field, part.text)
        sql, arguments = f"SELECT docid FROM {tables.docs} WHERE v{field.number} = ?", [tag]
        if field.many:
            sql += f" UNION ALL SELECT docid FROM {tables.tags} WHERE field = {field.number} AND tag = ?"
            arguments.append(tag)
        rows = self.context.connection.execute(f"{sql} LIMIT {FEW_DOCUMENTS + 1}", arguments).fetchall()
        return None if len(rows) > FEW_DOCUMENTS else [docid for (docid,) in rows]

    def visit_union(self, node: Union) -> str:
        # The words of all children in one test: one for each word takes SQLite seconds for thousands of them.
        words: dict[int | None, list[bytes]] = {}
        others: list[Node] = []
        for child in node.children:
            if type(child) is Token:
                for only, found in _words_of(child).items():
                    words.setdefault(self.context.mask(child, only), []).extend(found)
            else:
                others.append(child)
        parts = [self._words(found, mask) for mask, found in words.items()]
        return _any(parts + [self.condition(child) for child in others])

    def visit_not(self, node: Not) -> str:
        inner = self.condition(node.children[0])
        if inner in (NOTHING, ALL):
            return ALL if inner == NOTHING else NOTHING
        return f"({inner}) IS NOT TRUE"

    def visit_optional(self, node: Optional) -> str:
        # It finds every document, but an error in its child is reported.
        start = len(self.arguments)
        self.condition(node.children[0])
        del self.arguments[start:]
        return ALL

    # Other documents

    def visit_everything(self, node: Everything) -> str:
        return ALL

    def visit_missing(self, node: Missing) -> str:
        field = node.field
        self.arguments.append(field.number)
        listed = f"(SELECT docid FROM {self._tables.missing} WHERE field = ?)"
        if field.blanks:
            empty = [value_column(field), *([packed_column(field)] if field.packs else [])]
            return f"({' AND '.join(f'd.{column} IS NULL' for column in empty)} AND d.docid NOT IN {listed})"
        return f"d.docid IN {listed}"

    def visit_ids(self, node: Ids) -> str:
        if not node.keys:
            return NOTHING
        # In one argument, since SQLite limits how many there may be.
        self.arguments.append(json.dumps([key_hash(key) for key in node.keys]))
        self.arguments.append(json.dumps([key.hex() for key in node.keys]))
        among = "d.hash IN (SELECT value FROM json_each(?))"
        return f"({among} AND d.key IN (SELECT ft_bytes(value) FROM json_each(?)))"

    # Numbers and tags

    def _prepare(self, field: FieldSpec) -> None:
        """Create what finding by a field needs, or leave that to the caller."""
        if self._later is None:
            self._tables.prepare(self.context.connection, self.context.spec, field)
        else:
            self._later.append(field)

    def visit_numeric(self, node: Numeric) -> str:
        column, field = value_column(node.field), node.field
        if field.noindex or column is None:
            return NOTHING
        self._prepare(field)
        low, high = node.low, node.high
        if low is not None and high is not None and (low > high):  # type: ignore[operator]
            return NOTHING
        single, arguments = between(f"d.{column}", node)
        self.arguments += arguments
        if not field.many:
            return single
        many, arguments = between("value", node)
        self.arguments += [field.number, *arguments]
        return f"({single} OR d.docid IN (SELECT docid FROM {self._tables.numbers} WHERE field = ? AND {many}))"

    def visit_tag(self, node: Tag) -> str:
        field = node.field
        if field.noindex or field.type is FieldType.TEXT:
            return NOTHING
        self._prepare(field)
        exact: list[bytes] = []
        incomplete: list[Prefix | Pattern] = []
        for part in node.parts:
            match part:
                case Token():
                    exact.append(tag_text(field, part.text))
                case Phrase():
                    words = (tag_text(field, c.text) if isinstance(c, Token) else b"" for c in part.children)
                    exact.append(b" ".join(words))
                case Prefix() | Pattern():
                    incomplete.append(part)
                case _:
                    assert_never(part)
        conditions: list[str] = []
        if exact:
            column = f"{'+' if self._few else ''}d.v{field.number}"
            conditions.append(f"{column} {self._among(exact)}")
            if field.many:
                self.arguments.append(field.number)
                conditions.append(self._among_tags(f"tag {self._among(exact)}"))
        for affix in incomplete:
            self._incomplete_tag(field, affix, conditions)
        return _any(conditions)

    def _all_tags(self, nodes: list[Tag]) -> str:
        """The condition that a field has each of several tags: one for each tag takes SQLite seconds for thousands."""
        field = nodes[0].field
        wanted = {tag_text(field, part.text) for node in nodes for part in node.parts if isinstance(part, Token)}
        if len(wanted) == 1:
            return self.condition(nodes[0])
        self._prepare(field)
        if not field.many:
            return NOTHING
        self.arguments.append(field.number)
        test = self._among(list(wanted))
        self.arguments.append(len(wanted))
        tags = f"SELECT docid FROM {self._tables.tags} WHERE field = ? AND tag {test} GROUP BY docid"
        return f"d.docid IN ({tags} HAVING count(*) = ?)"

    def _among(self, values: list[bytes]) -> str:
        """The test that a column has one of these values. Many are one argument: SQLite limits their number."""
        if len(values) == 1:
            self.arguments += values
            return "= ?"
        if len(values) <= WORDS_LIMIT:
            self.arguments += values
            return f"IN ({_marks(values)})"
        self.arguments.append(json.dumps([value.hex() for value in values]))
        return "IN (SELECT ft_bytes(value) FROM json_each(?))"

    def _among_tags(self, test: str) -> str:
        """The condition that one of the several tags of a field passes a test."""
        if self._few:
            return f"EXISTS (SELECT 1 FROM {self._tables.tags} WHERE field = ? AND {test} AND docid = d.docid)"
        return f"d.docid IN (SELECT docid FROM {self._tables.tags} WHERE field = ? AND {test})"

    def _incomplete_tag(self, field: FieldSpec, part: Prefix | Pattern, conditions: list[str]) -> None:
        single = tag_test(self.context, field, part, f"d.v{field.number}")
        if single is None:
            return
        self.arguments += single[1]
        conditions.append(f"({single[0]})")
        several = tag_test(self.context, field, part, "tag") if field.many else None
        if several is not None:
            self.arguments += [field.number, *several[1]]
            conditions.append(self._among_tags(several[0]))


def _is_one_tag(node: Node) -> TypeGuard[Tag]:
    """Whether a node wants one tag of a field, and no part of one."""
    if not isinstance(node, Tag) or node.field.noindex or node.field.type is FieldType.TEXT:
        return False
    return len(node.parts) == 1 and isinstance(node.parts[0], Token)


def _several_tags(nodes: list[Node]) -> tuple[list[list[Tag]], list[Node]]:
    """The nodes that want one tag of a field, by field where there are several for one, and the other nodes."""
    fields: dict[int, list[Tag]] = {}
    for node in filter(_is_one_tag, nodes):
        fields.setdefault(node.field.number, []).append(node)
    together = [tags for tags in fields.values() if len(tags) > 1]
    taken = {id(tag) for tags in together for tag in tags}
    return together, [node for node in nodes if id(node) not in taken]


def found(context: QueryContext, node: Node) -> set[int]:
    """The documents that a part of a query finds alone."""
    planner = Planner(context)
    sql = f"SELECT d.docid FROM {context.tables.docs} d WHERE {planner.condition(node)}"
    return {docid for (docid,) in context.connection.execute(sql, planner.arguments)}
