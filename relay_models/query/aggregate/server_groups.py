"""`ServerGroups`: the groups of an aggregate as the server makes them, and what it computes of each: `sum_steps`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic_core import from_json

from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Expression, Missing, all_of
from relay_models.columns.info import SORT_REST
from relay_models.columns.tags import unescape_tag
from relay_models.columns.types import rounded
from relay_models.errors import StorageError
from relay_models.query.aggregate.groups import Groups, GroupTally
from relay_models.query.aggregate.metrics import Metric
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.compiler import CompiledFilter, Values, compile_filter
from relay_models.query.order import Order
from relay_models.query.replies import decode_index_info, decode_total, decode_values
from relay_models.query.server_cursor import cursor_steps
from relay_models.query.steps import Steps, aggregate_command

__all__ = [
    "VALUE_READERS",
    "ChangedError",
    "InexactError",
    "Row",
    "ServerGroups",
    "distinct_steps",
    "exact_integer",
    "number_steps",
    "sum_steps",
    "text_steps",
]

Row = dict[bytes, Any]
# The value in a row for which it was asked.
_SPLIT = b"split"

# Maximum number of values, over all groups, that a server is to hold to count distinct ones: each takes it about 300
# bytes. Of texts of lists, for each of which there may be many lists.
MOST_VALUES, MOST_TEXTS = 100_000, 1_000
# Documents for each value of a column of several texts, from which on it is quicker to ask once for each value: reading
# a document takes a server about 8 µs, and a command at least a few tenths of a millisecond.
DOCUMENTS_PER_TEXT = 50


class InexactError(Exception):
    """The server's numbers are not exact, or exact ones would cost it too much: the rows must be read."""


class ChangedError(InexactError):
    """Documents were written between two commands whose answers belong together: they can be sent again."""


def exact_integer(raw: Any) -> int:
    """An integer of an answer; `InexactError` where digits are lost."""
    try:
        number = int(raw)
    except (ValueError, TypeError, OverflowError):
        raise InexactError from None
    if abs(number) >= 2**53:
        raise InexactError
    return number


def _texts(raw: bytes) -> list[str]:
    return [unescape_tag(text) for text in from_json(raw)]


VALUE_READERS: dict[Kind, Callable[[bytes], Any]] = {
    Kind.TAG: lambda raw: unescape_tag(raw.decode()),
    Kind.TAGS: _texts,
    Kind.COUNT: exact_integer,
    Kind.TIME: exact_integer,
    Kind.DURATION: exact_integer,
}
"""What reads a value of a column from an answer, by its kind."""


