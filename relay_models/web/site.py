"""`Site`: what all pages share: the store, the templates, forms, and pages about errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from relay_models import Run
from relay_models.errors import InvalidRecordError, NotFoundError, QueryError, StorageError
from relay_models.web.kept import Answer, Kept
from relay_models.web.rendering import make_environment
from relay_models.web.security import Tokens

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["Handler", "Site", "status_of", "timed"]

Handler = Callable[..., Response]
T = TypeVar("T")

MOST_FORM = 64_000
"""Maximum size of a form (bytes)."""
FORM_SECONDS = 20.0
"""How long a form may take to arrive (seconds)."""
_BEGAN = "relay_models.began"
_AGAIN, _AFTER = "again", "shown"
"""Parameters of pages: compute a new answer; wait for one after the version that is shown."""
_HTML = "text/html; charset=utf-8"


def timed(page: Handler) -> Handler:
    """A page whose time is measured from its beginning."""

    def run(self: Any, request: Request) -> Response:
        request.scope[_BEGAN] = time.perf_counter()
        return page(self, request)

    run.__doc__ = page.__doc__
    return run


class Site:
    """What all pages share.

    Args:
        backend: the store.
        read_only: no page has a form that writes.
    """

    def __init__(self, backend: RedisBackend, read_only: bool) -> None:
        self.backend = backend
        self.document: type[Run] = backend.runs.document
        self.read_only = read_only
        self.tokens = Tokens()
        self.kept = Kept()
        self._templates = make_environment()
        pages = [("/runs", "Runs"), ("/sessions", "Sessions"), ("/numbers", "Numbers"), ("/agents", "Agents")]
        pages += [("/models", "Models")] if backend.models else []
        self._pages = [*pages, ("/compare", "Compare"), ("/saved", "Saved")]

    def answer(
        self, request: Request, question: Hashable, compute: Callable[[], Iterator[T]], *, is_shown_again: bool = True
    ) -> Answer[T]:  # fmt: skip
        """What there is of the answer to a page's question within a short time, or after what the page has already.

        Args:
            request: the request of the page.
            question: what is asked.
            compute: yields the answer, or ever larger parts of it.
            is_shown_again: a kept answer may be shown, with its age, while a newer one is computed.
        """
        given = request.query_params
        after = given.get(_AFTER, "")
        return self.kept.ask(
            question, compute, again=_AGAIN in given, is_shown_again=is_shown_again,
            after=int(after) if after.isascii() and after.isdigit() and len(after) < 20 else 0,
        )  # fmt: skip

    def page(
        self, name: str, request: Request, status: int = 200, *, answer: Answer[Any] | None = None,
        fixed: Mapping[str, str] | None = None, **values: Any,
    ) -> Response:  # fmt: skip
        """Render a page.

        Args:
            name: the template.
            request: the request.
            status: the HTTP status.
            answer: the answer that takes long; where it is not the last, the page asks for the next one.
            fixed: parameters that the page has chosen and keeps when it asks again.
            values: of the template.
        """
        began = request.scope.get(_BEGAN)

        def took() -> str:
            return "" if began is None else f"{(time.perf_counter() - began) * 1000:.0f} ms"

        def url(more: str) -> str:
            given = [each for each in request.query_params.multi_items() if each[0] not in (_AGAIN, _AFTER, *chosen)]
            return f"{request.url.path}?{urlencode([*given, *chosen.items()])}{'&' if given or chosen else ''}{more}"

        chosen = dict(fixed or {})
        if answer is not None and answer.error is not None:
            status = status_of(answer.error) if answer.value is None else status
        text = self._templates.get_template(name).render(
            path=request.url.path, pages=self._pages, read_only=self.read_only, token=self.tokens.value,
            store=f"{self.backend.transport.target.label} · {self.backend.key_prefix}", took=took,
            answer=answer, again=url(f"{_AGAIN}=1"),
            following="" if answer is None or answer.is_last else url(f"{_AFTER}={answer.version}"), **values,
        )  # fmt: skip
        return Response(text, status, media_type=_HTML)

    def on_error(self, request: Request, error: Exception) -> Response:
        """The page about an error of ours."""
        title = "Not found" if isinstance(error, NotFoundError) else "That did not work"
        return self.page("error.html", request, status_of(error), title=title, message=str(error))

    def on_missing(self, request: Request, error: Exception) -> Response:
        """The page about a path that leads nowhere."""
        message = f"There is no page {request.url.path}."
        return self.page("error.html", request, 404, title="Not found", message=message)

    async def form(self, request: Request, work: Callable[[dict[str, str]], Response]) -> Response:
        """Read a form, check its token, and do the work in a thread."""
        body = b""
        try:
            async with asyncio.timeout(FORM_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MOST_FORM:
                        return Response("the form is too large\n", 413)
        except TimeoutError:
            return Response("the form took too long\n", 408, {"connection": "close"})
        try:
            form = {name: values[-1] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        except ValueError:
            return Response("a form is UTF-8 text\n", 400)
        if not self.tokens.accepts(form.get("token", "")):
            return Response("the form is out of date: go back, reload the page and send it again\n", 403)
        return await run_in_threadpool(work, form)


def status_of(error: Exception) -> int:
    """The HTTP status of an error of ours."""
    match error:
        case NotFoundError():
            return 404
        case InvalidRecordError() | QueryError():
            return 400
        case StorageError():
            return 503
        case _:
            return 500
