"""`Answers`: what the tools of the MCP server give, as JSON values that fit a model's context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from relay_models import Document, Run
from relay_models._checks import shown
from relay_models.columns.column import OPERATORS, find_column
from relay_models.errors import NotFoundError, QueryError, UnknownColumnError
from relay_models.mcp.bounded import fitted
from relay_models.views import (
    CallView,
    call_views,
    compare_runs,
    compare_windows,
    find_model,
    find_run,
    known_columns,
    model_name,
    read_before,
    session_page,
)

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["FILTERS", "Answers", "ArgumentError"]

FILTERS = """A filter is a column, an operator and a value, joined by and, or, not and parentheses.
Examples:
  duration > 2s and started = yesterday
  agent = planner and tool has search
  model in (gpt-4.1, "o4-mini") and total_tokens >= 10k
  started >= -24h and not status = running
  cost is missing
  score.helpfulness < 0.5
  tool ~ "sql*"
Times: 2026-11-23, 2026-11-23T10:00:00Z, today, yesterday, -24h, -7d (before now). Durations: 300ms, 2s, 1m30s, 2h.
Texts with blanks or signs are quoted. They are compared whole and with case; ~ "*part*" finds parts.
An empty filter, or all, means all runs. list_columns names the columns."""

NOTHING = (
    "nothing matches the filter; texts are compared whole and with case: aggregate_runs by a column of texts lists its "
    'values, and ~ "*part*" finds parts'
)
USUAL = ("run_id", "agent_id", "started_at", "duration", "status", "llm_calls", "tool_calls", "total_tokens", "cost")
MOST_RUNS = 100
MOST_ROWS = 200
MOST_CHARACTERS = 100_000
USUAL_CHARACTERS = 20_000


class ArgumentError(QueryError):
    """An argument of a tool that is out of its range."""


class Answers:
    """Answers the questions of an assistant about one store.

    Args:
        backend: the store, a sync backend.
    """

    def __init__(self, backend: RedisBackend) -> None:
        self._backend = backend
        self._document: type[Run] = backend.runs.document

    def find_runs(
        self, filter: str = "", columns: list[str] | None = None, order_by: str = "-started_at", limit: int = 20,
        after: str = "", saved: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Runs that meet a filter, by their columns."""
        names = list(dict.fromkeys(_column_name(name, self._document) for name in columns or ()))
        if saved:
            question = self._backend.saved.get(saved)
            parts = [text for text in (question.filter, filter) if text.strip()]
            filter = " and ".join(f"({text})" for text in parts)
            names = names or list(question.columns)
            order_by = question.order if order_by == "-started_at" else order_by
        where = filter.strip() or None
        limit = _limit(limit, MOST_RUNS)
        page = self._backend.find_runs(
            where, order_by=order_by, limit=limit, after=after or None, columns=True, on_corrupt="skip"
        )
        names = ["run_id", *(name for name in names if name != "run_id")] if names else list(USUAL)
        rows = [{name: _json(getattr(run, name, None)) for name in names} for run in page]
        return self._rows("runs", [_without_none(row) for row in rows], self._backend.count_runs(where), page, where)

    def _rows(
        self, name: str, rows: list[dict[str, Any]], total: int, page: Any, where: str | None
    ) -> dict[str, Any]:  # fmt: skip
        """A page of rows, with the cursor of the next one."""
        whole: dict[str, Any] = {"total": total}
        if page.next:
            whole["after"] = page.next
            whole["note"] = "there are more: pass `after` for the next page, or narrow the filter"
        if where and not total:
            whole["note"] = NOTHING
        if page.corrupt:
            whole["unreadable"] = len(page.corrupt)
        return _fitted({name: rows}, **whole)

    def get_run(self, run_id: str, agent_id: str = "", max_characters: int = 20_000, call: int = 0) -> dict[str, Any]:
        """A run with its calls, cut to a size."""
        if not 1_000 <= max_characters <= MOST_CHARACTERS:
            raise ArgumentError(f"max_characters is from 1000 to {MOST_CHARACTERS}, not {max_characters}")
        run = find_run(self._backend, run_id, agent_id or None)
        assert run.record is not None
        record = json.loads(run.record.model_dump_json(exclude_none=True))
        calls = record.pop("calls")
        if call:
            if not 1 <= call <= len(calls):
                raise ArgumentError(f"the run has calls 1 to {len(calls)}, not {call}")
            answer = {"run": record, "calls": len(calls), "call": calls[call - 1]}
            found = fitted(answer, max_characters, "raise `max_characters` for what `cut` names")
            if found is not None:
                return found
            (view,) = call_views(run.record, call - 1, 1)
            note = "the call is in short, what it gave first: raise `max_characters`"
            return _fitted({"call": _call_head(view), "texts": _call_texts(view)}, max_characters, note=note)
        summary = {name: _json(getattr(run, name)) for name in known_columns(self._document)}
        answer = {"summary": _without_none(summary), "run": {**record, "calls": calls}}
        found = fitted(answer, max_characters, "raise `max_characters`, or ask for one call with `call`")
        if found is not None and len(found.get("run", {}).get("calls", ())) == len(calls):
            return found
        # Of all calls the head, rather than the first ones with all that they hold.
        head = {name: summary[name] for name in USUAL} | {"failure": record.get("relay_models", {}).get("error")}
        answer = {"summary": _without_none(head), "calls": [_call_head(each) for each in call_views(run.record)]}
        note = f"the calls are in short: ask for one with `call` (1 to {len(calls)}), or raise `max_characters`"
        return _fitted(answer, max_characters, note=note)

    def aggregate_runs(
        self, by: list[str] | None = None, every: str = "", time: str = "", metrics: list[str] | None = None,
        filter: str = "", order_by: str = "", limit: int = 50, approximate: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Groups of runs and their numbers."""
        limit, where = _limit(limit, MOST_ROWS), filter.strip() or None
        if time and not every:
            raise ArgumentError("time is the column of the buckets, so it needs every, such as 1d")
        rows = self._backend.aggregate_runs(
            by=by or [], every=every or None, time=time or "started_at",
            metrics=metrics or ["count", "p50(duration)", "p95(duration)"],
            filter=where, order_by=order_by or None, limit=limit + 1, approximate=approximate,
        )  # fmt: skip
        shown = [{name: _json(value) for name, value in row.items()} for row in rows[:limit]]
        whole: dict[str, Any] = {"units": "durations in seconds, times in UTC"}
        if rows.estimated:
            whole["estimated"] = list(rows.estimated)
        if len(rows) > limit:
            whole["note"] = f"there are more than {limit} groups: narrow the filter, or order_by what matters"
        elif where and not any(any(row.values()) for row in shown) and not self._backend.count_runs(where):
            whole["note"] = NOTHING
        elif shown and (empty := [name for name in shown[0] if all(row[name] is None for row in shown)]):
            whole["note"] = f"no row has a value of {', '.join(empty)}"
        return _fitted({"rows": shown}, **whole)

    def compare_runs(self, left: str, right: str) -> dict[str, Any]:
        """Two runs, or two filters."""
        one, two = (self._run_or_none(text) for text in (left, right))
        if (one is None) != (two is None):
            run, other = (left, right) if two is None else (right, left)
            raise ArgumentError(f"two runs are compared, or two filters: {run!r} is a run, {other!r} is none")
        if one is None or two is None:
            facts = compare_windows(self._backend, left.strip() or None, right.strip() or None)
            whole: dict[str, Any] = {}
            if empty := [side for side in ("left", "right") if getattr(facts[0], side) == "0"]:
                whole["note"] = f"{' and '.join(empty)}: {NOTHING}"
            return _fitted({"numbers": [_fact(fact) for fact in facts]}, **whole)
        assert one.record is not None
        assert two.record is not None
        compared = compare_runs(one.record, two.record, self._document)
        calls = []
        for pair in compared.calls:
            shown = [
                None if side is None else f"{side.index} {side.kind} {side.name}" for side in (pair.left, pair.right)
            ]
            entry: dict[str, Any] = {"left": shown[0], "right": shown[1], "same": pair.is_same}
            for name, lines in (("prompt", pair.prompt), ("answer", pair.answer)):
                if lines:
                    entry[name] = "\n".join(f"{sign} {line}" for sign, line in lines)
            calls.append(entry)
        differences = [_fact(fact) for fact in compared.facts if fact.left != fact.right]
        return _fitted({"differences": differences, "calls": calls}, USUAL_CHARACTERS)

    def _run_or_none(self, text: str) -> Run | None:
        try:
            return find_run(self._backend, text)
        except NotFoundError:
            return None

    def find_documents(
        self, model: str, filter: str = "", columns: list[str] | None = None, order_by: str = "-stored_at",
        limit: int = 20, after: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Documents of a user's model that meet a filter, by their columns."""
        document = find_model(self._backend, model)
        names = [_column_name(name, document) for name in columns or known_columns(document)]
        names = list(dict.fromkeys(("pk", *names)))
        where = filter.strip() or None
        collection: Any = self._backend.collection(document)
        page = collection.find(
            where, order_by=order_by, limit=_limit(limit, MOST_RUNS), after=after or None, columns=True,
            on_corrupt="skip",
        )  # fmt: skip
        rows = [_without_none({name: _json(getattr(item, name, None)) for name in names}) for item in page]
        return self._rows("documents", rows, collection.count(where), page, where)

    def list_columns(self, model: str = "") -> dict[str, Any]:
        """The columns of runs, or of a user's model, with their operators, and how filters are written."""
        document = find_model(self._backend, model) if model else self._document
        columns = []
        for name, column in document.columns().items():
            texts = [text for known in OPERATORS.values() if column.kind in known.kinds for text in known.texts]
            entry = {
                "name": name, "kind": str(column.kind), "about": column.about, "unit": column.unit,
                "aliases": list(column.aliases), "values": list(column.choices),
                "members": {} if column.choices else dict(column.type.members), "operators": texts,
            }  # fmt: skip
            columns.append({key: value for key, value in entry.items() if value})
        answer: dict[str, Any] = {"columns": columns, "filters": FILTERS}
        if not model and self._backend.models:
            answer["models"] = [model_name(each) for each in self._backend.models]
        return _fitted(answer)

    def sessions(self, filter: str = "", limit: int = 20, before: str = "") -> dict[str, Any]:
        """Sessions and their numbers, the latest first."""
        where = filter.strip() or None
        page = session_page(self._backend, where, limit=_limit(limit, MOST_RUNS), before=read_before(before))
        rows = [_without_none({name: _json(getattr(each, name)) for name in each.__slots__}) for each in page.sessions]
        whole: dict[str, Any] = {}
        if page.before is not None:
            whole["before"] = _json(page.before)
            whole["note"] = "there are more: pass `before` for the next page, or narrow the filter"
        if not page.sessions:
            is_empty = where is not None and not self._backend.count_runs(where)
            whole["note"] = NOTHING if is_empty else "no run that matches belongs to a session"
        return _fitted({"sessions": rows}, **whole)

    def label_run(
        self, run_id: str, agent_id: str = "", tags: list[str] | None = None, remove_tags: list[str] | None = None,
        scores: dict[str, float] | None = None, remove_scores: list[str] | None = None, note: str = "", by: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Label one run, and give all of its labels."""
        run = find_run(self._backend, run_id, agent_id or None)
        labels = self._backend.runs.label(
            (run.agent_id, run.run_id), tags=set(tags or ()), remove_tags=set(remove_tags or ()), scores=scores or {},
            remove_scores=set(remove_scores or ()), note=note.strip() or None, by=by.strip() or None,
            source="assistant",
        )  # fmt: skip
        return _fitted({"run_id": str(run.run_id), "agent_id": run.agent_id, **labels.column_values()})

    def agents(self, agent_id: str = "") -> dict[str, Any]:
        """All agents, or what was learned about one."""
        if not agent_id:
            found = [_agent(agent) for agent in self._backend.agents()]
            advice = 'aggregate_runs by agent_id with a filter such as agent ~ "support*" finds others'
            return _fitted({"total": len(found), "agents": found}, USUAL_CHARACTERS, advice)
        plan = self._backend.load_plan(agent_id)
        state = self._backend.load_accumulators(agent_id)
        trie = self._backend.load_trie(agent_id)
        stability = self._backend.load_stability(agent_id)
        runs = self._backend.count_runs(Run.agent_id == agent_id)
        if not runs and not any((plan, state, trie, stability)):
            raise NotFoundError(f"there is no agent {agent_id!r}")
        answer = {
            "agent_id": agent_id,
            "runs": runs,
            "parallel_tools": [group.tool_names for group in plan.parallel_groups] if plan else [],
            "statistics": {} if state is None else {path: _node(node) for path, node in state.nodes.items()},
            "trie": None if trie is None else json.loads(trie.model_dump_json(exclude_none=True)),
            "prompt_stability": None if stability is None else json.loads(stability.model_dump_json(exclude_none=True)),
        }
        return _fitted(answer, USUAL_CHARACTERS)

    def saved_questions(self) -> dict[str, Any]:
        """The named filters that the store keeps."""
        found = self._backend.saved.all(on_corrupt="skip")
        saved = [
            {"name": each.name, "filter": each.filter or "all", "columns": list(each.columns), "order": each.order}
            for each in found
        ]
        return _fitted({"saved": saved})


def _column_name(name: str, document: type[Document]) -> str:
    known = known_columns(document)
    column = find_column(known, name)
    if column is None:
        raise UnknownColumnError(f"there is no column {shown(name)}; there are {', '.join(known)}", name, known)
    return column.name


def _limit(limit: int, most: int) -> int:
    if not 1 <= limit <= most:
        raise ArgumentError(f"limit is from 1 to {most}, not {limit}")
    return limit


def _json(value: Any) -> Any:
    """A value as JSON: times as RFC 3339 in UTC, durations in seconds."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value / timedelta(seconds=1)
        case Mapping():
            return {str(name): _json(item) for name, item in value.items()}
        case list() | tuple():
            return [_json(item) for item in value]
        case set() | frozenset():
            return sorted(map(_json, value))
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return _json(value.value)
        case _:
            return str(value)


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value not in ([], {})}


def _fitted(value: dict[str, Any], most: int = MOST_CHARACTERS, advice: str = "", **whole: Any) -> dict[str, Any]:
    """The answer, cut to its size where it is larger."""
    return fitted(value, most, advice, **whole) or {"cut": ["everything: it does not fit; ask for less"], **whole}


def _call_head(call: CallView) -> dict[str, Any]:
    """What a call is, without what it says."""
    head = {
        "call": call.index, "kind": call.kind, "name": call.name, "model": call.model, "took": call.duration,
        "status": call.status, "error": call.error[:200],
    }  # fmt: skip
    return {name: value for name, value in head.items() if value}


def _call_texts(call: CallView) -> list[dict[str, str]]:
    """What a call says, the last first: what it gave, then what it was given."""
    messages = [*call.messages, *call.answer]
    said = [(each.role, part.value) for each in messages for part in each.parts]
    said += [(name, part.value) for name, part in (("input", call.input), ("output", call.output)) if part is not None]
    return [{role: text} for role, text in reversed(said)]


def _fact(fact: Any) -> dict[str, str]:
    values = {
        "name": fact.name, "left": fact.left, "right": fact.right, "difference": fact.difference, "sure": fact.sure,
    }  # fmt: skip
    return {name: value for name, value in values.items() if value}


def _agent(agent: Any) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id, "runs": agent.runs, "running": agent.running,
        "last_started_at": _json(agent.last_started_at),
    }  # fmt: skip


def _node(node: Any) -> dict[str, Any]:
    names = ("remaining_calls", "interarrival_ms", "output_tokens", "sensitivity")
    return {
        name: {
            "samples": stats.count,
            "mean": stats.mean,
            "p50": stats.quantile(0.5),
            "p95": stats.quantile(0.95),
        }
        for name in names
        if (stats := getattr(node, f"all_{name}")).count
    }
