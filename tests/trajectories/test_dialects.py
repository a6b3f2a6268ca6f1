"""Messages, tools and tokens in the attributes and events of libraries that have names of their own for them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from relay_models.records import CallRecord
from relay_models.records.tokens import count_tokens
from relay_models.trajectories import read_runs
from relay_models.trajectories.otlp import parse_spans

ASKED = [("system", "be brief"), ("user", "weather?")]
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "m"}


def value(item: Any) -> dict[str, Any]:
    if isinstance(item, list):
        return {"arrayValue": {"values": [value(each) for each in item]}}
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue"}.get(type(item), "stringValue")
    return {
        kind: str(item)
        if kind == "intValue"
        else item
        if kind != "stringValue" or isinstance(item, str)
        else dump(item)
    }


def dump(item: Any) -> str:
    return json.dumps(item)


def attributes(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value(item)} for name, item in told.items()]


def call_of(told: dict[str, Any], *events: tuple[str, dict[str, Any]]) -> CallRecord:
    span = {
        "traceId": "1" * 32,
        "spanId": "2" * 16,
        "name": "a span",
        "startTimeUnixNano": "1000",
        "endTimeUnixNano": "9000",
        "attributes": attributes(told),
        "events": [{"name": name, "timeUnixNano": "3000", "attributes": attributes(more)} for name, more in events],
    }
    (result,) = read_runs([json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})])
    assert result.run is not None, result.error
    (call,) = result.run.calls
    return call


OPENAI = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "weather?"}]
LANGCHAIN = [
    {"lc": 1, "type": "constructor", "id": ["x", "SystemMessage"], "kwargs": {"type": "system", "content": "be brief"}},
    {"lc": 1, "type": "constructor", "id": ["x", "HumanMessage"], "kwargs": {"type": "human", "content": "weather?"}},
]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "weather?"}]}], "system": "be brief"}
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
ANTHROPIC = [
    {"type": "text", "text": "Hello"},
    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
]
BEDROCK = [{"text": "Hello"}, {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Oslo"}}}]
ASSISTANT = {"role": "assistant", "content": "Hello", "tool_calls": [TOOL_CALL]}
PARTS = [
    {"type": "text", "content": "Hello"},
    {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Oslo"}},
]

FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]] = {
    "attributes of the conventions": (
        {
            **CHAT,
            "gen_ai.system_instructions": [{"type": "text", "content": "be brief"}],
            "gen_ai.input.messages": dump([{"role": "user", "parts": [{"type": "text", "content": "weather?"}]}]),
            "gen_ai.output.messages": dump([{"role": "assistant", "parts": PARTS, "finish_reason": "tool_call"}]),
        },
        [],
    ),
    "event of details": (
        CHAT,
        [
            (
                "gen_ai.client.inference.operation.details",
                {"gen_ai.input.messages": dump(OPENAI), "gen_ai.output.messages": dump([ASSISTANT])},
            )
        ],
    ),
    "events of messages": (
        CHAT,
        [
            ("gen_ai.system.message", {"content": "be brief"}),
            ("gen_ai.user.message", {"content": "weather?"}),
            ("gen_ai.choice", {"index": 0, "finish_reason": "tool_calls", "message": dump(ASSISTANT)}),
        ],
    ),
    "events with a body in one attribute (Azure)": (
        CHAT,
        [
            ("gen_ai.system.message", {"gen_ai.event.content": dump(OPENAI[0])}),
            ("gen_ai.user.message", {"gen_ai.event.content": dump({"content": "weather?"})}),
            ("gen_ai.choice", {"gen_ai.event.content": dump({"finish_reason": "tool_calls", "message": ASSISTANT})}),
        ],
    ),
    "events with Bedrock's content (Strands)": (
        CHAT,
        [
            ("gen_ai.system.message", {"content": dump([{"text": "be brief"}])}),
            ("gen_ai.user.message", {"content": dump([{"text": "weather?"}])}),
            ("gen_ai.choice", {"finish_reason": "tool_use", "message": dump(BEDROCK)}),
        ],
    ),
    "events of prompt and completion (1.27)": (
        CHAT,
        [
            ("gen_ai.content.prompt", {"gen_ai.prompt": dump(OPENAI)}),
            ("gen_ai.content.completion", {"gen_ai.completion": dump([ASSISTANT])}),
        ],
    ),
    "numbered attributes (OpenLLMetry)": (
        {
            "llm.request.type": "chat",
            "gen_ai.system": "OpenAI",
            "gen_ai.request.model": "m",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "be brief",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": "weather?",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "Hello",
            "gen_ai.completion.0.finish_reason": "tool_calls",
            "gen_ai.completion.0.tool_calls.0.id": "c1",
            "gen_ai.completion.0.tool_calls.0.name": "weather",
            "gen_ai.completion.0.tool_calls.0.arguments": '{"city": "Oslo"}',
        },
        [],
    ),
    "LangSmith": (
        {
            "langsmith.span.kind": "llm",
            "langsmith.metadata.ls_provider": "openai",
            "langsmith.metadata.ls_model_name": "m",
            "gen_ai.prompt": dump({"messages": [LANGCHAIN]}),
            "gen_ai.completion": dump({"generations": [[{"text": "Hello", "message": {"kwargs": ASSISTANT}}]]}),
        },
        [],
    ),
    "MLflow": (
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "gen_ai.system": "openai",
            "gen_ai.request.model": "m",
            "mlflow.spanInputs": dump({"messages": OPENAI, "model": "m"}),
            "mlflow.spanOutputs": dump({"choices": [{"finish_reason": "tool_calls", "message": ASSISTANT}]}),
        },
        [],
    ),
    "Google ADK": (
        {
            "gen_ai.system": "openai",
            "gen_ai.request.model": "m",
            "gcp.vertex.agent.llm_request": dump(GEMINI),
            "gcp.vertex.agent.llm_response": dump(
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "Hello"},
                            {"function_call": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}}},
                        ],
                    }
                }
            ),
        },
        [],
    ),
    "Langfuse with Anthropic's content": (
        {
            "langfuse.observation.type": "generation",
            "gen_ai.system": "openai",
            "langfuse.observation.model.name": "m",
            "langfuse.observation.input": dump(OPENAI),
            "langfuse.observation.output": dump({"role": "assistant", "content": ANTHROPIC}),
        },
        [],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_messages(form: str) -> None:
    told, events = FORMS[form]
    call = call_of(told, *events)
    assert (call.kind.value, call.name, call.model_name) == ("llm", "openai", "m")
    request, response = call.annotated_request, call.annotated_response
    assert request is not None
    assert response is not None
    messages = [(message.role.value, message.text) for message in request.messages]
    assert ([] if request.instructions is None else [("system", request.instructions)]) + messages == ASKED
    assert response.text == "Hello"
    assert [(asked.id, asked.name, asked.arguments) for asked in response.tool_calls or ()] == [
        ("c1", "weather", {"city": "Oslo"})
    ]
    assert call.ext is not None
    assert (call.ext.input, call.ext.output) == (None, None)


@pytest.mark.parametrize(
    "told",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather", "input.value": dump({"city": "Oslo"}),
         "output.value": "sunny"},
        {"gen_ai.tool.name": "weather", "tool_arguments": dump({"city": "Oslo"}), "tool_response": "sunny"},
        {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "weather", "ai.toolCall.args": dump({"city": "Oslo"}),
         "ai.toolCall.result": '"sunny"'},
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "weather",
         "traceloop.entity.input": dump({"city": "Oslo"}), "traceloop.entity.output": '"sunny"'},
        {"mlflow.spanType": '"TOOL"', "gen_ai.tool.name": "weather", "mlflow.spanInputs": dump({"city": "Oslo"}),
         "mlflow.spanOutputs": '"sunny"'},
    ],
    ids=lambda told: next(iter(told)),
)  # fmt: skip
def test_tools(told: dict[str, Any]) -> None:
    call = call_of(told)
    assert call.ext is not None
    assert (call.kind.value, call.name, call.ext.input, call.ext.output) == (
        "tool",
        "weather",
        {"city": "Oslo"},
        "sunny",
    )


def test_a_tool_whose_input_and_output_are_events() -> None:
    told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}
    call = call_of(
        told,
        ("gen_ai.tool.message", {"id": "c1", "content": dump({"city": "Oslo"})}),
        ("gen_ai.choice", {"id": "c1", "message": "sunny"}),
    )
    assert call.ext is not None
    assert (call.ext.input, call.ext.output, call.ext.tool_call_id) == ({"city": "Oslo"}, "sunny", "c1")


@pytest.mark.parametrize(
    "told",
    [
        {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, "gen_ai.usage.reasoning_tokens": 7,
         "gen_ai.usage.cache_read_input_tokens": 60},
        {"gen_ai.usage.prompt_tokens": 100.0, "gen_ai.usage.completion_tokens": "20",
         "gen_ai.usage.details.reasoning_tokens": 7, "gen_ai.usage.details.cached_tokens": 60},
        {"ai.usage.inputTokens": 100, "ai.usage.outputTokens": 20, "ai.usage.reasoningTokens": 7,
         "ai.usage.cachedInputTokens": 60},
        {"langfuse.observation.usage_details": dump({"input": 40, "input_cached_tokens": 60, "output": 13,
                                                     "output_reasoning_tokens": 7})},
        {"mlflow.chat.tokenUsage": dump({"prompt_tokens": 100, "completion_tokens": 20,
                                         "prompt_tokens_details": {"cached_tokens": 60},
                                         "completion_tokens_details": {"reasoning_tokens": 7}})},
    ],
    ids=lambda told: next(iter(told)),
)  # fmt: skip
def test_tokens(told: dict[str, Any]) -> None:
    counts = count_tokens(call_of({**CHAT, **told}))
    assert (counts.input_tokens, counts.cached_input_tokens, counts.output_tokens, counts.reasoning_tokens) == (
        100, 60, 20, 7
    )  # fmt: skip


@pytest.mark.parametrize("text", ['{"a": 1}', '["x"]', '[{"a": 1}]', "[", "7"])
def test_an_answer_that_is_json_stays_text(text: str) -> None:
    call = call_of({**CHAT, "gen_ai.output.messages": dump([{"role": "assistant", "content": text}])})
    assert call.annotated_response is not None
    assert call.annotated_response.text == text


@pytest.mark.parametrize("above", [{"2": "1", "3": "2"}, {"1": "2", "2": "1"}, {"1": "3", "2": "1", "3": "2"}])
@pytest.mark.parametrize("order", [("1", "2", "3"), ("3", "2", "1"), ("2", "3", "1")])
def test_spans_of_one_call_that_begin_at_once_or_are_above_themselves(
    above: dict[str, str], order: tuple[str, ...]
) -> None:
    ids = dict(zip("123", order, strict=True))
    spans = [
        {
            "scope": {"name": f"library {each}"},
            "spans": [
                {
                    "traceId": "1" * 32,
                    "spanId": ids[each] * 16,
                    "parentSpanId": ids[above[each]] * 16 if each in above else "",
                    "name": "chat m",
                    "startTimeUnixNano": "1000",
                    "endTimeUnixNano": "9000",
                    "attributes": attributes(CHAT),
                }
            ],
        }
        for each in {*above, *above.values()}
    ]
    (result,) = read_runs([json.dumps({"resourceSpans": [{"scopeSpans": spans}]})])
    assert result.run is not None, result.error
    assert len(result.run.calls) == 1


ASKING = {"key": "gen_ai.operation.name", "value": {"stringValue": "execute_tool"}}
WHOLE = {
    "traceId": "1" * 32,
    "spanId": "2" * 16,
    "name": "search",
    "startTimeUnixNano": "1000",
    "endTimeUnixNano": "9000",
    "attributes": [ASKING],
}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"stringValue": "deep"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    return value


@pytest.mark.parametrize(
    "odd",
    [
        {"startTimeUnixNano": 1e30},
        {"attributes": [ASKING, {"key": "x", "value": {"doubleValue": 10**400}}]},
        {"attributes": [ASKING, {"key": "x", "value": {"arrayValue": "text"}}]},
        {"attributes": [ASKING, {"key": "x", "value": nested(150)}]},
    ],
    ids=["time", "huge-double", "no-array", "too-deep"],
)
def test_a_span_that_cannot_be_read_keeps_none_from_being_read(odd: dict[str, Any]) -> None:
    spans = [WHOLE | {"spanId": "3" * 16} | odd, WHOLE]
    results = list(read_runs([json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})]))
    assert [len(result.run.calls) for result in results if result.run is not None] == [1]
    assert any(result.error for result in results)


@pytest.mark.parametrize(
    "odd",
    [
        {"startTimeUnixNano": math.inf},
        {"attributes": [ASKING, {"key": "x", "value": {"intValue": math.inf}}]},
    ],
    ids=["time", "int"],
)
def test_numbers_without_end_are_a_problem_of_their_span(odd: dict[str, Any]) -> None:
    spans, problems = parse_spans({"resourceSpans": [{"scopeSpans": [{"spans": [WHOLE | odd, WHOLE]}]}]})
    assert (len(spans), len(problems)) == (1, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"endTimeUnixNano": 1e30},
        {"events": [{"name": "gen_ai.choice", "timeUnixNano": 1e30}]},
        {"attributes": [ASKING, {"key": "x", "value": nested(50)}]},
    ],
    ids=["end", "event", "deep"],
)
def test_what_a_span_has_beside_its_call_refuses_none(odd: dict[str, Any]) -> None:
    (result,) = read_runs([json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [WHOLE | odd]}]}]})])
    assert result.run is not None, result.error


def test_a_log_record_whose_body_is_none_is_passed_over() -> None:
    record = {
        "traceId": "1" * 32,
        "spanId": "2" * 16,
        "eventName": "gen_ai.choice",
        "body": {"arrayValue": "text"},
    }
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [WHOLE]}]}]}
    assert [result.run is not None for result in read_runs([json.dumps(logs), json.dumps(spans)])] == [True]


def test_content_of_openinference_that_is_a_list() -> None:
    told = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": ["a", "b"],
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": ["c"],
    }
    call = call_of(told)
    assert call.annotated_request is not None
    assert call.annotated_request.messages[0].content == '["a","b"]'
    assert call.annotated_response is not None
    assert call.annotated_response.message == '["c"]'


SENTRY = {
    **CHAT,
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.input_tokens.cached": 50,
    "gen_ai.usage.input_tokens.cache_write": 5,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.usage.output_tokens.reasoning": 10,
}
LANGCHAIN_USAGE = {
    **CHAT,
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 4,
    "gen_ai.usage.input_token_details": dump({"cache_read": 6, "cache_creation": 1}),
    "gen_ai.usage.output_token_details": dump({"reasoning": 2}),
}
SEMANTIC_KERNEL = {
    "gen_ai.operation.name": "chat.completions",
    "gen_ai.system": "openai",
    "gen_ai.response.prompt_tokens": 12,
    "gen_ai.response.completion_tokens": 3,
    "gen_ai.response.finish_reason": "FinishReason.STOP",
}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (SENTRY, (100, 50, 5, 30, 10)),
        (LANGCHAIN_USAGE, (10, 6, 1, 4, 2)),
        (SEMANTIC_KERNEL, (12, None, None, 3, None)),
        (
            {**CHAT, "gen_ai.usage.output_tokens": 7, "gen_ai.usage.experimental.reasoning_tokens": 2},
            (None, None, None, 7, 2),
        ),
    ],
)
def test_tokens_in_the_words_of_other_libraries(told: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    counts = count_tokens(call_of(told))
    assert tuple(getattr(counts, name) for name in type(counts).__slots__) == expected


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"llm.cost.prompt": 0.25, "llm.cost.completion": 0.5}, 0.75),
        ({"llm.cost.prompt": 0.25, "llm.cost.total": 1.0}, 1.0),
        ({"langfuse.observation.cost_details": dump({"input": 0.5, "output": 0.25})}, 0.75),
        ({"langfuse.observation.cost_details": dump({"input": 0.5, "total": 2})}, 2.0),
        ({"llm.cost.prompt": "dear"}, None),
    ],
)
def test_costs_in_parts(told: dict[str, Any], cost: float | None) -> None:
    call = call_of({**CHAT, **told})
    assert (None if call.cost is None else call.cost.amount) == cost


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("STOP", "complete"),
        ("FinishReason.STOP", "complete"),
        ("MAX_TOKENS", "length"),
        ("guardrail_intervened", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_finish_reasons_of_providers(reason: str, word: str) -> None:
    assert call_of({**CHAT, "gen_ai.response.finish_reasons": [reason]}).finish_reason == word


@pytest.mark.parametrize(
    ("told", "milliseconds"),
    [
        ({"gen_ai.server.time_to_first_token": 0.25}, 250),
        ({"gen_ai.server.ttft": 0.25}, 250),
        ({"gen_ai.system": "strands-agents", "gen_ai.server.time_to_first_token": 250}, 250),
    ],
)
def test_times_to_the_first_token(told: dict[str, Any], milliseconds: float) -> None:
    call = call_of({**CHAT, **told})
    assert call.ext is not None
    assert call.ext.time_to_first_token_ms == milliseconds


def test_models_and_messages_in_the_words_of_other_libraries() -> None:
    call = call_of(
        {
            "openinference.span.kind": "LLM",
            "llm.request.model_name": "asked",
            "llm.response.model_name": "answered",
            "gen_ai.request.messages": dump(OPENAI),
            "gen_ai.response.text": dump(["Hello"]),
        }
    )
    assert call.model_name == "answered"
    assert call.annotated_request is not None
    assert call.annotated_response is not None
    assert [(message.role, message.text) for message in call.annotated_request.messages] == ASKED
    assert call.annotated_response.text == "Hello"


@pytest.mark.parametrize("status", [{}, {"status": {"code": 1}}])
@pytest.mark.parametrize(
    "told",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t", "gen_ai.tool.status": "error"},
        {"langfuse.observation.type": "tool", "langfuse.observation.level": "ERROR"},
    ],
)
def test_failures_that_only_an_attribute_tells(told: dict[str, Any], status: dict[str, Any]) -> None:
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "t", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    request = {"scopeSpans": [{"spans": [{**span, **status, "attributes": attributes(told)}]}]}
    (result,) = read_runs([json.dumps({"resourceSpans": [request]})])
    assert result.run is not None
    (call,) = result.run.calls
    assert call.ext is not None
    assert call.ext.status == "failed"


def test_a_prompt_in_json_that_cannot_be_kept_as_it_is() -> None:
    """Half of a surrogate pair, as JavaScript writes it of a text that was cut, and NaN of Python."""
    text = '[{"role": "user", "content": "cut \\ud83d", "score": NaN}]'
    call = call_of({**CHAT, "gen_ai.input.messages": text})
    assert call.annotated_request is not None
    assert call.annotated_request.messages[0].text == "cut \ufffd"
