"""FT.EXPLAIN: a query's tree as text, in the real server's words."""

from __future__ import annotations

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.index.schema import FieldType, IndexSpec
from relay_models.embedded.search.numbers import format_number
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    Everything,
    Fuzzy,
    Missing,
    Node,
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


def explain(node: Node | None, spec: IndexSpec) -> str:
    """The text of FT.EXPLAIN, with a line break at its end; the node is one that a planner has settled."""
    return "".join(_lines(node, spec, 0)) if node is not None else "<empty>\n"


def _fields(node: Node, spec: IndexSpec, only: int = ALL_FIELDS) -> str:
    fields = node.fields & only
    if isinstance(node, Numeric) or fields == ALL_FIELDS:
        return ""
    if not fields:
        return "@NULL:"
    texts = [field for field in spec.fields if field.type is FieldType.TEXT and field.indexed]
    return "@" + "|".join(display(field.name) for field in texts if fields >> field.bit & 1) + ":"


def _lines(node: Node, spec: IndexSpec, depth: int) -> list[str]:
    pad = "  " * depth
    start = pad + _fields(node, spec)
    if isinstance(node, Token):
        weight = f" => {{$weight: {node.weight:g};}}" if node.weight != 1 else ""
        word = (display(node.text) or '""') + weight
        if not node.expansions:
            return [f"{start}{word}\n"]
        forms = node.forms()[1:]
        inner = [f"{pad}  {_fields(node, spec, only)}{display(form)}(expanded)\n" for form, only in forms]
        return [f"{start}UNION {{\n", f"{pad}  {_fields(node, spec)}{word}\n", *inner, f"{pad}}}\n"]
    flat = _flat(node)
    if flat is not None:
        return [start + flat + _attributes(node) + "\n"]
    inner = [line for child in node.children for line in _lines(child, spec, depth + 1)]
    return [f"{start}{_title(node)}\n", *inner, f"{pad}}}{_attributes(node)}\n"]


def _title(node: Node) -> str:
    if isinstance(node, Phrase):
        return "EXACT {" if node.exact else "INTERSECT {"
    if isinstance(node, Not):
        return "NOT{"
    if isinstance(node, Optional):
        return "OPTIONAL{"
    if isinstance(node, Tag):
        return f"TAG:@{display(node.field.name)} {{"
    assert isinstance(node, Union)
    return "UNION {"


def _flat(node: Node) -> str | None:
    """A node that takes one line."""
    if isinstance(node, Prefix):
        kind = "PREFIX" if not node.at_end else "INFIX" if node.at_start else "SUFFIX"
        text = ("*" if node.at_end else "") + display(node.text) + ("*" if node.at_start else "")
        return f"{kind}{{{text}}}"
    if isinstance(node, Numeric):
        low = float("-inf") if node.low is None else node.low
        assert not isinstance(low, Param)
        high = float("inf") if node.high is None else node.high
        assert not isinstance(high, Param)
        left, right = ("<=" if node.with_low else "<"), ("<=" if node.with_high else "<")
        return f"NUMERIC {{{_number(low)} {left} @{display(node.field.name)} {right} {_number(high)}}}"
    if isinstance(node, Everything):
        return "<WILDCARD>"
    if isinstance(node, Fuzzy):
        return f"FUZZY{{{display(node.text)}}}"
    if isinstance(node, Pattern):
        return f"WILDCARD{{{display(node.text)}}}"
    if isinstance(node, Missing):
        return f"ISMISSING{{{display(node.field.name)}}}"
    return None


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
