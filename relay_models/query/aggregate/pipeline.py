"""`aggregate_steps`: the exchange with the server that computes an aggregate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_models.columns.column import Column, Kind
from relay_models.columns.expressions import Compare, Expression, all_of
from relay_models.query.aggregate.groups import AggregateRows, Groups
from relay_models.query.aggregate.percentiles import percentile_steps
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.aggregate.row_groups import row_steps
from relay_models.query.aggregate.server_groups import (
    ChangedError,
    InexactError,
    ServerGroups,
    distinct_steps,
    exact_integer,
    number_steps,
    sum_steps,
    text_steps,
)
from relay_models.query.compiler import CompiledFilter, Values, compile_filter
from relay_models.query.limits import ResultLimit
from relay_models.query.options import OnCorrupt, OnIncomplete
from relay_models.query.replies import decode_index_info
from relay_models.query.steps import Steps
from relay_models.query.tag_values import value_steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["FEW_ROWS", "aggregate_steps"]

FEW_ROWS = 5_000
"""Number of documents up to which reading a row of each is as quick as several commands that group them."""

# How often the server is asked again where documents were written between two of its answers.
_TRIES = 5


def aggregate_steps(
    document: type[Document],
    alias: str,
    filter: Expression,
    ask: Aggregation,
    *,
    limit_ms: int = 0,
    on_corrupt: OnCorrupt = "raise",
    on_incomplete: OnIncomplete = "raise",
    limit: ResultLimit | None = None,
    few_rows: int = FEW_ROWS,
) -> Steps[AggregateRows]:
    """Compute an aggregate, with the same exact numbers from every server.

    Counts, sums, averages, minima and maxima of integer columns (durations and times included) are computed by the
    server, group by group. So are the values that are counted as distinct, and percentiles (see `percentile_steps`).
    A server rounds what it computes of all other numbers to twelve digits, so these are read one by one, with all their
    digits, and the metrics computed here (see `number_steps`). Where the server's numbers would not be exact, such as
    sums beyond 2**53, and where there are few rows, the rows' columns are read through a cursor. A run with several
    values in a group column counts in each group. Where `ask` allows estimates, the server's own numbers are taken for
    what would take longer to compute exactly.
    """
    values = yield from value_steps(alias, filter, limit_ms)
    compiled = compile_filter(filter, values)
    if compiled.nothing:
        return Groups(ask).rows()
    is_quick = all(metric.summable for metric in ask.metrics)
    # A server groups floats by twelve digits.
    can_group = all(column.kind is not Kind.NUMBER for column in ask.groups)
    if can_group and (is_quick or decode_index_info((yield ["FT.INFO", alias]).reply).documents > few_rows):
        texts = yield from text_steps(alias, ask, compiled)
        grouped = ServerGroups(alias, ask, texts, limit_ms=limit_ms, partial=on_incomplete == "partial")
        asked, stored_at = filter, document.columns().get("stored_at")
        for number in range(_TRIES):
            try:
                if number == 1 and stored_at is not None:
                    # Documents that are new change what is counted each time; those that are there now do not.
                    newest = yield from _newest(grouped, compiled, stored_at)
                    asked = all_of([filter, ~Compare(stored_at, ">", newest)])
                    compiled = compile_filter(asked, values)
                return (yield from _on_server(grouped, compiled, asked, values, few_rows)).rows()
            except ChangedError:
                continue
            except InexactError:
                break
    compiled = compile_filter(filter, values)
    read = row_steps(document, alias, filter, compiled, ask, limit_ms, on_corrupt, on_incomplete, limit)
    return (yield from read).rows()


def _newest(grouped: ServerGroups, compiled: CompiledFilter, stored_at: Column[Any]) -> Steps[int]:
    """When the newest of the documents was stored (microseconds)."""
    reducers = ["REDUCE", "COUNT", 0, "AS", "n", "REDUCE", "MAX", 1, f"@{stored_at.index_name}", "AS", "newest"]
    rows = yield from grouped.steps(compiled, reducers)
    return max((exact_integer(row.get(b"newest")) for row in rows), default=0)


def _on_server(
    grouped: ServerGroups, compiled: CompiledFilter, filter: Expression, values: Values, few_rows: int
) -> Steps[Groups]:
    """Groups computed by the server.

    Raises:
        InexactError: the rows must be read, or are so few that this is quicker.
        ChangedError: documents were written meanwhile.
    """
    ask = grouped.ask
    groups = Groups(ask)
    others = [metric for metric in ask.metrics if not metric.summable]
    if ask.approximate and grouped.is_final:
        groups.estimated = [metric for metric in others if metric.can_be_estimated]
        others = [metric for metric in others if not metric.can_be_estimated]
    numbers = [metric.column for metric in others if metric.column is not None and metric.needs_all]
    read = dict.fromkeys(numbers)
    before = decode_index_info((yield ["FT.INFO", grouped.alias]).reply) if grouped.texts or read else None
    distinct = yield from sum_steps(grouped, compiled, groups, read)
    if (others or groups.estimated) and sum(tallies.count for tallies in groups.found.values()) <= few_rows:
        raise InexactError
    for column in dict.fromkeys(metric.column for metric in others):
        assert column is not None
        about = [metric for metric in others if metric.column is column]
        if column in read:
            only_counted = all(metric.how == "count" for metric in about)
            yield from number_steps(grouped, filter, values, groups, column, only_counted=only_counted)
            continue
        if any(metric.is_counted for metric in about):
            yield from distinct_steps(grouped, compiled, groups, column, distinct.get(column, 0))
        percents = [metric.percent for metric in about if metric.is_ranked]
        if percents:
            yield from percentile_steps(grouped, compiled, filter, values, groups, column, percents)
    if before and decode_index_info((yield ["FT.INFO", grouped.alias]).reply).replaced != before.replaced:
        # A document that was replaced may have been counted for its old and for its new texts, or for neither.
        raise ChangedError
    return groups
