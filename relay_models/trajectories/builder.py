"""`RunBuilder`: from NeMo Relay's events to run records, by the rules of its own adaptive telemetry. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from relay_models._checks import check_count
from relay_models.records import RunRecord
from relay_models.records.extensions import EXTENSIONS_KEY
from relay_models.records.run import run_from
from relay_models.trajectories.ids import as_uuid, derived_id

__all__ = ["INCOMPLETE", "AgentNaming", "RunBuilder", "ScopeEvent", "error_of"]

# The key in the metadata of a run that was given up before its end; it says why.
INCOMPLETE = "incomplete"

_U32 = 0xFFFF_FFFF
# Runs that have ended of which a repeated start is noticed.
_ENDED_RUNS = 10_000
_TOOL_RESULT = "nemo.relay.tool_result@"
# Of a streamed call's end: NeMo Relay's profile has the first, other writers' metadata the others.
_FIRST_TOKEN_SECONDS = ("time_to_first_chunk", "gen_ai.response.time_to_first_chunk")
_FIRST_TOKEN_MS = ("time_to_first_token_ms", "ttft_ms")
# Prefixes of metadata keys that say how a scope ended; the extensions have fields for that.
_OUTCOME_KEYS = ("otel.", "error.", "exception.")


class ScopeEvent(Protocol):
    """What is looked at in an event of `nemo_relay`: a scope, LLM call or tool call that starts or ends."""

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
    def data(self) -> Any: ...
    @property
    def metadata(self) -> Any: ...
    @property
    def category_profile(self) -> dict[str, Any] | None: ...


# An agent id for all runs, or what makes one from the name of the run's scope.
AgentNaming = str | Callable[[str], str] | None


@dataclass(slots=True)
class _OpenRun:
    id: UUID
    agent_id: str
    started_at: str
    extensions: dict[str, Any]
    size: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)
    # Of the scopes that are open: the index of the innermost call that they are or that encloses them.
    events: dict[str, int | None] = field(default_factory=dict)
    # Events of calls that have started: a line may have been delivered twice.
    started: set[str] = field(default_factory=set)


class RunBuilder:
    """Builds runs from events.

    A scope of type Agent opens a run and its end closes it. LLM and tool calls under it are its calls in the order in
    which they start; those under a nested Agent scope belong to that one's run; those outside of any are left out.
    The end of a call goes to the newest open call of that name. What an LLM call's response tells about tokens, model
    and tool calls is there when a codec has read it.

    What NeMo Relay's records have no field for is in the extensions: failures, input and output, parents, session and
    user. They belong to the call with the event's uuid, also where telemetry mistakes one parallel call for another.

    The id of a run is the uuid of its scope, so reading the same events again gives the same runs. (The runtime's own
    telemetry makes another id for each run, which no event tells.)

    Args:
        agent_id: the agent of all runs; or a function of the Agent scope's name; None takes that name.
        max_calls: maximum number of calls, and of runs, to hold open; beyond it the oldest open run is given up.
        max_bytes: maximum size of the events to hold open [bytes, as `process` is told]; None for no limit.
        keep_io: whether input and output of calls are kept in the extensions.
        on_given_up: called with each run that is given up, as far as it is known; None drops it.

    Raises:
        InvalidConfigurationError: a limit is less than 1.
    """

    def __init__(
        self,
        agent_id: AgentNaming = None,
        *,
        max_calls: int = 100_000,
        max_bytes: int | None = None,
        keep_io: bool = True,
        on_given_up: Callable[[RunRecord], None] | None = None,
    ) -> None:
        check_count("max_calls", max_calls)
        if max_bytes is not None:
            check_count("max_bytes", max_bytes)
        self._agent_id = agent_id
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._keep_io = keep_io
        self._on_given_up = on_given_up
        self._runs: dict[str, _OpenRun] = {}
        self._roots: dict[str, str] = {}
        # Start of each run that has ended recently.
        self._ended_runs: OrderedDict[str, str] = OrderedDict()
        self._calls = 0
        self._bytes = 0
        self.given_up = 0
        """Runs that were given up because too much was open at once."""

    @property
    def open_runs(self) -> int:
        """Runs that have begun and not ended."""
        return len(self._runs)

    def process(self, event: ScopeEvent, size: int = 0) -> RunRecord | None:
        """Process an event.

        Args:
            event: the event; marks are ignored.
            size: what the event takes while its run is open [bytes].

        Returns:
            The run that the event ends, if it ends one.

        Raises:
            ValueError: the run cannot be made into a record.
        """
        if getattr(event, "kind", None) != "scope":
            return None
        category = event.category
        starts = event.scope_category == "start"
        if category == "agent":
            if starts:
                self._open(event, size)
                return None
            return self._close(event)
        uuid = event.uuid
        root = self._roots.get(uuid) or self._roots.get(event.parent_uuid or "")
        if root is None:
            return None
        run = self._runs[root]
        if starts:
            if uuid in run.events or uuid in run.started:
                return None
            enclosing = run.events.get(event.parent_uuid or "")
            self._roots[uuid] = root
            run.events[uuid] = enclosing
            if category in ("llm", "tool"):
                run.started.add(uuid)
                run.events[uuid] = len(run.calls)
                run.calls.append(self._started(event, category, enclosing))
                self._calls += 1
                self._hold(run, size)
            return None
        if category in ("llm", "tool"):
            self._ended(run, event, category)
            run.events.pop(uuid, None)
            self._roots.pop(uuid, None)
            self._hold(run, size)
        else:
            run.events.pop(uuid, None)
            self._roots.pop(uuid, None)
        return None

    def finish(self) -> Iterator[RunRecord]:
        """Yield the runs that are still open, oldest first, as running ones, and forget them."""
        while self._runs:
            run = self._forget(next(iter(self._runs)))
            assert run is not None
            yield _unfinished(run)

    def _hold(self, run: _OpenRun, size: int) -> None:
        """Count what an event takes, and give up runs while it is too much."""
        run.size += size
        self._bytes += size
        while self._runs and (
            self._calls > self._max_calls
            or len(self._runs) > self._max_calls
            or (self._max_bytes is not None and self._bytes > self._max_bytes)
        ):
            self._give_up_oldest()

    def _open(self, event: ScopeEvent, size: int) -> None:
        naming = self._agent_id
        agent_id = event.name if naming is None else naming if isinstance(naming, str) else naming(event.name)
        uuid = event.uuid
        if self._is_known(event):
            return
        self._forget(uuid)
        parent_root = self._roots.get(event.parent_uuid or "")
        parent = None if parent_root is None else self._runs[parent_root]
        run = _OpenRun(_run_id(uuid), agent_id, _time(event), {"status": "running", "source": "atof"})
        extensions = run.extensions
        if parent is not None:
            extensions["parent_run_id"] = parent.id
            extensions["root_run_id"] = parent.extensions.get("root_run_id", parent.id)
            extensions["parent_call"] = parent.events.get(event.parent_uuid or "")
            for name in ("session_id", "user_id"):
                extensions[name] = parent.extensions.get(name)
        else:
            root = getattr(event, "propagation_root_uuid", None)
            if isinstance(root, str) and root and root != uuid:
                extensions["root_run_id"] = _run_id(root)
        if self._keep_io:
            extensions["input"] = event.data
        _take_metadata(extensions, event.metadata)
        self._roots[uuid] = uuid
        self._runs[uuid] = run
        run.events[uuid] = None
        # An empty run holds little, but endless ones that never end would hold all of it.
        self._hold(run, size)

    def _is_known(self, event: ScopeEvent) -> bool:
        """Whether the start of a run was delivered before, also when the run has ended since."""
        run = self._runs.get(event.uuid)
        return (self._ended_runs.get(event.uuid) if run is None else run.started_at) == _time(event)

    def _close(self, event: ScopeEvent) -> RunRecord | None:
        run = self._forget(event.uuid)
        if run is None:
            return None
        self._ended_runs[event.uuid] = run.started_at
        if len(self._ended_runs) > _ENDED_RUNS:
            self._ended_runs.popitem(last=False)
        _take_metadata(run.extensions, event.metadata)
        error = error_of(event.metadata)
        run.extensions["status"] = "completed" if error is None else "failed"
        run.extensions["error"] = error
        if self._keep_io:
            run.extensions["output"] = event.data
        for call in run.calls:
            # It was cut off by the end of its run; how it went is not known.
            if call[EXTENSIONS_KEY]["status"] == "running":
                call[EXTENSIONS_KEY]["status"] = None
        return _record(run, _time(event))

    def _forget(self, root: str) -> _OpenRun | None:
        run = self._runs.pop(root, None)
        if run is None:
            return None
        self._calls -= len(run.calls)
        self._bytes -= run.size
        for uuid in (root, *run.events):
            if self._roots.get(uuid) == root:
                del self._roots[uuid]
        return run

    def _give_up_oldest(self) -> None:
        run = self._forget(next(iter(self._runs)))
        self.given_up += 1
        if run is not None and self._on_given_up is not None:
            metadata = run.extensions.get("metadata") or {}
            run.extensions["metadata"] = {**metadata, INCOMPLETE: "too much was open at once to read the rest"}
            self._on_given_up(_unfinished(run))

    def _started(self, event: ScopeEvent, category: str, enclosing: int | None) -> dict[str, Any]:
        call: dict[str, Any] = {"kind": category, "name": event.name, "started_at": _time(event)}
        profile = event.category_profile or {}
        extensions: dict[str, Any] = {"id": event.uuid, "status": "running", "parent_call": enclosing}
        call[EXTENSIONS_KEY] = extensions
        if category == "tool":
            extensions["tool_call_id"] = _text(profile.get("tool_call_id"))
            if self._keep_io:
                extensions["input"] = event.data
        elif (request := profile.get("annotated_request")) is not None:
            call["annotated_request"] = request
        elif self._keep_io:
            extensions["input"] = _without_headers(event.data)
        return call

    def _ended(self, run: _OpenRun, event: ScopeEvent, category: str) -> None:
        index = run.events.get(event.uuid)
        own = None if index is None else run.calls[index]
        # As in the runtime's telemetry, which does not look at the event's uuid.
        newest = next((it for it in reversed(run.calls) if it["name"] == event.name and "ended_at" not in it), None)
        if newest is not None:
            newest["ended_at"] = _time(event)
            if category == "llm":
                _take_response(newest, event)
        if own is None:
            return
        extensions = own[EXTENSIONS_KEY]
        if own is not newest:
            extensions["ended_at"] = _time(event)
        error = error_of(event.metadata)
        output = event.data
        profile = event.category_profile or {}
        if isinstance(output, Mapping) and str(output.get("schema", "")).startswith(_TOOL_RESULT):
            if output.get("is_error") is True and error is None:
                error = {"message": _text(output.get("content"))}
            output = output.get("content") if output.get("result") is None else output["result"]
        extensions["status"] = "completed" if error is None else "failed"
        extensions["error"] = error
        extensions["tool_call_id"] = extensions.get("tool_call_id") or _text(profile.get("tool_call_id"))
        if self._keep_io and (category == "tool" or profile.get("annotated_response") is None):
            extensions["output"] = output
        if category == "llm":
            extensions["reasoning_tokens"] = _reasoning_tokens(event.data)
            extensions["time_to_first_token_ms"] = _first_token(profile) or _first_token(event.metadata)
        metadata = _other_metadata(event.metadata)
        if (annotation := profile.get("tool_result_annotation")) is not None:
            metadata["tool_result_annotation"] = annotation
        extensions["metadata"] = metadata or None


def error_of(metadata: Any) -> dict[str, Any] | None:
    """The error that the metadata of an end event tells, as `ErrorInfo` has it; None where there is none."""
    if not isinstance(metadata, Mapping) or str(metadata.get("otel.status_code", "")).upper() != "ERROR":
        return None
    category, kind = _text(metadata.get("error.type")), _text(metadata.get("exception.type"))
    message = _text(metadata.get("otel.status_description")) or _text(metadata.get("exception.message"))
    error = {"type": kind or category, "message": message, "category": category if kind else None}
    return {name: value for name, value in error.items() if value is not None}


def _run_id(uuid: str) -> UUID:
    return as_uuid(uuid) or derived_id("atof", uuid)


def _record(run: _OpenRun, ended_at: str | None) -> RunRecord:
    value = {
        "id": run.id,
        "agent_id": run.agent_id,
        "calls": [{**call, EXTENSIONS_KEY: _known(call[EXTENSIONS_KEY])} for call in run.calls],
        "started_at": run.started_at,
        EXTENSIONS_KEY: _known(run.extensions),
    }
    if ended_at is not None:
        value["ended_at"] = ended_at
    return run_from(value)


def _unfinished(run: _OpenRun) -> RunRecord:
    return _record(run, None)


def _known(extensions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extensions.items() if value is not None}


def _take_metadata(extensions: dict[str, Any], metadata: Any) -> None:
    """Session, user and other data of an Agent scope; the end repeats what the start has said."""
    other = _other_metadata(metadata)
    for name in ("session_id", "user_id"):
        value = _text(other.pop(name, None))
        if value is not None:
            extensions[name] = value
    if other:
        extensions["metadata"] = {**(extensions.get("metadata") or {}), **other}


def _other_metadata(metadata: Any) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        return {}
    return {name: value for name, value in metadata.items() if not str(name).startswith(_OUTCOME_KEYS)}


def _text(value: Any) -> str | None:
    """A text, or a number as text; None for anything else and for an empty text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value) or None


