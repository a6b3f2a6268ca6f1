"""`QueryContext`: what planning a query's tree needs to know of the index and of the request."""

from __future__ import annotations

import sqlite3

from relay_models.embedded.search.index.schema import FieldType, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import Tables
from relay_models.embedded.search.syntax.nodes import ALL_FIELDS, Node

__all__ = ["QueryContext"]


class QueryContext:
    """The index a query is about, and the limits that the request puts on the words of the whole query.

    Args:
        connection: The connection to the index's tables.
        spec: The index.
        settings: The engine's settings.
        fields: The TEXT fields that are looked in (INFIELDS), as a mask.
        slop: How many other words may be between those of a phrase (SLOP); None for any number.
        in_order: Whether words must be in the query's order (INORDER).
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
    ) -> None:
        self.connection = connection
        self.spec = spec
        self.tables = Tables(spec.number)
        self.settings = settings
        self.fields = fields
        self.slop = slop
        self.in_order = in_order
        texts = [field for field in spec.fields if field.type is FieldType.TEXT and field.indexed]
        self._every_field = sum(1 << field.bit for field in texts)

    def unordered(self) -> QueryContext:
        """The same without limits on the order and the distance of words."""
        return QueryContext(self.connection, self.spec, self.settings, fields=self.fields)

    def unlimited(self) -> QueryContext:
        """The same without any of the request's limits."""
        return QueryContext(self.connection, self.spec, self.settings)

    def mask(self, node: Node, only: int = ALL_FIELDS) -> int | None:
        """The fields a node looks in, or None for all of them."""
        fields = node.fields & only & self.fields & self._every_field
        return None if fields == self._every_field else fields
