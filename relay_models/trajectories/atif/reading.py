"""`runs_from_atif`: run records from a trajectory, v1.0 to v1.8, and from the sub-agents that it embeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from relay_models._checks import shown
from relay_models.errors import InvalidRecordError
from relay_models.records import RunRecord, Timestamp
from relay_models.records.extensions import EXTENSIONS_KEY
from relay_models.records.run import run_from
from relay_models.trajectories.atif.content import (
    ATIF_KEY,
    OWN_KEY,
    as_arguments,
    atif_content,
    known,
    mapping,
    objects,
    record_content,
    text_or_none,
    timestamp,
    without,
)
from relay_models.trajectories.atof import AtofReader
from relay_models.trajectories.ids import as_uuid, derived_id
from relay_models.trajectories.problems import describe
from relay_models.trajectories.usage import inclusive_usage, unsigned

__all__ = ["runs_from_atif"]

SUBAGENT_CALL = "subagent:"
_EPOCH = Timestamp("1970-01-01T00:00:00Z")
_FAILED = frozenset({"failed", "failure", "error", "errored"})
_MAX_DEPTH = 64


def runs_from_atif(document: Mapping[str, Any]) -> list[RunRecord]:
    """Read a trajectory.

    Each agent step is an LLM call (unless its `llm_call_count` is 0) and a tool call per tool that was executed.
    User and system steps are the messages of the next LLM call's request, which therefore holds what is new since
    the call before, not the whole conversation. Where NeMo Relay has written its raw events beside the steps
    (`extra.observed_events`), runs are built from those: they tell more.

    Args:
        document: the trajectory as a JSON object.

    Returns:
        The run, then the runs of embedded sub-agents, parents first. Ids are those of the document where they are
        UUIDs, and otherwise derived from it, so that reading it again gives the same.

    Raises:
        InvalidRecordError: it is no trajectory of a known version; says what is wrong and where.
    """
    if not isinstance(document, Mapping):
        raise InvalidRecordError(f"a trajectory is a JSON object, not {shown(document)}")
    try:
        return _read(document)
    except InvalidRecordError:
        raise
    except ValueError as error:
        raise InvalidRecordError(str(error)) from error


def _read(document: Mapping[str, Any]) -> list[RunRecord]:
    version = document.get("schema_version", "ATIF-v1.8")
    if not isinstance(version, str) or not version.startswith("ATIF-v1."):
        raise ValueError(f"schema_version is {shown(version)}: only ATIF-v1.x is understood")
    observed = objects(mapping(document.get("extra")).get("observed_events"))
    if observed and (runs := _from_events(document, observed)):
        return runs
    return list(_runs(document, None, 0))


def _from_events(document: Mapping[str, Any], events: Any) -> list[RunRecord]:
    """The runs of the raw events; none when they do not hold the trajectory's own."""
    reader = AtofReader()
    try:
        runs = [run for event in events for run in reader.event(event)]
        runs += reader.finish()
    except ValueError:
        return []
    # Runs end innermost first.
    runs.reverse()
    own = as_uuid(document.get("trajectory_id")) or as_uuid(document.get("session_id"))
    return runs if any(run.id == own for run in runs) else []


def _runs(document: Mapping[str, Any], parent: _Parent | None, depth: int) -> Iterator[RunRecord]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"sub-agents are nested more than {_MAX_DEPTH} deep")
    agent, steps = document.get("agent"), document.get("steps")
    if not isinstance(agent, Mapping) or not isinstance(agent.get("name"), str):
        raise ValueError("agent has no name")
    if not isinstance(steps, list):
        raise ValueError("steps is no list")
    reading = _Reading(document, agent, steps, parent)
    yield reading.run()
    for sub in objects(document.get("subagent_trajectories")):
        inner = _Parent(reading, reading.calls_by_subagent.get(str(sub.get("trajectory_id"))))
        yield from _runs(sub, inner, depth + 1)


class _Parent:
    """What a sub-agent's run has from its parent's."""

    def __init__(self, reading: _Reading, call: int | None) -> None:
        self.id, self.call = reading.id, call
        self.root_id = reading.root_id or reading.id
        self.started_at = reading.started_at if call is None else Timestamp(reading.calls[call]["started_at"])
        self.session_id, self.user_id = reading.session_id, reading.user_id
        self.document_session = reading.document_session


