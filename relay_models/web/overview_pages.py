"""`OverviewPages`: numbers, agents, sessions and comparisons."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay_models import Run, Stability
from relay_models.errors import NotFoundError, QueryError
from relay_models.pictures import StabilityBar, TrieTree
from relay_models.query.aggregate.buckets import Buckets
from relay_models.query.language.filters import as_expression
from relay_models.views import (
    MOST_EXACT,
    Fact,
    compare_runs,
    compare_windows,
    find_run,
    quoted,
    read_before,
    session_page,
)
from relay_models.web.agent_tables import accumulator_rows
from relay_models.web.chips import PERIODS, chips, failures
from relay_models.web.numbers import MOST_GROUPED, MOST_RECENT, Numbers, NumbersPart, groupable, plain_svg
from relay_models.web.question import Question
from relay_models.web.recent import recent_filter
from relay_models.web.site import status_of, timed

if TYPE_CHECKING:
    from relay_models import AgentSummary
    from relay_models.views import SessionPage
    from relay_models.web.kept import Answer
    from relay_models.web.site import Site

__all__ = ["OverviewPages"]

MOST_CANDIDATES = 12
"""How many runs are offered to compare one with."""
MOST_AGENTS = 100
"""Maximum number of agents on a page."""
MOST_PROMPTS = 20
"""Maximum number of prompt profiles that an agent's page shows."""

_Compared = tuple[tuple[int, int], tuple[Fact, ...] | None]
"""How many runs meet each of two filters, and their numbers where these are not too many."""


