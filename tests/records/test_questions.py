"""What one asks a record: durations, totals, predictions, quantiles, stable spans; and how records are made."""

from __future__ import annotations

import json
import statistics
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from relay_models import records
from relay_models.records import (
    AccumulatorState,
    CallRecord,
    Centroid,
    CostEstimate,
    ExecutionPlan,
    LlmCallPrediction,
    MetadataEnvelope,
    NodeAccumulators,
    PredictionMetrics,
    PredictionTrieNode,
    PromptBlock,
    PromptIR,
    Record,
    RunningStats,
    RunRecord,
    StabilityAnalysisResult,
    TDigest,
    Timestamp,
    TrieEnvelope,
    from_json,
    uuid7,
)

START = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)


def call(kind: str, name: str, **fields: Any) -> CallRecord:
    return CallRecord(kind=kind, name=name, started_at=START, **fields)


def response(**fields: Any) -> dict[str, Any]:
    return {"annotated_response": fields}


def test_a_run_answers() -> None:
    run = RunRecord(
        agent_id="a",
        started_at=START,
        ended_at=START + timedelta(milliseconds=1500),
        calls=[
            call("llm", "openai", ended_at=START, prompt_tokens=10, output_tokens=5, total_tokens=15, model_name="b",
                 **response(message="hello", finish_reason="tool_use",
                            usage={"cache_read_tokens": 4, "cost": {"total": 0.25, "source": "model_pricing"}})),
            call("tool", "search", ended_at=START + timedelta(seconds=1)),
            call("tool", "fetch"),
            call("llm", "anthropic", prompt_tokens=1, model_name="a",
                 annotated_request={"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
                 **response(finish_reason={"unknown": "pause"}, usage={"cost": {"input": 0.5, "output": 0.25,
                                                                    "source": "provider_reported"}})),
            call("llm", "openai"),
            call("guardrail", "g"),
        ],
    )  # fmt: skip
    assert run.is_finished
    assert run.duration == timedelta(milliseconds=1500)
    assert run.providers == ["anthropic", "openai"]
    assert run.models == ["a", "b"]
    assert run.tools == ["fetch", "search"]
    assert run.finish_reasons == ["pause", "tool_use"]
    assert (run.prompt_tokens, run.output_tokens, run.total_tokens, run.cache_read_tokens) == (11, 5, 15, 4)
    assert run.cost == 1.0
    assert [len(run.llm_calls), len(run.tool_calls), len(run.unfinished_calls)] == [3, 2, 4]
    assert run.texts == ["hello", "hi"]
    assert run.calls[1].duration == timedelta(seconds=1)
    assert run.calls[2].duration is None
    assert not run.calls[2].is_finished


def test_an_empty_and_running_run_answers() -> None:
    run = RunRecord(agent_id="a")
    assert not run.is_finished
    assert run.duration is None
    assert run.cost is None
    assert run.costs == {}
    assert (run.models, run.tools, run.providers, run.finish_reasons, run.texts) == ([], [], [], [], [])
    assert run.total_tokens == 0
    assert set(json.loads(run.model_dump_json())) == {"id", "agent_id", "calls", "started_at"}


def test_costs_in_several_currencies_have_no_sum() -> None:
    costs = [{"total": 1, "source": "model_pricing"}, {"total": 2, "currency": "eur", "source": "model_pricing"}]
    run = RunRecord(agent_id="a", calls=[call("llm", "x", **response(usage={"cost": cost})) for cost in costs])
    assert run.costs == {"USD": 1.0, "EUR": 2.0}
    assert run.cost is None


def test_the_parts_of_a_priced_cost_are_no_total() -> None:
    assert CostEstimate(source="model_pricing", input=1.0).amount is None
    assert CostEstimate(source="provider_reported").amount is None


def test_none_given_or_assigned_in_python_means_absent() -> None:
    run = RunRecord(agent_id="a", ended_at=None)
    assert "ended_at" not in run.model_dump()
    run.ended_at = START  # type: ignore[assignment]
    assert isinstance(run.ended_at, Timestamp)
    assert run.model_dump(mode="json")["ended_at"] == "2026-11-23T11:00:00Z"
    run.ended_at = None
    assert "ended_at" not in run.model_dump()
    run.region = None  # type: ignore[attr-defined]  # unknown fields are the caller's
    assert json.loads(run.model_dump_json())["region"] is None
    assert json.loads(LlmCallPrediction(latency_sensitivity=None).model_dump_json())["latency_sensitivity"] is None
    node = PredictionTrieNode(name="n")
    assert node.model_dump() == {
        "name": "n", "children": {}, "predictions_by_call_index": {}, "predictions_any_index": None,
    }  # fmt: skip
    assert MetadataEnvelope(agent_id="a").model_dump()["extensions"] is None


def test_copies_are_independent_and_validated() -> None:
    run = RunRecord(agent_id="a", ended_at=START, calls=[call("tool", "t")])
    copied = run.model_copy(update={"ended_at": None, "region": "eu", "agent_id": "b"})
    assert "ended_at" not in copied.model_dump()
    assert (copied.agent_id, copied.region, run.agent_id) == ("b", "eu", "a")
    assert run.is_finished
    assert run.model_copy(update={"ended_at": START}).ended_at == START
    with pytest.raises(ValidationError, match="ended_at"):
        run.model_copy(update={"ended_at": "soon"})
    deep = run.model_copy(deep=True)
    deep.calls.clear()
    assert len(run.calls) == 1


def test_a_deep_trie_is_read_and_written() -> None:
    node = PredictionTrieNode(name="leaf", predictions_any_index=prediction(7))
    for level in range(60):  # NeMo Relay itself reads no deeper JSON than 128 levels
        node = PredictionTrieNode(name=str(level), children={node.name: node})
    trie = from_json(TrieEnvelope, TrieEnvelope(workflow_name="w", root=node).model_dump_json())
    path = [str(level) for level in range(58, -1, -1)] + ["leaf"]
    found = trie.predict(path)
    assert found is not None
    assert found.output_tokens.mean == 7


def test_a_constructor_names_the_path_of_a_bad_value() -> None:
    with pytest.raises(ValidationError, match=r"calls\.0\.started_at"):
        RunRecord(agent_id="a", calls=[{"kind": "llm", "name": "x", "started_at": "?"}])
    run = RunRecord(agent_id="a")
    with pytest.raises(ValidationError, match="ended_at"):
        run.ended_at = "later"  # type: ignore[assignment]


def test_every_field_is_described_and_every_class_too() -> None:
    kinds = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)]
    assert len(kinds) > 25
    for kind in kinds:
        assert kind.__doc__
        for name, field in kind.model_fields.items():
            assert field.description, f"{kind.__name__}.{name}"
            assert field.description.endswith("."), f"{kind.__name__}.{name}"
        if kind is not Record:
            schema = kind.model_json_schema()
            assert kind.__name__ in schema.get("$defs", ()) or schema["type"] == "object"