class ServerGroups:
    """FT.AGGREGATE with a GROUPBY of an aggregate's groups: its commands, and which groups a row of an answer is of.

    A server alone sees only the first text of a list. Where few texts occur, it is asked for each of them in turn,
    which reads the index only. Else columns of texts are grouped by the whole list as JSON text, which is read from
    each document, and a row counts in the group of each of its texts.

    Args:
        alias: the index.
        ask: the aggregate.
        texts: all texts of columns that have few, by column (`text_steps`).
        limit_ms: the time limit of each command (milliseconds).
        partial: allow answers that are cut short.
    """

    def __init__(
        self, alias: str, ask: Aggregation, texts: Mapping[Column[Any], Sequence[str]], *, limit_ms: int, partial: bool
    ) -> None:
        self.ask = ask
        self.alias = alias
        self.texts = texts
        self._limit_ms = limit_ms
        self._partial = partial
        lists = [column for column in ask.groups if column.kind is Kind.TAGS]
        self._split = lists[0] if len(lists) == 1 and lists[0] in texts else None
        used = [*ask.groups, *(metric.column for metric in ask.metrics if metric.column is not None)]
        if ask.buckets is not None:
            used.append(ask.time)
        self._loads: list[Any] = [load for column in dict.fromkeys(used) for load in column.loads]
        self._keys: list[str] = []
        for index, column in enumerate(ask.groups):
            if column is not self._split:
                self._keys.append(self._property(column, f"g{index}", self._loads))
        self._key_names = [key.encode() for key in self._keys]
        self._unit = 0 if ask.buckets is None else ask.buckets.unit

    @staticmethod
    def _property(column: Column[Any], alias: str, loads: list[Any]) -> str:
        """The property with a column's value; what must be loaded for it is added to `loads`."""
        if column.kind is not Kind.TAGS:
            return column.index_name
        loads += [column.member_path, "AS", alias]
        return alias

    def steps(
        self,
        compiled: CompiledFilter,
        reducers: Sequence[Any],
        *,
        stages: Sequence[Any] = (),
        keys: Sequence[str] = (),
        column: Column[Any] | None = None,
    ) -> Steps[list[Row]]:
        """Ask for the groups.

        Args:
            compiled: which documents.
            reducers: what is computed of each group.
            stages: steps before GROUPBY.
            keys: properties that the documents are grouped by, too.
            column: a column whose values the documents are grouped by, too; see `value`.

        Raises:
            ChangedError: documents were replaced between the two answers that make one.
        """
        if self._split is None:
            return (yield from self._steps(compiled, reducers, stages, keys, column))
        rows: list[Row] = []
        for text, narrowed in self._by_text(compiled):
            for row in (yield from self._steps(narrowed, reducers, stages, keys, column)):
                if exact_integer(row.get(b"n")):
                    rows.append(row | {_SPLIT: text})
        return rows

    def each_row(
        self, compiled: CompiledFilter, stages: Sequence[Any], name: str, take: Callable[[list[Row]], object]
    ) -> Steps[None]:
        """Ask for the documents themselves, each with what it is grouped by, in bounded memory.

        Args:
            compiled: which documents.
            stages: steps that make what is read of each.
            name: the property that is read of each, beside what steps make.
            take: takes the rows of each answer.

        Raises:
            InexactError: a document lacks the time that it is grouped by.
        """
        if self._unit and self.ask.time.nullable:
            raise InexactError

        def take_with(text: str | None) -> Callable[[list[Row]], object]:
            return lambda rows: take([row | {_SPLIT: text} for row in rows])

        try:
            for text, narrowed in self._by_text(compiled):
                each = take if self._split is None else take_with(text)
                yield from self._part(narrowed, None, stages, (name,), None, spans=self._unit > 0, each=each)
        except StorageError as error:
            if not _lacks_value(error):
                raise
            raise InexactError from None

    def _by_text(self, compiled: CompiledFilter) -> Iterator[tuple[str | None, CompiledFilter]]:
        """The documents of each text, where the groups are made so; those that have none last."""
        if self._split is None:
            yield None, compiled
            return
        for text in self.texts[self._split]:
            yield text, compiled.having(self._split, text)
        yield None, compiled.having_any(self._split, is_so=False)

    def _steps(
        self,
        compiled: CompiledFilter,
        reducers: Sequence[Any],
        stages: Sequence[Any],
        keys: Sequence[str],
        column: Column[Any] | None,
    ) -> Steps[list[Row]]:
        if not self._unit or not self.ask.time.nullable:
            try:
                return (yield from self._part(compiled, reducers, stages, keys, column, spans=self._unit > 0))
            except StorageError as error:
                if not self._unit or not _lacks_value(error):
                    raise
        # To a server the span of a document without a time is an error: these are asked for on their own. Of a time
        # that every document has they are those that something else wrote.
        there = f"exists(@{self.ask.time.index_name})"
        before = decode_index_info((yield ["FT.INFO", self.alias]).reply)
        rows = yield from self._part(compiled, reducers, stages, keys, column, spans=True, first=there)
        rows += yield from self._part(compiled, reducers, stages, keys, column, spans=False, first=f"!{there}")
        if decode_index_info((yield ["FT.INFO", self.alias]).reply).replaced != before.replaced:
            raise ChangedError
        return rows

    def _part(
        self,
        compiled: CompiledFilter,
        reducers: Sequence[Any] | None,
        stages: Sequence[Any],
        keys: Sequence[str],
        column: Column[Any] | None,
        *,
        spans: bool,
        first: str | None = None,
        each: Callable[[list[Row]], object] | None = None,
    ) -> Steps[list[Row]]:
        """As `steps`, for the documents that meet the condition `first`; with `spans`, grouped by their time, too.

        Without `reducers`, each document is a row.
        """
        loads, names = list(self._loads), [*self._keys, *keys]
        if column is not None and (name := self._property(column, "value", loads)) not in names:
            names.append(name)
        command = aggregate_command(self.alias, compiled.query)
        command += ["LOAD", len(loads), *loads] if loads else []
        command += [] if first is None else ["FILTER", first]
        if spans:
            command += ["APPLY", f"floor(@{self.ask.time.index_name}/{self._unit})", "AS", "span"]
            names.append("span")
        command += stages
        if reducers is not None:
            command += ["GROUPBY", len(names), *(f"@{name}" for name in names), *reducers]
        else:
            # Rows have what a step names. For LOAD a server would open each document, which doubles what a row costs.
            command += ["FILTER", " || ".join([*(f"exists(@{name})" for name in names), "1"])]
        return (yield from cursor_steps(command, compiled, self._limit_ms, partial=self._partial, each=each))

    def parts(self, row: Row) -> tuple[Any, ...]:
        """What of a row says which groups it is of."""
        return (row.get(b"span"), row.get(_SPLIT), *(row.get(key) for key in self._key_names))

    def tallies(self, groups: Groups, row: Row) -> Iterator[GroupTally]:
        """The groups that a row is of.

        Raises:
            InexactError: the row's span of time is in two buckets.
        """
        start = None
        buckets = self.ask.buckets
        if buckets is not None and b"span" in row:
            begin = exact_integer(row.get(b"span")) * self._unit
            if not buckets.whole(begin, self._unit):
                raise InexactError
            start = buckets.start(begin)
        keys = iter(self._key_names)
        values: list[Any] = []
        for column in self.ask.groups:
            if column is self._split:
                values.append(row[_SPLIT])
            elif (raw := row.get(next(keys))) is None:
                values.append([] if column.kind is Kind.TAGS else None)
            else:
                values.append(VALUE_READERS[column.kind](raw))
        return groups.at(start, values)

    def value(self, column: Column[Any], row: Row) -> Any:
        """The value (a list of texts, or one value) of the column that the documents were grouped by, too.

        Raises:
            InexactError: it has lost digits.
        """
        raw = row.get(b"value" if column.kind is Kind.TAGS else column.index_name.encode())
        return None if raw is None else VALUE_READERS[column.kind](raw)

    def known(self, groups: Groups, row: Row) -> Iterator[GroupTally]:
        """The groups that a row is of, which an answer before it had.

        Raises:
            ChangedError: it had no such group.
        """
        for tallies in self.tallies(groups, row):
            if not tallies.count:
                raise ChangedError
            yield tallies

    @property
    def is_final(self) -> bool:
        """Whether each row of an answer is one group of the aggregate, so that estimates need not be merged."""
        buckets = self.ask.buckets
        return all(column.kind is not Kind.TAGS or column is self._split for column in self.ask.groups) and (
            buckets is None or (not buckets.months and buckets.unit == buckets.width)
        )


