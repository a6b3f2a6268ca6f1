"""`OverviewPages`: numbers, agents, sessions and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay_models import Stability
from relay_models.errors import NotFoundError, QueryError
from relay_models.pictures import StabilityBar, TrieTree
from relay_models.views import compare_runs, compare_windows, find_run, quoted, read_before, session_page
from relay_models.web.agent_tables import accumulator_rows
from relay_models.web.numbers import MOST_GROUPED, MOST_RECENT, MOST_RUNS, groupable, numbers_of, plain_svg
from relay_models.web.question import Question
from relay_models.web.recent import recent_filter
from relay_models.web.run_pages import PERIODS
from relay_models.web.site import status_of, timed

if TYPE_CHECKING:
    from relay_models.web.site import Site

__all__ = ["OverviewPages"]

MOST_PROMPTS = 20
"""Maximum number of prompt profiles that an agent's page shows."""


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
        by = [name for name in given.getlist("by") if name in known] or ["agent_id", "models", "tools"]
        every = given.get("every", "").strip()
        error, numbers, status = "", None, 200
        question = Question(given.get("filter", "").strip(), document=document)
        if "filter" not in given:
            question = Question(recent_filter(self._backend.runs, MOST_RECENT), document=document)
        try:
            numbers = numbers_of(
                self._backend, question.where, every=every, by=by, narrow=question.narrowed,
                link=lambda text: Question(text).url(), exact=bool(given.get("exact")),
            )  # fmt: skip
        except QueryError as fault:
            error, status = str(fault), 400
        return self._site.page(
            "numbers.html", request, status, title="Numbers", question=question, numbers=numbers, error=error,
            every=every, by=by, groupable=known, periods=PERIODS, link=lambda text: Question(text).url(),
            saved=self._backend.saved.all(), most=MOST_RUNS, grouped=MOST_GROUPED,
            exact=f"/numbers?{urlencode([*given.multi_items(), ('exact', '1')])}",
        )  # fmt: skip

    @timed
    def sessions(self, request: Request) -> Response:
        """Sessions, the latest first."""
        given = request.query_params
        question = Question(given.get("filter", "").strip(), document=self._site.document)
        error, page, status = "", None, 200
        try:
            page = session_page(self._backend, question.where, before=read_before(given.get("before", "")))
        except QueryError as fault:
            error, status = str(fault), 400
        more = page and page.before and {"filter": question.filter, "before": page.before.isoformat()}
        return self._site.page(
            "sessions.html", request, status, title="Sessions", question=question, error=error, page=page,
            periods=PERIODS, quoted=quoted, is_first="before" not in given,
            more=urlencode({name: value for name, value in more.items() if value}) if more else "",
        )  # fmt: skip

    @timed
    def agents(self, request: Request) -> Response:
        """All agents."""
        return self._site.page(
            "agents.html", request, title="Agents", agents=self._backend.agents(), quoted=quoted, question=Question()
        )

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
        bars = [StabilityBar(each.record, agent_id=each.agent_id) for each in prompts if each.record is not None]
        return self._site.page(
            "agent.html", request, title=f"Agent {agent}", agent=agent, plan=self._backend.load_plan(agent),
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
        error, runs, status = "", None, 200
        pair: list[Any] = []
        facts: tuple[Any, ...] = ()
        try:
            if len(ids) > 1:
                if len(ids) != 2:
                    raise QueryError(f"two runs are compared, not {len(ids)}: choose two in the list of runs")
                pair = [find_run(self._backend, each.strip(), None) for each in ids]
                runs = compare_runs(pair[0].record, pair[1].record, self._site.document)
            elif left or right:
                facts = compare_windows(self._backend, left or None, right or None)
        except (QueryError, NotFoundError) as fault:
            error, status = str(fault), status_of(fault)
        return self._site.page(
            "compare.html", request, status, title="Compare", ids=ids, left=left, right=right, runs=runs, facts=facts,
            error=error, pair=pair, question=Question(),
        )  # fmt: skip
