"""What spans say in the GenAI conventions, in OpenInference and in NeMo Relay's own attributes, as calls have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_models.trajectories.otlp.attributes import first_of, indexed, parsed, unflatten
from relay_models.trajectories.otlp.messages import (
    answer_of,
    asked_call,
    genai_items,
    openinference_message,
    record_messages,
)
from relay_models.trajectories.otlp.token_usage import token_usage
from relay_models.trajectories.usage import unsigned

__all__ = ["finish_word", "llm_call", "tool_call"]

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
    "completed": "complete",
    "end": "complete",
    "max_output_tokens": "length",
    **dict.fromkeys(("safety", "guardrail_intervened", "content_filtered"), "content_filter"),
    "content_filter": "content_filter",
    "complete": "complete",
}


def finish_word(reason: Any) -> Any:
    """A provider's word for why a model stopped, as NeMo Relay has it."""
    if not isinstance(reason, str) or not reason:
        return None
    word = reason.rpartition("FinishReason.")[2].lower()  # Python's enumerations, as Semantic Kernel writes them
    return _FINISH.get(word.replace("-", "_"), {"unknown": reason})


def tool_call(name: str, attributes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A tool call's fields and extensions."""
    given = attributes.get("gen_ai.tool.call.arguments")
    if given is None:
        given = unflatten(attributes, "nemo_relay.start.data.") or None
    result = attributes.get("gen_ai.tool.call.result")
    if result is None:
        result = unflatten(attributes, "nemo_relay.end.data.") or None
    identifier = attributes.get("gen_ai.tool.call.id")
    annotation = parsed(attributes.get("nemo_relay.tool.result.annotation"))
    call = {"name": str(attributes.get("gen_ai.tool.name") or name.removeprefix("execute_tool "))}
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
    if asked is None:  # of a call that failed, OpenInference has it here only
        asked = _parameters(attributes).get("model")
    model = first_of(attributes, ("gen_ai.response.model", "llm.model_name", "nemo_relay.model_name"))
    model = model if model is not None else asked
    provider = first_of(attributes, ("gen_ai.provider.name", "llm.provider", "llm.system"))
    if provider is None and (system := attributes.get("gen_ai.system")) is not None:
        provider = str(system).lower()  # older writers have "OpenAI" there
    if provider is None:
        provider = name if "nemo_relay.scope_type" in attributes else "llm"
    usage, reasoning = token_usage(attributes)
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


def _parameters(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    given = parsed(first_of(attributes, ("llm.invocation_parameters", "langfuse.observation.model.parameters")))
    return given if isinstance(given, dict) else {}


def _request(attributes: Mapping[str, Any], model: Any) -> dict[str, Any]:
    messages = [
        message for item in genai_items(attributes.get("gen_ai.input.messages")) for message in record_messages(item)
    ]
    if spread := indexed(attributes, "llm.input_messages."):
        messages = [openinference_message(item) for item in spread]
    given = _parameters(attributes)
    params = {
        "temperature": _number(attributes.get("gen_ai.request.temperature", given.get("temperature"))),
        "max_tokens": unsigned(attributes.get("gen_ai.request.max_tokens", given.get("max_tokens"))),
        "top_p": _number(attributes.get("gen_ai.request.top_p", given.get("top_p"))),
        "stop": _texts(attributes.get("gen_ai.request.stop_sequences", given.get("stop"))),
    }
    params = {name: value for name, value in params.items() if value is not None}
    told = [answer_of(item)[0] for item in genai_items(attributes.get("gen_ai.system_instructions"))]
    instructions = "\n".join(text for text in told if text)
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
    reasoning: str | None = None
    if answers := indexed(attributes, "llm.output_messages."):
        message = openinference_message(answers[0])
        content = message.get("content")
        text = content if isinstance(content, str) else _joined(content)
        calls = [
            asked_call({"id": item["id"], "name": item["function"]["name"], "arguments": item["function"]["arguments"]})
            for item in message.get("tool_calls", ())
        ]
    elif outputs := genai_items(attributes.get("gen_ai.output.messages")):
        text, calls, reasoning = answer_of(outputs[0])
        reason = reason or outputs[0].get("finish_reason")
    response: dict[str, Any] = {}
    if isinstance(identifier := attributes.get("gen_ai.response.id"), str):
        response["id"] = identifier
    if model is not None:
        response["model"] = str(model)
    if text is not None:
        response["message"] = text
    if calls:
        response["tool_calls"] = calls
    if reasoning is not None:
        response["reasoning_content"] = reasoning
    if (word := finish_word(reason)) is not None:
        response["finish_reason"] = word
    if usage:
        response["usage"] = usage
    return response if response.keys() - {"model"} else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    value = parsed(value)
    return [item for item in map(parsed, value) if isinstance(item, dict)] if isinstance(value, list) else []


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