class _Reading:
    """One trajectory, without its sub-agents."""

    id: UUID
    root_id: UUID | None
    session_id: str | None
    user_id: str | None
    document_session: str | None
    started_at: Timestamp

    def __init__(
        self, document: Mapping[str, Any], agent: Mapping[str, Any], steps: list[Any], parent: _Parent | None
    ) -> None:
        self._document, self._agent, self._steps, self._parent = document, agent, steps, parent
        self._extra = mapping(document.get("extra"))
        self._own = mapping(self._extra.get(OWN_KEY))
        self._relay = self._extra.get("nemo_relay")
        self.calls: list[dict[str, Any]] = []
        self._messages: list[dict[str, Any]] = []
        self._before: list[dict[str, Any]] = []
        self._group = 0
        self._time: Timestamp | None = None
        self._next: Timestamp | None = None
        self.calls_by_subagent: dict[str, int] = {}
        self.document_session = session = text_or_none(document.get("session_id"))
        if parent is not None:
            self.session_id = parent.session_id if session in (None, parent.document_session) else session
        elif isinstance(self._relay, Mapping):
            # NeMo Relay writes the id of the root scope there; the session, if there is one, is in `extra`.
            self.session_id = text_or_none(self._relay.get("session_id"))
        else:
            self.session_id = session
        self.user_id = text_or_none(self._own.get("user_id")) or (None if parent is None else parent.user_id)
        self.id = self._id(session)
        self.root_id = None if parent is None else parent.root_id

    def _id(self, session: str | None) -> UUID:
        name = text_or_none(self._document.get("trajectory_id"))
        if name is not None:
            scope = session if self._parent is None else str(self._parent.id)
            return as_uuid(name) or derived_id("atif", scope, name)
        if isinstance(self._relay, Mapping) and (root := as_uuid(session)) is not None:
            return root
        # Several documents of one session differ in the first step that is not copied from an earlier one.
        own = (step for step in objects(self._steps) if not step.get("is_copied_context"))
        first = next(own, {})
        parts = {name: first.get(name) for name in ("timestamp", "source", "message")}
        return derived_id("atif", session, self._agent["name"], parts)

    def run(self) -> RunRecord:
        for number, step in enumerate(self._steps, 1):
            if not isinstance(step, Mapping):
                raise ValueError(f"steps.{number} is no object")
            if step.get("source") not in ("system", "user", "agent"):
                raise ValueError(f"steps.{number}.source is {shown(step.get('source'))}, not system, user or agent")
            self._next = timestamp(mapping(self._steps[number]).get("timestamp")) if number < len(self._steps) else None
            self._step(step)
        times = [timestamp(step.get("timestamp")) for step in self._steps]
        times += [timestamp(call.get(name)) for call in self.calls for name in ("started_at", "ended_at")]
        found = sorted(time for time in times if time is not None)
        first = timestamp(self._own.get("started_at")) or (found[0] if found else self._other_time())
        self.started_at = first
        for call in self.calls:
            if "started_at" not in call:
                call["started_at"] = call["ended_at"] = first.text
        error = _error(self._extra.get("error"))
        extensions = {
            "status": self._own.get("status") or ("completed" if error is None else "failed"),
            "error": error,
            "parent_run_id": None if self._parent is None else self._parent.id,
            "root_run_id": self.root_id,
            "parent_call": None if self._parent is None else self._parent.call,
            "session_id": self.session_id,
            "user_id": self.user_id,
            "input": self._own.get("input"),
            "output": self._own.get("output"),
            "source": "atif",
            "metadata": {**mapping(self._own.get("metadata")), ATIF_KEY: self._leftover()},
        }
        value = {
            "id": self.id,
            "agent_id": self._agent["name"],
            "calls": self.calls,
            "started_at": first.text,
            EXTENSIONS_KEY: known(extensions),
        }
        if extensions["status"] != "running":
            value["ended_at"] = self._own.get("ended_at") or (found[-1].text if found else first.text)
        if isinstance(exact := self._own.get("run"), Mapping):
            value = {**exact, "id": self.id, "agent_id": value["agent_id"], "calls": self.calls}
        try:
            return run_from(value)
        except ValidationError as error_found:
            raise ValueError(describe(error_found)) from None

    def _other_time(self) -> Timestamp:
        """The time of a document without any: its parent's, that of its UUIDv7, or 1970, the same each time."""
        if self._parent is not None:
            return self._parent.started_at
        milliseconds = self.id.int >> 80
        return Timestamp.from_nanoseconds(milliseconds * 1_000_000) if self.id.version == 7 else _EPOCH

    def _leftover(self) -> dict[str, Any]:
        """What the record has no place for, to be written again."""
        document = self._document
        metrics = mapping(document.get("final_metrics"))
        session = text_or_none(document.get("session_id"))
        name = text_or_none(document.get("trajectory_id"))
        return known(
            {
                "agent": without(self._agent, "name") or None,
                "notes": document.get("notes"),
                "continued_trajectory_ref": document.get("continued_trajectory_ref"),
                "final_metrics_extra": metrics.get("extra"),
                "extra": without(self._extra, "error", OWN_KEY, "observed_events") or None,
                "session_id": session if session != self.session_id else None,
                "trajectory_id": name if as_uuid(name) is None else None,
                "trailing": self._trailing() or None,
            }
        )

    def _trailing(self) -> list[dict[str, Any]]:
        """Messages after the last LLM call."""
        pairs = zip(self._messages, self._before, strict=True)
        return [{"message": message, "step": leftover} for message, leftover in pairs]

    def _step(self, step: Mapping[str, Any]) -> None:
        extra = mapping(step.get("extra"))
        own = mapping(extra.get(OWN_KEY))
        if own.get("empty") is True:
            return
        count = unsigned(step.get("llm_call_count"))
        tools = objects(step.get("tool_calls"))
        real = [tool for tool in tools if not self._is_link(tool, count)]
        if step["source"] != "agent" or step.get("is_copied_context") is True or (count == 0 and not tools):
            role = "assistant" if step["source"] == "agent" else step["source"]
            self._message(role, own["message"] if "message" in own else record_content(step.get("message")), step)
        elif count != 0 or real:
            if count != 0:
                self._llm(step, extra, own, real)
            self._tools(step, extra, own, real, count == 0)
            self._group += 1
        # A step of links only says where sub-agents ran: their runs know their parent.
        self._time = timestamp(step.get("timestamp")) or self._time

    @staticmethod
    def _is_link(tool: Mapping[str, Any], count: int | None) -> bool:
        return count == 0 and str(tool.get("tool_call_id", "")).startswith(SUBAGENT_CALL)

    def _message(self, role: str, content: Any, step: Mapping[str, Any]) -> None:
        self._messages.append({"role": role, "content": content})
        extra = without(step.get("extra"), OWN_KEY)
        leftover = without(step, "step_id", "message", "extra") | ({"extra": extra} if extra else {})
        self._before.append({**leftover, "at": self._group})

    def _times(
        self, own: Mapping[str, Any], invocation: Any, step: Mapping[str, Any], is_tool: bool = False
    ) -> dict[str, Any]:
        """Start and end of a call: exact, of an invocation, or derived from the steps' times."""
        if (started := timestamp(own.get("started_at"))) is not None:
            ended = timestamp(own.get("ended_at"))
            return known({"started_at": started.text, "ended_at": None if ended is None else ended.text})
        invocation = mapping(invocation)
        started = timestamp(invocation.get("start_timestamp"))
        if started is not None:
            ended = timestamp(invocation.get("end_timestamp"))
            return known({"started_at": started.text, "ended_at": (ended or started).text})
        at = timestamp(step.get("timestamp")) or self._time
        if at is None:
            return {EXTENSIONS_KEY: {"times_estimated": True}}
        if is_tool:  # from the step's time to the next one's
            started, ended = at, self._next if self._next is not None and self._next >= at else at
        else:  # the model was at work since the step before
            started, ended = self._time if self._time is not None and self._time <= at else at, at
        return {"started_at": started.text, "ended_at": ended.text, EXTENSIONS_KEY: {"times_estimated": True}}

    def _llm(self, step: Mapping[str, Any], extra: Mapping[str, Any], own: Mapping[str, Any], tools: Any) -> None:
        exact = own.get("call")
        if isinstance(exact, Mapping) and (
            atif_content(mapping(exact.get("annotated_response")).get("message")) == step.get("message")
        ):
            self.calls.append(dict(exact))
            self._messages, self._before = [], []
            return
        metrics = mapping(step.get("metrics"))
        usage, reasoning = _usage(metrics)
        model = text_or_none(step.get("model_name")) or text_or_none(self._agent.get("model_name"))
        model = None if model == "unknown" else model
        name = own.get("name") or mapping(extra.get("ancestry")).get("function_name")
        asked = [
            {
                "id": str(tool.get("tool_call_id", "")),
                "name": str(tool.get("function_name", "")),
                "arguments": {} if tool.get("arguments") is None else tool["arguments"],
            }
            for tool in tools
        ]
        response = known(
            {
                "id": text_or_none(own.get("response_id")),
                "model": model,
                "message": own["message"] if "message" in own else record_content(step.get("message")),
                "tool_calls": asked or None,
                "finish_reason": own.get("finish_reason"),
                "usage": usage or None,
                "reasoning_content": text_or_none(step.get("reasoning_content")),
            }
        )
        times = self._times(own, extra.get("invocation"), step)
        error = _error(extra.get("error"))
        failed = error is not None or str(mapping(extra.get("invocation")).get("status")) in _FAILED
        leftover = known(
            {
                "group": self._group,
                "step": without(
                    step,
                    *(
                        "step_id",
                        "timestamp",
                        "source",
                        "message",
                        "model_name",
                        "reasoning_content",
                        "tool_calls",
                        "observation",
                    ),
                    *("metrics", "extra"),
                )
                or None,
                "before": self._before or None,
                "metrics": _other_metrics(metrics) or None,
                "extra": without(extra, OWN_KEY, "error", "llm_request", "llm_response") or None,
            }
        )
        request = mapping(extra.get("llm_request"))
        extensions = {
            "status": "failed" if failed else "completed",
            "error": error,
            "input": request["content"] if request.keys() == {"content", "headers"} else extra.get("llm_request"),
            "output": extra.get("llm_response"),
            "reasoning_tokens": reasoning,
            **times.pop(EXTENSIONS_KEY, {}),
        }
        call = {
            "kind": "llm",
            "name": name if isinstance(name, str) else "llm",
            **times,
            "model_name": model,
            "prompt_tokens": unsigned(usage.get("prompt_tokens"), 32),
            "output_tokens": unsigned(usage.get("completion_tokens"), 32),
            "total_tokens": unsigned(usage.get("total_tokens"), 32),
            "tool_call_count": len(asked) or None,
            "annotated_request": known({"messages": self._messages, "model": model}),
            "annotated_response": response,
        }
        self._add(call, extensions, own, leftover)
        self._messages, self._before = [], []

    def _tools(
        self, step: Mapping[str, Any], extra: Mapping[str, Any], own: Mapping[str, Any], tools: Any, alone: bool
    ) -> None:
        results, unmatched = _results(step, tools)
        first = len(self.calls)
        invocations = objects(extra.get("tool_invocations"))
        by_id = {str(invocation.get("invocation_id")): invocation for invocation in invocations}
        for index, tool in enumerate(tools):
            identifier = str(tool.get("tool_call_id", ""))
            tool_extra = mapping(tool.get("extra"))
            tool_own = mapping(tool_extra.get(OWN_KEY))
            invocation = tool_extra.get("invocation") or by_id.get(identifier)
            if invocation is None and len(invocations) == len(tools):
                invocation = invocations[index]
            found = results[index]
            if not (found or invocation or tool_own or alone):
                continue  # The model asked for it, and nothing says that it was executed.
            for result in found:
                for reference in objects(result.get("subagent_trajectory_ref")):
                    self.calls_by_subagent[str(reference.get("trajectory_id"))] = len(self.calls)
            exact = mapping(tool_own.get("call"))
            given = mapping(exact.get(EXTENSIONS_KEY)).get("input")
            if exact and (given is None or as_arguments(given) == tool.get("arguments")):
                self.calls.append(dict(exact))
                continue
            times = self._times(tool_own, invocation, step, is_tool=True)
            extensions = {**_outcome(found, invocation), "tool_call_id": identifier or None}
            extensions |= {"input": tool.get("arguments"), **times.pop(EXTENSIONS_KEY, {})}
            leftover = known(
                {
                    "group": self._group,
                    "extra": without(tool_extra, OWN_KEY) or None,
                    "results": [_result_leftover(result) for result in found] or None,
                }
            )
            if leftover.get("results") == [{}]:
                del leftover["results"]
            if alone and len(self.calls) == first:
                kept = without(step, "step_id", "timestamp", "tool_calls", "observation", "extra", "source")
                kept_extra = without(extra, OWN_KEY)
                leftover["step"] = kept | ({"extra": kept_extra} if kept_extra else {})
            call = {"kind": "tool", "name": str(tool.get("function_name", "")), **times}
            self._add(call, extensions, tool_own, leftover)
        for result in unmatched:
            self._messages.append({"role": "user", "content": record_content(result.get("content"))})
            kept = without(result, "content", "source_call_id")
            self._before.append({"observation": kept, "at": self._group + 1})

    def _add(
        self, call: dict[str, Any], extensions: dict[str, Any], own: Mapping[str, Any], leftover: dict[str, Any]
    ) -> None:
        extensions = known({**extensions, **mapping(own.get("ext"))})
        extensions["metadata"] = {**mapping(mapping(own.get("ext")).get("metadata")), ATIF_KEY: leftover}
        call[EXTENSIONS_KEY] = extensions
        self.calls.append(known(call))


