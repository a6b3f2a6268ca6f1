"""`explain`: the reply of FT.EXPLAIN, a query's tree as text in the real server's words."""

from __future__ import annotations

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.execute.tags import tag_text
from relay_models.embedded.search.execute.words import without_escapes
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tables import value_column
from relay_models.embedded.search.numbers import format_number
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    DefaultVisitor,
    Everything,
    Fuzzy,
    Ids,
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
    Token,
    Union,
)

__all__ = ["explain"]


def explain(selection: Selection) -> str:
    """The text of FT.EXPLAIN, with a line break at its end."""
    node = selection.node
    if node is None:
        return "<empty>\n"
    _TextResolver(selection.context).visit(node)
    return "".join(_Lines(selection.spec).visit(node))


class _TextResolver(DefaultVisitor[None]):
    """Gives the texts of a tree, in place, the form in which they are looked for, which is what is shown."""

    def __init__(self, context: QueryContext) -> None:
        self._context = context

    def visit_pattern(self, node: Pattern) -> None:
        node.text = without_escapes(node.text)

    def visit_tag(self, node: Tag) -> None:
        if self._holds_tags(node.field):
            resolver = _TagResolver(node.field)
            for child in node.children:
                resolver.visit(child)

    def visit_other(self, node: Node) -> None:
        for child in node.children:
            self.visit(child)

    def _holds_tags(self, field: FieldSpec) -> bool:
        """Whether any document has had a tag here: without that the real server does not look at the texts."""
        if field.many:
            return True
        if field.type is FieldType.TEXT:
            return False
        sql = f"SELECT EXISTS (SELECT 1 FROM {self._context.tables.docs} WHERE {value_column(field)} IS NOT NULL)"
        return bool(self._context.connection.execute(sql).fetchone()[0])


class _TagResolver(DefaultVisitor[None]):
    """The same for the tags of one field."""

    def __init__(self, field: FieldSpec) -> None:
        self._field = field

    def visit_token(self, node: Token) -> None:
        node.text = tag_text(self._field, node.text)

    def visit_prefix(self, node: Prefix) -> None:
        node.text = tag_text(self._field, node.text)

    def visit_pattern(self, node: Pattern) -> None:
        node.text = without_escapes(tag_text(self._field, node.text))

    def visit_phrase(self, node: Phrase) -> None:
        for word in node.children:
            self.visit(word)

    def visit_other(self, node: Node) -> None:
        """Nothing else has a tag's text."""


class _Lines(NodeVisitor[list[str]]):
    """The lines of a node and those below it."""

    def __init__(self, spec: IndexSpec) -> None:
        self._spec = spec
        self._pad = ""

    def _fields(self, node: Node, only: int = ALL_FIELDS) -> str:
        fields = node.fields & only
        if fields == ALL_FIELDS:
            return ""
        if not fields:
            return "@NULL:"
        texts = [field for field in self._spec.fields if field.type is FieldType.TEXT and field.indexed]
        return "@" + "|".join(display(field.name) for field in texts if fields >> field.bit & 1) + ":"

    def _line(self, node: Node, text: str) -> list[str]:
        return [f"{self._pad}{self._fields(node)}{text}{_attributes(node)}\n"]

    def _block(self, node: Node, title: str) -> list[str]:
        pad = self._pad
        self._pad += "  "
        inner = [line for child in node.children for line in self.visit(child)]
        self._pad = pad
        return [f"{pad}{self._fields(node)}{title}\n", *inner, f"{pad}}}{_attributes(node)}\n"]

    def visit_token(self, node: Token) -> list[str]:
        pad, fields = self._pad, self._fields(node)
        weight = f" => {{$weight: {node.weight:g};}}" if node.weight != 1 else ""
        word = (display(node.text) or '""') + weight
        if not node.expansions:
            return [f"{pad}{fields}{word}\n"]
        forms = node.forms()[1:]
        inner = [f"{pad}  {self._fields(node, only)}{display(form)}(expanded)\n" for form, only in forms]
        return [f"{pad}{fields}UNION {{\n", f"{pad}  {fields}{word}\n", *inner, f"{pad}}}\n"]

    def visit_prefix(self, node: Prefix) -> list[str]:
        kind = "PREFIX" if not node.at_end else "INFIX" if node.at_start else "SUFFIX"
        text = ("*" if node.at_end else "") + display(node.text) + ("*" if node.at_start else "")
        return self._line(node, f"{kind}{{{text}}}")

    def visit_pattern(self, node: Pattern) -> list[str]:
        return self._line(node, f"WILDCARD{{{display(node.text)}}}")

    def visit_fuzzy(self, node: Fuzzy) -> list[str]:
        return self._line(node, f"FUZZY{{{display(node.text)}}}")

    def visit_phrase(self, node: Phrase) -> list[str]:
        return self._block(node, "EXACT {" if node.exact else "INTERSECT {")

    def visit_union(self, node: Union) -> list[str]:
        return self._block(node, "UNION {")

    def visit_not(self, node: Not) -> list[str]:
        return self._block(node, "NOT{")

    def visit_optional(self, node: Optional) -> list[str]:
        return self._block(node, "OPTIONAL{")

    def visit_tag(self, node: Tag) -> list[str]:
        return self._block(node, f"TAG:@{display(node.field.name)} {{")

    def visit_numeric(self, node: Numeric) -> list[str]:
        low = float("-inf") if node.low is None else node.low
        assert not isinstance(low, Param)
        high = float("inf") if node.high is None else node.high
        assert not isinstance(high, Param)
        left, right = ("<=" if node.with_low else "<"), ("<=" if node.with_high else "<")
        text = f"NUMERIC {{{_number(low)} {left} @{display(node.field.name)} {right} {_number(high)}}}"
        return [f"{self._pad}{text}{_attributes(node)}\n"]

    def visit_missing(self, node: Missing) -> list[str]:
        return self._line(node, f"ISMISSING{{{display(node.field.name)}}}")

    def visit_everything(self, node: Everything) -> list[str]:
        return self._line(node, "<WILDCARD>")

    def visit_ids(self, node: Ids) -> list[str]:
        return self._line(node, f"IDS {{{','.join(map(display, node.keys))}}}")


def _attributes(node: Node) -> str:
    if node.weight == 1 and node.slop in (None, -1) and not node.in_order:
        return ""
    parts = []
    if node.weight != 1:
        parts.append(f" $weight: {node.weight:g};")
    if node.slop not in (None, -1):
        parts.append(f" $slop: {node.slop};")
    if node.in_order or node.slop not in (None, -1):
        parts.append(f" $inorder: {'true' if node.in_order else 'false'};")
    return " => {" + "".join(parts) + " }"


def _number(value: float) -> str:
    return f"{value:f}" if value == value else format_number(value).decode()
