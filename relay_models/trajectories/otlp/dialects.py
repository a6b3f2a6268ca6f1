"""`in_genai_words`: what libraries say in attributes and events of their own, in those of the GenAI conventions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay_models.records.mending import mended_value
from relay_models.trajectories.otlp.attributes import first_of, indexed, parsed
from relay_models.trajectories.otlp.messages import genai_items

__all__ = ["SpanEvent", "from_json_text", "in_genai_words", "is_telling", "messages_answered", "messages_asked"]

# For what a span says of a call, the attributes of other libraries. Those of the second group hold JSON, also of texts.
_SAME: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gen_ai.provider.name": (("ai.model.provider", "langsmith.metadata.ls_provider"), ()),
    "gen_ai.request.model": (
        (
            *("ai.model.id", "embedding.model_name", "langfuse.observation.model.name"),
            *("langsmith.metadata.ls_model_name", "llm.request.model", "llm.request.model_name"),
        ),
        (),
    ),
    "gen_ai.response.id": (("ai.response.id",), ()),
    "gen_ai.response.model": (("ai.response.model", "llm.response.model", "llm.response.model_name"), ()),
    "gen_ai.response.finish_reasons": (
        (
            *("ai.response.finishReason", "gen_ai.completion.0.finish_reason", "anthropic.message.stop_reason"),
            *("llm.response.finish_reason", "gen_ai.response.finish_reason"),
        ),
        (),
    ),
    "gen_ai.agent.name": (
        ("agent.name", "agent_name", "ai.telemetry.functionId", "traceloop.entity.name"),
        (),
    ),
    "gen_ai.tool.name": (("tool.name", "ai.toolCall.name", "traceloop.entity.name"), ()),
    "gen_ai.tool.call.id": (("tool_call.id", "ai.toolCall.id", "nemo_relay.tool_call_id"), ()),
    "gen_ai.tool.call.arguments": (
        (
            *("input.value", "tool_call.function.arguments", "tool_arguments", "gcp.vertex.agent.tool_call_args"),
            "gen_ai.tool.input",
        ),
        ("ai.toolCall.args", "traceloop.entity.input", "langfuse.observation.input", "mlflow.spanInputs"),
    ),
    "gen_ai.tool.call.result": (
        ("output.value", "tool_response", "gcp.vertex.agent.tool_response", "gen_ai.tool.output"),
        ("ai.toolCall.result", "traceloop.entity.output", "langfuse.observation.output", "mlflow.spanOutputs"),
    ),
    "gen_ai.conversation.id": (
        (
            *("session.id", "langfuse.session.id", "ai.telemetry.metadata.sessionId", "langsmith.trace.session_id"),
            *("traceloop.association.properties.session_id", "gcp.vertex.agent.session_id"),
            "nemo_relay.start.metadata.session_id",
        ),
        (),
    ),
    "user.id": (
        (
            *("enduser.id", "langfuse.user.id", "ai.telemetry.metadata.userId"),
            *("traceloop.association.properties.user_id", "nemo_relay.start.metadata.user_id"),
        ),
        (),
    ),
}
_INPUTS = (
    "ai.prompt.messages",
    "gen_ai.request.messages",
    "langfuse.observation.input",
    "mlflow.spanInputs",
    "gcp.vertex.agent.llm_request",
)
_OUTPUTS = ("langfuse.observation.output", "mlflow.spanOutputs", "gcp.vertex.agent.llm_response")
# Events of a message in a request, with the role that they say.
_MESSAGE_EVENTS = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_FIRST_TOKEN_EVENTS = ("First Token Stream Event", "gen_ai.content.completion.chunk", "ai.stream.firstChunk")
_FIRST_TOKEN_MS = ("ai.response.msToFirstChunk",)
# In seconds as OpenLIT and Sentry have it, in milliseconds of Strands.
_FIRST_TOKEN_SECONDS = (
    "gen_ai.server.time_to_first_token",
    "gen_ai.server.ttft",
    "gen_ai.response.time_to_first_token",
)
_TELLING = frozenset(
    (
        *_MESSAGE_EVENTS,
        *_FIRST_TOKEN_EVENTS,
        *("gen_ai.choice", "gen_ai.content.prompt", "gen_ai.content.completion"),
        "gen_ai.client.inference.operation.details",
    )
)
_DETAILS = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions")


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """An event of a span, or a log record that belongs to one."""

    time: int
    """Nanoseconds since 1970; 0 where it is not told."""
    name: str
    attributes: dict[str, Any]


def is_telling(name: str) -> bool:
    """Whether an event of this name says something of a call."""
    return name in _TELLING


def in_genai_words(
    attributes: Mapping[str, Any], events: Sequence[SpanEvent], role: str | None, start: int
) -> dict[str, Any]:
    """Add what other attributes and events say in the words of the GenAI conventions, unless these say it themselves.

    Args:
        attributes: of the span.
        events: its events, in order.
        role: what the span is.
        start: when it started [nanoseconds].

    Returns:
        All attributes; messages are lists in the form of the conventions.
    """
    found = dict(attributes)
    for name, (plain, as_json) in _SAME.items():
        if found.get(name) is None:
            value = next((found[key] for key in plain if found.get(key) is not None), None)
            if value is None:
                value = next((from_json_text(found[key]) for key in as_json if found.get(key) is not None), None)
            if value is not None:
                found[name] = value
    if role == "tool":
        _add(found, _tool_events(events))
    elif role == "llm":
        _add(found, _first_token(attributes, events, start))
        _add(found, _details(events))
        for name, told in (("gen_ai.input.messages", messages_asked), ("gen_ai.output.messages", messages_answered)):
            if found.get(name) is None and (messages := told(attributes, events)):
                found[name] = messages
        if found.get("gen_ai.tool.definitions") is None and (tools := _tools(attributes)):
            found["gen_ai.tool.definitions"] = tools
    return found


def _add(found: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if found.get(name) is None and value is not None:
            found[name] = value


def from_json_text(value: Any) -> Any:
    """What a JSON text says, also where that is a text or a number; anything else as it is."""
    try:
        return mended_value(value)[0] if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def messages_asked(attributes: Mapping[str, Any], events: Sequence[SpanEvent]) -> list[dict[str, Any]]:
    """The messages of a request."""
    if prompts := indexed(attributes, "gen_ai.prompt.") or indexed(attributes, "llm.prompts."):
        return genai_items([_flat_message(prompt) for prompt in prompts])
    found = []
    for event in events:
        if event.name in _MESSAGE_EVENTS:
            body = _body(event)
            found += genai_items([{"role": _MESSAGE_EVENTS[event.name], **body}])
        elif event.name == "gen_ai.content.prompt":
            found += genai_items(event.attributes.get("gen_ai.prompt"))
    if not found and isinstance(listed := parsed(attributes.get("events")), list):  # Pydantic AI's first version
        found = messages_asked({}, _listed_events(listed))
    for name in (*_INPUTS, "gen_ai.prompt"):
        if not found and attributes.get(name) is not None:
            found = genai_items(from_json_text(attributes[name]))
    return found


def messages_answered(attributes: Mapping[str, Any], events: Sequence[SpanEvent]) -> list[dict[str, Any]]:
    """The message of a response."""
    if answers := indexed(attributes, "gen_ai.completion."):
        return genai_items([{"role": "assistant", **_flat_message(answer)} for answer in answers])
    found = []
    for event in events:
        if event.name == "gen_ai.choice":
            found += genai_items([_choice(_body(event))])
        elif event.name == "gen_ai.content.completion":
            found += _of_assistant(event.attributes.get("gen_ai.completion"))
    if not found and isinstance(listed := parsed(attributes.get("events")), list):
        found = messages_answered({}, _listed_events(listed))
    text = first_of(attributes, ("ai.response.text", "ai.response.object", "gen_ai.response.text"))
    calls = first_of(attributes, ("ai.response.toolCalls", "gen_ai.response.tool_calls"))
    if isinstance(listed := parsed(text), list) and listed and all(isinstance(item, str) for item in listed):
        text = "\n".join(listed)
    if not found and (text is not None or calls is not None):
        found = genai_items([{"role": "assistant", "content": text, "tool_calls": calls}])
    for name in (*_OUTPUTS, "gen_ai.completion"):
        if not found and attributes.get(name) is not None:
            found = _of_assistant(attributes[name])
    return found


def _of_assistant(value: Any) -> list[dict[str, Any]]:
    return [{**item, "role": "assistant"} for item in genai_items(from_json_text(value))]


def _flat_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message that is spread over attributes such as ``gen_ai.prompt.0.content``."""
    flat = {name: value for name, value in message.items() if "." not in name}
    if "prompt.text" in message:
        flat["content"] = message["prompt.text"]
    return {**flat, "tool_calls": indexed(message, "tool_calls.")} if any("." in name for name in message) else flat