def _time(event: ScopeEvent) -> str:
    """The event's time as records have it: UTC is written Z."""
    text = event.timestamp
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _without_headers(data: Any) -> Any:
    """The body of an LLM request: its headers may hold keys."""
    return data["content"] if isinstance(data, Mapping) and data.keys() == {"content", "headers"} else data


def _reasoning_tokens(data: Any) -> int | None:
    usage = data.get("usage") if isinstance(data, Mapping) else None
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    told = details.get("reasoning_tokens") if isinstance(details, Mapping) else None
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 2**64 else None


def _first_token(told_by: Any) -> float | None:
    if not isinstance(told_by, Mapping):
        return None
    for names, factor in ((_FIRST_TOKEN_SECONDS, 1000.0), (_FIRST_TOKEN_MS, 1.0)):
        for name in names:
            told = told_by.get(name)
            if isinstance(told, (int, float)) and not isinstance(told, bool):
                return float(told) * factor
    return None


def _take_response(call: dict[str, Any], event: ScopeEvent) -> None:
    response = (event.category_profile or {}).get("annotated_response")
    if response is None:
        return
    call["annotated_response"] = response
    if not isinstance(response, Mapping):
        return
    usage = response.get("usage")
    for field_name, source in (
        ("output_tokens", "completion_tokens"),
        ("prompt_tokens", "prompt_tokens"),
        ("total_tokens", "total_tokens"),
    ):
        told = usage.get(source) if isinstance(usage, Mapping) else None
        if isinstance(told, int) and told >= 0:
            call[field_name] = told & _U32
    if isinstance(response.get("model"), str):
        call["model_name"] = response["model"]
    if isinstance(response.get("tool_calls"), list):
        call["tool_call_count"] = len(response["tool_calls"])
