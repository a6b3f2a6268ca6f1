"""`RunBuilder`: build run records from NeMo Relay's events, by the rules of its adaptive telemetry. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from relay_models.records import CallRecord, RunRecord, uuid7

__all__ = ["AgentNaming", "RunBuilder", "ScopeEvent"]

_U32 = 0xFFFF_FFFF


class ScopeEvent(Protocol):
    """What is used of an event of `nemo_relay`: a scope, LLM call or tool call that starts or ends."""

    @property
    def kind(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def scope_category(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    @property
    def parent_uuid(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def timestamp(self) -> str: ...
    @property
    def category_profile(self) -> dict[str, Any] | None: ...


# An agent id for all runs, or a function that derives it from the name of the run's scope.
AgentNaming = str | Callable[[str], str] | None


@dataclass(slots=True)
class _OpenRun:
    agent_id: str
    started_at: str
    calls: list[dict[str, Any]] = field(default_factory=list)
    events: set[str] = field(default_factory=set)


class RunBuilder:
    """Builds runs from events, and holds the open ones.

    A scope of type Agent opens a run, and its end closes it. LLM and tool calls under it are its calls, in the order in
    which they start; calls under a nested Agent scope belong to that scope's run; calls outside of any scope are
    ignored. The end of a call is assigned to the newest open call of that name. Tokens, model and tool calls of an LLM
    response are known if a codec has decoded it.

    Args:
        agent_id: The agent of all runs, or a function that derives it from the Agent scope's name; None uses that name.
        max_calls: Maximum number of calls of open runs to hold. Beyond it the oldest open run is dropped.
    """

    def __init__(self, agent_id: AgentNaming = None, *, max_calls: int = 100_000) -> None:
        self._agent_id = agent_id
        self._max_calls = max_calls
        self._runs: dict[str, _OpenRun] = {}
        self._roots: dict[str, str] = {}
        self._calls = 0
        self.given_up = 0
        """Runs that were dropped because too many calls were open."""

    @property
    def open_runs(self) -> int:
        """Number of runs that have started and not ended."""
        return len(self._runs)

    def process(self, event: ScopeEvent) -> RunRecord | None:
        """Process an event.

        Args:
            event: The event.

        Returns:
            The run that the event ends; None if it ends none.

        Raises:
            ValueError: The run is not a valid record.
        """
        if event.kind != "scope":
            return None
        category = event.category
        starts = event.scope_category == "start"
        if category == "agent":
            if starts:
                self._open(event)
                return None
            return self._close(event)
        uuid = event.uuid
        root = self._roots.get(uuid) or self._roots.get(event.parent_uuid or "")
        if root is None:
            return None
        run = self._runs[root]
        if starts:
            self._roots[uuid] = root
            run.events.add(uuid)
            if category in ("llm", "tool"):
                run.calls.append(_started(event, category))
                self._calls += 1
                if self._calls > self._max_calls:
                    self._give_up_oldest()
        elif category in ("llm", "tool"):
            name = event.name
            for call in reversed(run.calls):
                if call["name"] == name and "ended_at" not in call:
                    _ended(call, event, category)
                    break
            self._leave(uuid, run)
        else:
            self._leave(uuid, run)
        return None

    def _leave(self, uuid: str, run: _OpenRun) -> None:
        run.events.discard(uuid)
        self._roots.pop(uuid, None)

    def _open(self, event: ScopeEvent) -> None:
        naming = self._agent_id
        agent_id = event.name if naming is None else naming if isinstance(naming, str) else naming(event.name)
        uuid = event.uuid
        self._forget(uuid)
        self._roots[uuid] = uuid
        self._runs[uuid] = _OpenRun(agent_id, _time(event))
        # Runs without calls use little memory each, but any number of them may never end.
        if len(self._runs) > self._max_calls:
            self._give_up_oldest()

    def _close(self, event: ScopeEvent) -> RunRecord | None:
        run = self._forget(event.uuid)
        if run is None:
            return None
        return RunRecord.model_validate(
            {
                "id": uuid7(),
                "agent_id": run.agent_id,
                "calls": [CallRecord.model_validate(call) for call in run.calls],
                "started_at": run.started_at,
                "ended_at": _time(event),
            }
        )

    def _forget(self, root: str) -> _OpenRun | None:
        run = self._runs.pop(root, None)
        if run is None:
            return None
        self._calls -= len(run.calls)
        for uuid in (root, *run.events):
            if self._roots.get(uuid) == root:
                del self._roots[uuid]
        return run

    def _give_up_oldest(self) -> None:
        self._forget(next(iter(self._runs)))
        self.given_up += 1


def _time(event: ScopeEvent) -> str:
    """Return the event's time as records write it: Z for UTC."""
    text = event.timestamp
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _started(event: ScopeEvent, category: str) -> dict[str, Any]:
    call: dict[str, Any] = {"kind": category, "name": event.name, "started_at": _time(event)}
    if category == "llm":
        request = (event.category_profile or {}).get("annotated_request")
        if request is not None:
            call["annotated_request"] = request
    return call


def _ended(call: dict[str, Any], event: ScopeEvent, category: str) -> None:
    call["ended_at"] = _time(event)
    if category != "llm":
        return
    response = (event.category_profile or {}).get("annotated_response")
    if response is None:
        return
    call["annotated_response"] = response
    usage = response.get("usage") or {}
    for field_name, source in (
        ("output_tokens", "completion_tokens"),
        ("prompt_tokens", "prompt_tokens"),
        ("total_tokens", "total_tokens"),
    ):
        if usage.get(source) is not None:
            call[field_name] = usage[source] & _U32
    if response.get("model") is not None:
        call["model_name"] = response["model"]
    if response.get("tool_calls") is not None:
        call["tool_call_count"] = len(response["tool_calls"])
