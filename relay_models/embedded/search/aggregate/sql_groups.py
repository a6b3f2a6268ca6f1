"""`SqlGroups`: a GROUPBY that SQL carries out, where columns hold all that it needs.

A row in Python costs ten times as much as in SQL. Where the groups are the values of one field and there is no filter,
an SQL index over exactly the columns that are read is made by the first such query, as other queries make theirs.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from relay_models.embedded.json.text import dumps
from relay_models.embedded.search.aggregate.expressions import Expression, parse_expression
from relay_models.embedded.search.aggregate.functions import truth
from relay_models.embedded.search.aggregate.properties import Properties
from relay_models.embedded.search.aggregate.reducers import (
    BY_COLUMN,
    Accumulator,
    ColumnAccumulator,
    Reducer,
    column_accumulators,
)
from relay_models.embedded.search.aggregate.stages import Row, Total
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.schema import FieldType, IndexSpec
from relay_models.embedded.search.index.tables import PLAIN_LISTS
from relay_models.embedded.search.syntax.aggregate_steps import Apply, Filter

__all__ = ["SqlGroups"]

_REDUCERS: Final = {
    "COUNT": "count(*)",
    "SUM": "sum({})",
    "AVG": "avg({})",
    "MIN": "min({})",
    "MAX": "max({})",
    "COUNT_DISTINCT": "count(DISTINCT {})",
}
# Reducers whose last digits depend on the order of the rows, which is that of the documents.
_ROUNDED: Final = frozenset(("SUM", "AVG"))

_NOTHING: Final = {"SUM": math.nan, "AVG": math.nan, "MIN": math.inf, "MAX": -math.inf}
"""What reducers give where no row has a number."""

# Rows whose columns are held at once.
_CHUNK: Final = 20_000

_EXISTS: Final = re.compile(rb"exists\(@([0-9A-Za-z_]+)\)")
_EQUALS: Final = re.compile(
    rb"(?:exists\(@(?P<told>[0-9A-Za-z_]+)\) && )?@(?P<name>[0-9A-Za-z_]+) == '(?P<text>[0-9A-Za-z_ -]*)'"
)
_QUOTIENT: Final = re.compile(rb"floor\(@([0-9A-Za-z_]+)/([1-9][0-9]{0,14})\)")
_LOGARITHM: Final = re.compile(rb"floor\(log2\(@([0-9A-Za-z_]+)\)\*([1-9][0-9]{0,5})\)")


def _logarithm(factor: int) -> Callable[[Any], float | None]:
    """``floor(log2(x) * factor)`` of a number of 2 and more; None of any other value."""
    log2, floor = math.log2, math.floor

    def value(number: Any) -> float | None:
        return float(floor(log2(number) * factor)) if type(number) is float and 2.0 <= number < math.inf else None

    return value


class _NotInSql(Exception):
    """Something that only the rows in Python can give."""


class SqlGroups:
    """The groups of one aggregation.

    Args:
        selection: The documents.
        properties: Where each name is read from.
        steps: The steps before the GROUPBY, which are not LOADs.
        by: The names that rows are grouped by.
        reducers: What is computed of each group.
        total: Is set to the number of groups.
    """

    def __init__(
        self,
        selection: Selection,
        properties: Properties,
        steps: Sequence[Apply | Filter],
        by: Sequence[bytes],
        reducers: Sequence[Reducer],
        total: Total,
    ) -> None:
        self._selection = selection
        self._spec: IndexSpec = selection.spec
        self._properties = properties
        self._steps, self._by, self._reducers, self._total = steps, by, reducers, total
        self._functions: list[tuple[str, int, Callable[..., Any]]] = []
        self._error: Exception | None = None
        self._numeric: set[bytes] = set()
        """Names that have numbers, or nothing."""
        self._used: dict[str, None] = {}
        """The columns that are read."""
        self._lists = [name for name in by if name in properties.lists]
        """What is grouped by of lists, each of which is in two columns."""

    def rows(self, otherwise: Callable[[], Iterator[Row]]) -> Iterator[Row]:
        """One row per group, in the order of the first documents; those of `otherwise` where SQL cannot give them."""
        try:
            found, accumulators = self._read()
        except _NotInSql:
            yield from otherwise()
            return
        self._total.number = len(found)
        width = len(self._by) + len(self._lists)
        for values in found:
            row: Row = dict(zip(self._by, self._group(values[:width]), strict=True))
            in_columns = iter(accumulators.get(values[:width], ()))
            in_sql = iter(values[width:])
            for reducer in self._reducers:
                if reducer.name in BY_COLUMN:
                    row[reducer.alias] = next(in_columns).result()
                else:
                    value = next(in_sql)
                    row[reducer.alias] = _NOTHING[reducer.name] if value is None else float(value)
            yield row

    def _read(self) -> tuple[list[Any], dict[tuple[Any, ...], list[Accumulator]]]:
        """The rows of SQL, and for each group the accumulators of reducers that SQL does not have."""
        if not all(name in self._lists for name, _ in self._properties.puts) or self._selection.has_words:
            raise _NotInSql
        needed = {*self._by, *(reducer.source for reducer in self._reducers)}
        applied = [step.alias for step in self._steps if isinstance(step, Apply)]
        if len(set(applied)) < len(applied) or not needed.issuperset(applied):
            raise _NotInSql  # SQL would not compute what is not used, and so not find its errors
        columns: dict[bytes, str] = {}
        conditions: list[str] = []
        may_fail = False
        for step in self._steps:
            expression = parse_expression(step.expression)
            if any(name in columns for name in expression.properties):
                raise _NotInSql  # of an applied value, null and missing differ
            if isinstance(step, Apply):
                columns[step.alias] = self._value(step, expression)
                is_safe = _EXISTS.fullmatch(step.expression) or _QUOTIENT.fullmatch(step.expression)
                may_fail = may_fail or not is_safe or step.alias not in self._numeric
            elif may_fail:
                raise _NotInSql  # SQL would compute what was applied only for the rows that meet the condition
            else:
                conditions.append(self._condition(step, expression))
        groups = [sql for name in self._by for sql in self._grouped(name, columns)]
        reduced = [self._reduced(reducer, columns) for reducer in self._reducers if reducer.name not in BY_COLUMN]
        others = [reducer for reducer in self._reducers if reducer.name in BY_COLUMN]
        read = {reducer.source: self._number(reducer, columns) for reducer in others}
        if self._lists:
            reduced.append(f"min(d.many & {PLAIN_LISTS})")
            self._used["many"] = None
        selected = [*groups, *reduced, "min(d.docid)"]
        tail = ("GROUP BY " + ", ".join(map(str, range(1, len(groups) + 1)))) if groups else ""
        if not groups:
            tail = "GROUP BY NULL"
        covered = False
        if len(self._by) == 1 and self._by[0] not in columns and not conditions:
            covered = self._selection.cover([sql.removeprefix("d.") for sql in groups], list(self._used))
        elif not _ROUNDED.isdisjoint(reducer.name for reducer in self._reducers):
            self._selection.by_document()
        connection = self._selection.connection
        for name, arity, function in self._functions:
            connection.create_function(name, arity, function, deterministic=True)
        try:
            found = self._selection.rows(", ".join(selected), f"{tail} ORDER BY {len(selected)}", also=conditions)
            rows = found.fetchall()
            accumulators = self._accumulate(others, groups, read, conditions, covered) if others else {}
        except sqlite3.OperationalError:
            if self._error is None:
                raise
            # Whether it is one depends on the order of the conditions.
            raise _NotInSql from None
        finally:
            for name, arity, _ in self._functions:
                connection.create_function(name, arity, None)
        if self._lists and not all(row[-2] for row in rows):
            raise _NotInSql  # in some document there is something else than a list of texts
        # A boolean is stored as its text.
        doubtful = [name for name in self._by if name in self._properties.doubtful]
        for row in rows if doubtful else ():
            values = dict(zip(self._by, self._group(row[: len(groups)]), strict=True))
            if any(values[name] in (b"true", b"false") for name in doubtful):
                raise _NotInSql
        return rows, accumulators

    def _grouped(self, name: bytes, columns: dict[bytes, str]) -> list[str]:
        """The SQL of what rows are grouped by, in place of a name."""
        if name in columns:
            return [columns[name]]
        field = self._properties.lists.get(name)
        if field is None:
            return [self._column(name)]
        found = [f"v{field.number}", f"p{field.number}"]
        self._used.update(dict.fromkeys(found))
        return [f"d.{column}" for column in found]

    def _group(self, values: Sequence[Any]) -> list[Any]:
        """The values of a group, in which a list is its text, from those of SQL."""
        given = iter(values)
        found: list[Any] = []
        for name in self._by:
            value = next(given)
            if name in self._lists:
                packed = next(given)
                parts = packed.split(b"\0") if packed is not None else [] if value is None else [value]
                value = dumps([part.decode("utf-8", "surrogatepass") for part in parts]) if parts else None
            found.append(value)
        return found

    def _accumulate(
        self,
        reducers: Sequence[Reducer],
        groups: list[str],
        read: dict[bytes | None, str],
        conditions: list[str],
        covered: bool,
    ) -> dict[tuple[Any, ...], list[Accumulator]]:
        """Read columns of numbers for each group, in the order of the documents, and give them to accumulators."""
        # An SQL index for the groups has the documents of each in their order.
        tail = "" if covered else "ORDER BY d.docid"
        rows = self._selection.rows(", ".join([*groups, *read.values()]), tail, also=conditions)
        made: dict[tuple[Any, ...], list[Accumulator]] = {}
        fed: dict[tuple[Any, ...], dict[bytes, list[ColumnAccumulator]]] = {}
        while chunk := rows.fetchmany(_CHUNK):
            columns = list(zip(*chunk, strict=True))
            keys: Sequence[tuple[Any, ...]] = list(zip(*columns[: len(groups)], strict=True)) or [()] * len(chunk)
            for key in set(keys).difference(made):
                made[key], fed[key] = column_accumulators(reducers)
            for source, column in zip(read, columns[len(groups) :], strict=True):
                assert source is not None
                numbers: dict[tuple[Any, ...], list[float]] = {key: [] for key in fed}
                for key, value in zip(keys, column, strict=True):
                    if value is not None:
                        numbers[key].append(value)
                for key, some in numbers.items():
                    for accumulator in fed[key][source] if some else ():
                        accumulator.extend(some)
        return made

    def _column(self, name: bytes) -> str:
        """The SQL of a name's column."""
        column = self._properties.columns.get(name)
        doubt = self._properties.doubtful.get(name)
        if column is None or (doubt is not None and not doubt[0]):
            raise _NotInSql
        field = self._spec.field(name)
        if field is not None and field.type is FieldType.NUMERIC and not field.many:
            self._numeric.add(name)
        self._used[column] = None
        return f"d.{column}"

    def _reduced(self, reducer: Reducer, columns: dict[bytes, str]) -> str:
        sql, name = _REDUCERS.get(reducer.name), reducer.source
        if sql is None:
            raise _NotInSql
        return sql if name is None else sql.format(self._number(reducer, columns))

    def _number(self, reducer: Reducer, columns: dict[bytes, str]) -> str:
        """The SQL of the numbers that a reducer reads."""
        name = reducer.source
        assert name is not None
        column = columns[name] if name in columns else self._column(name)
        if name not in self._numeric:
            raise _NotInSql
        return column

    def _condition(self, step: Filter, expression: Expression) -> str:
        match = _EXISTS.fullmatch(step.expression)
        if match:
            return f"{self._column(match[1])} IS NOT NULL"
        return self._called(expression, lambda row: int(truth(expression.evaluate(row))))

    def _value(self, step: Apply, expression: Expression) -> str:
        """The SQL of an applied expression."""
        match = _EXISTS.fullmatch(step.expression)
        if match:
            self._numeric.add(step.alias)
            return f"CAST({self._column(match[1])} IS NOT NULL AS REAL)"
        evaluate = expression.evaluate
        match = _LOGARITHM.fullmatch(step.expression)
        if match and match[1] in expression.properties:
            # Of positive numbers without going through the parsed expression, which takes six times as long.
            return self._called(expression, lambda row: self._plain(evaluate(row)), _logarithm(int(match[2])))
        evaluated = self._called(expression, lambda row: self._plain(evaluate(row)))
        match = _QUOTIENT.fullmatch(step.expression)
        if match and (column := self._column(match[1])) and match[1] in self._numeric:
            self._numeric.add(step.alias)
            whole = f"CAST({column} / {int(match[2])}.0 AS INTEGER)"
            floor = f"CAST({whole} - ({column} / {int(match[2])}.0 < {whole}) AS REAL)"
            return f"iif(abs({column}) < 9e15, {floor}, {evaluated})"
        match = _EQUALS.fullmatch(step.expression)
        if match and match["told"] in (None, match["name"]):
            column = self._column(match["name"])
            if match["name"] not in self._numeric:
                self._numeric.add(step.alias)
                missing = evaluated if match["told"] is None else "0.0"
                return f"iif({column} IS NULL, {missing}, CAST({column} = x'{match['text'].hex()}' AS REAL))"
        return evaluated

    @staticmethod
    def _plain(value: Any) -> float | bytes:
        """A value that SQL and Python group alike."""
        if type(value) is bytes or (type(value) is float and value == value and (value or math.copysign(1, value) > 0)):
            return value
        raise _NotInSql

    def _called(
        self, expression: Expression, evaluate: Callable[[Row], Any], quick: Callable[..., Any] | None = None
    ) -> str:
        """The SQL of an expression that is evaluated in Python.

        Args:
            expression: The expression.
            evaluate: Gives its value for a row.
            quick: Gives its value for the properties' values, or None where that takes `evaluate`.
        """
        names = expression.properties
        columns = [self._column(name) for name in names]

        def call(*values: Any) -> Any:
            if quick is not None and (found := quick(*values)) is not None:
                return found
            try:
                return evaluate({name: value for name, value in zip(names, values, strict=True) if value is not None})
            except Exception as error:
                self._error = error
                raise

        function = f"ft_expression_{len(self._functions)}"
        self._functions.append((function, len(names), call))
        return f"{function}({', '.join(columns)})"
