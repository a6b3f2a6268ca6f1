"""Runs whose every text is an attempt to be more than data."""

from __future__ import annotations

import json

from relay_models import CallRecord, RunRecord
from relay_models.records import CallExtensions, ErrorInfo, RunExtensions, Timestamp, from_json

ATTACKS = (
    "<script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'>",
    '"><svg onload=window.broken=1>',
    "' onmouseover='window.broken = 1",
    "javascript:window.broken=1",
    "</pre></details></main><h1>fake</h1>",
    "{{ 7 * 191 }}{% raw %}",
    "\u202eevil\u2066\x1b[31m\x07",
    "a" * 3000,
    "",
)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def hostile_run(text: str, number: int) -> RunRecord:
    """A run with the text everywhere a text can be."""
    began = Timestamp(f"2026-11-23T10:{number:02}:00Z")
    ended = Timestamp(f"2026-11-23T10:{number:02}:01Z")
    request = {
        "instructions": text,
        "messages": [
            {"role": "user", "content": text, "name": text},
            {"role": text or "user", "content": [{"type": "text", "text": text}, {"type": text, "value": text}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:text/html," + text}}]},
        ],
    }
    response = {
        "message": text,
        "finish_reason": {"unknown": text},
        "tool_calls": [{"id": text, "name": text, "arguments": {text: text}}],
        "usage": {"cost": {"total": 0.5, "currency": text, "source": "provider_reported"}},
    }
    llm = from_json(
        CallRecord,
        _json(
            {
                "kind": "llm",
                "name": text,
                "model_name": text,
                "started_at": began.text,
                "ended_at": ended.text,
                "annotated_request": request,
                "annotated_response": response,
            }
        ),
    )
    error = ErrorInfo(type=text, message=text, category=text)
    tool = CallRecord(
        kind="tool", name=text, started_at=began, ended_at=ended,
        ext=CallExtensions(status="failed", error=error, input={text: text}, output=text, metadata={text: text}),
    )  # fmt: skip
    return RunRecord(
        agent_id=text, calls=[llm, tool], started_at=began, ended_at=ended,
        ext=RunExtensions(status="failed", error=error, session_id=text, user_id=text, metadata={text: text}),
    )  # fmt: skip


def _json(value: object) -> str:
    return json.dumps(value)


def hostile_runs() -> list[RunRecord]:
    """One run for each attack."""
    return [hostile_run(text, number) for number, text in enumerate(ATTACKS)]
