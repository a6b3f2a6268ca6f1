"""`Properties`: which names the rows of FT.AGGREGATE have, and where each is read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from relay_models.embedded.search.aggregate.stages import Row
from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.documents import FieldReader
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tables import exact_column, list_name, sort_column
from relay_models.embedded.search.syntax.aggregate_steps import Load

__all__ = ["Properties", "Put"]

Put = Callable[[bytes, Any, Row], None]
"""Puts a value of a document (given its key and content) into a row."""


class Properties:
    """The names that are known while the steps of one aggregation are read."""

    def __init__(self, spec: IndexSpec, reader: FieldReader, dialect: int) -> None:
        self._spec = spec
        self._reader = reader
        self._dialect = dialect
        self.order: dict[bytes, None] = {}
        """The names in the order in which replies have them."""
        self.known: set[bytes] = set()
        self.hidden: set[bytes] = set()
        """Names that only reducers asked for, which replies leave out."""
        self.columns: dict[bytes, str] = {}
        """The SQL column that each of these names is read from."""
        self.puts: list[tuple[bytes, Put]] = []
        """What is read from the documents."""
        self.doubtful: dict[bytes, tuple[bool, Put]] = {}
        """Names of columns that do not always say what the document holds; whether NULL means missing."""
        self.lists: dict[bytes, FieldSpec] = {}
        """Names that are read from documents, of lists that columns of these fields mostly have."""
        self.at_root = True
        """Whether the rows are still documents, not groups."""
        self.loads_everything = False

    def add(self, name: bytes) -> None:
        """Note a name that a step gives a value to."""
        self.order.setdefault(name)
        self.known.add(name)
        self.hidden.discard(name)

    def replace(self, names: list[bytes]) -> None:
        """Note the names of a step after which there are no others."""
        self.at_root = False
        self.order = dict.fromkeys(names)
        self.known = set(names)
        self.hidden = set()

    def require(self, names: Iterable[bytes]) -> None:
        """Raise `SearchError` for a name of an expression that no step has loaded."""
        for name in names:
            if not self.available(name):
                raise SearchError(f"Property `{display(name)}` not loaded nor in pipeline")

    def resolve(self, null_is_missing: bool, name: bytes) -> None:
        """Make a name that a reducer asks for available. Raises `SearchError` where there is none such."""
        if name in self.doubtful and not null_is_missing:
            self.doubtful[name] = (False, self.doubtful[name][1])
        if not self.available(name, True) and not self.load_implicitly(name, True, null_is_missing):
            raise SearchError(f"Property is not present in document or pipeline: `{display(name)}`")

    def shown(self) -> list[bytes]:
        """The names that replies have, in order."""
        return [name for name in self.order if name not in self.hidden]

    def available(self, name: bytes, hidden: bool = False) -> bool:
        """Whether a property can be read without loading it: it is in the rows, or in the sorting columns."""
        if name in self.known:
            return True
        if not self.at_root:
            return False
        field = self._spec.field(name)
        if field is None or not field.sortable:
            return False
        column = sort_column(field)
        assert column is not None
        self.order.setdefault(name)
        self.known.add(name)
        if hidden:
            self.hidden.add(name)
        self.columns[name] = column
        if field.many and field.type is FieldType.NUMERIC and self._dialect >= 3:
            self.puts.append((name, self._reader.field(name, name)))
        return True

    def load_implicitly(self, name: bytes, hidden: bool = False, null_is_missing: bool = False) -> bool:
        """Load a field of the schema that a step needs. Returns whether that could be done."""
        field = self._spec.field(name) if self.at_root else None
        if field is None:
            return False
        self.order.setdefault(name)
        self.known.add(name)
        if hidden:
            self.hidden.add(name)
        if self._quick_load(name, field, null_is_missing):
            return True
        self.puts.append((name, self._reader.field(name, name)))
        return True

    def _quick_load(self, name: bytes, field: FieldSpec, null_is_missing: bool) -> bool:
        """Take a field from its column, with a look at the document only where the column does not say."""
        column = exact_column(self._spec, field) if self._dialect < 3 else None
        if column is None:
            return False
        self.columns[name] = column
        self.doubtful[name] = (null_is_missing, self._reader.field(name, field.name))
        return True

    def load(self, step: Load) -> None:
        """Note what LOAD asks for."""
        if not self.at_root:
            raise SearchError("LOAD cannot be applied after projectors or reducers")
        if step.everything:
            self.loads_everything = True
            if self._spec.kind == "hash":
                self.known.update(field.name for field in self._spec.fields)
            self.puts.append((b"", self._reader.everything))
            return
        for name, path in step.fields:
            self.add(name)
            self.columns.pop(name, None)
            self.doubtful.pop(name, None)
            self.lists.pop(name, None)
            if path == b"__key":
                self.columns[name] = "key"
                continue
            field = self._spec.field(path) or self._spec.field_by_path(path)
            elements = self._spec.field_by_path(path + b"[*]") if field is None else None
            if elements is not None and self._dialect < 3 and list_name(self._spec, elements) is not None:
                self.lists[name] = elements
            if field is None or not self._quick_load(name, field, False):
                self.puts.append((name, self._reader.field(name, path)))
