"""Events of the runtime, made by hand: a small agent with everything that can go wrong."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

FAILED = {
    "otel.status_code": "ERROR",
    "otel.status_description": "internal error: RuntimeError: x",
    "error.type": "internal_error",
    "exception.type": "RuntimeError",
}


def identifier(number: int) -> str:
    """A UUIDv7 that is always the same."""
    return str(uuid.UUID(int=(0x01A22872 << 96) + (0x7 << 76) + (0b10 << 62) + number))


class Log:
    """Writes events, one microsecond after the other."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._microseconds = 0
        self._categories: dict[str, tuple[str, str, str | None]] = {}

    def start(self, number: int, category: str, parent: int | None = None, name: str = "a", **more: Any) -> None:
        above = None if parent is None else identifier(parent)
        self._categories[identifier(number)] = (category, name, above)
        self._write("start", identifier(number), more)

    def end(self, number: int, **more: Any) -> None:
        self._write("end", identifier(number), more)

    def _write(self, phase: str, uuid_: str, more: Mapping[str, Any]) -> None:
        category, name, above = self._categories[uuid_]
        self._microseconds += 1
        event = {
            "atof_version": "0.1",
            "kind": "scope",
            "scope_category": phase,
            "attributes": [],
            "category": category,
            "uuid": uuid_,
            "parent_uuid": above,
            "name": name,
            "timestamp": f"2026-11-29T17:55:07.{self._microseconds:06}+00:00",
        }
        self.events.append({**event, **more})

    @property
    def lines(self) -> list[str]:
        return [json.dumps(event) + "\n" for event in self.events]


def nested() -> Log:
    """An agent (1) with an LLM call (2), a tool (3) that runs an agent (4), whose tool (5) fails; its own goes on."""
    log = Log()
    log.start(1, "agent", name="outer", metadata={"session_id": "s1", "user_id": "u1", "tenant": "t"})
    log.start(2, "llm", 1, "openai", data={"content": {"model": "m"}, "headers": {"authorization": "secret"}})
    log.end(2, data={"text": "hi"}, category_profile={"time_to_first_chunk": 0.25})
    log.start(3, "tool", 1, "delegate", data={"to": "inner"}, category_profile={"tool_call_id": "c1"})
    log.start(4, "agent", 3, "inner")
    log.start(5, "tool", 4, "search", data={"q": 1})
    log.end(5, metadata=FAILED)
    log.end(4, metadata={"otel.status_code": "OK"})
    log.end(3, data={"done": True}, category_profile={"tool_result_annotation": {"note": 1}})
    log.end(1, metadata={"otel.status_code": "OK", "session_id": "s1"})
    return log
