"""`call_views`: the calls of a run as values that a template shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay_models import CallRecord, RunRecord
from relay_models.pictures.text import duration_text, plain
from relay_models.views.formats import clip_text

__all__ = ["MOST_CALLS", "CallView", "MessageView", "Part", "call_views", "json_text", "message_lines"]

MOST_CHARACTERS = 20_000
"""Maximum characters of one text on a page; the rest is in the raw JSON."""
MOST_IMAGE = 2_000_000
"""Maximum characters of a data URL that is shown as an image."""
MOST_PARTS, MOST_MESSAGES = 100, 200
"""Maximum number of parts of one message, and of messages of one call; the rest is in the raw JSON."""
MOST_CALLS = 300
"""Maximum number of calls that are shown at once."""
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=\s]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message: ``text``, ``json`` or ``image`` (a data URL)."""

    kind: str
    value: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message: who speaks, and its parts."""

    role: str
    parts: tuple[Part, ...]
    name: str = ""
    left_out: int = 0
    """Parts that are not shown."""


@dataclass(slots=True)
class CallView:
    """A call, as it is shown."""

    index: int
    kind: str
    name: str
    after: str
    duration: str
    model: str = ""
    status: str = ""
    error: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cost: str = ""
    reason: str = ""
    earlier: list[MessageView] = field(default_factory=list)
    """Messages that the last call to a model had already."""
    messages: list[MessageView] = field(default_factory=list)
    left_out: int = 0
    """Messages before the first that is shown."""
    answer: list[MessageView] = field(default_factory=list)
    input: Part | None = None
    output: Part | None = None
    more: Part | None = None


def call_views(record: RunRecord, first: int = 0, most: int | None = None) -> list[CallView]:
    """The calls of a run, in order. What a prompt repeats of the one before is kept apart.

    Args:
        record: the run.
        first: the index of the first call that is wanted.
        most: maximum number of calls; None for all that follow.
    """
    views = []
    calls = record.calls
    end = len(calls) if most is None else min(first + most, len(calls))
    asked_before = [call for call in calls[:first] if call.annotated_request is not None][-1:]
    before = _prompt(asked_before[0]) if asked_before else []
    for index in range(first, end):
        view = _view(index, calls[index], record)
        if calls[index].annotated_request is not None:
            messages = _prompt(calls[index])
            same = 0
            while same < min(len(before), len(messages)) and before[same] == messages[same]:
                same += 1
            view.earlier, view.messages = messages[:same], messages[same:]
            if len(messages) > MOST_MESSAGES:
                # The last messages say what was asked.
                view.left_out = len(messages) - MOST_MESSAGES
                view.earlier, view.messages = [], messages[-MOST_MESSAGES:]
            before = messages
        views.append(view)
    return views


def _prompt(call: CallRecord) -> list[MessageView]:
    """The messages of a call to a model, its instructions first."""
    request = call.annotated_request
    assert request is not None
    instructions = [MessageView("system", _parts(request.instructions))] if request.instructions else []
    return [*instructions, *map(_message, request.messages)]


def _view(index: int, call: CallRecord, record: RunRecord) -> CallView:
    view = CallView(
        index + 1,
        plain(str(getattr(call.kind, "value", call.kind))),
        plain(call.name),
        duration_text(call.started_at.nanoseconds - record.started_at.nanoseconds),
        "" if call.ended_at is None else duration_text(call.ended_at.nanoseconds - call.started_at.nanoseconds),
        plain(call.model_name or ""),
        "" if call.ended_at is not None else "unfinished",
        prompt_tokens=call.prompt_tokens,
        output_tokens=call.output_tokens,
        reason=plain(call.finish_reason or ""),
    )
    cost = call.cost
    if cost is not None and cost.amount is not None:
        view.cost = f"{cost.amount:,.6f}".rstrip("0").rstrip(".") + f" {plain(cost.currency)}"
    if (response := call.annotated_response) is not None:
        parts = [*_parts(response.message), *(_json_part(each) for each in response.tool_calls or ())]
        if parts:
            view.answer = [MessageView("assistant", tuple(parts))]
    if (ext := call.ext) is not None:
        if ext.status is not None and ext.status != "completed":
            view.status = plain(str(getattr(ext.status, "value", ext.status)))
        if ext.error is not None:
            known = (ext.error.type, ext.error.category, ext.error.message)
            view.error = ": ".join(dict.fromkeys(text for text in known if text)) or "failed"
        view.input = None if ext.input is None else _value_part(ext.input)
        view.output = None if ext.output is None else _value_part(ext.output)
        more = {"metadata": ext.metadata, "cut": [mark.model_dump(mode="json") for mark in ext.cut or ()]}
        if any(more.values()):
            view.more = _json_part({name: value for name, value in more.items() if value})
    return view


def _message(message: Any) -> MessageView:
    role = plain(str(getattr(message.role, "value", message.role)))
    parts = [*_parts(message.content), *(_json_part(each) for each in (message.tool_calls or ())[:MOST_PARTS])]
    if not parts:
        rest = message.model_dump(mode="json", exclude_none=True, exclude={"role", "name", "content"})
        parts = [_json_part(rest)] if rest else []
    content = message.content
    left_out = 0 if content is None or isinstance(content, str) else max(0, len(content) - MOST_PARTS)
    return MessageView(role, tuple(parts), plain(message.name or message.tool_call_id or ""), left_out)


def _parts(content: Any) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (_text_part(content),) if content else ()
    return tuple(_content_part(part) for part in content[:MOST_PARTS])


def _content_part(part: Any) -> Part:
    if part.type == "text" and part.text is not None:
        return _text_part(part.text)
    value = part.model_dump(mode="json", exclude_none=True)
    for text in _texts(value):
        if len(text) <= MOST_IMAGE and _IMAGE.fullmatch(text):
            return Part("image", text)
    return _json_part(value)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value; an image that is given as its data and media type as a data URL."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        media, data = value.get("media_type"), value.get("data")
        if isinstance(media, str) and isinstance(data, str):
            yield f"data:{media};base64,{data}"
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _text_part(text: str) -> Part:
    return Part("text", *clip_text(text, MOST_CHARACTERS))


def _value_part(value: Any) -> Part:
    return _text_part(value) if isinstance(value, str) else _json_part(value)


def _json_part(value: Any) -> Part:
    return Part("json", *clip_text(json_text(value), MOST_CHARACTERS))


def json_text(value: Any) -> str:
    """A JSON value, or a record, as indented text."""
    dump = getattr(value, "model_dump", None)
    value = dump(mode="json", exclude_none=True) if callable(dump) else value
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def message_lines(messages: Sequence[MessageView]) -> list[str]:
    """Messages as lines of text, for comparing."""
    lines: list[str] = []
    for message in messages:
        lines.append(f"[{message.role}]")
        for part in message.parts:
            lines += ["(image)"] if part.kind == "image" else part.value.splitlines()
    return lines
