"""FT.AGGREGATE: rows of an index's documents through the steps of a plan, and the reply in chunks."""

from __future__ import annotations

import functools
import json
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from relay_models.embedded.search.aggregate.expressions import Expression, parse_expression
from relay_models.embedded.search.aggregate.reducers import Accumulator, Reducer, read_reducer
from relay_models.embedded.search.aggregate.stages import (
    STAGE_NAMES,
    Row,
    applied,
    counted,
    filtered,
    first_rows,
    identity,
    paged,
    products,
    sorted_rows,
    told_apart,
)
from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.column_values import MAY_BE_BOOLEAN, printed, reply_rows, whole_as_digits
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.documents import Documents, Reader, Value, to_reply
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import exact_column, sort_column, value_column
from relay_models.embedded.search.syntax.aggregate_steps import Apply, Group, Load, Step
from relay_models.embedded.search.syntax.request import Arrangement, Request

__all__ = ["Pipeline", "shape"]

DEFAULT_LIMIT = 10
_CHUNK = 1000

Put = Callable[[bytes, Any, Row], None]


class Pipeline:
    """One aggregation under way. `rows` gives what is left of it; `total` counts as the real server does.

    The total is the number of documents read so far, or of groups; so it is final only where everything had to be read
    before the first row could be given.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        spec: IndexSpec,
        documents: Documents,
        settings: Settings,
        request: Request,
        steps: list[Step],
        trace: Callable[[str, Iterator[Row]], Iterator[Row]] | None = None,
    ) -> None:
        """`trace` is given the rows of each step, with the step's name in FT.PROFILE, and passes them on."""
        self._trace = trace
        self._connection = connection
        self._spec = spec
        self._documents = documents
        self._settings = settings
        self.request = request
        self._reader = Reader(spec, documents, request.dialect)
        self.selection = Selection(connection, spec, settings, request)
        self.total = 0
        # The properties in the order in which replies name them, and the ones that count as known.
        self._order: dict[bytes, None] = {}
        self._columns: dict[bytes, str] = {}
        self._puts: list[tuple[bytes, Put]] = []
        self._doubtful: dict[bytes, tuple[bool, Put]] = {}
        self._known: set[bytes] = set()
        self._at_root = True
        self._hidden: set[bytes] = set()
        self._loads_everything = False
        # The keys of a SORTBY that SQL carries out, so that only the documents of the first rows are read.
        self._first: list[tuple[FieldSpec, bool]] = []
        # How many rows a cursor's order has; they are read when they are asked for. None: no such order.
        self._most: int | None = None
        self._likely = 100
        self._applied: set[bytes] = set()
        self._evaluated = False
        self._arranged = False
        self._offset, self._limit = 0, DEFAULT_LIMIT
        self._later: list[Callable[[Iterator[Any]], Iterator[Any]]] = []
        if request.add_scores:
            self._order[b"__score"] = None
            self._known.add(b"__score")
        for step in steps:
            self._add(step)
        self._reader.narrow()
        self.rows = self._run()

    # Reading the plan

    def _add(self, step: Step) -> None:
        if isinstance(step, Load):
            self._load(step)
        elif isinstance(step, Group):
            self._group(step)
        elif isinstance(step, Arrangement):
            self._arrange(step)
        elif isinstance(step, Apply):
            expression = parse_expression(step.expression)
            self._require(expression.properties)
            self._order.setdefault(step.alias)
            self._known.add(step.alias)
            self._hidden.discard(step.alias)
            self._applied.add(step.alias)
            self._evaluated = True
            self._later.append(functools.partial(applied, step.alias, expression.evaluate))
        else:
            expression = parse_expression(step.expression)
            self._require(expression.properties)
            self._evaluated = self._evaluated or not self._cannot_fail(expression)
            self._later.append(functools.partial(filtered, expression.evaluate))

    def _cannot_fail(self, expression: Expression) -> bool:
        """Whether a condition has a result for each row, whatever is in it."""
        if expression.comparisons is None or not self._applied.isdisjoint(expression.properties):
            return False
        for name, kind in expression.comparisons:
            field = self._spec.field(name)
            if field is None or field.many or (field.type is FieldType.NUMERIC) != (kind == "number"):
                return False
        return True

    def _require(self, properties: Iterable[bytes]) -> None:
        for name in properties:
            if not self._available(name):
                raise SearchError(f"Property `{display(name)}` not loaded nor in pipeline")

    def _available(self, name: bytes, hidden: bool = False) -> bool:
        """Whether a property can be read without loading it: it is in the rows, or in the sorting columns."""
        if name in self._known:
            return True
        if not self._at_root:
            return False
        field = self._spec.field(name)
        if field is None or not field.sortable:
            return False
        column = sort_column(field)
        assert column is not None
        self._order.setdefault(name)
        self._known.add(name)
        if hidden:
            self._hidden.add(name)
        self._columns[name] = column
        if field.many and field.type is FieldType.NUMERIC and self.request.dialect >= 3:
            self._puts.append((name, self._reader.field(name, name)))
        return True

    def _load_implicitly(self, name: bytes, hidden: bool = False, null_is_missing: bool = False) -> bool:
        """Load a field of the schema that a step needs. Gives whether that could be done."""
        field = self._spec.field(name) if self._at_root else None
        if field is None:
            return False
        self._order.setdefault(name)
        self._known.add(name)
        if hidden:
            self._hidden.add(name)
        if self._quick_load(name, field, null_is_missing):
            return True
        self._puts.append((name, self._reader.field(name, name)))
        return True

    def _quick_load(self, name: bytes, field: FieldSpec, null_is_missing: bool) -> bool:
        """Take a field from its column, with a look at the document only where the column does not tell."""
        column = exact_column(self._spec, field) if self.request.dialect < 3 else None
        if column is None:
            return False
        self._columns[name] = column
        self._doubtful[name] = (null_is_missing, self._reader.field(name, field.name))
        return True

    def _load(self, step: Load) -> None:
        if not self._at_root:
            raise SearchError("LOAD cannot be applied after projectors or reducers")
        if step.everything:
            self._loads_everything = True
            if self._spec.kind == "hash":
                self._known.update(field.name for field in self._spec.fields)
            self._puts.append((b"", self._reader.everything))
            return
        for name, path in step.fields:
            self._order.setdefault(name)
            self._known.add(name)
            self._hidden.discard(name)
            self._columns.pop(name, None)
            self._doubtful.pop(name, None)
            if path == b"__key":
                self._columns[name] = "key"
                continue
            field = self._spec.field(path) or self._spec.field_by_path(path)
            if field is None or not self._quick_load(name, field, False):
                self._puts.append((name, self._reader.field(name, path)))

    def _group(self, step: Group) -> None:
        for name in step.by:
            if not self._available(name) and not self._load_implicitly(name, null_is_missing=True):
                raise SearchError(f"No such property `{display(name)}`")
        reducers: list[Reducer] = []

        for part in step.reducers:
            null_is_missing = part.name.upper() not in (b"TOLIST", b"RANDOM_SAMPLE")
            resolve = functools.partial(self._resolve, null_is_missing)
            reducers.append(read_reducer(part.name, part.arguments, part.alias, resolve))
        names = [*step.by, *(reducer.alias for reducer in reducers)]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise SearchError(f"Property `{display(name)}` specified more than once")
        self._later.append(functools.partial(self._grouped, step.by, reducers))
        self._at_root = False
        self._order = dict.fromkeys(names)
        self._known = set(names)
        self._hidden = set()

    def _resolve(self, null_is_missing: bool, name: bytes) -> None:
        if name in self._doubtful and not null_is_missing:
            self._doubtful[name] = (False, self._doubtful[name][1])
        if not self._available(name, True) and not self._load_implicitly(name, True, null_is_missing):
            raise SearchError(f"Property is not present in document or pipeline: `{display(name)}`")

    def _arrange(self, step: Arrangement) -> None:
        if step.sorted:
            for name, _ in step.keys:
                if not self._available(name) and not self._load_implicitly(name):
                    raise SearchError(f"Property `{display(name)}` not loaded nor in schema")
            most = step.offset + step.limit if step.offset + step.limit else DEFAULT_LIMIT
            fields = self._sort_fields(step.keys)
            if fields and self.request.cursor is not None and not self._applied and not self.request.count_only:
                self._first, self._most = fields, most
            elif fields:
                # Nothing before can fail at a row, so rows that are not asked for need not be looked at.
                self._first, self._likely = fields, most
                self._later.append(functools.partial(first_rows, most))
            else:
                self._later.append(functools.partial(sorted_rows, step.keys, most))
            self._arranged = True
        self._offset = step.offset
        self._limit = step.limit if step.limited else DEFAULT_LIMIT
        if self.request.count_only:
            self._later.append(counted)
        elif step.offset or (step.limit and not step.sorted):
            self._arranged = True
            limit = step.limit if step.limited and step.limit else None
            self._later.append(functools.partial(paged, step.offset, limit))

    def _sort_fields(self, keys: list[tuple[bytes, bool]]) -> list[tuple[FieldSpec, bool]]:
        """The fields of the keys where SQL can sort by them: nothing has ordered the rows, and columns hold them."""
        if self._evaluated or not self._at_root or self._arranged or self.request.add_scores or self.request.count_only:
            return []
        fields = []
        for name, ascending in keys:
            field = self._spec.field(name)
            column = None if field is None or field.many else sort_column(field)
            if field is None or column is None or self._columns.get(name) != column or name in self._applied:
                return []
            fields.append((field, ascending))
        return fields

    # Running it

    def _run(self) -> Iterator[Row | None]:
        if self._most is not None:
            return self._noted_read(self._most)
        rows: Iterator[Any] = self._ordered_read() if self._first else self._documents_read()
        if self._trace is None:
            for later in self._later:
                rows = later(rows)
            return rows
        rows = self._trace("Index", rows)
        for later in self._later:
            function = getattr(later, "func", later)
            rows = self._trace(STAGE_NAMES[function.__name__], later(rows))
        return rows

    def _documents_read(self) -> Iterator[Row]:
        if self.selection.empty:
            return
        scored = self._scored() if self.request.add_scores else None
        last = -1
        if self.selection.condition != "1":
            self.selection.condition = f"({self.selection.condition}) AND d.docid > ?"
        else:
            self.selection.condition = "d.docid > ?"
        while True:
            # In chunks, so that a cursor that is read on later does not keep a statement open.
            chunk = self._chunk("ORDER BY d.docid LIMIT ?", last, _CHUNK)
            for docid, key, row in chunk:
                if scored is not None:
                    row[b"__score"] = scored[docid]
                if self._complete(key, row):
                    self.total += 1
                    yield row
            if len(chunk) < _CHUNK:
                return
            last = chunk[-1][0]

    def _noted_read(self, most: int) -> Iterator[Row | None]:
        """The first rows in the order of the keys as it is now, of which only the numbers are held.

        Each is read when it is asked for: None where it was replaced or went since. Where there is a FILTER the rows
        go through it then, so all are noted.
        """
        if self.selection.empty:
            return
        tail = f"{self._prepare_order()} LIMIT {-1 if self._later else most}"
        noted = array("q", (docid for (docid,) in self.selection.rows("d.docid", tail)))
        given = 0
        found: dict[int, tuple[bytes, Row]] = {}
        end, changes = 0, -1
        for place, docid in enumerate(noted):
            if place == end or changes != self._connection.total_changes:
                end, changes = place + _CHUNK, self._connection.total_changes
                found = {number: (key, row) for number, key, row in self._numbered(noted[place:end].tolist())}
            key, row = found.get(docid, (b"", None))
            if row is not None and not self._complete(key, row):
                row = None
            rows: Iterator[Row | None] = iter((row,))
            for later in self._later if row is not None else ():
                rows = later(rows)
            for passed in rows:
                yield passed
                given += 1
                if given == most:
                    return

    def _prepare_order(self) -> str:
        """Make what sorting needs, note the total, and give the ORDER BY."""
        column = sort_column(self._first[0][0])
        assert column is not None
        self.selection.combine(column)
        # Where nobody asks how many there are, it is only known how many are given.
        self.total = 0 if self.request.with_count is False else self.selection.count()
        self.selection.prepare_sort(self._first[0][0])
        return self._order_by(self._first)

    @staticmethod
    def _order_by(keys: list[tuple[FieldSpec, bool]]) -> str:
        order = [f"d.{sort_column(field)} {'ASC NULLS LAST' if up else 'DESC'}" for field, up in keys]
        order.append("d.docid" if keys[-1][1] else "d.docid DESC")
        return f"ORDER BY {', '.join(order)}"

    def _ordered_read(self) -> Iterator[Row]:
        """The rows in the order of the keys, read as far as they are asked for."""
        if self.selection.empty:
            return
        tail = f"{self._prepare_order()} LIMIT ? OFFSET ?"
        size, offset = min(self._likely, 100), 0
        while True:
            chunk = self._chunk(tail, size, offset)
            for _, key, row in chunk:
                if self._complete(key, row):
                    yield row
                else:
                    self.total -= 1
            if len(chunk) < size:
                return
            # Growing, since each chunk passes over those before it.
            size, offset = size * 4, offset + size

    def _chunk(self, tail: str, *arguments: int) -> list[tuple[int, bytes, Row]]:
        """Number, key and columns of rows, all read at once so that no statement stays open."""
        return self._read(self.selection.rows(self._selected(), tail, arguments))

    def _numbered(self, numbers: list[int]) -> list[tuple[int, bytes, Row]]:
        """The same of the documents that have these numbers."""
        table = self.selection.tables.docs
        sql = f"SELECT {self._selected()} FROM {table} d WHERE d.docid IN (SELECT value FROM json_each(?))"
        return self._read(self._connection.execute(sql, (json.dumps(numbers),)))

    def _selected(self) -> str:
        return "d.docid, d.key" + "".join(f", d.{column}" for column in self._columns.values())

    def _read(self, found: sqlite3.Cursor) -> list[tuple[int, bytes, Row]]:
        names = list(self._columns)
        return [
            (
                docid,
                key,
                {name: value for name, value in zip(names, values, strict=True) if value is not None}
                if None in values
                else dict(zip(names, values, strict=True)),
            )
            for docid, key, *values in found
        ]

    def _complete(self, key: bytes, row: Row) -> bool:
        """Put in what only the document tells. False where that is gone."""
        doubts = self._doubts(row) if self._doubtful else ()
        if self._puts or doubts:
            document = self._reader.document(key)
            if document is None:
                return False
            for _, put in self._puts:
                put(key, document, row)
            for put in doubts:
                put(key, document, row)
        return True

    def _doubts(self, row: Row) -> list[Put]:
        """What is to be read from the document since its column does not tell."""
        found = []
        for name, (null_is_missing, put) in self._doubtful.items():
            value = row.get(name)
            if value is None:
                if not null_is_missing:
                    found.append(put)
            elif value in (b"true", b"false"):
                found.append(put)
        return found

    def _scored(self) -> dict[int, float]:
        from relay_models.embedded.search.execute.scoring import scores

        return {docid: score for docid, _, score in scores(self.selection, self.request)}

    def _grouped(self, by: list[bytes], reducers: list[Reducer], rows: Iterator[Row]) -> Iterator[Row]:
        groups: dict[object, tuple[list[Value], list[Accumulator]]] = {}
        starts = [reducer.start for reducer in reducers]
        only = by[0] if len(by) == 1 else None
        for row in rows:
            if only is not None and type(row.get(only)) in _PLAIN:
                value = row.get(only)
                number = value if value and value == value else told_apart(value)
                group = groups.get(number)
                if group is None:
                    group = groups[number] = ([value], [start() for start in starts])
                for accumulator in group[1]:
                    accumulator.add(row)
                continue
            for values in products([row.get(name) for name in by]):
                number = identity(values)
                group = groups.get(number)
                if group is None:
                    group = groups[number] = (values, [start() for start in starts])
                for accumulator in group[1]:
                    accumulator.add(row)
        self.total = len(groups)
        for values, accumulators in groups.values():
            result: Row = dict(zip(by, values, strict=True))
            for reducer, accumulator in zip(reducers, accumulators, strict=True):
                result[reducer.alias] = accumulator.result()
            yield result

    # Replies

    def page(self) -> list[dict[bytes, Any]] | None:
        """All rows as they stand in a reply, made column by column; None where that cannot be done.

        It can be where the rows are needed for nothing but the reply, SQL puts them in order, and no document went.
        """
        arranged = self._first and self._most is None and len(self._later) == 1
        if not arranged or self.selection.empty or self._trace or self._loads_everything or self.request.dialect > 2:
            return None
        numbers = {value_column(field) for field in self._spec.fields if field.type is FieldType.NUMERIC}
        numeric = [name for name, column in self._columns.items() if column in numbers]
        columns = {name: f"d.{column}" for name, column in self._columns.items()}
        columns.update({name: whole_as_digits(columns[name]) for name in numeric})
        rows = self._arranged_rows(columns)
        if not rows:
            return []
        keys, *values = zip(*rows, strict=True)
        held: dict[bytes, Sequence[Any]] = {
            name: printed(column) if name in numeric else column for name, column in zip(columns, values, strict=True)
        }
        if not self._settle_doubts(keys, held):
            return None
        if self._puts:
            read: dict[bytes, list[Any]] = {name: [] for name, _ in self._puts}
            for key in keys:
                document = self._reader.document(key)
                if document is None:
                    return None
                row: Row = {}
                for _, put in self._puts:
                    put(key, document, row)
                for name, found in read.items():
                    found.append(to_reply(row[name]) if name in row else _ABSENT)
            held.update(read)
        names = [name for name in self._order if name not in self._hidden]
        made = reply_rows(names, [held[name] for name in names])
        for name in names:
            if _ABSENT in held[name]:
                for fields in made:
                    if fields[name] is _ABSENT:
                        del fields[name]
        return made

    def _arranged_rows(self, columns: dict[bytes, str]) -> list[Any]:
        """Key and columns of the rows, in order."""
        tail, most = self._prepare_order(), self._likely
        wanted = ", ".join(("d.key", *columns.values()))
        if len(self._first) > 1 and most <= _CHUNK:
            # Mostly the first key tells the rows apart, and SQL has an index that is in its order.
            tail_of_one = f"{self._order_by(self._first[:1])} LIMIT ?"
            rows = self.selection.rows(wanted, tail_of_one, (most + 1,)).fetchall()
            place = list(columns).index(self._first[0][0].name) + 1
            if len({row[place] for row in rows}) == len(rows):
                return rows[:most]
        return self.selection.rows(wanted, f"{tail} LIMIT ?", (most,)).fetchall()

    def _settle_doubts(self, keys: Sequence[bytes], held: dict[bytes, Sequence[Any]]) -> bool:
        """Replace what columns do not tell by what the documents do. False where one of them is gone."""
        for name, column in held.items():
            if MAY_BE_BOOLEAN.isdisjoint(column):
                continue
            null_is_missing, put = self._doubtful.get(name, (True, None))
            held[name] = values = list(column)
            for place, value in enumerate(column):
                if value is None and null_is_missing:
                    values[place] = _ABSENT
                if put is None or value not in MAY_BE_BOOLEAN or values[place] is _ABSENT:
                    continue
                document = self._reader.document(keys[place])
                if document is None:
                    return False
                row: Row = {}
                put(keys[place], document, row)
                values[place] = to_reply(row[name]) if name in row else _ABSENT
        return True

    def window(self, total: int, given: int) -> int:
        """How many of `total` rows are asked for, as far as that is known without counting."""
        if self._first:
            return given
        return min(max(0, total - self._offset), self._limit)

    def fields(self, rows: Iterable[Row | None]) -> Iterator[dict[bytes, Any] | None]:
        """Rows as they stand in a reply: their fields in order, without those that only reducers asked for."""
        names = [name for name in self._order if name not in self._hidden]
        more = self._loads_everything and self._at_root
        for row in rows:
            if row is None:
                yield None
                continue
            if more:
                names = [name for name in dict.fromkeys((*self._order, *row)) if name not in self._hidden]
            yield {
                name: value if type(value) is bytes else to_reply(value)
                for name in names
                if (value := row.get(name, _ABSENT)) is not _ABSENT
            }


