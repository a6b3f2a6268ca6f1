"""`Listing`: a list of documents of one type: the filter, pages, what is new, completion, export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from relay_models import Document
from relay_models.errors import QueryError
from relay_models.export import write_csv, write_jsonl
from relay_models.views import known_columns
from relay_models.web.completion import Completion
from relay_models.web.question import PAGE_SIZES, Question
from relay_models.web.rendering import row_view

if TYPE_CHECKING:
    from relay_models.query.paging.page import Page
    from relay_models.web.kept import Answer
    from relay_models.web.site import Site

__all__ = ["Listing", "Rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a list shows: the question, and its answer or what is wrong with it."""

    question: Question
    answer: Answer[Page[Any]] | None = None
    error: str = ""

    @property
    def page(self) -> Page[Any] | None:
        """The page, as soon as it is known."""
        return None if self.answer is None else self.answer.value

    @property
    def values(self) -> dict[str, Any]:
        """The values of the template."""
        question = self.question
        chosen = {column.name for column in question.shown}
        others = [column for name, column in known_columns(question.document).items() if name not in chosen]
        return {
            "question": question, "page": self.page, "answer": self.answer, "error": self.error,
            "sizes": PAGE_SIZES, "chosen": chosen,
            "rows": [row_view(item, question) for item in self.page or ()],
            "columns": [*question.shown, *others], "stored": _latest(self.page),
        }  # fmt: skip


class Listing:
    """The list of one type of documents.

    Args:
        site: what all pages share.
        collection: the documents: ``backend.runs``, or those of a user's model.
    """

    def __init__(self, site: Site, collection: Any) -> None:
        self._site = site
        self._collection = collection
        self.document: type[Document] = collection.document
        self._completion = Completion(collection)

    def rows(self, request: Request) -> Rows:
        """The page that a URL asks for."""
        question = Question(document=self.document)
        try:
            question = Question.parse(request.query_params, self.document)

            def compute() -> Iterator[Page[Any]]:
                yield self._collection.find(
                    question.where, order_by=question.order_by, limit=question.limit, after=question.after or None,
                    columns=True, on_corrupt="skip", on_incomplete="partial",
                )  # fmt: skip

            answer = self._site.answer(request, question, compute, is_shown_again=False)
            if isinstance(answer.error, QueryError):
                raise answer.error
        except QueryError as error:
            if question == Question(document=self.document):
                # What can be kept of a question that means nothing, to show it again.
                question = Question(request.query_params.get("filter", "").strip(), document=self.document)
            return Rows(question, error=str(error))
        return Rows(question, answer)

    def state(self, request: Request) -> Response:
        """How many documents were stored since a time; without one, or where that is asked for, how many there are."""
        question = Question.parse(request.query_params, self.document)
        since = request.query_params.get("since", "")
        answer: dict[str, int] = {}
        if since:
            try:
                moment = datetime.fromisoformat(since)
            except ValueError:
                moment = None
            if moment is None or moment.tzinfo is None:
                raise QueryError(f"since is a time such as 2026-11-23T10:00:00+00:00, not {since!r}")
            newer: list[Any] = [self.document.columns()["stored_at"] > moment]
            answer["new"] = self._collection.count([*newer, question.filter] if question.filter else newer)
        if not since or "total" in request.query_params:
            # Counting all takes time in a large store: an open page adds what is new.
            answer["total"] = self._collection.count(question.where)
        return JSONResponse(answer)

    def complete(self, request: Request) -> Response:
        """What can follow in the filter box."""
        column = request.query_params.get("column", "")
        return JSONResponse(self._completion.values(column) if column else self._completion.columns())

    def export(self, request: Request) -> Response:
        """All documents that meet the filter, with the columns that are shown, as a file."""
        question = Question.parse(request.query_params, self.document)
        form = request.query_params.get("format", "csv")
        if form not in ("csv", "jsonl"):
            raise QueryError(f"documents are exported as csv or jsonl, not {form!r}")
        names = [column.name for column in question.shown]
        rows = self._collection.stream(question.where, order_by=question.order_by, columns=True, on_corrupt="skip")
        # In a file, so that a failure is an error page and not half a file.
        file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=4_000_000))  # noqa: SIM115
        try:
            (write_csv if form == "csv" else write_jsonl)(rows, file, rows="runs", columns=names)
        except BaseException:
            file.close()
            raise
        media = "text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson"
        name = "runs" if question.is_about_runs else question.path.rpartition("/")[2]
        headers = {"content-disposition": f'attachment; filename="{name}.{form}"'}
        return StreamingResponse(_chunks(file), media_type=media, headers=headers)


def _latest(page: Page[Any] | None) -> str:
    """The time of storing of the newest document of a page, from which newer ones are counted."""
    times = [item.stored_at for item in page or () if item.stored_at is not None]
    return max(times).isoformat() if times else ""


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(64_000):
            yield chunk
