"""`Pipeline`: FT.AGGREGATE, an index's documents through the stages that its steps ask for."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias, assert_never

from relay_models.embedded.search.aggregate.expressions import Expression, parse_expression
from relay_models.embedded.search.aggregate.group_by import grouped
from relay_models.embedded.search.aggregate.properties import Properties
from relay_models.embedded.search.aggregate.reducers import Reducer, read_reducer
from relay_models.embedded.search.aggregate.row_reader import RowReader, SqlOrder
from relay_models.embedded.search.aggregate.sql_groups import SqlGroups
from relay_models.embedded.search.aggregate.stages import (
    Row,
    Stage,
    Total,
    applied,
    counted,
    filtered,
    first_rows,
    paged,
    sorted_rows,
)
from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.documents import Documents, FieldReader
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import sort_column
from relay_models.embedded.search.syntax.aggregate_steps import Apply, Filter, Group, Load, Step
from relay_models.embedded.search.syntax.request import Arrangement, QueryRequest

__all__ = ["Pipeline"]

# Rows that a SORTBY gives where no LIMIT or MAX says how many.
DEFAULT_LIMIT: Final = 10

Trace: TypeAlias = Callable[[str, Iterator[Row]], Iterator[Row]]
"""Is given the rows of a stage with its name in FT.PROFILE, and passes them on."""


class Pipeline:
    """One aggregation under way.

    `rows` gives the rows that are left; None stands for one that was deleted since its order was set. `total` counts as
    the real server does, so it is final only where everything had to be read before the first row could be given.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        spec: IndexSpec,
        documents: Documents,
        settings: Settings,
        request: QueryRequest,
        steps: list[Step],
        trace: Trace | None = None,
    ) -> None:
        self.request = request
        self.selection = Selection(connection, spec, settings, request)
        self.total = Total()
        self.stages: list[Stage] = []
        self.sql_order: SqlOrder | None = None
        self.is_traced = trace is not None
        self.spec = spec
        reader = FieldReader(spec, documents, request.dialect)
        self.properties = Properties(spec, reader, request.dialect)
        self.reader = RowReader(self.selection, request, reader, self.properties, self.total)
        self._in_sql: SqlGroups | None = None
        self._grouper = 0
        """The number of stages up to the GROUPBY that `_in_sql` stands for."""
        self._applied: set[bytes] = set()
        self._evaluated = False
        self._arranged = False
        self._offset, self._limit = 0, DEFAULT_LIMIT
        if request.add_scores:
            self.properties.add(b"__score")
        self._steps = steps
        for step in steps:
            self._add(step)
        reader.narrow()
        self.rows = self._run(trace)

    # Reading the steps

    def _add(self, step: Step) -> None:
        match step:
            case Load():
                self.properties.load(step)
            case Group():
                self._group(step)
            case Arrangement():
                self._arrange(step)
            case Apply():
                self._apply(step)
            case Filter():
                self._filter(step)
            case _:
                assert_never(step)

    def _stage(self, name: str, run: Callable[..., Iterator[Any]], *arguments: Any) -> None:
        self.stages.append(Stage(name, functools.partial(run, *arguments) if arguments else run))

    def _apply(self, step: Apply) -> None:
        expression = parse_expression(step.expression)
        self.properties.require(expression.properties)
        self.properties.add(step.alias)
        self._applied.add(step.alias)
        self._evaluated = True
        self._stage("Projector", applied, step.alias, expression.evaluate)

    def _filter(self, step: Filter) -> None:
        expression = parse_expression(step.expression)
        self.properties.require(expression.properties)
        self._evaluated = self._evaluated or not self._cannot_fail(expression)
        self._stage("Filter", filtered, expression.evaluate, self.total)

    def _cannot_fail(self, expression: Expression) -> bool:
        """Whether a condition has a result for each row, whatever is in it."""
        if expression.comparisons is None or not self._applied.isdisjoint(expression.properties):
            return False
        for name, kind in expression.comparisons:
            field = self.spec.field(name)
            if field is None or field.many or (field.type is FieldType.NUMERIC) != (kind == "number"):
                return False
        return True

    def _group(self, step: Group) -> None:
        properties = self.properties
        for name in step.by:
            if not properties.available(name) and not properties.load_implicitly(name, null_is_missing=True):
                raise SearchError(f"No such property `{display(name)}`")
        reducers: list[Reducer] = []
        for part in step.reducers:
            null_is_missing = part.name.upper() not in (b"TOLIST", b"RANDOM_SAMPLE")
            resolve = functools.partial(properties.resolve, null_is_missing)
            reducers.append(read_reducer(part.name, part.arguments, part.alias, resolve))
        names = [*step.by, *(reducer.alias for reducer in reducers)]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise SearchError(f"Property `{display(name)}` specified more than once")
        before = [other for other in self._steps[: self._steps.index(step)] if not isinstance(other, Load)]
        if properties.at_root and not self.is_traced and self.request.dialect < 3 and not self.request.add_scores:
            plain = [other for other in before if isinstance(other, (Apply, Filter))]
            if plain == before:
                self._in_sql = SqlGroups(self.selection, properties, plain, step.by, reducers, self.total)
        self._stage("Grouper", grouped, step.by, reducers, self.total)
        self._grouper = self._grouper or len(self.stages)
        properties.replace(names)

    def _arrange(self, step: Arrangement) -> None:
        if step.sorted:
            self._sort(step)
        self._offset = step.offset
        self._limit = step.limit if step.limited else DEFAULT_LIMIT
        if self.request.count_only:
            self._stage("Counter", counted)
        elif step.offset or (step.limit and not step.sorted):
            self._arranged = True
            limit = step.limit if step.limited and step.limit else None
            self._stage("Pager/Limiter", paged, step.offset, limit)

    def _sort(self, step: Arrangement) -> None:
        for name, _ in step.keys:
            if not self.properties.available(name) and not self.properties.load_implicitly(name):
                raise SearchError(f"Property `{display(name)}` not loaded nor in schema")
        most = step.offset + step.limit if step.offset + step.limit else DEFAULT_LIMIT
        fields = self._sort_fields(step.keys)
        if fields and self.request.cursor is not None and not self._applied and not self.request.count_only:
            self.sql_order = SqlOrder(fields, most, of_cursor=True)
        elif fields:
            # Nothing before can fail at a row, so rows that are not asked for need not be looked at.
            self.sql_order = SqlOrder(fields, most, of_cursor=False)
            self._stage("Sorter", first_rows, most)
        else:
            self._stage("Sorter", sorted_rows, step.keys, most)
        self._arranged = True

    def _sort_fields(self, keys: list[tuple[bytes, bool]]) -> list[tuple[FieldSpec, bool]]:
        """The fields of the keys where SQL can sort by them: nothing has ordered the rows, and columns hold them."""
        if (
            self._evaluated
            or not self.properties.at_root
            or self._arranged
            or self.request.add_scores
            or self.request.count_only
        ):
            return []
        fields = []
        for name, ascending in keys:
            field = self.spec.field(name)
            column = None if field is None or field.many else sort_column(field)
            if field is None or column is None or self.properties.columns.get(name) != column or name in self._applied:
                return []
            fields.append((field, ascending))
        return fields

    # Running it

    def _run(self, trace: Trace | None) -> Iterator[Row | None]:
        order = self.sql_order
        if order is not None and order.of_cursor:
            return self.reader.for_cursor(order, self.stages)
        if self._in_sql is not None and order is None:
            stages = self.stages[: self._grouper]
            grouped_rows = self._in_sql.rows(lambda: _through(stages, self.reader.by_document(), None))
            return _through(self.stages[self._grouper :], grouped_rows, None)
        rows = self.reader.by_document() if order is None else self.reader.in_order(order)
        return _through(self.stages, rows if trace is None else trace("Index", rows), trace)

    def window(self, total: int, given: int) -> int:
        """How many of `total` rows are asked for, as far as that is known without counting."""
        if self.sql_order is not None:
            return given
        return min(max(0, total - self._offset), self._limit)


def _through(stages: Sequence[Stage], rows: Iterator[Any], trace: Trace | None) -> Iterator[Any]:
    """The rows after each of the stages."""
    for stage in stages:
        rows = stage.run(rows)
        if trace is not None:
            rows = trace(stage.name, rows)
    return rows
