"""`runs_of_trace`: the runs that the spans of one trace tell of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from relay_models.records import CallRecord, RunRecord, Timestamp
from relay_models.records.extensions import EXTENSIONS_KEY
from relay_models.records.loose import Loose
from relay_models.records.record import adapter
from relay_models.records.run import call_text, run_from, run_of_texts
from relay_models.trajectories.ids import as_uuid, derived_id
from relay_models.trajectories.otlp.agent_io import agent_io
from relay_models.trajectories.otlp.attributes import OWN_SERVICE, first_of, parsed, unflatten
from relay_models.trajectories.otlp.conventions import llm_call, tool_call
from relay_models.trajectories.otlp.dialects import in_genai_words
from relay_models.trajectories.otlp.roles import role_of
from relay_models.trajectories.otlp.spans import Span
from relay_models.trajectories.otlp.twins import without_twins
from relay_models.trajectories.problems import describe

__all__ = ["runs_of_trace"]

# Prefixes of attributes that are metadata of a run, and keys there that have fields of their own.
_METADATA = (
    *("openinference.metadata.", "ai.telemetry.metadata.", "langfuse.trace.metadata."),
    *("langfuse.observation.metadata.", "traceloop.association.properties."),
)
_PEOPLE = frozenset({"session_id", "user_id", "sessionId", "userId", "otel"})


def runs_of_trace(spans: dict[str, Span], loose: RunRecord | None = None) -> Iterator[RunRecord | str]:
    """Build runs from the spans of a trace.

    Args:
        spans: the spans by id, also those of which only the stored record is known.
        loose: the run of the calls below no agent, as it was stored before.

    Yields:
        Runs, parents first; texts that say which run could not be built.
    """
    roles = {name: _role(span) for name, span in spans.items()}
    spans = without_twins(spans, roles)
    for name, span in spans.items():
        if (role := roles[name]) is not None:
            if "words" not in span.cache:
                span.cache["words"] = in_genai_words(span.attributes, span.events, role, span.start)
            spans[name] = replace(span, attributes=span.cache["words"])
    calls: dict[str | None, list[Span]] = defaultdict(list)
    agents = sorted((span for name, span in spans.items() if roles[name] == "agent"), key=_order)
    for name, span in spans.items():
        if roles[name] in ("llm", "tool"):
            calls[_ancestor(span, spans, roles, ("agent",))].append(span)
    positions: dict[str, int] = {}
    for owner in calls.values():
        owner.sort(key=_order)
        positions |= {span.span_id: index for index, span in enumerate(owner)}
    builder = _RunsOfTrace(spans, roles, positions, loose)
    if orphans := calls.get(None):
        yield builder.run(None, orphans)
    for agent in agents:
        yield builder.run(agent, calls.get(agent.span_id, []))


def _role(span: Span) -> str | None:
    if "role" not in span.cache:
        span.cache["role"] = role_of(span.attributes)
    found: str | None = span.cache["role"]
    return found


class _RunsOfTrace:
    def __init__(
        self,
        spans: dict[str, Span],
        roles: dict[str, str | None],
        positions: dict[str, int],
        loose: RunRecord | None,
    ) -> None:
        self._spans, self._roles, self._positions, self._loose = spans, roles, positions, loose

    def run(self, agent: Span | None, calls: list[Span]) -> RunRecord | str:
        """The run of an agent's span, or of the calls that are below none; or why there is none."""
        if agent is not None and agent.is_stub and isinstance(agent.stored, RunRecord):
            return self._stored_run(agent, agent.stored, calls)
        extensions: dict[str, Any] = {"source": "otlp"}
        if agent is not None:
            attributes = agent.attributes
            name = attributes.get("gen_ai.agent.name") or agent.name.removeprefix("invoke_agent ")
            identifier, started, ended = _run_id(agent), agent.start, agent.end
            extensions |= self._family(agent)
            error = _error(agent)
            extensions |= {"error": error, "status": _status(agent, error)}
            extensions |= agent_io(attributes, agent.events)
            extensions["metadata"] = _metadata(agent)
            if (lacking := self._lacking(agent)) is not None:
                extensions["metadata"]["otel"]["parent_span_id"] = lacking
        else:
            first, top = calls[0], self._top(calls)
            around = [top] if top is not None else calls
            ends = [span.end for span in around]
            known_ends = [end for end in ends if end is not None]
            identifier, started = derived_id("otlp", first.trace_id), min(span.start for span in (*around, *calls))
            ended = max(known_ends) if len(known_ends) == len(ends) else None
            service = first.service
            named = top or next((span for span in self._spans.values() if span.parent_id is None), first)
            name = named.name if service is None or service.startswith("unknown_service") else service
            extensions["metadata"] = {"otel": {"trace_id": first.trace_id}}
            if top is not None:
                error = _error(top)
                extensions |= {"error": error, "status": _status(top, error), **agent_io(top.attributes, top.events)}
            elif (stored := self._loose) is not None:
                name = stored.agent_id if service is None else name
                started = min(started, stored.started_at.nanoseconds)
                if stored.ext is not None:
                    before = stored.ext
                    extensions |= {"error": before.error, "status": before.status}
                    extensions |= {"input": before.input, "output": before.output}
        people = self._people(agent, calls)
        if agent is None and self._loose is not None and self._loose.ext is not None:
            before = self._loose.ext
            people = {name: value or getattr(before, name) for name, value in people.items()}
        extensions |= people
        value = {
            "id": identifier,
            "agent_id": str(name) or "unknown",
            "started_at": Timestamp.from_nanoseconds(started).text,
            EXTENSIONS_KEY: _known(extensions),
        }
        if ended is not None:
            value["ended_at"] = Timestamp.from_nanoseconds(ended).text
        try:
            return _with_calls(value, [self._call(span, agent) for span in calls])
        except ValidationError as error_found:
            return f"the run of trace {(agent or calls[0]).trace_id} is not valid: {describe(error_found)}"

    def _top(self, calls: list[Span]) -> Span | None:
        """The span that encloses all of the calls, such as that of an HTTP request; None where there is none."""
        tops = set()
        for call in calls:
            span, seen = call, {call.span_id}
            while (above := self._spans.get(span.parent_id or "")) is not None and above.span_id not in seen:
                span = above
                seen.add(span.span_id)
            tops.add(span.span_id)
        top = self._spans[tops.pop()]
        return top if not tops and self._roles[top.span_id] is None else None

    def _family(self, agent: Span) -> dict[str, Any]:
        """The run's parent, the call that started it, and its root."""
        parent = _ancestor(agent, self._spans, self._roles, ("agent",))
        if parent is None:
            return {}
        root, seen = parent, {_run_id(self._spans[parent])}
        while (above := _ancestor(self._spans[root], self._spans, self._roles, ("agent",))) is not None:
            if _run_id(self._spans[above]) in seen:
                break  # spans that are above themselves
            seen.add(_run_id(self._spans[above]))
            root = above
        caller = _ancestor(agent, self._spans, self._roles, ("agent", "llm", "tool"))
        return {
            "parent_run_id": _run_id(self._spans[parent]),
            "root_run_id": _run_id(self._spans[root]),
            "parent_call": None if caller is None or caller == parent else self._positions[caller],
        }

    def _people(self, agent: Span | None, calls: list[Span]) -> dict[str, Any]:
        """Session and user, of the agent's span, those above it, or its calls."""
        around: list[Span] = []
        span = agent if agent is not None else self._spans.get(calls[0].parent_id or "")
        while span is not None and span not in around:
            around.append(span)
            span = self._spans.get(span.parent_id or "")
        found = {}
        for name, key in (("session_id", "gen_ai.conversation.id"), ("user_id", "user.id")):
            values = (self._word(span, key) for span in (*around, *calls))
            value = next((value for value in values if value is not None), None)
            found[name] = None if value is None else str(value)
        return found

    def _word(self, span: Span, name: str) -> Any:
        if self._roles[span.span_id] is None:
            return in_genai_words(span.attributes, (), None, span.start).get(name)
        return span.attributes.get(name)

    def _stored_run(self, agent: Span, stored: RunRecord, calls: list[Span]) -> RunRecord:
        """The run of an agent whose span has not come again."""
        run = stored.model_copy(update={"calls": [self._call(span, agent).record for span in calls]})
        if run.ext is not None and (family := _known(self._family(agent))):
            metadata = dict(run.ext.metadata or {})
            metadata["otel"] = {**metadata.get("otel", {})}
            if self._lacking(agent) is None:
                metadata["otel"].pop("parent_span_id", None)
            people = {name: value for name, value in self._people(agent, calls).items() if value is not None}
            run.ext = run.ext.model_copy(update={**family, **people, "metadata": metadata})
        return run

    def _call(self, span: Span, agent: Span | None) -> _Call:
        caller = _ancestor(span, self._spans, self._roles, ("agent", "llm", "tool"))
        is_call = caller is not None and (agent is None or caller != agent.span_id)
        parent = self._positions.get(caller or "") if is_call else None
        stored = span.stored if isinstance(span.stored, CallRecord) else None
        lacking = self._lacking(span) if parent is None else None
        # A trace is built again with each request, and most of its calls are as they were.
        made: _Call | None = span.cache.get("made")
        if made is None or (made.parent, made.lacking) != (parent, lacking) or made.stored is not stored:
            record = _call_adapter.validate_python(self._record(span, stored, parent, lacking))
            made = span.cache["made"] = _Call(record, call_text(record), parent, lacking, stored)
        return made

    def _record(
        self, span: Span, stored: CallRecord | None, parent: int | None, lacking: str | None
    ) -> dict[str, Any] | CallRecord:
        """The record of a call, from what its span tells and what was stored of it before."""
        if stored is not None and span.is_stub and not span.events:
            return _moved(stored, parent, lacking)
        if "call" not in span.cache:
            span.cache["call"] = self._told(span)
        fields, extensions = span.cache["call"]
        extensions = {**extensions, "parent_call": parent}
        if lacking is not None:
            extensions["metadata"] = {**(extensions.get("metadata") or {}), "otel": {"parent_span_id": lacking}}
        call = {**fields, EXTENSIONS_KEY: _known(extensions)}
        if stored is None:
            return call
        before = _moved(stored, parent, lacking).model_dump(mode="json")
        return _filled(before, call) if span.is_stub else _filled(call, before)

    def _told(self, span: Span) -> tuple[dict[str, Any], dict[str, Any]]:
        """A call's fields and extensions, as far as its own span tells them."""
        role = self._roles[span.span_id]
        fields, extensions = (tool_call if role == "tool" else llm_call)(span.name, span.attributes)
        error = _error(span)
        uuid = as_uuid(span.attributes.get("nemo_relay.uuid"))
        extensions |= {
            "id": span.span_id if uuid is None else span.attributes["nemo_relay.uuid"],
            "error": error,
            "status": _status(span, error),
        }
        call = {"kind": role, **fields, "started_at": Timestamp.from_nanoseconds(span.start).text}
        if span.end is not None:
            call["ended_at"] = Timestamp.from_nanoseconds(span.end).text
        return _known(call), extensions

    def _lacking(self, span: Span) -> str | None:
        """The id of the nearest span above that is a call, or has not come, where no agent is above; else None."""
        if _ancestor(span, self._spans, self._roles, ("agent",)) is not None:
            return None
        seen = {span.span_id}
        while (above := span.parent_id) is not None and above not in seen:
            if above not in self._spans or self._roles[above] is not None:
                return above
            seen.add(above)
            span = self._spans[above]
        return None


