"""Messages of a request and its response: what libraries write, in their forms, as NeMo Relay's records have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from relay_models.records.mending import mended_value
from relay_models.trajectories.otlp.attributes import indexed, parsed

__all__ = [
    "answer_of",
    "as_text",
    "asked_call",
    "function_call",
    "genai_items",
    "openinference_message",
    "record_messages",
]

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "function": "tool", "tool_result": "tool"}
_KNOWN_ROLES = ("system", "developer", "assistant", "tool")
_CALLS = ("tool_call", "tool_use", "tool-call", "function_call")
_PART_MEMBERS = ("type", "text", "toolUse", "toolResult", "function_call", "function_response")
_RESULTS = ("tool_call_response", "tool_result", "tool-result", "function_call_output")


def genai_items(value: Any) -> list[dict[str, Any]]:
    """Messages in the form of the GenAI conventions: a role and parts.

    Args:
        value: a list of messages, as JSON or as its text: in that form, in that of OpenAI, Anthropic, Gemini, Bedrock,
            LangChain or Vercel; an object that holds such a list; or the text of one message of a user.
    """
    text, value = value, parsed(value)
    if isinstance(value, str):
        return [{"role": "user", "parts": _parts(value)}] if value else []
    if isinstance(value, Mapping):
        for name in ("messages", "contents", "input"):
            if isinstance(value.get(name), (list, str)):
                before = [{"role": "system", "content": value["system"]}] if value.get("system") else []
                return [*genai_items(before), *genai_items(value[name])]
        if isinstance(choices := value.get("choices") or value.get("generations"), list) and choices:
            return genai_items(choices[0] if isinstance(choices[0], list) else choices)
        if value.keys() & {"role", "content", "parts", "kwargs", "message", "text"}:
            return [_item(value)]
        return [{"role": "user", "parts": [{"type": "text", "content": as_text(text)}]}] if value else []
    if not isinstance(value, list):
        return []
    if len(value) == 1 and isinstance(value[0], list):  # a batch of one conversation
        return genai_items(value[0])
    return [_item(item) for item in map(parsed, value) if isinstance(item, Mapping)]


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    """One message in the form of the GenAI conventions."""
    reason = item.get("finish_reason")
    for name in ("message", "kwargs"):  # of a choice, and of LangChain's constructor
        if isinstance(inner := item.get(name), Mapping):
            item = inner
    kind = str(item.get("type") or "")
    role = str(item.get("role") or ("" if kind == "message" else kind) or "user")
    role = "assistant" if role in _CALLS else "tool" if role in _RESULTS else _ROLES.get(role, role)
    if role not in _KNOWN_ROLES:
        role = "user"
    if isinstance(item.get("parts"), (list, str)):
        parts = _parts(item["parts"])
    elif kind in _CALLS or kind in _RESULTS:
        parts = [_part(item)]
    else:
        content = item["content"] if item.get("content") is not None else item.get("text")
        parts = _parts(content)
        identifier = item.get("tool_call_id", item.get("id"))
        if role == "tool" and not any(part["type"] == "tool_call_response" for part in parts):
            response = parts[0]["content"] if len(parts) == 1 and parts[0]["type"] == "text" else content
            parts = [_known({"type": "tool_call_response", "id": identifier, "response": response})]
    asked = parsed(item.get("tool_calls"))
    if isinstance(asked, list):
        parts += [_part({"type": "tool_call", **call}) for call in map(parsed, asked) if isinstance(call, Mapping)]
    return _known({"role": role, "parts": parts, "name": item.get("name"), "finish_reason": reason})


def _parts(content: Any) -> list[dict[str, Any]]:
    """Content as parts."""
    if content is None or content == "":
        return []
    if isinstance(content, str) and isinstance(inner := parsed(content), list) and inner and all(map(_is_part, inner)):
        content = inner
    if isinstance(content, Mapping) and isinstance(content.get("parts"), list):
        content = content["parts"]
    items = content if isinstance(content, list) else [content]
    return [_part(item) if _is_part(item) else {"type": "text", "content": as_text(item)} for item in items]


def _is_part(value: Any) -> bool:
    """Whether a value is a part of a message, by the members that parts have."""
    return isinstance(value, Mapping) and any(name in value for name in _PART_MEMBERS)


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    """One part: text, a call of a tool, its result, or what it is."""
    kind = str(part.get("type") or "")
    if isinstance(nested := part.get("toolUse", part.get("function_call")), Mapping):
        part, kind = nested, "tool_call"
    elif isinstance(nested := part.get("toolResult", part.get("function_response")), Mapping):
        part, kind = nested, "tool_call_response"
    elif isinstance(nested := part.get("function"), Mapping):
        part, kind = {**part, **nested}, "tool_call"
    identifier = _first(part, "call_id", "toolCallId", "toolUseId", "tool_use_id", "tool_call_id", "id")
    if kind in _CALLS:
        arguments = _first(part, "arguments", "args", "input")
        name = _first(part, "name", "toolName")
        return {"type": "tool_call", "id": identifier, "name": name, "arguments": arguments}
    if kind in _RESULTS:
        response = _first(part, "response", "result", "output", "content")
        if kind == "tool-result" and isinstance(response, Mapping) and "value" in response:
            response = response["value"]
        return _known({"type": "tool_call_response", "id": identifier, "response": response})
    if kind in ("", "text", "input_text", "output_text"):
        text = part.get("text", part.get("content"))
        if text is not None:
            return {"type": "text", "content": as_text(text)}
    return {**part, "type": kind or "unknown"}


def record_messages(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message of the GenAI conventions as NeMo Relay's messages."""
    role = str(item.get("role") or "user")
    parts = [part for part in item.get("parts") or () if isinstance(part, Mapping)]
    results = [part for part in parts if part.get("type") == "tool_call_response"]
    if results and len(results) == len(parts):
        for part in results:
            content = as_text(part.get("response", part.get("result")))
            yield {"role": "tool", "content": content, "tool_call_id": str(part.get("id") or "")}
        return
    contents = [_content(part) for part in parts if part.get("type") != "tool_call"]
    message: dict[str, Any] = {"role": role if role in ("system", "developer", "assistant") else "user"}
    if not contents:
        message["content"] = None if role == "assistant" else ""
    elif len(contents) == 1 and contents[0]["type"] == "text":
        message["content"] = contents[0]["text"]
    else:
        message["content"] = contents
    if isinstance(item.get("name"), str):
        message["name"] = item["name"]
    if role == "assistant" and (calls := [asked_call(part) for part in parts if part.get("type") == "tool_call"]):
        message["tool_calls"] = [function_call(call["id"], call["name"], call["arguments"]) for call in calls]
    yield message