def text_steps(alias: str, ask: Aggregation, compiled: CompiledFilter) -> Steps[dict[Column[Any], list[str]]]:
    """All texts of the columns of several texts that an aggregate needs, of those columns that have few.

    Args:
        alias: the index.
        ask: the aggregate.
        compiled: which documents.
    """
    columns = [*ask.groups, *(metric.column for metric in ask.metrics if metric.column is not None)]
    lists = dict.fromkeys(column for column in columns if column.kind is Kind.TAGS)
    found: dict[Column[Any], list[str]] = {}
    documents = decode_index_info((yield ["FT.INFO", alias]).reply).documents if lists else 0
    for column in lists:
        texts = decode_values((yield ["FT.TAGVALS", alias, column.index_name]).reply)
        if len(texts) * DOCUMENTS_PER_TEXT <= documents:
            found[column] = texts
    if found and compiled.query != "*":
        command = ["FT.SEARCH", alias, compiled.query, "NOCONTENT", "LIMIT", 0, 0, *compiled.arguments()]
        documents, _ = decode_total((yield [*command, "TIMEOUT", 0, "DIALECT", 2]).reply)
    return {column: texts for column, texts in found.items() if len(texts) * DOCUMENTS_PER_TEXT <= documents}


def sum_steps(
    grouped: ServerGroups, compiled: CompiledFilter, groups: Groups, others: Collection[Column[Any]] = ()
) -> Steps[dict[Column[Any], int]]:
    """Let the server compute counts, sums, minima and maxima, and what it estimates.

    Args:
        grouped: how the documents are grouped.
        compiled: which documents.
        groups: receives the results; its ``estimated`` are the metrics that the server estimates.
        others: columns whose values are read (`number_steps`).

    Returns:
        About how many values there are of each column whose distinct values are counted, over all groups.

    Raises:
        InexactError: a number has lost digits, or a span of time is in two buckets.
    """
    estimated = groups.estimated
    stages: list[Any] = []
    reducers: list[Any] = ["REDUCE", "COUNT", 0, "AS", "n"]
    parts: list[tuple[Column[Any], int, set[str]]] = []
    for index, (column, wanted) in enumerate(_needed(grouped, estimated, others).items()):
        if column.nullable and column.kind is not Kind.TAGS:
            # Rows without a value count as nothing in a sum, but have no part in an average.
            stages += ["APPLY", f"exists(@{column.index_name})", "AS", f"has{index}"]
            reducers += ["REDUCE", "SUM", 1, f"@has{index}", "AS", f"n{index}"]
        for reducer in sorted(wanted):
            reducers += ["REDUCE", reducer.upper(), 1, f"@{column.index_name}", "AS", f"{reducer}{index}"]
        parts.append((column, index, wanted))
    for index, metric in enumerate(estimated):
        assert metric.column is not None
        reducers += ["REDUCE", *_estimate(metric, metric.column), "AS", f"e{index}"]
    values: dict[Column[Any], int] = {}
    for row in (yield from grouped.steps(compiled, reducers, stages=stages)):
        number = exact_integer(row.get(b"n"))
        merged = []
        for column, index, wanted in parts:
            has_count = column.nullable and column.kind is not Kind.TAGS
            count = exact_integer(row.get(b"n%d" % index)) if has_count else number
            if "count_distinctish" in wanted:
                values[column] = values.get(column, 0) + exact_integer(row.get(b"count_distinctish%d" % index))
            numbers = {
                name: exact_integer(row.get(b"%s%d" % (name.encode(), index)))
                for name in ("sum", "min", "max")
                if count and name in wanted
            }
            merged.append((column, count, numbers))
        counts = {column: count for column, count, _ in merged}
        for tallies in grouped.tallies(groups, row):
            tallies.count += number
            for column, count, numbers in merged:
                if count and column.kind is not Kind.TAGS:
                    tallies.of(column).merge(count, numbers.get("sum", 0), numbers.get("min"), numbers.get("max"))
            for index, metric in enumerate(estimated):
                assert metric.column is not None
                tallies.estimate(metric, row.get(b"e%d" % index), counts[metric.column])
    return values


