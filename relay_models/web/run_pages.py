"""`RunPages`: the list of runs, and a run with its calls and labels."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay_models._checks import shown
from relay_models.errors import InvalidRecordError
from relay_models.pictures import Timeline
from relay_models.views import MOST_CALLS, call_views, family_of, find_run, json_text, known_columns, quoted
from relay_models.web.chips import PERIODS, chips, failures, order_chips
from relay_models.web.listing import Listing
from relay_models.web.numbers import plain_svg
from relay_models.web.question import Question
from relay_models.web.rendering import cell_of
from relay_models.web.site import timed
from relay_models.web.timelines import drawn_part

if TYPE_CHECKING:
    from relay_models.web.site import Site

__all__ = ["RunPages"]

ZOOMS = (1, 2, 4, 8)
# What the head of a run shows, in this order, as far as there is a value.
_HEAD = (
    "status", "started_at", "duration", "llm_calls", "tool_calls", "failed_calls", "input_tokens", "output_tokens",
    "cost", "estimated_cost", "session_id", "user_id",
)  # fmt: skip
# Columns that the page shows elsewhere.
_ELSEWHERE = {"agent_id", "run_id", "tags", "notes", "scores"}


class RunPages:
    """The list of runs, and a run."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._backend = site.backend
        self.listing = Listing(site, site.backend.runs)

    @timed
    def runs(self, request: Request) -> Response:
        """A page of runs."""
        name = request.query_params.get("saved")
        if name is not None:
            kept = self._backend.saved.get(name)
            question = Question(kept.filter, kept.columns, kept.order, document=self._site.document)
            return RedirectResponse(question.url(), 302)
        # Before what takes long: a server answers one question after the other.
        saved = self._backend.saved.all(on_corrupt="skip")
        rows = self.listing.rows(request)
        return self._site.page(
            "runs.html", request, 400 if rows.error else 200, title="Runs",
            chips=[*chips(rows.question, [*PERIODS, *failures()], lambda text: rows.question.url(filter=text)),
                   *order_chips(rows.question)],
            saved=saved, **rows.values,
        )  # fmt: skip

    def _find(self, request: Request) -> Any:
        return find_run(self._backend, request.path_params["run_id"], request.query_params.get("agent"))

    @timed
    def run(self, request: Request) -> Response:
        """A run: its timeline, its calls and everything that is known of it."""
        run = self._find(request)
        record = run.record
        zoom = next((each for each in ZOOMS if str(each) == request.query_params.get("zoom")), 1)
        rows: Any = request.query_params.get("rows", "auto")
        rows = rows if rows in ("auto", "calls", "names") else "auto"
        total = len(record.calls)
        first = _first_call(request.query_params.get("calls", ""), total)
        drawn = drawn_part(record, first)
        own = urlencode({"agent": run.agent_id})
        base = first if drawn is not record else 0

        def to_call(index: int) -> str:
            number = base + index
            if first <= number < first + MOST_CALLS:
                return f"#call-{number + 1}"
            query = {"agent": run.agent_id, "zoom": zoom, "rows": rows, "calls": number - number % MOST_CALLS + 1}
            return f"?{urlencode(query)}#call-{number + 1}"

        cells = {name: cell_of(run, column) for name, column in known_columns(self._site.document).items()}
        known = {} if record.ext is None else record.ext.model_dump(mode="json", exclude_none=True)
        return self._site.page(
            "run.html", request, title=f"Run of {run.agent_id}", run=run, labels=run.labels,
            head=[cells[name] for name in _HEAD if name in cells and cells[name].text not in ("", "0")],
            facts=[cell for name, cell in cells.items() if cell.text and name not in _ELSEWHERE],
            timeline=plain_svg(Timeline(drawn, rows=rows, link=to_call).svg(width=1180 * zoom)),
            zoom=zoom, zooms=ZOOMS, rows=rows,
            calls=call_views(record, first, MOST_CALLS), first=first, total=total, most=MOST_CALLS,
            is_part=drawn is not record, ext=json_text(known) if known else "", failure=_failure(known),
            family=family_of(self._backend, run), question=Question(), quoted=quoted,
            command=shlex.join(["relay-models", "runs", "show", str(run.run_id), "--timeline"]),
            literal=repr(run.agent_id),
            own=own,
        )  # fmt: skip

    def raw(self, request: Request) -> Response:
        """The record of a run, as it is stored."""
        return Response(self._find(request).record.model_dump_json(), media_type="application/json")

    async def label(self, request: Request) -> Response:
        """Put tags, a score and a note on a run, or take tags and scores away; POST."""
        run_id = request.path_params["run_id"]

        def work(form: dict[str, str]) -> Response:
            agent = form.get("agent", "")
            given: dict[str, Any] = {name: _names(form.get(name, "")) for name in ("tags", "remove_tags")}
            # A button of one tag or score sends its whole text, which may hold commas.
            given["remove_tags"] |= {form["tag"]} if form.get("tag") else set()
            given["remove_scores"] = {form["score"]} if form.get("score") else set()
            given["scores"] = _score(form)
            self._backend.runs.label(
                (agent, run_id), note=form.get("note", "").strip() or None, by=form.get("by", "").strip() or None,
                source="human", **given,
            )  # fmt: skip
            # Filters know labels: what was answered before may be wrong now.
            self._site.kept.clear()
            return RedirectResponse(f"/runs/{run_id}?{urlencode({'agent': agent})}#labels", 303)

        return await self._site.form(request, work)


def _first_call(text: str, total: int) -> int:
    """The index of the first call of a page that begins with a call counted from 1; the first where it is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
    return number - 1 if 1 <= number <= total else 0


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _score(form: dict[str, str]) -> dict[str, float]:
    """The score of a form; none where it has none.

    Raises:
        InvalidRecordError: it has no name, or its value is no number.
    """
    name, text = (form.get(field, "").strip() for field in ("score_name", "score_value"))
    if not name and not text:
        return {}
    if not name:
        raise InvalidRecordError(f"the score {text} needs a name, such as helpfulness", "scores")
    try:
        return {name: float(text)}
    except ValueError:
        raise InvalidRecordError(
            f"the score {shown(name)} is a number such as 0.8, not {shown(text)}", "scores"
        ) from None


def _failure(known: dict[str, Any]) -> str:
    error = known.get("error")
    if not isinstance(error, dict):
        return ""
    return ": ".join(str(error[name]) for name in ("type", "message") if error.get(name)) or "failed"