def _body(event: SpanEvent) -> dict[str, Any]:
    """What an event says: its attributes, or the JSON text in one of them."""
    whole = parsed(event.attributes.get("gen_ai.event.content"))
    body = whole if isinstance(whole, dict) else event.attributes
    return {name: value for name, value in body.items() if not name.startswith(("gen_ai.", "event."))}


def _choice(body: Mapping[str, Any]) -> dict[str, Any]:
    message = parsed(body.get("message", body.get("content")))
    if not isinstance(message, Mapping):
        message = {"content": message}
    more = {} if body.get("tool_calls") is None else {"tool_calls": body["tool_calls"]}
    return {"role": "assistant", **more, **message, "finish_reason": body.get("finish_reason")}


def _listed_events(listed: Iterable[Any]) -> list[SpanEvent]:
    return [SpanEvent(0, str(item.get("event.name")), item) for item in listed if isinstance(item, dict)]


def _tool_events(events: Iterable[SpanEvent]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in events:
        body = _body(event)
        if event.name == "gen_ai.tool.message":
            found |= {"gen_ai.tool.call.arguments": body.get("content"), "gen_ai.tool.call.id": body.get("id")}
        elif event.name == "gen_ai.choice":
            found["gen_ai.tool.call.result"] = body.get("message")
    return found


def _details(events: Iterable[SpanEvent]) -> dict[str, Any]:
    """What the event of an inference's details says."""
    found: dict[str, Any] = {}
    for event in events:
        if event.name == "gen_ai.client.inference.operation.details":
            found |= {name: event.attributes[name] for name in _DETAILS if name in event.attributes}
    return found


def _first_token(attributes: Mapping[str, Any], events: Iterable[SpanEvent], start: int) -> dict[str, Any]:
    is_strands = str(attributes.get("gen_ai.system", attributes.get("gen_ai.provider.name"))).startswith("strands")
    for names, per_second in ((_FIRST_TOKEN_MS, 1000), (_FIRST_TOKEN_SECONDS, 1000 if is_strands else 1)):
        told = first_of(attributes, names)
        if isinstance(told, (int, float)) and not isinstance(told, bool):
            return {"gen_ai.response.time_to_first_chunk": told / per_second}
    times = [event.time for event in events if event.name in _FIRST_TOKEN_EVENTS and event.time >= start]
    return {"gen_ai.response.time_to_first_chunk": (min(times) - start) / 1e9} if times else {}


def _tools(attributes: Mapping[str, Any]) -> list[Any]:
    listed = attributes.get("ai.prompt.tools")
    if isinstance(listed, list):
        return [parsed(item) for item in listed]
    functions = indexed(attributes, "llm.request.functions.")
    return [{"type": "function", "function": {name: parsed(item[name]) for name in item}} for item in functions]