def distinct_steps(
    grouped: ServerGroups, compiled: CompiledFilter, groups: Groups, column: Column[Any], estimated: int
) -> Steps[None]:
    """Let the server find the values of a column in each group, and count the documents that have one.

    Args:
        grouped: how the documents are grouped.
        compiled: which documents.
        groups: receives the values; it has all groups already.
        column: the column.
        estimated: about how many values there are; of a column of texts, how many first texts.

    Raises:
        InexactError: there are too many values.
        ChangedError: documents of a new group were written meanwhile.
    """
    if column in grouped.texts:
        for text in grouped.texts[column]:
            for tallies, _ in (yield from _counts(grouped, compiled.having(column, text), groups)):
                tallies.of(column).seen.add(text)
        for tallies, count in (yield from _counts(grouped, compiled.having_any(column), groups)):
            tallies.of(column).count += count
        return
    if estimated > (MOST_TEXTS if column.kind is Kind.TAGS else MOST_VALUES):
        raise InexactError
    rows = yield from grouped.steps(compiled, ["REDUCE", "COUNT", 0, "AS", "n"], column=column)
    for row in rows:
        value, count = grouped.value(column, row), exact_integer(row.get(b"n"))
        if value is None or value == []:
            continue
        for tallies in grouped.known(groups, row):
            tally = tallies.of(column)
            tally.seen.update(value if isinstance(value, list) else [value])
            if column.kind is Kind.TAGS:
                tally.count += count


