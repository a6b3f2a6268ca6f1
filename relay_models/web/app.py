"""`create_app`: the page as a Starlette application."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qs, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from relay_models import Run, SavedQuestion, Stability
from relay_models.errors import (
    NotFoundError,
    QueryError,
    RelayModelsError,
    SerializationError,
    StorageError,
)
from relay_models.export import write_csv, write_jsonl
from relay_models.pictures import StabilityBar, Timeline, TrieTree
from relay_models.views import call_views, compare_runs, compare_windows, find_run, json_text, known_columns, quoted
from relay_models.web.agent_tables import accumulator_rows
from relay_models.web.completion import Completion
from relay_models.web.numbers import default_where, groupable, numbers_of, plain_svg, sure_state
from relay_models.web.question import PAGE_SIZES, Question
from relay_models.web.rendering import FILES, make_environment, run_cells, static_file
from relay_models.web.security import Guard, Tokens

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["create_app"]

# Filters that are offered beside the box.
PERIODS = (
    ("Last hour", "started_at >= -1h"),
    ("Today", "started_at = today"),
    ("Yesterday", "started_at = yesterday"),
    ("7 days", "started_at >= -7d"),
)
MOST_FORM = 64_000
"""Maximum size of a form (bytes)."""
ZOOMS = (1, 2, 4)

Handler = Callable[[Request], Response]


def create_app(backend: RedisBackend, *, password: str | None = None, read_only: bool = False) -> Starlette:
    """Create the page over a store.

    Args:
        backend: The store, a sync backend of `relay_models.sync`; the application does not close it.
        password: What the browser asks for; None for no password, in which case only loopback host names are served.
        read_only: Offer no form that writes, and refuse those that are sent.

    Returns:
        A Starlette application, for any ASGI server.
    """
    pages = _Pages(backend, read_only)
    routes = [
        Route("/", pages.home, name="home"),
        Route("/runs", pages.runs),
        Route("/runs/export", pages.export),
        Route("/runs/state.json", pages.state),
        Route("/runs/{run_id}", pages.run),
        Route("/runs/{run_id}/raw.json", pages.raw),
        Route("/complete.json", pages.complete),
        Route("/numbers", pages.numbers),
        Route("/agents", pages.agents),
        Route("/agents/agent", pages.agent),
        Route("/compare", pages.compare),
        Route("/saved", pages.saved),
        Route("/static/{name}", _static),
    ]
    if not read_only:
        routes += [Route("/saved/save", pages.save, methods=["POST"])]
        routes += [Route("/saved/delete", pages.delete, methods=["POST"])]
    handlers: dict[Any, Any] = {RelayModelsError: pages.on_error, 404: pages.on_missing}
    return Starlette(
        routes=routes, middleware=[Middleware(Guard, password=password)], exception_handlers=handlers
    )  # fmt: skip


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        return Response("not found\n", 404)
    return Response(static_file(name), media_type=FILES[name])


class _Pages:
    """The pages. All but forms are plain functions, which Starlette runs in threads."""

    def __init__(self, backend: RedisBackend, read_only: bool) -> None:
        self.backend = backend
        self.document: type[Run] = backend.runs.document
        self.read_only = read_only
        self.tokens = Tokens()
        self.completion = Completion(backend)
        self.templates = make_environment()

    def page(self, name: str, request: Request, status: int = 200, **values: Any) -> Response:
        began = request.scope.get("relay_models.began", time.perf_counter())
        shown = self.templates.get_template(name).render(
            path=request.url.path, read_only=self.read_only, token=self.tokens.value, store=_store_name(self.backend),
            took=f"{(time.perf_counter() - began) * 1000:.0f} ms", **values,
        )  # fmt: skip
        return Response(shown, status, media_type="text/html; charset=utf-8")

    def home(self, request: Request) -> Response:
        return RedirectResponse("/runs", 302)

    def on_error(self, request: Request, error: Exception) -> Response:
        return self.page("error.html", request, _status(error), title="That did not work", message=str(error))

    def on_missing(self, request: Request, error: Exception) -> Response:
        message = f"There is no page {request.url.path}."
        return self.page("error.html", request, 404, title="Not found", message=message)

    def runs(self, request: Request) -> Response:
        """A page of runs."""
        request.scope["relay_models.began"] = time.perf_counter()
        name = request.query_params.get("saved")
        if name is not None:
            kept = self.backend.saved.get(name)
            return RedirectResponse(Question(kept.filter, kept.columns, kept.order).url(), 302)
        error, rows, status, page = "", [], 200, None
        question = Question(document=self.document)
        try:
            question = Question.parse(request.query_params, self.document)
            page = self.backend.find_runs(
                question.where, order_by=question.order, limit=question.limit, after=question.after or None,
                columns=True, on_corrupt="skip", on_incomplete="partial",
            )  # fmt: skip
            rows = [(run, run_cells(run, question.shown)) for run in page]
        except QueryError as fault:
            error, status = str(fault), 400
            question = _loose_question(request, question)
        template = "runs_table.html" if request.query_params.get("part") == "table" else "runs.html"
        columns = known_columns(self.document)
        chosen = {column.name for column in question.shown}
        return self.page(
            template, request, status, title="Runs", question=question, rows=rows, error=error, page=page,
            columns=[*question.shown, *(column for name, column in columns.items() if name not in chosen)],
            chosen=chosen, periods=PERIODS, sizes=PAGE_SIZES, state=sure_state(), saved=self.backend.saved.all(),
            stored=_latest(page),
        )  # fmt: skip

    def state(self, request: Request) -> Response:
        """How many runs meet the filter, and how many of them were stored since a page was made."""
        question = Question.parse(request.query_params, self.document)
        since = request.query_params.get("since", "")
        counts = {"total": self.backend.count_runs(question.where)}
        if since:
            try:
                moment = datetime.fromisoformat(since)
            except ValueError:
                raise QueryError(f"since is a time such as 2026-11-23T10:00:00+00:00, not {since!r}") from None
            newer: list[Any] = [Run.stored_at > moment]
            counts["new"] = self.backend.count_runs([*newer, question.filter] if question.filter else newer)
        return JSONResponse(counts)

    def complete(self, request: Request) -> Response:
        """What can follow in the filter box."""
        column = request.query_params.get("column", "")
        return JSONResponse(self.completion.values(column) if column else self.completion.columns())

    def export(self, request: Request) -> Response:
        """All runs that meet the filter, with the columns that are shown, as a file."""
        question = Question.parse(request.query_params, self.document)
        form = request.query_params.get("format", "csv")
        if form not in ("csv", "jsonl"):
            raise QueryError(f"runs are exported as csv or jsonl, not {form!r}")
        names = [column.name for column in question.shown]
        runs = self.backend.stream_runs(question.where, order_by=question.order, columns=True, on_corrupt="skip")
        # In a file, so that a failure is an error page and not half a file.
        file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=4_000_000))  # noqa: SIM115
        try:
            (write_csv if form == "csv" else write_jsonl)(runs, file, rows="runs", columns=names)
        except BaseException:
            file.close()
            raise
        media = "text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson"
        headers = {"content-disposition": f'attachment; filename="runs.{form}"'}
        return StreamingResponse(_chunks(file), media_type=media, headers=headers)

    def _find_run(self, request: Request) -> Any:
        return find_run(self.backend, request.path_params["run_id"], request.query_params.get("agent"))

    def run(self, request: Request) -> Response:
        """A run: its timeline, its calls and everything that is known of it."""
        request.scope["relay_models.began"] = time.perf_counter()
        run = self._find_run(request)
        record = run.record
        zoom = next((each for each in ZOOMS if str(each) == request.query_params.get("zoom")), 1)
        rows: Any = request.query_params.get("rows", "auto")
        rows = rows if rows in ("auto", "calls", "names") else "auto"
        columns = known_columns(self.document)
        facts = [cell for cell in run_cells(run, tuple(columns.values())) if cell["full"]]
        ext = record.ext
        known = {} if ext is None else ext.model_dump(mode="json", exclude_none=True)
        return self.page(
            "run.html", request, title=f"Run of {run.agent_id}", run=run, facts=facts,
            timeline=plain_svg(Timeline(record, rows=rows).svg(width=1100 * zoom)), zoom=zoom, zooms=ZOOMS, rows=rows,
            calls=call_views(record), ext=json_text(known) if known else "", narrow=Question().narrowed,
            failure=_failure(known), nested=self._nested(run), question=Question(),
            command=shlex.join(["relay-models", "runs", "show", str(run.run_id), "--timeline"]),
            python=f"run = backend.runs.get({run.agent_id!r}, {str(run.run_id)!r}).record",
            own=urlencode({"agent": run.agent_id}),
        )  # fmt: skip

    def _nested(self, run: Any) -> list[tuple[str, list[Any]]]:
        """Runs that belong to this one, by the columns that say so, where there are such columns.

        Sessions are shown by their column: a further pair here is all that another relation needs.
        """
        columns = known_columns(self.document)
        relations = [
            ("Nested runs", "parent_run_id", run.run_id),
            ("Called by", "run_id", getattr(run, "parent_run_id", None)),
            ("Same session", "session_id", getattr(run, "session_id", None)),
        ]
        found = []
        for title, name, value in relations:
            if name not in columns or not value:
                continue
            page = self.backend.find_runs(columns[name] == str(value), order_by="started_at", limit=50, columns=True)
            others = [other for other in page if other.run_id != run.run_id]
            if others:
                found.append((title, others))
        return found

    def raw(self, request: Request) -> Response:
        """The record of a run, as it is stored."""
        run = self._find_run(request)
        return Response(run.record.model_dump_json(), media_type="application/json")

    def numbers(self, request: Request) -> Response:
        """Aggregates over time and by agent, model and tool."""
        request.scope["relay_models.began"] = time.perf_counter()
        given = request.query_params
        question = Question.parse(given, self.document)
        if "filter" not in given:
            question = Question(default_where(self.backend), document=self.document)
        known = groupable(self.document)
        by = [name for name in given.getlist("by") if name in known] or ["agent_id", "models", "tools"]
        every = given.get("every", "").strip()
        error, numbers, status = "", None, 200

        def link(text: str) -> str:
            return Question(text).url()

        try:
            numbers = numbers_of(
                self.backend, question.where, every=every, by=by, narrow=question.narrowed, link=link
            )  # fmt: skip
        except QueryError as fault:
            error, status = str(fault), 400
        return self.page(
            "numbers.html", request, status, title="Numbers", question=question, numbers=numbers, error=error,
            every=every, by=by, groupable=known, periods=PERIODS, link=link,
        )  # fmt: skip

    def agents(self, request: Request) -> Response:
        """All agents."""
        request.scope["relay_models.began"] = time.perf_counter()
        return self.page(
            "agents.html", request, title="Agents", agents=self.backend.agents(), quoted=quoted, question=Question()
        )

    def agent(self, request: Request) -> Response:
        """What NeMo Relay learned about an agent."""
        request.scope["relay_models.began"] = time.perf_counter()
        agent = request.query_params.get("id", "")
        trie = self.backend.load_trie(agent)
        tree = None if trie is None else TrieTree(trie)
        accumulators = self.backend.load_accumulators(agent)
        prompts = list(self.backend.stability.find(Stability.agent_id.startswith(agent), limit=20))
        bars = [StabilityBar(each.record, agent_id=each.agent_id) for each in prompts if each.record is not None]
        return self.page(
            "agent.html", request, title=f"Agent {agent}", agent=agent, plan=self.backend.load_plan(agent),
            tree=None if tree is None else plain_svg(tree.svg(width=900)),
            tree_details="" if tree is None else tree.details(),
            statistics=[] if accumulators is None else accumulator_rows(accumulators),
            prompts=[(plain_svg(bar.svg(width=900)), bar.details()) for bar in bars],
            runs=Question(f"agent_id = {quoted(agent)}").url(),
        )  # fmt: skip

    def compare(self, request: Request) -> Response:
        """Two runs, or the numbers of two sets of runs."""
        request.scope["relay_models.began"] = time.perf_counter()
        given = request.query_params
        ids = [part for item in given.getlist("run") for part in item.split(",") if part.strip()]
        left, right = given.get("left", ""), given.get("right", "")
        error, runs, status = "", None, 200
        pair: list[Any] = []
        facts: tuple[Any, ...] = ()
        try:
            if len(ids) > 1:
                if len(ids) != 2:
                    raise QueryError(f"two runs are compared, not {len(ids)}: choose two in the list of runs")
                pair = [find_run(self.backend, each.strip(), None) for each in ids]
                runs = compare_runs(pair[0].record, pair[1].record, self.document)
            elif left or right:
                facts = compare_windows(self.backend, left or None, right or None)
        except (QueryError, NotFoundError) as fault:
            error, status = str(fault), _status(fault)
        return self.page(
            "compare.html", request, status, title="Compare", ids=ids, left=left, right=right, runs=runs, facts=facts,
            error=error, pair=pair,
        )  # fmt: skip

    def saved(self, request: Request) -> Response:
        """The saved questions."""
        return self.page("saved.html", request, title="Saved questions", saved=self.backend.saved.all())

    async def save(self, request: Request) -> Response:
        """Save a question; POST."""

        def work(form: dict[str, str]) -> Response:
            names = tuple(name for name in form.get("columns", "").split(",") if name)
            question = SavedQuestion(
                form.get("name", "").strip(), form.get("filter", ""), names, form.get("order") or "-started_at"
            )
            self.backend.saved.save(question)
            return RedirectResponse("/saved", 303)

        return await self._form(request, work)

    async def delete(self, request: Request) -> Response:
        """Delete a saved question; POST."""

        def work(form: dict[str, str]) -> Response:
            self.backend.saved.delete(form.get("name", ""))
            return RedirectResponse("/saved", 303)

        return await self._form(request, work)

    async def _form(self, request: Request, work: Callable[[dict[str, str]], Response]) -> Response:
        """Read a form, check its token, and do the work in a thread. Labels of runs are another user of this."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_FORM:
                return Response("the form is too large\n", 413)
        try:
            form = {name: values[-1] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        except ValueError:
            return Response("a form is UTF-8 text\n", 400)
        if not self.tokens.accepts(form.get("token", "")):
            return Response("the form is out of date: go back, reload the page and send it again\n", 403)
        done: Awaitable[Response] = run_in_threadpool(work, form)
        return await done


def _loose_question(request: Request, question: Question) -> Question:
    """What can be kept of a question that means nothing, to show it again."""
    if question != Question(document=question.document):
        return question
    return Question(request.query_params.get("filter", "").strip(), document=question.document)


def _latest(page: Any) -> str:
    """The time of storing of the newest run of a page, from which newer ones are counted."""
    times = [run.stored_at for run in page or () if run.stored_at is not None]
    return max(times).isoformat() if times else ""


def _failure(known: dict[str, Any]) -> str:
    error = known.get("error")
    if not isinstance(error, dict):
        return ""
    return ": ".join(str(error[name]) for name in ("type", "message") if error.get(name)) or "failed"


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(64_000):
            yield chunk


def _status(error: Exception) -> int:
    match error:
        case NotFoundError():
            return 404
        case QueryError():
            return 400
        case StorageError():
            return 503
        case SerializationError():
            return 500
        case _:
            return 500


def _store_name(backend: RedisBackend) -> str:
    return f"{backend.transport.target.label} · {backend.key_prefix}"
