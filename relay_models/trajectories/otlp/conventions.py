"""What spans say in the GenAI conventions, in OpenInference and in NeMo Relay's own attributes, as calls have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from relay_models.trajectories.otlp.attributes import first_of, indexed, parsed, unflatten
from relay_models.trajectories.usage import inclusive_usage, unsigned

__all__ = ["finish_word", "llm_call", "role_of", "tool_call"]

_OPERATIONS = {
    "chat": "llm",
    "text_completion": "llm",
    "generate_content": "llm",
    "embeddings": "llm",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "invoke_workflow": "agent",
}
_KINDS = {"LLM": "llm", "EMBEDDING": "llm", "TOOL": "tool", "AGENT": "agent"}
_SCOPES = {"llm": "llm", "embedder": "llm", "tool": "tool", "agent": "agent"}

_FINISH = {
    "stop": "complete",
    "end_turn": "complete",
    "stop_sequence": "complete",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_use",
    "tool_call": "tool_use",
    "tool_use": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
    "complete": "complete",
}


def role_of(attributes: Mapping[str, Any]) -> str | None:
    """What a span is: llm, tool or agent; None for anything else."""
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return _OPERATIONS.get(str(operation))
    kind = attributes.get("openinference.span.kind")
    if kind is not None:
        return _KINDS.get(str(kind).upper())
    return _SCOPES.get(str(attributes.get("nemo_relay.scope_type")))


def finish_word(reason: Any) -> Any:
    """A provider's word for why a model stopped, as NeMo Relay has it."""
    if not isinstance(reason, str) or not reason:
        return None
    return _FINISH.get(reason.lower(), {"unknown": reason})


