"""`Site`: what all pages share: the store, the templates, forms, and pages about errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from relay_models import Run
from relay_models.errors import InvalidRecordError, NotFoundError, QueryError, RelayModelsError, StorageError
from relay_models.web.kept import Kept
from relay_models.web.rendering import FLUSH, make_environment
from relay_models.web.security import Tokens

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["Handler", "Site", "status_of", "timed"]

Handler = Callable[..., Response]

MOST_FORM = 64_000
"""Maximum size of a form (bytes)."""
FORM_SECONDS = 20.0
"""How long a form may take to arrive (seconds)."""
_BEGAN = "relay_models.began"
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

    def page(self, name: str, request: Request, status: int = 200, **values: Any) -> Response:
        """Render a page."""
        return Response("".join(self._parts(name, request, values)), status, media_type=_HTML)

    def stream(self, name: str, request: Request, status: int = 200, **values: Any) -> Response:
        """Render a page part by part, each sent as soon as it is made: the template has `flush` after each.

        What takes long is given as a function or a generator, which the template asks when it gets there.
        """
        parts = self._parts(name, request, values)
        # An error in the first part is a page of its own.
        first = next(parts)
        return StreamingResponse(self._later(first, parts), status, media_type=_HTML)

    def _parts(self, name: str, request: Request, values: dict[str, Any]) -> Iterator[str]:
        began = request.scope.get(_BEGAN)

        def took() -> str:
            return "" if began is None else f"{(time.perf_counter() - began) * 1000:.0f} ms"

        made: list[str] = []
        for text in self._templates.get_template(name).generate(
            path=request.url.path, pages=self._pages, read_only=self.read_only, token=self.tokens.value,
            store=f"{self.backend.transport.target.label} · {self.backend.key_prefix}", took=took, **values,
        ):  # fmt: skip
            if text == FLUSH:
                yield "".join(made)
                made.clear()
            else:
                made.append(text)
        yield "".join(made)

    def _later(self, first: str, parts: Iterator[str]) -> Iterator[str]:
        yield first
        try:
            yield from parts
        except RelayModelsError as error:
            # The status has been sent: the page says what is missing.
            yield self._templates.get_template("broken.html").render(message=str(error))

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
