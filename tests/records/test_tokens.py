"""Tokens by one measure, from the responses of NeMo Relay's real codecs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay_models.records import CallExtensions, CallRecord, RunRecord
from relay_models.records.tokens import TokenCounts, cache_write_total, count_tokens, sum_tokens

CAPTURE = Path(__file__).parent.parent / "trajectories" / "data" / "relay_0.11.0rc3.redis_rich.jsonl"


def captured_calls() -> dict[str, CallRecord]:
    """One call per codec."""
    for line in CAPTURE.read_text().splitlines():
        entry = json.loads(line)
        if ":runs:" in entry["key"]:
            run = RunRecord.model_validate_json(entry["value"])
            if len(run.llm_calls) == 5:
                return {call.name: call for call in run.llm_calls}
    raise AssertionError("no run with all codecs")


@pytest.mark.parametrize(
    ("codec", "expected", "uncached"),
    [
        ("openai", TokenCounts(1000, 512, None, 20, None), 488),
        ("openai-responses", TokenCounts(5, 1, None, 6, 2), 4),
        ("anthropic", TokenCounts(159, 100, 50, 4, None), 9),
        ("gemini", TokenCounts(4, 1, None, 5, 3), 3),
        ("oci", TokenCounts(1, None, None, 2, None), 1),
    ],
)
def test_codecs(codec: str, expected: TokenCounts, uncached: int) -> None:
    counts = count_tokens(captured_calls()[codec])
    assert counts == expected
    assert counts.uncached_input_tokens == uncached


def test_figures_add_up_across_providers() -> None:
    counts = sum_tokens(list(captured_calls().values()))
    assert counts == TokenCounts(1169, 614, 50, 37, 5)
    assert counts.total_tokens == 1206


def llm(usage: Any, name: str = "in-house", api: str | None = None, model: str = "m") -> CallRecord:
    response = {"usage": usage, **({"api_specific": {"api": api}} if api else {})}
    return CallRecord(kind="llm", name=name, model_name=model, annotated_response=response)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (llm({"prompt_tokens": 100, "cache_read_tokens": 60}), 100),
        (llm({"prompt_tokens": 9, "cache_read_tokens": 60}), 69),
        (llm({"prompt_tokens": 100, "cache_read_tokens": 60}, name="anthropic"), 160),
        (llm({"prompt_tokens": 100, "cache_read_tokens": 60}, name="gateway", model="claude-x"), 160),
        (llm({"prompt_tokens": 100, "cache_read_tokens": 60}, name="anthropic", api="openai_chat"), 100),
        (llm({"prompt_tokens": 100, "cache_read_tokens": 60, "uncached_input_tokens": 40}, name="anthropic"), 100),
        (llm({"prompt_tokens": 40, "cache_read_tokens": 60, "uncached_input_tokens": 40}), 100),
        (llm({"prompt_tokens": 7}, name="anthropic"), 7),
        (llm({"cache_read_tokens": 5}), None),
    ],
)
def test_whether_the_prompt_includes_the_cache(call: CallRecord, expected: int | None) -> None:
    assert count_tokens(call).input_tokens == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        (50, 50),
        ([{"count": 50, "duration": 300}], 50),
        ([{"count": 50, "duration": 300}, {"count": 7}], 57),
        ([], None),
        ("many", None),
        ([{"duration": 1}, 5], None),
    ],
)
def test_cache_writes_are_a_number_or_a_list(told: Any, expected: int | None) -> None:
    assert cache_write_total(told) == expected


def test_calls_without_a_response_have_the_figures_of_the_record() -> None:
    call = CallRecord(kind="llm", name="x", prompt_tokens=3, output_tokens=4, ext=CallExtensions(reasoning_tokens=1))
    assert count_tokens(call) == TokenCounts(3, None, None, 4, 1)
    assert count_tokens(CallRecord(kind="tool", name="t")) == TokenCounts()