def tool_call(name: str, attributes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A tool call's fields and extensions."""
    given = first_of(attributes, ("gen_ai.tool.call.arguments", "input.value", "tool_call.function.arguments"))
    if given is None:
        given = unflatten(attributes, "nemo_relay.start.data.") or None
    result = first_of(attributes, ("gen_ai.tool.call.result", "output.value"))
    if result is None:
        result = unflatten(attributes, "nemo_relay.end.data.") or None
    identifier = first_of(attributes, ("gen_ai.tool.call.id", "tool_call.id", "nemo_relay.tool_call_id"))
    annotation = parsed(attributes.get("nemo_relay.tool.result.annotation"))
    call = {"name": str(first_of(attributes, ("gen_ai.tool.name", "tool.name")) or name)}
    extensions = {
        "tool_call_id": None if identifier is None else str(identifier),
        "input": parsed(given),
        "output": parsed(result),
        "metadata": None if annotation is None else {"tool_result_annotation": annotation},
    }
    return call, extensions


def llm_call(name: str, attributes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An LLM call's fields and extensions."""
    asked = first_of(attributes, ("gen_ai.request.model", "llm.model_name", "nemo_relay.model_name"))
    model = first_of(attributes, ("gen_ai.response.model", "llm.model_name", "nemo_relay.model_name"))
    model = model if model is not None else asked
    provider = first_of(attributes, ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"))
    if provider is None:
        provider = name if "nemo_relay.scope_type" in attributes else "llm"
    usage, reasoning = _usage(attributes)
    request = _request(attributes, asked)
    response = _response(attributes, model, usage)
    call = {
        "name": str(provider),
        "model_name": None if model is None else str(model),
        "prompt_tokens": unsigned(usage.get("prompt_tokens"), 32),
        "output_tokens": unsigned(usage.get("completion_tokens"), 32),
        "total_tokens": unsigned(usage.get("total_tokens"), 32),
        "tool_call_count": len(response["tool_calls"]) if response.get("tool_calls") else None,
        "annotated_request": request or None,
        "annotated_response": response or None,
    }
    first_token = attributes.get("gen_ai.response.time_to_first_chunk")
    extensions: dict[str, Any] = {"reasoning_tokens": reasoning}
    if isinstance(first_token, (int, float)) and not isinstance(first_token, bool):
        extensions["time_to_first_token_ms"] = float(first_token) * 1000
    if not request.get("messages"):
        extensions["input"] = parsed(attributes.get("input.value"))
        if extensions["input"] is None:
            started = unflatten(attributes, "nemo_relay.start.data.")
            extensions["input"] = started.get("content", started) or None
    if "message" not in response:
        output = parsed(attributes.get("output.value"))
        extensions["output"] = unflatten(attributes, "nemo_relay.end.data.") or None if output is None else output
    return call, extensions


def _usage(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    prompt = first_of(attributes, ("gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.usage.prompt_tokens"))
    output = first_of(
        attributes, ("gen_ai.usage.output_tokens", "llm.token_count.completion", "gen_ai.usage.completion_tokens")
    )
    read = first_of(attributes, ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read"))
    written = first_of(
        attributes,
        (
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ),
    )
    reasoning = first_of(
        attributes,
        ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
    )
    if prompt is None and output is None:
        raw = parsed(attributes.get("nemo_relay.end.data.usage"))
        if isinstance(raw, dict):
            prompt, output, read, written, reasoning = _provider_usage(raw)
    cost = first_of(attributes, ("nemo_relay.llm.cost.total", "llm.cost.total", "gen_ai.usage.cost"))
    amount = float(cost) if isinstance(cost, (int, float)) and not isinstance(cost, bool) else None
    currency = str(attributes.get("nemo_relay.llm.cost.currency") or "USD")
    usage = inclusive_usage(
        prompt,
        output,
        total=attributes.get("llm.token_count.total"),
        read=read,
        written=written,
        cost=None if amount is None else {"total": amount, "currency": currency, "source": "provider_reported"},
    )
    return usage, unsigned(reasoning)


def _provider_usage(raw: Mapping[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
    """Input (cache included), output, cache read, cache written and reasoning tokens of a provider's own figures."""
    inner = raw.get("prompt_tokens_details") or raw.get("input_tokens_details") or {}
    outer = raw.get("completion_tokens_details") or raw.get("output_tokens_details") or {}
    prompt, output = (
        raw.get("prompt_tokens", raw.get("input_tokens")),
        raw.get("completion_tokens", raw.get("output_tokens")),
    )
    read, written = inner.get("cached_tokens"), None
    if "cache_read_input_tokens" in raw or "cache_creation_input_tokens" in raw:  # Anthropic
        read, written = raw.get("cache_read_input_tokens"), raw.get("cache_creation_input_tokens")
        if isinstance(prompt, int):
            prompt += (unsigned(read) or 0) + (unsigned(written) or 0)
    return prompt, output, read, written, outer.get("reasoning_tokens")


def _request(attributes: Mapping[str, Any], model: Any) -> dict[str, Any]:
    messages = [
        message for item in _objects(attributes.get("gen_ai.input.messages")) for message in _messages(item)
    ] or [_openinference_message(item) for item in indexed(attributes, "llm.input_messages.")]
    given = parsed(attributes.get("llm.invocation_parameters"))
    given = given if isinstance(given, dict) else {}
    params = {
        "temperature": _number(attributes.get("gen_ai.request.temperature", given.get("temperature"))),
        "max_tokens": unsigned(attributes.get("gen_ai.request.max_tokens", given.get("max_tokens"))),
        "top_p": _number(attributes.get("gen_ai.request.top_p", given.get("top_p"))),
        "stop": _texts(attributes.get("gen_ai.request.stop_sequences", given.get("stop"))),
    }
    params = {name: value for name, value in params.items() if value is not None}
    instructions = "\n".join(
        str(part["content"])
        for part in _objects(attributes.get("gen_ai.system_instructions"))
        if isinstance(part.get("content"), str)
    )
    tools = [parsed(item.get("tool.json_schema")) for item in indexed(attributes, "llm.tools.")]
    tools = tools or _objects(attributes.get("gen_ai.tool.definitions"))
    request: dict[str, Any] = {}
    if messages:
        request["messages"] = messages
    if instructions:
        request["instructions"] = instructions
    if model is not None and (request or params):
        request["model"] = str(model)
    if params:
        request["params"] = params
    if tools:
        request["tools"] = tools
    if request:
        request.setdefault("messages", [])
    return request


def _response(attributes: Mapping[str, Any], model: Any, usage: dict[str, Any]) -> dict[str, Any]:
    text: str | None = None
    calls: list[dict[str, Any]] = []
    reason = first_of(attributes, ("gen_ai.response.finish_reasons", "llm.finish_reason"))
    if isinstance(reason, list):
        reason = reason[0] if reason else None
    if outputs := _objects(attributes.get("gen_ai.output.messages")):
        parts = _objects(outputs[0].get("parts"))
        texts = [
            part["content"] for part in parts if part.get("type") == "text" and isinstance(part.get("content"), str)
        ]
        text = "\n".join(texts)
        calls = [_asked(part) for part in parts if part.get("type") == "tool_call"]
        reason = reason or outputs[0].get("finish_reason")
    elif answers := indexed(attributes, "llm.output_messages."):
        message = _openinference_message(answers[0])
        content = message.get("content")
        text = content if isinstance(content, str) else _joined(content)
        calls = [
            _asked({"id": item["id"], "name": item["function"]["name"], "arguments": item["function"]["arguments"]})
            for item in message.get("tool_calls", ())
        ]
    response: dict[str, Any] = {}
    if isinstance(identifier := attributes.get("gen_ai.response.id"), str):
        response["id"] = identifier
    if model is not None:
        response["model"] = str(model)
    if text is not None:
        response["message"] = text
    if calls:
        response["tool_calls"] = calls
    if (word := finish_word(reason)) is not None:
        response["finish_reason"] = word
    if usage:
        response["usage"] = usage
    return response if response.keys() - {"model"} else {}


def _asked(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(part.get("id") or ""),
        "name": str(part.get("name") or ""),
        "arguments": _arguments(part.get("arguments")),
    }


def _arguments(value: Any) -> Any:
    """Arguments as they were before they were written as JSON text; what is no JSON stays text."""
    if isinstance(value, str) and value[:1] in ('"', "{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _messages(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message of the GenAI conventions as NeMo Relay's messages."""
    role = str(item.get("role") or "user")
    parts = _objects(item.get("parts"))
    results = [part for part in parts if part.get("type") == "tool_call_response"]
    if role == "tool" or (results and len(results) == len(parts)):
        return [
            {
                "role": "tool",
                "content": _as_text(part.get("response", part.get("result"))),
                "tool_call_id": str(part.get("id") or ""),
            }
            for part in results
        ]
    content = [_content(part) for part in parts if part.get("type") != "tool_call"]
    message: dict[str, Any] = {"role": role if role in ("system", "developer", "assistant") else "user"}
    if not content:
        message["content"] = None if role == "assistant" else ""
    elif len(content) == 1 and content[0]["type"] == "text":
        message["content"] = content[0]["text"]
    else:
        message["content"] = content
    if isinstance(item.get("name"), str):
        message["name"] = item["name"]
    if role == "assistant" and (calls := [_asked(part) for part in parts if part.get("type") == "tool_call"]):
        message["tool_calls"] = [_function(call["id"], call["name"], call["arguments"]) for call in calls]
    return [message]


def _content(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": _as_text(part.get("content"))}
    kind = str(part.get("type", "unknown"))
    return {"type": "provider_native", "provider": "opentelemetry", "kind": kind, "value": dict(part)}


def _function(identifier: str, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": _as_text(arguments)}}


def _openinference_message(item: Mapping[str, Any]) -> dict[str, Any]:
    role = str(item.get("message.role") or "user")
    content: Any = item.get("message.content")
    if content is None and (contents := indexed(item, "message.contents.")):
        content = [_openinference_part(part) for part in contents]
    if role == "tool":
        return {"role": "tool", "content": content or "", "tool_call_id": str(item.get("message.tool_call_id") or "")}
    message: dict[str, Any] = {"role": role if role in ("system", "developer", "assistant") else "user"}
    message["content"] = content if content is not None or role == "assistant" else ""
    calls = [
        _function(
            str(call.get("tool_call.id") or ""),
            str(call.get("tool_call.function.name") or ""),
            call.get("tool_call.function.arguments"),
        )
        for call in indexed(item, "message.tool_calls.")
    ]
    if calls:
        message["tool_calls"] = calls
    return message


def _openinference_part(part: Mapping[str, Any]) -> dict[str, Any]:
    text, kind = part.get("message_content.text"), str(part.get("message_content.type", "text"))
    if text is not None and kind == "text":
        return {"type": "text", "text": str(text)}
    whole = parsed(text)
    if isinstance(whole, dict) and isinstance(whole.get("type"), str):
        return whole
    return {"type": "provider_native", "provider": "openinference", "kind": kind, "value": dict(part)}


def _objects(value: Any) -> list[dict[str, Any]]:
    value = parsed(value)
    return [item for item in map(parsed, value) if isinstance(item, dict)] if isinstance(value, list) else []


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _joined(content: Any) -> str | None:
    if not isinstance(content, list):
        return None
    return "\n".join(str(part.get("text", "")) for part in content if part["type"] == "text")


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, list) and value else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
