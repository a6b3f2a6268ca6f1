"""`to_otlp`: OpenTelemetry spans of runs as OTLP JSON, in the GenAI conventions or in OpenInference's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from relay_models._checks import check_choice, check_list, check_type
from relay_models._version import __version__
from relay_models.records import AnnotatedLlmRequest, AnnotatedLlmResponse, CallRecord, RunRecord, Timestamp
from relay_models.records.extensions import CallExtensions, ErrorInfo, RunExtensions
from relay_models.records.tokens import TokenCounts, count_tokens
from relay_models.trajectories.ids import as_uuid
from relay_models.trajectories.otlp.attributes import OWN_SERVICE, encode_attributes
from relay_models.trajectories.otlp.span_ids import call_span_id, otel_of, run_span_id
from relay_models.trajectories.understood import understood

__all__ = ["Convention", "to_otlp"]

_INTERNAL, _CLIENT = 1, 3
_FINISH = {"complete": "stop", "length": "length", "tool_use": "tool_call", "content_filter": "content_filter"}


class Convention(StrEnum):
    """A convention for the attributes of spans."""

    GEN_AI = "gen_ai"
    """OpenTelemetry's semantic conventions for generative AI."""
    OPENINFERENCE = "openinference"
    """OpenInference, which Phoenix reads."""


def to_otlp(
    runs: Iterable[RunRecord], convention: Convention | str = Convention.GEN_AI, *, service: str = OWN_SERVICE
) -> dict[str, Any]:
    """Write runs as an export request: a span per run, and one per call below it.

    Input tokens include cached ones in both conventions, whatever the provider counts. A nested run is in the trace
    of its root run, below the span of its parent. Spans that are read again by `SpanReader` give the same run ids.

    Args:
        runs: the runs, in any order.
        convention: ``"gen_ai"`` or ``"openinference"``.
        service: the ``service.name`` of the resource.

    Returns:
        An ExportTraceServiceRequest as OTLP JSON: one line of a JSON Lines file, or the body of a POST to a
        collector's ``/v1/traces``.

    Raises:
        InvalidConfigurationError: there is no such convention, or what is given are no runs.
    """
    check_choice("convention", convention, Convention)
    convention = Convention(convention)
    check_type("service", service, str, "text")
    runs = check_list("runs", runs, RunRecord, "RunRecord values")
    known = {run.id: run for run in runs}
    spans = [span for run in runs for span in _spans(run, known, convention)]
    resource = {"attributes": encode_attributes({"service.name": service})}
    scope = {"name": "relay_models", "version": __version__}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _spans(run: RunRecord, known: Mapping[UUID, RunRecord], convention: Convention) -> list[dict[str, Any]]:
    extensions = run.ext or RunExtensions()
    trace_id, span_id = _trace_id(run, known), run_span_id(run)
    parent = otel_of(run).get("parent_span_id", "")
    if extensions.parent_run_id is not None:
        above = known.get(extensions.parent_run_id)
        index = extensions.parent_call
        if above is not None and index is not None and index < len(above.calls):
            parent = call_span_id(above, index)
        else:
            parent = extensions.parent_run_id.hex[16:] if above is None else run_span_id(above)
    failed = extensions.status == "failed"
    attributes = _agent_attributes(run, extensions, convention)
    name = f"invoke_agent {run.agent_id}" if convention is Convention.GEN_AI else run.agent_id
    spans = [_span(trace_id, span_id, parent, name, _INTERNAL, run, attributes, failed, extensions.error)]
    for index, call in enumerate(run.calls):
        more = call.ext or CallExtensions()
        above_call = more.parent_call
        inner = span_id if above_call is None or above_call == index else call_span_id(run, above_call)
        tool = call.kind == "tool"
        if convention is Convention.GEN_AI:
            attributes = _gen_ai_tool(call, more) if tool else _gen_ai_llm(call, more)
            name = f"{attributes['gen_ai.operation.name']} {call.name if tool else call.model_name or ''}".rstrip()
        else:
            attributes = _openinference_tool(call, more) if tool else _openinference_llm(call, more)
            name = call.name
        uuid = as_uuid(more.id)
        attributes["nemo_relay.uuid"] = None if uuid is None else str(uuid)
        failed = more.status == "failed"
        if failed:
            attributes["error.type"] = _error_type(more.error)
        kind = _INTERNAL if tool else _CLIENT
        spans.append(_span(trace_id, call_span_id(run, index), inner, name, kind, call, attributes, failed, more.error))
    return spans