def _usage(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Usage as a record has it, and the reasoning tokens."""
    extra = mapping(metrics.get("extra"))
    cost = metrics.get("cost_usd")
    amount = float(cost) if isinstance(cost, (int, float)) and not isinstance(cost, bool) else None
    usage = inclusive_usage(
        metrics.get("prompt_tokens"),
        metrics.get("completion_tokens"),
        total=extra.get("total_tokens"),
        read=metrics.get("cached_tokens"),
        written=extra.get("cache_creation_input_tokens"),
        cost=None if amount is None else {"total": amount, "currency": "USD", "source": "provider_reported"},
    )
    reasoning = unsigned(extra.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = unsigned(mapping(extra.get("completion_tokens_details")).get("reasoning_tokens"))
    return usage, reasoning


def _other_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    others = without(metrics, "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "extra")
    extra = without(metrics.get("extra"), "cache_creation_input_tokens", "total_tokens", "reasoning_tokens")
    return others | ({"extra": extra} if extra else {})


def _results(step: Mapping[str, Any], tools: Any) -> tuple[list[list[Mapping[str, Any]]], list[Mapping[str, Any]]]:
    """The results of each tool call, by id or else in order, and those that belong to none."""
    identifiers = [str(tool.get("tool_call_id", "")) for tool in tools]
    found: list[list[Mapping[str, Any]]] = [[] for _ in tools]
    unnamed = []
    for result in objects(mapping(step.get("observation")).get("results")):
        source = result.get("source_call_id")
        if source is not None and str(source) in identifiers:
            found[identifiers.index(str(source))].append(result)
        elif source is None or not str(source).startswith(SUBAGENT_CALL):
            unnamed.append(result)
    for results in found:
        if not results and unnamed:
            results.append(unnamed.pop(0))
    return found, unnamed


def _outcome(results: list[Mapping[str, Any]], invocation: Any) -> dict[str, Any]:
    """Output, status and error of a tool call."""
    outputs, error, failed = [], None, str(mapping(invocation).get("status")) in _FAILED
    for result in results:
        extra = mapping(result.get("extra"))
        outputs.append(extra["tool_result"] if "tool_result" in extra else result.get("content"))
        metadata = mapping(extra.get("metadata"))
        relay_failed = str(metadata.get("otel.status_code", "")).upper() == "ERROR"
        failed = failed or extra.get("is_error") is True or relay_failed
        error = error or _error(extra.get("error"))
    if failed and error is None and outputs and isinstance(outputs[0], str):
        error = {"message": outputs[0]}
    status = "failed" if failed or error is not None else "completed" if results else None
    return {"output": outputs[0] if len(outputs) == 1 else outputs or None, "status": status, "error": error}


def _result_leftover(result: Mapping[str, Any]) -> dict[str, Any]:
    extra = without(result.get("extra"), "tool_result", "is_error", "error")
    return without(result, "content", "source_call_id", "extra") | ({"extra": extra} if extra else {})


def _error(value: Any) -> dict[str, Any] | None:
    """An error by the conventions: an object with type and message, or a text."""
    if isinstance(value, Mapping):
        names = ("type", "message", "category")
        return {name: str(value[name]) for name in names if value.get(name) is not None}
    return {"message": value} if isinstance(value, str) and value else None
