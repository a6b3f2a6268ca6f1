"""`shape`: the reply of FT.AGGREGATE and FT.CURSOR READ, from the rows of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from relay_models.embedded.search.aggregate.pipeline import Pipeline
from relay_models.embedded.search.aggregate.row_reader import CHUNK, RowReader, SqlOrder
from relay_models.embedded.search.aggregate.stages import Row
from relay_models.embedded.search.execute.column_values import MAY_BE_BOOLEAN, printed, reply_rows, whole_as_digits
from relay_models.embedded.search.index.documents import to_reply
from relay_models.embedded.search.index.schema import FieldType
from relay_models.embedded.search.index.tables import value_column
from relay_models.embedded.search.syntax.request import QueryRequest

__all__ = ["shape"]

_ABSENT: Any = object()

Fields = dict[bytes, Any]
"""A row as it is in a reply."""


def shape(pipeline: Pipeline, count: int | None, protocol: int) -> tuple[Any, bool]:
    """Make the reply with the next rows.

    Args:
        pipeline: The aggregation.
        count: The maximum number of rows; None for all.
        protocol: The version of RESP.

    Returns:
        The reply, and whether there may be more rows.
    """
    request = pipeline.request
    made = _page(pipeline) if count is None else None
    if made is not None:
        total = len(made) if request.with_count is False else pipeline.total.number
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
            known = pipeline.total.number
        rows.append(row)
    total = pipeline.total.number if known is None or protocol >= 3 else known
    if request.with_count is False:
        total = pipeline.window(total, len(rows))
    reply = _reply(total, _fields(pipeline, rows), request, protocol)
    pipeline.total.number = 0
    return reply, more


def _reply(total: int, rows: Iterable[Fields | None], request: QueryRequest, protocol: int) -> Any:
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


def _fields(pipeline: Pipeline, rows: Iterable[Row | None]) -> Iterator[Fields | None]:
    """Rows as they are in a reply: their fields in order, without those that only reducers asked for."""
    properties = pipeline.properties
    names = properties.shown()
    more = properties.loads_everything and properties.at_root
    for row in rows:
        if row is None:
            yield None
            continue
        if more:
            names = [name for name in dict.fromkeys((*properties.order, *row)) if name not in properties.hidden]
        yield {
            name: value if type(value) is bytes else to_reply(value)
            for name in names
            if (value := row.get(name, _ABSENT)) is not _ABSENT
        }


# Column by column


def _page(pipeline: Pipeline) -> list[Fields] | None:
    """All rows as they are in a reply, made column by column; None where that cannot be done.

    It can be where the rows are needed for the reply alone, SQL puts them in order, and no document was deleted.
    """
    order, properties = pipeline.sql_order, pipeline.properties
    if order is None or order.of_cursor or len(pipeline.stages) != 1 or pipeline.is_traced:
        return None
    if pipeline.selection.empty or properties.loads_everything or pipeline.request.dialect > 2:
        return None
    numbers = {value_column(field) for field in pipeline.spec.fields if field.type is FieldType.NUMERIC}
    numeric = [name for name, column in properties.columns.items() if column in numbers]
    columns = {name: f"d.{column}" for name, column in properties.columns.items()}
    columns.update({name: whole_as_digits(columns[name]) for name in numeric})
    rows = _ordered_columns(pipeline.reader, order, columns)
    if not rows:
        return []
    keys, *values = zip(*rows, strict=True)
    held: dict[bytes, Sequence[Any]] = {
        name: printed(column) if name in numeric else column for name, column in zip(columns, values, strict=True)
    }
    if not _settle_doubts(pipeline.reader, keys, held) or not _add_loaded(pipeline.reader, keys, held):
        return None
    names = properties.shown()
    made = reply_rows(names, [held[name] for name in names])
    for name in names:
        if _ABSENT in held[name]:
            for fields in made:
                if fields[name] is _ABSENT:
                    del fields[name]
    return made


def _ordered_columns(reader: RowReader, order: SqlOrder, columns: dict[bytes, str]) -> list[Any]:
    """Key and columns of the rows, in order."""
    tail, most = reader.prepare_order(order), order.most
    wanted = ", ".join(("d.key", *columns.values()))
    if len(order.keys) > 1 and most <= CHUNK:
        # Mostly the first key is unique among the rows, and SQL has an index in its order.
        rows = reader.selection.rows(wanted, f"{order.sql(1)} LIMIT ?", (most + 1,)).fetchall()
        position = list(columns).index(order.keys[0][0].name) + 1
        if len({row[position] for row in rows}) == len(rows):
            return rows[:most]
    return reader.selection.rows(wanted, f"{tail} LIMIT ?", (most,)).fetchall()


def _settle_doubts(reader: RowReader, keys: Sequence[bytes], held: dict[bytes, Sequence[Any]]) -> bool:
    """Replace what columns do not say by what the documents do. Returns False where one of them was deleted."""
    for name, column in held.items():
        if MAY_BE_BOOLEAN.isdisjoint(column):
            continue
        null_is_missing, put = reader.properties.doubtful.get(name, (True, None))
        held[name] = values = list(column)
        for position, value in enumerate(column):
            if value is None and null_is_missing:
                values[position] = _ABSENT
            if put is None or value not in MAY_BE_BOOLEAN or values[position] is _ABSENT:
                continue
            document = reader.reader.document(keys[position])
            if document is None:
                return False
            row: Row = {}
            put(keys[position], document, row)
            values[position] = to_reply(row[name]) if name in row else _ABSENT
    return True


def _add_loaded(reader: RowReader, keys: Sequence[bytes], held: dict[bytes, Sequence[Any]]) -> bool:
    """Add the columns of what only the documents have. Returns False where one of them was deleted."""
    puts = reader.properties.puts
    if not puts:
        return True
    read: dict[bytes, list[Any]] = {name: [] for name, _ in puts}
    for key in keys:
        document = reader.reader.document(key)
        if document is None:
            return False
        row: Row = {}
        for _, put in puts:
            put(key, document, row)
        for name, values in read.items():
            values.append(to_reply(row[name]) if name in row else _ABSENT)
    held.update(read)
    return True
