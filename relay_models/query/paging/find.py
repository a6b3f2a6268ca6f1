"""`find_steps`: one page of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from relay_models.columns.expressions import Expression
from relay_models.query.limits import ResultLimit
from relay_models.query.options import OnCorrupt, OnIncomplete, OrderBy, check_limit
from relay_models.query.order import Order
from relay_models.query.paging.page import Page
from relay_models.query.paging.page_bounds import PageBounds
from relay_models.query.paging.pager import Pager, PagerState
from relay_models.query.rows import row_reader
from relay_models.query.server_cursor import ROWS_PER_READ
from relay_models.query.steps import Steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["find_steps"]

D = TypeVar("D", bound="Document")


def find_steps(
    document: type[D],
    alias: str,
    filter: Expression,
    *,
    order_by: OrderBy = "-started_at",
    limit: int | None = 50,
    after: str | None = None,
    bodies: bool = True,
    limit_ms: int = 0,
    on_corrupt: OnCorrupt = "raise",
    on_incomplete: OnIncomplete = "raise",
    page_size: int = 400,
    result_limit: ResultLimit | None = None,
    bounds: PageBounds | None = None,
) -> Steps[Page[D]]:
    """A page by a `Pager`, by commands that may all be sent twice; `limit` None is for all rows.

    With `bounds`, a page is looked for within its cached bound, or a guessed one.

    Raises:
        QueryError: a limit below 0, a column that cannot be sorted by, or a cursor of another query.
        CorruptDocumentsError: documents that cannot be read (with ``on_corrupt="raise"``); ``good`` is the page.
        IncompleteAnswerError: the server stopped at its time limit (with ``on_incomplete="raise"``).
    """
    check_limit(limit)
    pager: Pager[D] = Pager(
        alias,
        filter,
        Order.parse(order_by, document.columns()),
        row_reader(document, bodies),
        after=after,
        limit_ms=limit_ms,
        limit=result_limit,
        on_incomplete=on_incomplete,
    )
    if limit == 0:
        return Page([], after)
    yield from pager.open()
    rows: list[D] = []
    while not pager.is_done:
        room = None if limit is None else limit - len(rows)
        if pager.state is PagerState.READING:
            pager.receive((yield pager.read(ROWS_PER_READ)))
        else:
            # One row more tells whether there is a next page, and the row after which this one begins comes again.
            most = page_size if room is None else min(page_size, room + (2 if pager.has_begun else 1))
            if bounds is not None and room is not None and pager.can_be_bounded:
                yield from bounds.request_steps(pager, most)
                if pager.state is PagerState.END:
                    break
            else:
                command = pager.request(most)
                if command is None:
                    break
                pager.receive((yield command))
        rows += pager.rows(room)
    return pager.page(rows, on_corrupt)
