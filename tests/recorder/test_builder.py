"""Events become runs by the rules of the runtime's own telemetry, and what is held is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models.recorder import RunBuilder
from relay_models.records import strip_extensions


@dataclass
class Event:
    uuid: str
    scope_category: str = "start"
    category: str = "agent"
    name: str = "a"
    parent_uuid: str | None = None
    category_profile: dict[str, Any] | None = None
    timestamp: str = "2026-11-23T21:28:00.008771753+00:00"
    kind: str = "scope"
    data: Any = None
    metadata: Any = None


def start(uuid: str, category: str = "agent", parent: str | None = None, **fields: Any) -> Event:
    return Event(uuid, "start", category, parent_uuid=parent, **fields)


def end(uuid: str, category: str = "agent", parent: str | None = None, **fields: Any) -> Event:
    return Event(uuid, "end", category, parent_uuid=parent, **fields)


def feed(builder: RunBuilder, *events: Event) -> list[Any]:
    return [run for event in events if (run := builder.process(event)) is not None]


def test_a_run_and_its_calls() -> None:
    response = {"usage": {"completion_tokens": 2**32 + 5, "prompt_tokens": 3}, "model": "m", "tool_calls": [{}, {}]}
    response["tool_calls"] = [{"id": "1", "name": "t", "arguments": 1e300}] * 2
    (run,) = feed(
        RunBuilder(),
        start("r", name="librarian"),
        start("f", "function", "r"),
        start("1", "llm", "f", name="openai", category_profile={"annotated_request": {"messages": [], "x": 1}}),
        start("2", "tool", "f", name="shelf", category_profile={}),
        end("1", "llm", "f", name="openai", category_profile={"annotated_response": response}),
        end("f", "function", "r"),
        end("r", name="librarian"),
    )
    assert run.agent_id == "librarian"
    assert run.id.version == 5  # derived: "r" is no UUID
    assert run.started_at.text == run.ended_at.text == "2026-11-23T21:28:00.008771753Z"
    llm, tool = run.calls
    assert (llm.kind, llm.name, llm.model_name, llm.tool_call_count) == ("llm", "openai", "m", 2)
    assert (llm.output_tokens, llm.prompt_tokens, llm.total_tokens) == (5, 3, None)  # cut to 32 bits, as there
    assert llm.annotated_request.x == 1
    assert tool.ended_at is None
    assert strip_extensions(run).calls[1].model_dump(mode="json").keys() == {"kind", "name", "started_at"}


@pytest.mark.parametrize(
    ("naming", "expected"), [(None, "scope name"), ("fixed", "fixed"), (lambda name: name.upper(), "SCOPE NAME")]
)
def test_agents_are_named(naming: Any, expected: str) -> None:
    (run,) = feed(RunBuilder(naming), start("r", name="scope name"), end("r"))
    assert run.agent_id == expected


def test_marks_and_strays_are_left_out() -> None:
    builder = RunBuilder()
    mark = start("m", "llm", "r")
    mark.kind = "mark"
    strays = [start("1", "llm"), end("1", "llm"), end("x"), end("y", "tool", "x"), start("f", "function", "gone")]
    (run,) = feed(builder, start("r"), mark, *strays, end("r"), end("r"), start("2", "llm", "r"))
    assert run.calls == []


PHASES, CATEGORIES = st.sampled_from(["start", "end"]), st.sampled_from(["agent", "llm", "tool", "function"])
STEPS = st.tuples(PHASES, CATEGORIES, st.integers(0, 8), st.none() | st.integers(0, 8), st.sampled_from("ab"))


@given(st.lists(STEPS, max_size=60))
def test_no_order_of_events_upsets_it_and_nothing_is_left_behind(events: list[Any]) -> None:
    builder = RunBuilder(max_calls=20)
    for phase, category, uuid, parent, name in events:
        builder.process(Event(str(uuid), phase, category, name, None if parent is None else str(parent)))
    for uuid in range(9):
        builder.process(end(str(uuid)))
    assert builder.open_runs == 0
    assert builder._calls == 0
    assert builder._roots == {}


def test_what_is_held_is_bounded() -> None:
    builder = RunBuilder(max_calls=100)
    for number in range(500):
        builder.process(start(f"r{number}"))
        builder.process(start(f"c{number}", "tool", f"r{number}"))
    assert builder.open_runs <= 100
    assert builder.given_up == 400
    (run,) = feed(builder, end("r499"))
    assert len(run.calls) == 1