_ABSENT: Any = object()

_PLAIN = (bytes, float, type(None))


def shape(pipeline: Pipeline, count: int | None, protocol: int) -> tuple[Any, bool]:
    """The reply with the next `count` rows (None: all), and whether there may be more."""
    request = pipeline.request
    made = pipeline.page() if count is None else None
    if made is not None:
        total = len(made) if request.with_count is False else pipeline.total
        return _reply(total, made, request, protocol), False
    rows: list[Row | None] = []
    known: int | None = None
    more = True
    while count is None or len(rows) < count:
        try:
            row = next(pipeline.rows)
        except StopIteration:
            more = False
            break
        if known is None:
            known = pipeline.total
        rows.append(row)
    total = pipeline.total if known is None or protocol >= 3 else known
    if request.with_count is False:
        total = pipeline.window(total, len(rows))
    reply = _reply(total, pipeline.fields(rows), request, protocol)
    pipeline.total = 0
    return reply, more


def _reply(total: int, rows: Iterable[dict[bytes, Any] | None], request: Request, protocol: int) -> Any:
    if protocol >= 3:
        return {
            b"attributes": [],
            b"format": b"EXPAND" if request.expand else b"STRING",
            b"results": [{b"extra_attributes": fields, b"values": []} for fields in rows],
            b"total_results": total,
            b"warning": [],
        }
    flat = (None if fields is None else [part for pair in fields.items() for part in pair] for fields in rows)
    return [total, *flat]
