"""The tree that a query is parsed into, and `NodeVisitor`, by which everything that goes through it is written."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

from relay_models.embedded.search.index.schema import FieldSpec

__all__ = [
    "ALL_FIELDS",
    "DefaultVisitor",
    "Everything",
    "Fuzzy",
    "Ids",
    "IncompleteWord",
    "Missing",
    "Node",
    "NodeVisitor",
    "Not",
    "Numeric",
    "Optional",
    "Param",
    "Pattern",
    "Phrase",
    "Prefix",
    "Tag",
    "TagPart",
    "Token",
    "Union",
    "restrict",
]

ALL_FIELDS = (1 << 128) - 1

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter, to be filled from PARAMS. `sign` -1 negates a number; `end` is which end of a range it is."""

    name: bytes
    sign: int = 1
    end: Literal["lower", "upper"] | None = None


@dataclass(slots=True)
class Node(abc.ABC):
    """What all nodes have: the TEXT fields they look in, and the attributes given with ``=> {…}``."""

    fields: int = field(default=ALL_FIELDS, init=False)
    weight: float = field(default=1.0, init=False)
    slop: int | None = field(default=None, init=False)
    in_order: bool | None = field(default=None, init=False)
    verbatim: bool = field(default=False, init=False)
    children: list[Node] = field(default_factory=list, init=False)

    @abc.abstractmethod
    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        """Call the visitor's method for this type of node."""


@dataclass(slots=True)
class Token(Node):
    """One word. `expansions` are the other forms it is looked up by: synonyms' groups, and stems.

    Stems are looked for in those of its fields that are in `stemmed`.
    """

    text: bytes
    param: Param | None = None
    folded: bool = True
    expansions: list[bytes] = field(default_factory=list)
    stemmed: int = ALL_FIELDS

    def forms(self) -> list[tuple[bytes, int]]:
        """The word and its other forms, each with the fields it is looked for in."""
        others = ((form, ALL_FIELDS if form[:1] == b"~" else self.stemmed) for form in self.expansions)
        return [(self.text, ALL_FIELDS), *others]

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_token(self)


@dataclass(slots=True)
class Prefix(Node):
    """A word or tag of which only the beginning, the end, or a part is given."""

    text: bytes
    at_start: bool
    at_end: bool
    param: Param | None = None

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_prefix(self)


@dataclass(slots=True)
class Pattern(Node):
    """A wildcard pattern, ``w'…'`` with ? and *."""

    text: bytes
    param: Param | None = None

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_pattern(self)


@dataclass(slots=True)
class Fuzzy(Node):
    """A word that may differ in up to `distance` characters."""

    text: bytes
    distance: int
    param: Param | None = None
    with_empty: bool = True
    """Whether it matches the empty word where it is short enough."""

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_fuzzy(self)


@dataclass(slots=True)
class Phrase(Node):
    """All children; `exact`: next to each other and in order."""

    exact: bool = False
    added: bool = False
    """Whether it is not in the query but around it, for the request's filters and keys."""

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_phrase(self)


@dataclass(slots=True)
class Union(Node):
    """Any child."""

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_union(self)


@dataclass(slots=True)
class Not(Node):
    """Documents without the one child."""

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_not(self)


@dataclass(slots=True)
class Optional(Node):
    """All documents; those with the child score higher."""

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_optional(self)


@dataclass(slots=True)
class Numeric(Node):
    """Documents with a number in a range. A bound is None where the query left it open."""

    field: FieldSpec
    low: float | Param | None
    high: float | Param | None
    with_low: bool = True
    with_high: bool = True

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_numeric(self)


@dataclass(slots=True)
class Tag(Node):
    """Documents with any of the tags that the children say."""

    field: FieldSpec

    @property
    def parts(self) -> list[TagPart]:
        """The tags, whole or incomplete."""
        return [child for child in self.children if isinstance(child, TagPart)]

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_tag(self)


@dataclass(slots=True)
class Missing(Node):
    """Documents without this field."""

    field: FieldSpec

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_missing(self)


@dataclass(slots=True)
class Everything(Node):
    """Every document."""

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_everything(self)


@dataclass(slots=True)
class Ids(Node):
    """Documents with these keys."""

    keys: list[bytes]

    def accept(self, visitor: NodeVisitor[Result]) -> Result:
        return visitor.visit_ids(self)


IncompleteWord: TypeAlias = Prefix | Pattern | Fuzzy
"""What stands for several words of an index."""

TagPart: TypeAlias = Token | Phrase | Prefix | Pattern
"""What the children of a `Tag` are."""


class NodeVisitor(abc.ABC, Generic[Result]):
    """One method for each type of node; `visit` calls the one of a node's type.

    A visitor that lacks a method cannot be instantiated, so that no type of node is forgotten.
    """

    def visit(self, node: Node) -> Result:
        return node.accept(self)

    @abc.abstractmethod
    def visit_token(self, node: Token) -> Result: ...

    @abc.abstractmethod
    def visit_prefix(self, node: Prefix) -> Result: ...

    @abc.abstractmethod
    def visit_pattern(self, node: Pattern) -> Result: ...

    @abc.abstractmethod
    def visit_fuzzy(self, node: Fuzzy) -> Result: ...

    @abc.abstractmethod
    def visit_phrase(self, node: Phrase) -> Result: ...

    @abc.abstractmethod
    def visit_union(self, node: Union) -> Result: ...

    @abc.abstractmethod
    def visit_not(self, node: Not) -> Result: ...

    @abc.abstractmethod
    def visit_optional(self, node: Optional) -> Result: ...

    @abc.abstractmethod
    def visit_numeric(self, node: Numeric) -> Result: ...

    @abc.abstractmethod
    def visit_tag(self, node: Tag) -> Result: ...

    @abc.abstractmethod
    def visit_missing(self, node: Missing) -> Result: ...

    @abc.abstractmethod
    def visit_everything(self, node: Everything) -> Result: ...

    @abc.abstractmethod
    def visit_ids(self, node: Ids) -> Result: ...


class DefaultVisitor(NodeVisitor[Result]):
    """A visitor that treats all types alike but those it has a method for."""

    @abc.abstractmethod
    def visit_other(self, node: Node) -> Result:
        """What is done with the nodes of all other types."""

    def visit_token(self, node: Token) -> Result:
        return self.visit_other(node)

    def visit_prefix(self, node: Prefix) -> Result:
        return self.visit_other(node)

    def visit_pattern(self, node: Pattern) -> Result:
        return self.visit_other(node)

    def visit_fuzzy(self, node: Fuzzy) -> Result:
        return self.visit_other(node)

    def visit_phrase(self, node: Phrase) -> Result:
        return self.visit_other(node)

    def visit_union(self, node: Union) -> Result:
        return self.visit_other(node)

    def visit_not(self, node: Not) -> Result:
        return self.visit_other(node)

    def visit_optional(self, node: Optional) -> Result:
        return self.visit_other(node)

    def visit_numeric(self, node: Numeric) -> Result:
        return self.visit_other(node)

    def visit_tag(self, node: Tag) -> Result:
        return self.visit_other(node)

    def visit_missing(self, node: Missing) -> Result:
        return self.visit_other(node)

    def visit_everything(self, node: Everything) -> Result:
        return self.visit_other(node)

    def visit_ids(self, node: Ids) -> Result:
        return self.visit_other(node)


def restrict(node: Node, fields: int) -> None:
    """Let a node and everything below look in these TEXT fields only."""
    node.fields &= fields
    for child in node.children:
        restrict(child, fields)