def _span(
    trace_id: str,
    span_id: str,
    parent: str,
    name: str,
    kind: int,
    record: RunRecord | CallRecord,
    attributes: Mapping[str, Any],
    failed: bool,
    error: ErrorInfo | None,
) -> dict[str, Any]:
    span: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": _nanoseconds(record.started_at),
        "attributes": encode_attributes(attributes),
    }
    ended = record.ended_at
    if isinstance(record, CallRecord) and record.ext is not None and record.ext.ended_at is not None:
        ended = record.ext.ended_at
    if ended is not None:
        span["endTimeUnixNano"] = _nanoseconds(ended)
    if failed:
        message = None if error is None else error.message
        span["status"] = {"code": 2, **({} if message is None else {"message": message})}
        told = {} if error is None else {"exception.type": error.type, "exception.message": message}
        at = _nanoseconds(ended or record.started_at)
        span["events"] = [{"timeUnixNano": at, "name": "exception", "attributes": encode_attributes(told)}]
    elif ended is not None:
        span["status"] = {"code": 1}
    return span


def _nanoseconds(time: Timestamp) -> str:
    """Nanoseconds since 1970; the format has none before, and 0 for none at all."""
    return str(max(1, time.nanoseconds))


def _trace_id(run: RunRecord, known: Mapping[UUID, RunRecord]) -> str:
    """The trace of a run: that of its spans where it was read from some, else the id of its root run."""
    told = otel_of(run).get("trace_id")
    if told is not None:
        return told
    root = run.id if run.ext is None or run.ext.root_run_id is None else run.ext.root_run_id
    above = known.get(root)
    return root.hex if above is None or above is run else _trace_id(above, {})


def _agent_attributes(run: RunRecord, extensions: RunExtensions, convention: Convention) -> dict[str, Any]:
    attributes: dict[str, Any] = {"nemo_relay.uuid": str(run.id)}
    attributes |= {"input.value": _text(extensions.input), "output.value": _text(extensions.output)}
    if convention is Convention.GEN_AI:
        attributes |= {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": run.agent_id,
            "gen_ai.conversation.id": extensions.session_id,
            "user.id": extensions.user_id,
        }
    else:
        attributes |= {
            "openinference.span.kind": "AGENT",
            "agent.name": run.agent_id,
            "session.id": extensions.session_id,
            "user.id": extensions.user_id,
        }
        metadata = {name: value for name, value in (extensions.metadata or {}).items() if name not in ("otel", "atif")}
        attributes["metadata"] = metadata or None
    if extensions.status == "failed":
        attributes["error.type"] = _error_type(extensions.error)
    return attributes


def _error_type(error: ErrorInfo | None) -> str:
    return (error and (error.category or error.type)) or "_OTHER"


def _gen_ai_tool(call: CallRecord, extensions: CallExtensions) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": extensions.tool_call_id,
        "gen_ai.tool.call.arguments": _text(extensions.input),
        "gen_ai.tool.call.result": _text(extensions.output),
    }