def answer_of(item: Mapping[str, Any]) -> tuple[str | None, list[dict[str, Any]], str | None]:
    """Text, tool calls and reasoning of a response's message in the form of the GenAI conventions."""
    parts = [part for part in item.get("parts") or () if isinstance(part, Mapping)]
    by_kind: dict[str, list[str]] = {"text": [], "reasoning": [], "thinking": []}
    for part in parts:
        content = part.get("content", part.get("thinking", part.get("text")))
        if part.get("type") in by_kind and isinstance(content, str):
            by_kind[str(part["type"])].append(content)
    calls = [asked_call(part) for part in parts if part.get("type") == "tool_call"]
    text = "\n".join(by_kind["text"]) if by_kind["text"] else None
    return text, calls, "\n".join(by_kind["reasoning"] + by_kind["thinking"]) or None


def asked_call(part: Mapping[str, Any]) -> dict[str, Any]:
    """A call that a model asked for, as a response of a record has it."""
    return {
        "id": str(part.get("id") or ""),
        "name": str(part.get("name") or ""),
        "arguments": _arguments(part.get("arguments")),
    }


def _arguments(value: Any) -> Any:
    """Arguments as they were before they were written as JSON text; what is no JSON stays text."""
    if isinstance(value, str) and value[:1] in ('"', "{", "["):
        try:
            return mended_value(value)[0]
        except (ValueError, RecursionError):
            return value
    return value


def _content(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": as_text(part.get("content"))}
    kind = str(part.get("type", "unknown"))
    return {"type": "provider_native", "provider": "opentelemetry", "kind": kind, "value": dict(part)}


def function_call(identifier: str, name: str, arguments: Any) -> dict[str, Any]:
    """A call of a tool in a message, as OpenAI has it."""
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": as_text(arguments)}}


def openinference_message(item: Mapping[str, Any]) -> dict[str, Any]:
    """A message of OpenInference, its attributes by the rest of their names."""
    role = str(item.get("message.role") or "user")
    content: Any = item.get("message.content")
    if content is not None:
        content = as_text(content)
    elif contents := indexed(item, "message.contents."):
        content = [_openinference_part(part) for part in contents]
    if role == "tool":
        return {"role": "tool", "content": content or "", "tool_call_id": str(item.get("message.tool_call_id") or "")}
    message: dict[str, Any] = {"role": role if role in ("system", "developer", "assistant") else "user"}
    message["content"] = content if content is not None or role == "assistant" else ""
    calls = [
        function_call(
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
    url = part.get("message_content.image.image.url")
    if kind == "image" and isinstance(url, str):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "provider_native", "provider": "openinference", "kind": kind, "value": dict(part)}


def as_text(value: Any) -> str:
    """A text as it is, and any other value as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}
