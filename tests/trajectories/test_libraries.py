"""Spans as libraries write them: each file is what the library sent for a small program, its stack traces removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay_models.records import RunRecord
from relay_models.records.tokens import count_tokens
from relay_models.trajectories import Convention, read_runs, to_otlp

DATA = Path(__file__).parent / "libraries"
OPENAI, CLAUDE = "gpt-4.1-mini-2025", "claude-sonnet-4"
# (input, cached, written, output, reasoning) tokens that the stub of the provider told.
GPT, GPT_NO_DETAILS, SONNET = (100, 60, None, 20, 7), (100, None, None, 20, None), (159, 100, 50, 4, None)
NONE = (None,) * 5


def runs_of(name: str) -> list[RunRecord]:
    results = list(read_runs(DATA / f"{name}.otlp.jsonl.gz"))
    assert [result.error for result in results if result.error] == []
    return [result.run for result in results if result.run is not None]


def calls_of(run: RunRecord) -> list[tuple[Any, ...]]:
    found = []
    for call in run.calls:
        counts = count_tokens(call)
        tokens = tuple(getattr(counts, name) for name in type(counts).__slots__)
        status = None if call.ext is None or call.ext.status is None else call.ext.status.value
        found.append((call.kind.value, call.name, call.model_name, status, tokens))
    return found


def llm(name: str, model: str | None, tokens: tuple[Any, ...], status: str = "completed") -> tuple[Any, ...]:
    return ("llm", name, model, status, tokens)


def tool(name: str, status: str = "completed") -> tuple[Any, ...]:
    return ("tool", name, None, status, NONE)


def ext(record: Any) -> Any:
    assert record.ext is not None
    return record.ext


EXPECTED: dict[str, dict[str, list[tuple[Any, ...]]]] = {
    # Anthropic's SDK writes spans of its own, which the instrumentation around it has as parents, or beside them.
    "openinference_openai_anthropic": {
        "shop": [
            *[llm("openai", OPENAI, GPT)] * 3,
            llm("openai", "gpt-4.1-mini", NONE, "failed"),
            *[llm("openai", OPENAI, GPT)] * 2,
            llm("openai", "text-embedding-3", (5, None, None, None, None)),
            *[llm("anthropic", CLAUDE, SONNET)] * 2,
            llm("anthropic", CLAUDE, NONE, "failed"),
            llm("anthropic", CLAUDE, SONNET),
        ]
    },
    "traceloop_openai_anthropic": {
        "shop": [
            *[llm("openai", OPENAI, GPT)] * 2,
            llm("openai", OPENAI, (100, 60, None, 20, None)),
            llm("openai", "gpt-4.1-mini", NONE, "failed"),
            *[llm("openai", OPENAI, GPT)] * 2,
            llm("openai", "text-embedding-3", (5, 0, None, None, None)),
            *[llm("anthropic", CLAUDE, SONNET)] * 2,
            llm("anthropic", CLAUDE, NONE, "failed"),
            llm("anthropic", CLAUDE, (159, 100, 50, 5, None)),
        ]
    },
    "openai_v2_events": {
        "shop": [
            *[llm("openai", OPENAI, GPT_NO_DETAILS)] * 3,
            llm("openai", "gpt-4.1-mini", NONE, "failed"),
            llm("openai", OPENAI, GPT_NO_DETAILS),
        ]
    },
    "vercel_ai_5": {
        "weatherman": [
            llm("openai.responses", OPENAI, GPT_NO_DETAILS),
            tool("weather"),
            llm("openai.responses", "gpt-4.1-mini", GPT_NO_DETAILS),
            llm("openai.responses", "gpt-4.1-mini", NONE, "failed"),
        ],
        "ai.streamText": [llm("mock-provider", "mock-model-id", GPT)],
    },
    "langfuse_5": {"planner": [llm("llm", "gpt-4.1", (13, 3, None, 5, None)), tool("search", "failed")]},
    "pydantic_ai_1": {
        "weatherman": [
            llm("openai", OPENAI, (100, None, None, 20, 7)),
            tool("weather"),
            llm("openai", OPENAI, (100, None, None, 20, 7)),
            llm("openai", "gpt-4.1-mini", NONE, "failed"),
        ]
    },
    "pydantic_ai_2": {
        "weatherman": [
            llm("openai", OPENAI, GPT),
            tool("weather"),
            llm("openai", OPENAI, GPT),
            llm("openai", "gpt-4.1-mini", NONE, "failed"),
        ]
    },
    "openai_agents": {
        "Agent workflow": [],
        "inner": [llm("openai", OPENAI, GPT), tool("weather"), llm("openai", OPENAI, GPT)],
        "failing": [llm("openai", None, NONE, "failed")],
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_calls_and_tokens(name: str) -> None:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for run in runs_of(name):
        found.setdefault(run.agent_id, []).extend(calls_of(run))
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "langfuse_5"])
def test_messages(name: str) -> None:
    """The program asks for the weather with a tool; the model calls it, and then says hello."""
    calls = [call for run in runs_of(name) for call in run.calls if call.kind == "llm"]
    first, second = calls[:2]
    assert first.annotated_request is not None
    assert second.annotated_request is not None
    asked = [message.text for message in first.annotated_request.messages]
    instructions = first.annotated_request.instructions
    system = "x" if name == "openai_agents" else "be brief"
    assert [*([] if instructions is None else [instructions]), *asked] == [system, "weather?"]
    assert first.annotated_response is not None
    assert not first.annotated_response.text
    (wanted,) = first.annotated_response.tool_calls or ()
    assert (wanted.id.removesuffix("all_1"), wanted.name, wanted.arguments) == (
        "c" if wanted.id != "c1" else "c1", "weather", {"city": "Oslo"}
    )  # fmt: skip
    roles = [message.role.value for message in second.annotated_request.messages]
    assert roles[-3:] == ["user", "assistant", "tool"]
    assert second.annotated_request.messages[-1].text == "sunny"
    assert second.annotated_response is not None
    assert second.annotated_response.text == "Hello"
    tools = [call for run in runs_of(name) for call in run.calls if call.kind == "tool"]
    assert [(ext(call).input, ext(call).output) for call in tools] == [({"city": "Oslo"}, "sunny")] * len(tools)


def test_failures_and_people() -> None:
    of_vercel = {ext(run).status.value: run for run in runs_of("vercel_ai_5") if run.agent_id == "weatherman"}
    done, failed = of_vercel["completed"], of_vercel["failed"]
    assert (ext(done).session_id, ext(done).user_id, ext(done).metadata["k"]) == ("s1", "u1", "v")
    assert ext(failed).error.message == "rate limited"
    (planner,) = runs_of("langfuse_5")
    assert (ext(planner).session_id, ext(planner).user_id) == ("s1", "u1")
    answer, search = planner.calls
    assert (answer.cost and answer.cost.total) == 0.01
    assert (ext(search).input, ext(search).output, ext(search).error.message) == ({"q": "x"}, "no", "boom")
    workflow, inner, _, failing = runs_of("openai_agents")
    assert ext(inner).parent_run_id == workflow.id
    assert (ext(workflow).status, ext(failing).status) == ("completed", "failed")


def test_the_time_to_the_first_token_of_a_stream() -> None:
    for name in ("openinference_openai_anthropic", "traceloop_openai_anthropic", "vercel_ai_5"):
        told = [ext(call).time_to_first_token_ms for run in runs_of(name) for call in run.calls]
        assert any(told)


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_written_of_them_is_read_again(name: str, convention: Convention) -> None:
    runs = runs_of(name)
    again = {result.run.id: result.run for result in read_runs([_line(to_otlp(runs, convention))]) if result.run}
    assert again.keys() == {run.id for run in runs}
    for run in runs:
        assert calls_of(again[run.id]) == calls_of(run)
        assert again[run.id].agent_id == run.agent_id
        assert ext(again[run.id]).parent_run_id == ext(run).parent_run_id
    twice = [result.run for result in read_runs([_line(to_otlp(list(again.values()), convention))])]
    assert [run.model_dump() for run in twice if run] == [run.model_dump() for run in again.values()]


def _line(request: dict[str, Any]) -> str:
    return json.dumps(request)