def _gen_ai_llm(call: CallRecord, extensions: CallExtensions) -> dict[str, Any]:
    request, response = call.annotated_request, call.annotated_response
    tokens = count_tokens(call)
    params = None if request is None else request.params
    first = extensions.time_to_first_token_ms
    finish = call.finish_reason
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.name,
        "gen_ai.request.model": (request and request.model) or call.model_name,
        "gen_ai.request.temperature": None if params is None else params.temperature,
        "gen_ai.request.max_tokens": None if params is None else params.max_tokens,
        "gen_ai.request.top_p": None if params is None else params.top_p,
        "gen_ai.request.stop_sequences": None if params is None else params.stop,
        "gen_ai.response.id": None if response is None else response.id,
        "gen_ai.response.model": call.model_name,
        "gen_ai.response.finish_reasons": None if finish is None else [_FINISH.get(finish, finish)],
        "gen_ai.response.time_to_first_chunk": None if first is None else first / 1000,
        "gen_ai.usage.input_tokens": tokens.input_tokens,
        "gen_ai.usage.output_tokens": tokens.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": tokens.cached_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": tokens.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": tokens.reasoning_tokens,
        **_cost(call),
        "gen_ai.system_instructions": _instructions(request),
        "gen_ai.input.messages": _input_messages(request),
        "gen_ai.output.messages": _output_messages(response, finish),
        "gen_ai.tool.definitions": None
        if request is None or not request.tools
        else _text(understood(request).get("tools")),
        "input.value": None if request is not None else _text(extensions.input),
        "output.value": _text(extensions.output) if response is None or response.message is None else None,
    }


def _cost(call: CallRecord) -> dict[str, Any]:
    cost = call.cost
    if cost is None or cost.amount is None:
        return {}
    return {"nemo_relay.llm.cost.total": float(cost.amount), "nemo_relay.llm.cost.currency": cost.currency}


def _instructions(request: AnnotatedLlmRequest | None) -> str | None:
    if request is None or request.instructions is None:
        return None
    return _text(_parts(understood(request).get("instructions")))


def _input_messages(request: AnnotatedLlmRequest | None) -> str | None:
    if request is None or not request.messages:
        return None
    messages = []
    for message in understood(request).get("messages", ()):
        role = message["role"]
        if role in ("tool", "function", "tool_result"):
            response = {"type": "tool_call_response", "response": message.get("content", message.get("output"))}
            identifier = message.get("tool_call_id") or message.get("call_id")
            parts = [{**response, **({} if identifier is None else {"id": identifier})}]
            role = "tool"
        elif role == "tool_call":
            asked = {"id": message.get("call_id"), "name": message.get("name"), "arguments": message.get("arguments")}
            parts, role = [{"type": "tool_call", **asked}], "assistant"
        elif role == "provider_native":
            value = message.get("value")
            parts = [{**(value if isinstance(value, dict) else {"content": value}), "type": message.get("kind")}]
            role = value["role"] if isinstance(value, dict) and isinstance(value.get("role"), str) else "assistant"
        else:
            parts = _parts(message.get("content"))
            parts += [{"type": "tool_call", **asked} for asked in _asked_for(message)]
        item = {"role": role, "parts": parts}
        if message.get("name") and role != "tool":
            item["name"] = message["name"]
        messages.append(item)
    return _text(messages)