def _url(path: str, **parameters: str) -> str:
    given = {name: value for name, value in parameters.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


class OverviewPages:
    """The pages about many runs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._backend = site.backend

    @timed
    def numbers(self, request: Request) -> Response:
        """Aggregates over time and by agent, model and tool."""
        given = request.query_params
        name = given.get("saved")
        if name is not None:
            kept = self._backend.saved.get(name)
            return RedirectResponse(f"/numbers?{urlencode({'filter': kept.filter or 'all'})}", 302)
        document = self._site.document
        known = groupable(document)
        by = given.getlist("by") or ["agent_id", "models", "tools"]
        every = given.get("every", "").strip()
        exact, whole = bool(given.get("exact")), bool(given.get("whole"))
        # Before what takes long: a server answers one question after the other.
        saved = self._backend.saved.all(on_corrupt="skip")
        error, status = "", 200
        answer: Answer[NumbersPart] | None = None
        question = Question(given.get("filter", "").strip(), document=document)
        if "filter" not in given:
            question = Question(recent_filter(self._backend.runs, MOST_RECENT), document=document)

        def compute() -> Iterator[NumbersPart]:
            return Numbers(
                self._backend, question.where, every=every, by=by, narrow=question.narrowed,
                link=lambda text: Question(text).url(), exact=exact,
            ).parts(whole=whole)  # fmt: skip

        try:
            if unknown := [name for name in by if name not in known]:
                raise QueryError(f"by: runs are not grouped by {unknown[0]!r} here, but by {', '.join(known)}")
            as_expression(question.where, document.columns())
            if every:
                Buckets(every)
            asked = ("numbers", question.filter, every, tuple(by), exact, whole)
            answer = self._site.answer(request, asked, compute)
        except QueryError as fault:
            error, status = str(fault), 400

        def changed(**changes: str) -> str:
            kept = [(name, value) for name, value in given.multi_items() if name not in ("again", "shown", *changes)]
            return f"/numbers?{urlencode([*kept, *changes.items()])}"

        def link(text: str) -> str:
            kept = [("by", name) for name in given.getlist("by")] + ([("every", every)] if every else [])
            return f"/numbers?{urlencode([('filter', text or 'all'), *kept])}"

        return self._site.page(
            "numbers.html", request, status, answer=answer, fixed={"filter": question.filter or "all"},
            title="Numbers", question=question, error=error, every=every, by=by, groupable=known,
            chips=chips(question, [*PERIODS, *failures()], link, everything="All time"),
            link=lambda text: Question(text).url(), saved=saved, most=MOST_EXACT,
            grouped=MOST_GROUPED, changed=changed,
        )  # fmt: skip

    @timed
    def sessions(self, request: Request) -> Response:
        """Sessions, the latest first."""
        given = request.query_params
        question = Question(given.get("filter", "").strip(), document=self._site.document)
        error, status = "", 200
        answer: Answer[SessionPage] | None = None
        try:
            as_expression(question.where, self._site.document.columns())
            before = read_before(given.get("before", ""))

            def compute() -> Iterator[SessionPage]:
                yield session_page(self._backend, question.where, before=before)

            answer = self._site.answer(request, ("sessions", question.filter, before), compute, is_shown_again=False)
        except QueryError as fault:
            error, status = str(fault), 400
        page = answer and answer.value
        more = page and page.before and {"filter": question.filter, "before": page.before.isoformat()}
        return self._site.page(
            "sessions.html", request, status, answer=answer, title="Sessions", question=question, error=error,
            page=page, chips=chips(question, [*PERIODS, *failures()], lambda text: _url("/sessions", filter=text)),
            quoted=quoted, is_first="before" not in given,
            more=urlencode({name: value for name, value in more.items() if value}) if more else "",
        )  # fmt: skip

    @timed
    def agents(self, request: Request) -> Response:
        """All agents, ordered by name."""
        given = request.query_params
        after = given.get("after")

        def compute() -> Iterator[Sequence[AgentSummary]]:
            yield list(self._backend.agents())

        def page(found: Sequence[AgentSummary]) -> Sequence[AgentSummary]:
            """The agents of the page, and one more where there are more."""
            first = 0 if after is None else bisect.bisect_right(found, after, key=lambda each: each.agent_id)
            return found[first : first + MOST_AGENTS + 1]

        return self._site.page(
            "agents.html", request, answer=self._site.answer(request, "agents", compute), title="Agents", page=page,
            quoted=quoted, question=Question(), most=MOST_AGENTS, is_first=after is None,
        )  # fmt: skip

    @timed
    def agent(self, request: Request) -> Response:
        """What NeMo Relay learned about an agent."""
        agent = request.query_params.get("id", "")
        trie = self._backend.load_trie(agent)
        tree = None if trie is None else TrieTree(trie)
        accumulators = self._backend.load_accumulators(agent)
        # What was learned for one model is under a name that goes on so.
        of_agent = (Stability.agent_id == agent) | Stability.agent_id.startswith(f"{agent}::model=")
        prompts = list(self._backend.stability.find(of_agent, limit=MOST_PROMPTS))
        plan = self._backend.load_plan(agent)
        if not (plan or trie or accumulators or prompts or self._backend.count_runs(Run.agent_id == agent)):
            raise NotFoundError(f"There is no agent {agent!r}: nothing of one is stored.")
        bars = [StabilityBar(each.record, agent_id=each.agent_id) for each in prompts if each.record is not None]
        return self._site.page(
            "agent.html", request, title=f"Agent {agent}", agent=agent, plan=plan,
            tree=None if tree is None else plain_svg(tree.svg(width=900)),
            tree_details="" if tree is None else tree.details(),
            statistics=[] if accumulators is None else accumulator_rows(accumulators),
            prompts=[(plain_svg(bar.svg(width=900)), bar.details()) for bar in bars],
            runs=Question(f"agent_id = {quoted(agent)}").url(),
            numbers=f"/numbers?{urlencode({'filter': f'agent_id = {quoted(agent)}'})}",
        )  # fmt: skip

    @timed
    def compare(self, request: Request) -> Response:
        """Two runs, or the numbers of two sets of runs."""
        given = request.query_params
        ids = [part for item in given.getlist("run") for part in item.split(",") if part.strip()]
        left, right = given.get("left", ""), given.get("right", "")
        exact, whole = bool(given.get("exact")), "1" if given.get("whole") else ""
        error, runs, status = "", None, 200
        pair: list[Any] = []
        candidates: list[Any] = []
        answer: Answer[_Compared] | None = None

        def compute() -> Iterator[_Compared]:
            counts = self._backend.count_runs(left or None), self._backend.count_runs(right or None)
            if max(counts) > MOST_GROUPED and not whole:
                yield counts, None
            else:
                facts = compare_windows(self._backend, left or None, right or None, exact=exact, counts=counts)
                yield counts, facts

        try:
            pair = [find_run(self._backend, each.strip(), None) for each in ids[:3]]
            if len(ids) > 2:
                raise QueryError(f"two runs are compared, not {len(ids)}: choose two in the list of runs")
            if len(pair) == 2:
                runs = compare_runs(pair[0].record, pair[1].record, self._site.document)
            elif pair:
                candidates = self._near(pair[0])
            elif left or right:
                for text in (left, right):
                    as_expression(text or None, self._site.document.columns())
                asked = ("compare", left, right, exact, whole)
                answer = self._site.answer(request, asked, compute)
        except (QueryError, NotFoundError) as fault:
            error, status = str(fault), status_of(fault)
        return self._site.page(
            "compare.html", request, status, answer=answer, title="Compare", ids=ids, left=left, right=right, runs=runs,
            error=error, pair=pair, candidates=candidates, most=MOST_EXACT,
            question=Question(document=self._site.document), presets=_presets(),
            exact=_url("/compare", left=left, right=right, exact="1", whole=whole),
            grouped=MOST_GROUPED, whole=_url("/compare", left=left, right=right, whole="1"),
        )  # fmt: skip

    def _near(self, run: Any) -> list[Any]:
        """The newest other runs of a run's agent, to compare it with."""
        others = [type(run).agent_id == run.agent_id, type(run).run_id != run.run_id]
        return list(self._backend.find_runs(others, limit=MOST_CANDIDATES, columns=True, on_corrupt="skip"))


def _presets() -> list[tuple[str, str]]:
    """Comparisons that are offered: their names and URLs."""
    found = [("Yesterday and today", "started = yesterday", "started = today")]
    found.append(("Last week and this one", "started >= -14d and started < -7d", "started >= -7d"))
    return [(name, _url("/compare", left=left, right=right)) for name, left, right in found]
