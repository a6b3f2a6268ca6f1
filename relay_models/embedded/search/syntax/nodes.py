"""The tree that a query is read into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from relay_models.embedded.search.index.schema import FieldSpec

__all__ = [
    "ALL_FIELDS",
    "Everything",
    "Fuzzy",
    "Ids",
    "Missing",
    "Node",
    "Not",
    "Numeric",
    "Optional",
    "Param",
    "Pattern",
    "Phrase",
    "Prefix",
    "Tag",
    "Token",
    "Union",
    "restrict",
]

ALL_FIELDS = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Param:
    """A place in the query that PARAMS fills. `sign` -1 turns a number's sign; `end` is which end of a range it is."""

    name: bytes
    sign: int = 1
    end: Literal["lower", "upper"] | None = None


@dataclass(slots=True)
class Node:
    """What all nodes have: the TEXT fields they look in, and the attributes given with ``=> {…}``."""

    fields: int = field(default=ALL_FIELDS, init=False)
    weight: float = field(default=1.0, init=False)
    slop: int | None = field(default=None, init=False)
    in_order: bool | None = field(default=None, init=False)
    verbatim: bool = field(default=False, init=False)
    children: list[Node] = field(default_factory=list, init=False)


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


@dataclass(slots=True)
class Prefix(Node):
    """A word or tag of which only the beginning, the end, or a part is given."""

    text: bytes
    at_start: bool
    at_end: bool
    param: Param | None = None


@dataclass(slots=True)
class Pattern(Node):
    """A wildcard pattern, ``w'…'`` with ? and *."""

    text: bytes
    param: Param | None = None


@dataclass(slots=True)
class Fuzzy(Node):
    """A word that may differ in up to `distance` characters."""

    text: bytes
    distance: int
    param: Param | None = None
    with_empty: bool = True
    """Whether it finds the empty word where its own letters are few enough."""


@dataclass(slots=True)
class Phrase(Node):
    """All children; `exact`: next to each other and in order."""

    exact: bool = False
    added: bool = False
    """Whether it stands not in the query but around it, for the request's filters and keys."""


@dataclass(slots=True)
class Union(Node):
    """Any child."""


@dataclass(slots=True)
class Not(Node):
    """Documents without the one child."""


@dataclass(slots=True)
class Optional(Node):
    """All documents; those with the child score higher."""


@dataclass(slots=True)
class Numeric(Node):
    """Documents with a number in a range. A bound is None where the query left it open."""

    field: FieldSpec
    low: float | Param | None
    high: float | Param | None
    with_low: bool = True
    with_high: bool = True


@dataclass(slots=True)
class Tag(Node):
    """Documents with any of the tags that the children say."""

    field: FieldSpec


@dataclass(slots=True)
class Missing(Node):
    """Documents without this field."""

    field: FieldSpec


@dataclass(slots=True)
class Everything(Node):
    """Every document."""


@dataclass(slots=True)
class Ids(Node):
    """Documents with these keys."""

    keys: list[bytes]


def restrict(node: Node, fields: int) -> None:
    """Let a node and everything below look in these TEXT fields only."""
    node.fields &= fields
    for child in node.children:
        restrict(child, fields)
