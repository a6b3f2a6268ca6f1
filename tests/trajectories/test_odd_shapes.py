"""What a request or a response has in a shape that is not understood refuses no run, in no format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_models import Run
from relay_models.records import CallExtensions, CallRecord, RunExtensions, RunRecord, to_json
from relay_models.records.tokens import count_tokens
from relay_models.trajectories import Convention, read_runs, to_atif, to_otlp
from tests.trajectories.atif_models import check_atif

ODD: tuple[Any, ...] = (-1, 1.5, "7", [], {"a": 1}, [{"count": 5, "duration": 300}, {"count": None}], True, 2**70)
USAGE = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("uncached_input_tokens", "reasoning_tokens", "completion_tokens_details", "cost"),
)
RESPONSE = ("usage", "message", "tool_calls", "finish_reason", "api_specific", "id", "model", "of_a_later_release")
REQUEST = ("messages", "instructions", "params", "tools", "tool_choice", "nvext", "model", "metadata", "user", "store")


def calls(odd: Any) -> list[dict[str, Any]]:
    """Calls with an odd value in each place."""
    usages = [{"usage": {"prompt_tokens": 9, "cache_read_tokens": 100, name: odd}} for name in USAGE]
    responses = [
        *usages,
        *({name: odd} for name in RESPONSE),
        {"tool_calls": [odd, {"id": odd, "name": "x", "arguments": odd}]},
        {"message": [odd, {"type": "text", "text": odd}]},
        {"api_specific": {"api": "anthropic_messages", "content_blocks": odd}},
    ]
    requests = [
        *({name: odd} for name in REQUEST),
        {"messages": [{"role": "user", "content": odd}, {"role": odd}, odd]},
        {"messages": [{"role": "assistant", "tool_calls": [odd, {"id": odd, "function": odd}]}]},
        {"nvext": {"agent_hints": odd}},
    ]
    extensions = [{name: odd} for name in CallExtensions.model_fields if name not in ("input", "output")]
    whole = [name for name, field in CallRecord.model_fields.items() if not field.is_required()]
    return [
        *({"annotated_response": value} for value in responses),
        *({"annotated_request": value} for value in requests),
        *({"relay_models": value, "kind": kind} for value in extensions for kind in ("llm", "tool")),
        *({name: odd} for name in whole),
        {"annotated_response": {"api_specific": {"api": odd}, "usage": {"prompt_tokens": 1, "cache_read_tokens": 1}}},
    ]


def runs(odd: Any) -> list[dict[str, Any]]:
    """What runs have besides calls, with an odd value in each place."""
    otel = [{"metadata": {"otel": {name: odd}}} for name in ("trace_id", "span_id", "parent_span_id")]
    extensions = [*({name: odd} for name in RunExtensions.model_fields), *otel, {"metadata": {"otel": odd}}]
    return [{"ended_at": odd}, {"relay_models": odd}, *({"relay_models": value} for value in extensions)]


@pytest.mark.parametrize("odd", ODD, ids=json.dumps)
def test_no_shape_refuses_a_run(odd: Any) -> None:
    """One run with all of the calls: it is read, counted, and written in each format, and kept as it came."""
    common = {"kind": "llm", "name": "anthropic", "started_at": "2026-01-01T00:00:00Z"}
    value = {"id": "01a22872-4835-77c1-960e-30cc2b2420e1", "agent_id": "a", "started_at": "2026-01-01T00:00:00Z"}
    texts = [json.dumps({**value, "calls": [{**common, **call} for call in calls(odd)]})]
    texts += [json.dumps({**value, **more, "calls": [{**common, "kind": "tool"}]}) for more in runs(odd)]
    for text in texts:
        (result,) = read_runs([text])
        assert result.run is not None, result.error
        run = result.run
        assert json.loads(run.model_dump_json()) == json.loads(text)
        assert len(result.notes) == len(run.not_understood)
        assert Run.of(run).calls == len(run.calls)
        for call in run.calls:
            count_tokens(call)
        document = to_atif(run)
        check_atif(document)
        assert json.loads(to_json(again(document))) == json.loads(text)
        assert again(to_atif(run, exact=False)).id == run.id
        for convention in Convention:
            read = again(to_otlp([run], convention))
            assert (read.id, len(read.calls)) == (run.id, len(run.calls))


def again(document: Any) -> RunRecord:
    """The run of a document that comes back from a file."""
    (result,) = read_runs([json.dumps(document)])
    assert result.run is not None, result.error
    return result.run