def test_uuid7_is_one_and_grows_within_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [uuid7() for _ in range(2000)], range(8)))
    assert len({value for batch in batches for value in batch}) == 16_000
    for batch in batches:
        assert batch == sorted(batch)
    made = uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) / 1000 - datetime.now(UTC).timestamp()) < 5


def prediction(mean: float) -> LlmCallPrediction:
    return LlmCallPrediction(output_tokens=PredictionMetrics(mean=mean))


def test_the_deepest_node_with_a_prediction_wins() -> None:
    leaf = PredictionTrieNode(name="b", predictions_by_call_index={2: prediction(5)})
    middle = PredictionTrieNode(name="a", children={"b": leaf}, predictions_any_index=prediction(3))
    root = PredictionTrieNode(
        name="root",
        children={"a": middle},
        predictions_by_call_index={1: prediction(1)},
        predictions_any_index=prediction(0),
    )
    trie = TrieEnvelope(workflow_name="w", root=root)

    def mean(path: Any, index: int) -> float | None:
        found = trie.predict(path, index)
        return None if found is None else found.output_tokens.mean

    assert mean([], 1) == 1
    assert mean([], 2) == 0
    assert mean(["a"], 1) == 3
    assert mean(["a", "b"], 2) == 5
    assert mean("a/b", 2) == 5
    assert mean(["a", "b"], 1) == 3  # the leaf has none for call 1: its parent's any-index counts
    assert mean(["a", "b", "zzz"], 2) == 5
    assert mean(["zzz", "a"], 2) == 0
    assert TrieEnvelope(workflow_name="w", root=PredictionTrieNode(name="r")).predict(["a"], 1) is None
    assert [path for path, _ in trie.walk()] == [(), ("a",), ("a", "b")]
    assert json.loads(trie.model_dump_json())["root"]["predictions_by_call_index"].keys() == {"1"}