def number_steps(
    grouped: ServerGroups,
    filter: Expression,
    values: Values,
    groups: Groups,
    column: Column[Any],
    *,
    only_counted: bool = False,
) -> Steps[None]:
    """Read the numbers of a column, all digits of them, of the documents that have one.

    Args:
        grouped: how the documents are grouped.
        filter: which documents.
        values: the values that its patterns are applied to.
        groups: receives the numbers; it has all groups already.
        column: the column.
        only_counted: only how many there are is wanted.

    Raises:
        InexactError: a number has lost digits, or a document lacks the time that it is grouped by.
        ChangedError: documents were written meanwhile.
    """
    compiled = compile_filter(all_of([filter, ~Missing(column)]), values)
    for tallies, count in (yield from _counts(grouped, compiled, groups)):
        tallies.of(column).count += count
    if only_counted:
        return
    # A server gives twelve digits of a fraction, and of the rest of it twelve more.
    order, read = Order(column, is_merged=True), _number_reader(column)
    taken: dict[tuple[Any, ...], list[Callable[[Any], None]]] = {}

    def take(rows: list[Row]) -> None:
        for row in rows:
            parts = grouped.parts(row)
            given = taken.get(parts)
            if given is None:
                found = grouped.known(groups, row)
                given = taken[parts] = [tallies.of(column).values.append for tallies in found]
            number = read(row)
            for append in given:
                append(number)

    yield from grouped.each_row(compiled, order.steps, column.sort_name, take)
    for tallies in groups.found.values():
        tally = tallies.of(column)
        if len(tally.values) != tally.count:
            raise ChangedError


def _number_reader(column: Column[Any]) -> Callable[[Row], Any]:
    """What reads the number of a row."""
    name, rest_name = column.sort_name.encode(), SORT_REST.encode()
    is_decimal = column.type.python is Decimal

    def read(row: Row) -> int | float:
        try:
            number, rest = float(row[name]), row[rest_name]
        except KeyError:
            raise ChangedError from None
        if rest != b"0":
            number = rounded(number + float(rest))
        if is_decimal and number.is_integer():
            return exact_integer(number)
        return number

    return read if column.kind is Kind.NUMBER else lambda row: exact_integer(row.get(name))


def _lacks_value(error: StorageError) -> bool:
    """Whether a server says that a document lacks what a step names."""
    return "consider using EXISTS" in str(error)


def _counts(grouped: ServerGroups, compiled: CompiledFilter, groups: Groups) -> Steps[list[tuple[GroupTally, int]]]:
    """How many of the documents are in each group."""
    found = []
    for row in (yield from grouped.steps(compiled, ["REDUCE", "COUNT", 0, "AS", "n"])):
        if count := exact_integer(row.get(b"n")):
            found += [(tallies, count) for tallies in grouped.known(groups, row)]
    return found


def _needed(
    grouped: ServerGroups, estimated: Sequence[Metric], others: Collection[Column[Any]]
) -> dict[Column[Any], set[str]]:
    """What the server computes of each column, by the names of its reducers."""
    needed: dict[Column[Any], set[str]] = {}
    for metric in grouped.ask.metrics:
        if metric.column is None or metric.column in grouped.texts or metric.column in others:
            continue
        wanted = needed.setdefault(metric.column, set())
        if metric in estimated:
            continue
        if metric.how in ("sum", "avg"):
            wanted.add("sum")
        elif metric.how in ("min", "max"):
            wanted.add(metric.how)
        elif metric.how == "distinct" or (metric.how == "count" and metric.column.kind is Kind.TAGS):
            wanted.add("count_distinctish")
        elif metric.is_percentile:
            wanted |= {"min", "max"}
    return needed


def _estimate(metric: Metric, column: Column[Any]) -> list[Any]:
    """The reducer that estimates a metric."""
    name = f"@{column.index_name}"
    if metric.is_percentile:
        return ["QUANTILE", 2, name, metric.percent / 100]
    # The average follows from the sum and how many values there are.
    return [{"distinct": "COUNT_DISTINCT", "avg": "SUM"}.get(metric.how, metric.how.upper()), 1, name]