def _output_messages(response: AnnotatedLlmResponse | None, finish: str | None) -> str | None:
    if response is None or (response.message is None and not response.tool_calls):
        return None
    value = understood(response)
    parts = _parts(value.get("message"))
    for call in value.get("tool_calls") or ():
        parts.append({"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["arguments"]})
    reason = {} if finish is None else {"finish_reason": _FINISH.get(finish, finish)}
    return _text([{"role": "assistant", "parts": parts, **reason}])


def _parts(content: Any) -> list[dict[str, Any]]:
    """Content as parts of the GenAI conventions."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    parts = []
    for part in content:
        value = part.get("value")
        if part.get("type") == "text":
            parts.append({"type": "text", "content": part.get("text") or ""})
        elif part.get("provider") == "opentelemetry" and isinstance(value, dict):
            parts.append(value)
        else:
            parts.append(part)
    return parts


def _openinference_tool(call: CallRecord, extensions: CallExtensions) -> dict[str, Any]:
    return {
        "openinference.span.kind": "TOOL",
        "tool.name": call.name,
        "tool_call.id": extensions.tool_call_id,
        **_value("input", extensions.input),
        **_value("output", extensions.output),
    }


def _openinference_llm(call: CallRecord, extensions: CallExtensions) -> dict[str, Any]:
    request, response = call.annotated_request, call.annotated_response
    tokens: TokenCounts = count_tokens(call)
    attributes: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.provider": call.name,
        "llm.model_name": call.model_name or (request and request.model),
        "llm.token_count.prompt": tokens.input_tokens,
        "llm.token_count.completion": tokens.output_tokens,
        "llm.token_count.total": tokens.total_tokens,
        "llm.token_count.prompt_details.cache_read": tokens.cached_input_tokens,
        "llm.token_count.prompt_details.cache_write": tokens.cache_write_tokens,
        "llm.token_count.completion_details.reasoning": tokens.reasoning_tokens,
        "llm.finish_reason": call.finish_reason,
        "gen_ai.response.id": None if response is None else response.id,
    }
    cost = call.cost
    if cost is not None and cost.amount is not None:
        attributes["llm.cost.total"] = float(cost.amount)
        attributes["nemo_relay.llm.cost.currency"] = None if cost.currency == "USD" else cost.currency
    if request is None:
        attributes |= _value("input", extensions.input)
    else:
        value = understood(request)
        params = value.get("params")
        attributes["llm.invocation_parameters"] = _text(params) if params else None
        messages = value.get("messages", [])
        if value.get("instructions") is not None:
            messages = [{"role": "system", "content": value["instructions"]}, *messages]
        for index, message in enumerate(messages):
            attributes |= _message(f"llm.input_messages.{index}.message", message)
        for index, tool in enumerate(value.get("tools") or ()):
            attributes[f"llm.tools.{index}.tool.json_schema"] = _text(tool)
        if request.texts:
            attributes |= {"input.value": request.texts[-1], "input.mime_type": "text/plain"}
    if response is None or (response.message is None and not response.tool_calls):
        attributes |= _value("output", extensions.output)
    else:
        value = understood(response)
        calls = [{"id": item["id"], "function": item} for item in value.get("tool_calls") or ()]
        message = {"role": "assistant", "content": value.get("message"), "tool_calls": calls}
        attributes |= _message("llm.output_messages.0.message", message)
        attributes |= {"output.value": response.text, "output.mime_type": "text/plain"}
    return attributes


def _message(prefix: str, message: Mapping[str, Any]) -> dict[str, Any]:
    role = str(message.get("role"))
    attributes: dict[str, Any] = {f"{prefix}.role": {"tool_result": "tool", "provider_native": "user"}.get(role, role)}
    content = message.get("content", message.get("output"))
    if isinstance(content, list):
        for index, part in enumerate(content):
            inner = f"{prefix}.contents.{index}.message_content"
            text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
            attributes[f"{inner}.type"] = "text" if text is not None else str(part.get("kind") or part.get("type"))
            attributes[f"{inner}.text"] = text if text is not None else _text(part)
    elif content is not None:
        attributes[f"{prefix}.content"] = _text(content)
    attributes[f"{prefix}.tool_call_id"] = message.get("tool_call_id") or message.get("call_id")
    attributes[f"{prefix}.name"] = message.get("name")
    for index, asked in enumerate(_asked_for(message)):
        inner = f"{prefix}.tool_calls.{index}.tool_call"
        attributes[f"{inner}.id"] = asked["id"]
        attributes[f"{inner}.function.name"] = asked["name"]
        attributes[f"{inner}.function.arguments"] = _text(asked["arguments"])
    return attributes


def _asked_for(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Id, name and arguments of the tool calls that a message asks for, in whatever form it has them."""
    for call in message.get("tool_calls") or ():
        if isinstance(call, dict):
            function = call.get("function", call)
            function = function if isinstance(function, dict) else {}
            yield {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}


def _value(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    kind = "text/plain" if isinstance(value, str) else "application/json"
    return {f"{name}.value": _text(value), f"{name}.mime_type": kind}


def _text(value: Any) -> str | None:
    """A value as text: JSON for what is no text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