def test_quantiles_are_those_that_the_runtime_computed(capture: list[dict[str, Any]]) -> None:
    values = {line["key"]: line["value"] for line in capture}
    compared = 0
    for key, value in values.items():
        if ":trie:" not in key:
            continue
        trie = from_json(TrieEnvelope, value)
        state = from_json(AccumulatorState, values[key.replace(":trie:", ":accumulators:")])
        for path, node in trie.walk():
            learned = state.at(*path)
            if learned is None:
                continue
            for index, predicted in node.predictions_by_call_index.items():
                for name in ("remaining_calls", "interarrival_ms", "output_tokens"):
                    stats = getattr(learned, name).get(index)
                    if stats is not None and stats.count == getattr(predicted, name).sample_count:
                        assert stats.metrics() == getattr(predicted, name)
                        compared += 1
    assert compared > 50


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_stay_within_the_samples(samples: list[float], q: float) -> None:
    digest = TDigest(
        centroids=[Centroid(mean=value, weight=1.0) for value in sorted(samples)],
        sum=sum(samples), count=float(len(samples)), min=min(samples), max=max(samples),
    )  # fmt: skip
    assert min(samples) <= digest.quantile(q) <= max(samples)
    assert digest.quantile(0.0) == min(samples)
    assert digest.quantile(1.0) == max(samples)


def test_statistics() -> None:
    samples = [1.0, 2.0, 4.0]
    mean = statistics.fmean(samples)
    stats = RunningStats(count=3, mean=mean, m2=sum((s - mean) ** 2 for s in samples))
    assert stats.variance == pytest.approx(statistics.variance(samples))
    assert stats.stddev == pytest.approx(statistics.stdev(samples))
    empty = RunningStats()
    assert (empty.variance, empty.stddev, empty.quantile(0.9), empty.metrics()) == (
        None,
        None,
        0.0,
        PredictionMetrics(),
    )
    with pytest.raises(ValueError, match="0 to 1"):
        empty.quantile(1.5)
    nulls = from_json(TDigest, '{"centroids":[],"sum":0.0,"count":0.0,"max":null,"min":null,"max_size":100}')
    assert nulls.quantile(0.5) == 0.0
    assert json.loads(nulls.model_dump_json())["max"] is None
    state = AccumulatorState(nodes={"": NodeAccumulators(), "a/b": NodeAccumulators(all_output_tokens=stats)})
    assert state.paths == ["", "a/b"]
    assert state.at("a", "b") is state.nodes["a/b"]
    assert state.at() is state.nodes[""]
    assert state.at("x") is None


def test_a_plan_and_a_stability_result_answer() -> None:
    groups = [{"group_id": "g", "tool_names": ["b", "a"]}, {"group_id": "h", "tool_names": ["c"]}]
    plan = ExecutionPlan(agent_id="a", parallel_groups=groups, metadata_template=MetadataEnvelope(agent_id="a"))
    assert plan.tools == ["a", "b", "c"]
    assert plan.may_run_together("a", "b")
    assert not plan.may_run_together("a", "c")
    assert [group.group_id for group in plan.groups_of("c")] == ["h"]
    result = StabilityAnalysisResult(
        scores=[
            {"span_id": span, "classification": kind, "score": 1.0, "confidence": 0.5, "observation_count": 3}
            for span, kind in [("s", "stable"), ("t", "stable"), ("u", "variable"), ("v", "stable"), ("w", "later")]
        ],
        stable_prefix_length=2,
        total_observations=3,
    )
    assert result.stable_spans == ["s", "t", "v"]
    assert result.stable_prefix == ["s", "t"]
    assert result.spans("later") == ["w"]
    assert result.score_of("u").classification == "variable"  # type: ignore[union-attr]
    assert result.score_of("?") is None


def test_a_prompt_is_made_with_what_relay_always_writes() -> None:
    block = PromptBlock(
        span_id="s", sequence_index=0, role="system", content="x", content_type="text", provenance="system"
    )
    made = json.loads(PromptIR(blocks=[block]).model_dump_json())
    assert made["blocks"][0]["sensitivity"] == "public"
    assert set(made) == {"ir_id", "blocks", "created_at"}