@dataclass(frozen=True, slots=True)
class _Call:
    """A call, and what it was made of besides its span."""

    record: CallRecord
    text: bytes | None
    """The record as JSON; None where it cannot be a part of a run as it is."""
    parent: int | None
    lacking: str | None
    stored: CallRecord | None


_call_adapter = adapter(Loose[CallRecord])


def _with_calls(value: dict[str, Any], calls: list[_Call]) -> RunRecord:
    texts = [call.text for call in calls if call.text is not None]
    if len(texts) == len(calls):
        return run_of_texts(value, texts)
    return run_from({**value, "calls": [call.record for call in calls]})


def _moved(stored: CallRecord, parent: int | None, lacking: str | None) -> CallRecord:
    """A call as it was stored, in its place among the others."""
    call = stored.model_copy()
    if call.ext is not None:
        metadata = {name: value for name, value in (call.ext.metadata or {}).items() if name != "otel"}
        if lacking is not None:
            metadata["otel"] = {"parent_span_id": lacking}
        call.ext = call.ext.model_copy(update={"parent_call": parent, "metadata": metadata or None})
    return call


def _filled(call: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A call with what only another account of it tells."""
    for name, value in more.items():
        if name in ("annotated_request", "annotated_response", EXTENSIONS_KEY):
            inner = {key: item for key, item in (value or {}).items() if item not in (None, [])}
            known = {key: item for key, item in (call.get(name) or {}).items() if item not in (None, [])}
            if inner or known:
                call[name] = {**inner, **known}
                if name == "annotated_request":
                    call[name].setdefault("messages", [])
        elif call.get(name) is None and value is not None:
            call[name] = value
    return call


def _ancestor(
    span: Span, spans: Mapping[str, Span], roles: Mapping[str, str | None], wanted: tuple[str, ...]
) -> str | None:
    """The id of the nearest span above that is one of the wanted."""
    seen = {span.span_id}
    above = span.parent_id
    while above is not None and above in spans and above not in seen:
        if roles[above] in wanted:
            return above
        seen.add(above)
        above = spans[above].parent_id
    return None


def _order(span: Span) -> tuple[int, str]:
    return span.start, span.span_id


def _run_id(span: Span) -> UUID:
    """The uuid of NeMo Relay's scope, told or hidden in the ids of a root; else derived from the ids."""
    told = as_uuid(span.attributes.get("nemo_relay.uuid"))
    if told is not None:
        return told
    if span.trace_id.endswith(span.span_id):  # NeMo Relay's: the trace is the root scope, the span its second half
        return UUID(span.trace_id)
    return derived_id("otlp", span.trace_id, span.span_id)


def _error(span: Span) -> dict[str, Any] | None:
    if not span.failed:
        return None
    category, kind = span.attributes.get("error.type"), span.exception.get("exception.type")
    kind = kind or span.attributes.get("nemo_relay.end.metadata.exception.type")
    category = category or span.attributes.get("openinference.metadata.error.type")
    category = None if category == "_OTHER" else category  # the conventions' word for an error without a class
    message = span.message or span.exception.get("exception.message")
    error = {"type": kind or category, "message": message, "category": category if kind else None}
    return {name: str(value) for name, value in error.items() if value is not None}


def _status(span: Span, error: dict[str, Any] | None) -> str:
    return "failed" if error is not None else "running" if span.end is None else "completed"


def _metadata(span: Span) -> dict[str, Any]:
    otel = {"trace_id": span.trace_id, "span_id": span.span_id}
    if span.service is not None and span.service != OWN_SERVICE and not span.service.startswith("unknown_service"):
        otel["service"] = span.service
    metadata: dict[str, Any] = {"otel": otel}
    other = unflatten(span.attributes, "nemo_relay.start.metadata.")
    told = parsed(first_of(span.attributes, ("metadata", "langfuse.trace.metadata")))
    told = dict(told) if isinstance(told, dict) else {}
    for prefix in _METADATA:
        told |= unflatten(span.attributes, prefix)
    for name, value in (told | other).items():
        if name not in _PEOPLE and not name.startswith(("otel.", "error.", "exception.")):
            metadata[name] = value
    return metadata


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}
