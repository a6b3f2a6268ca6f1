"""Trajectories in and out: nothing that a record has a place for is lost, and what is written is valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models.records import CallExtensions, CallRecord, ErrorInfo, RunExtensions, RunRecord
from relay_models.records.tokens import count_tokens
from relay_models.trajectories import read_runs, runs_from_atif, to_atif
from tests.records.strategies import records
from tests.trajectories.atif_models import check_atif, harbor_trajectory
from tests.trajectories.events import nested

DATA = Path(__file__).parent / "data"


def relay_document(*, events: bool) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / "relay_0.11.0rc3.atif.json").read_text())
    if not events:
        del document["extra"]["observed_events"]
    return document


def handmade() -> dict[str, Any]:
    """Most of what the format has."""
    tool_calls = [
        {"tool_call_id": "a", "function_name": "read", "arguments": {"path": "x"}},
        {"tool_call_id": "b", "function_name": "list", "arguments": {}, "extra": {"k": 1}},
        {"tool_call_id": "c", "function_name": "spawn", "arguments": {}},
    ]
    results = [
        {"source_call_id": "a", "content": "boom", "extra": {"is_error": True, "conf": 1}},
        {"source_call_id": "b", "content": [{"type": "text", "text": "t"}]},
        {"source_call_id": "c", "subagent_trajectory_ref": [{"trajectory_id": "sub"}]},
        {"content": "said without being asked"},
    ]
    metrics = {
        "prompt_tokens": 100,
        "cached_tokens": 60,
        "completion_tokens": 5,
        "cost_usd": 0.5,
        "logprobs": [0.1],
        "extra": {"reasoning_tokens": 2, "cache_creation_input_tokens": 5, "foo": 1},
    }
    image = {"type": "image", "source": {"media_type": "image/png", "path": "a.png"}}
    audio = {"type": "audio", "source": {"media_type": "audio/wav", "path": "a.wav"}}
    steps: list[dict[str, Any]] = [
        {"source": "system", "message": "be brief", "timestamp": "2026-01-01T00:00:00"},
        {"source": "user", "message": [{"type": "text", "text": "hi"}, audio, image], "extra": {"z": 1}},
        {
            "source": "agent",
            "message": "let me see",
            "timestamp": "2026-01-01T00:00:05Z",
            "reasoning_content": "hmm",
            "reasoning_effort": "high",
            "metrics": metrics,
            "tool_calls": tool_calls,
            "observation": {"results": results},
        },
        {"source": "agent", "message": "copied", "is_copied_context": True},
        {"source": "user", "message": "more"},
        {"source": "user", "message": "more"},
        {
            "source": "agent",
            "message": "",
            "llm_call_count": 0,
            "timestamp": "2026-01-01T00:00:09Z",
            "tool_calls": [{"tool_call_id": "d", "function_name": "fixed", "arguments": {"raw": 3}}],
            "observation": {
                "results": [{"source_call_id": "d", "content": "1"}, {"source_call_id": "d", "content": "2"}]
            },
        },
        {"source": "agent", "message": "done", "llm_call_count": 2, "model_name": "m2", "extra": {"error": "late"}},
        {"source": "user", "message": "bye"},
        {"source": "agent", "message": "closed", "llm_call_count": 0},
    ]
    sub = {
        "schema_version": "ATIF-v1.8",
        "trajectory_id": "sub",
        "agent": {"name": "helper", "version": "2"},
        "steps": [{"step_id": 1, "source": "agent", "message": "k"}],
    }
    return {
        "schema_version": "ATIF-v1.8",
        "session_id": "s",
        "agent": {"name": "coder", "version": "1", "model_name": "m", "tool_definitions": [{"a": 1}]},
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
        "notes": "n",
        "final_metrics": {"total_steps": 10, "extra": {"q": 1}},
        "extra": {"k": 1, "error": {"type": "Limit", "message": "too long"}},
        "subagent_trajectories": [sub],
    }


def values(runs: list[RunRecord]) -> list[Any]:
    return [run.model_dump(mode="json") for run in runs]


def written(runs: list[RunRecord], **options: Any) -> dict[str, Any]:
    """The document, once it has been found valid, and as it comes back from a file."""
    document = to_atif(runs[0], runs[1:], **options)
    check_atif(document)
    if (harbor := harbor_trajectory()) is not None:
        harbor.model_validate(document)
    read: dict[str, Any] = json.loads(json.dumps(document))
    return read


def ext(record: Any) -> Any:
    assert record.ext is not None
    return record.ext


DOCUMENTS: list[Callable[[], dict[str, Any]]] = [
    lambda: relay_document(events=True),
    lambda: relay_document(events=False),
    handmade,
]


def test_what_is_written_is_valid_for_harbor() -> None:
    harbor = harbor_trajectory()
    if harbor is None:
        pytest.skip("Harbor cannot be downloaded")
    document = written(runs_from_atif(handmade()))
    read = harbor.model_validate(document)
    assert (len(read.steps), len(read.subagent_trajectories)) == (10, 1)
    with pytest.raises(ValueError, match="step_id"):
        harbor.model_validate({**document, "steps": document["steps"][1:]})


@pytest.mark.parametrize("document", DOCUMENTS, ids=["with events", "without events", "handmade"])
def test_in_out_in_is_stable(document: Callable[[], dict[str, Any]]) -> None:
    runs = runs_from_atif(document())
    assert values(runs_from_atif(written(runs))) == values(runs)
    assert values(runs_from_atif(document())) == values(runs)


def test_raw_events_tell_of_the_tool_that_failed() -> None:
    outer, inner = runs_from_atif(relay_document(events=True))
    assert [outer, inner] == [result.run for result in read_runs(DATA / "relay_0.11.0rc3.atof.jsonl")][::-1]
    assert ext(inner.calls[1]).status == "failed"


def test_steps_become_calls() -> None:
    run, sub = runs_from_atif(handmade())
    assert [(call.kind.value, call.name) for call in run.calls] == [
        ("llm", "llm"),
        ("tool", "read"),
        ("tool", "list"),
        ("tool", "spawn"),
        ("tool", "fixed"),
        ("llm", "llm"),
    ]
    assert (ext(run).status, ext(run).error) == ("failed", ErrorInfo(type="Limit", message="too long"))
    assert (run.agent_id, ext(run).session_id, ext(run).source) == ("coder", "s", "atif")
    llm, failed, listed, spawned, fixed, last = run.calls
    assert llm.annotated_request is not None
    assert [message.role for message in llm.annotated_request.messages] == ["system", "user"]
    assert (llm.model_name, last.model_name) == ("m", "m2")
    counts = count_tokens(llm)
    assert (counts.input_tokens, counts.cached_input_tokens, counts.cache_write_tokens) == (100, 60, 5)
    assert (counts.output_tokens, counts.reasoning_tokens) == (5, 2)
    assert llm.cost is not None
    assert llm.cost.total == 0.5
    assert (ext(failed).status, ext(failed).output, ext(failed).error) == ("failed", "boom", ErrorInfo(message="boom"))
    assert ext(listed).output == [{"type": "text", "text": "t"}]
    assert ext(fixed).output == ["1", "2"]
    assert (ext(last).status, ext(last).error) == ("failed", ErrorInfo(message="late"))
    assert ext(sub).parent_run_id == run.id
    assert ext(sub).parent_call == run.calls.index(spawned)


def test_times_are_derived_from_those_of_the_steps() -> None:
    run, _ = runs_from_atif(handmade())
    assert run.started_at.text == "2026-01-01T00:00:00Z"
    llm, tool = run.calls[:2]
    assert llm.ended_at is not None
    assert (llm.started_at.text, llm.ended_at.text) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z")
    assert tool.started_at.text == "2026-01-01T00:00:05Z"
    assert ext(llm).times_estimated is ext(tool).times_estimated is True


def test_a_failed_tool_is_not_lost() -> None:
    document = written([run.run for run in read_runs(nested().lines) if run.run][::-1])
    (inner,) = document["subagent_trajectories"]
    result = inner["steps"][0]["observation"]["results"][0]
    assert result["extra"]["is_error"] is True
    assert result["extra"]["error"]["type"] == "RuntimeError"
    assert "error" not in document["extra"]
    delegate = document["steps"][0]["observation"]["results"][0]
    assert delegate["subagent_trajectory_ref"] == [{"trajectory_id": inner["trajectory_id"]}]


def test_runs_of_the_runtime_come_back_whole() -> None:
    for name in ("relay_0.11.0rc3.redis_rich.jsonl", "relay_0.11.0rc3.atof.jsonl"):
        for result in read_runs(DATA / name):
            assert result.run is not None
            alone = result.run
            assert values(runs_from_atif(written([alone])))[0] == alone.model_dump(mode="json")
            smaller = written([alone], exact=False)
            assert runs_from_atif(smaller)[0].id == alone.id
            assert len(json.dumps(smaller)) < len(json.dumps(written([alone])))


def test_tokens_include_cached_ones_whatever_the_provider_counts() -> None:
    run = next(
        result.run
        for result in read_runs(DATA / "relay_0.11.0rc3.redis_rich.jsonl")
        if result.run is not None and len(result.run.llm_calls) == 5
    )
    metrics = [step["metrics"] for step in written([run])["steps"] if "metrics" in step]
    assert [item["prompt_tokens"] for item in metrics] == [1000, 5, 159, 4, 1]
    assert written([run])["final_metrics"]["total_prompt_tokens"] == 1169


def test_a_conversation_is_not_repeated() -> None:
    history = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    calls = []
    for text in ("one", "two"):
        calls.append(CallRecord(kind="llm", name="p", annotated_request={"messages": list(history)}))
        history += [{"role": "assistant", "content": text}, {"role": "user", "content": "go on"}]
    calls.append(CallRecord(kind="llm", name="p", annotated_request={"messages": history}))
    steps = written([RunRecord(agent_id="a", calls=calls)])["steps"]
    said = [(step["source"], step["message"]) for step in steps if step["source"] != "agent"]
    assert said == [("system", "s"), ("user", "hi"), ("user", "go on"), ("user", "go on")]


def test_runs_without_calls() -> None:
    run = RunRecord(agent_id="a", ended_at="2026-01-01T00:00:00Z", started_at="2026-01-01T00:00:00Z")
    assert runs_from_atif(written([run])) == [run]


def test_documents_of_one_session_are_different_runs() -> None:
    first, second = handmade(), handmade()
    second["steps"][0]["is_copied_context"] = True
    assert runs_from_atif(first)[0].id != runs_from_atif(second)[0].id


def test_a_child_that_is_its_own_parent_does_no_harm() -> None:
    one, other = RunRecord(agent_id="a"), RunRecord(agent_id="b")
    one.ext, other.ext = RunExtensions(parent_run_id=other.id), RunExtensions(parent_run_id=one.id)
    document = written([one, one, other])
    assert [sub["agent"]["name"] for sub in document["subagent_trajectories"]] == ["b"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
plain = st.none() | st.booleans() | st.integers(-5, 5) | texts
extras = st.dictionaries(texts, plain, max_size=2)
contents = texts | st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, texts)
    | st.just({"type": "image", "source": {"media_type": "image/png", "path": "p"}}),
    max_size=3,
)


@st.composite
def documents(draw: st.DrawFn, depth: int = 1) -> dict[str, Any]:
    steps = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        step: dict[str, Any] = {"step_id": number, "source": draw(st.sampled_from(["system", "user", "agent"]))}
        step["message"] = draw(contents)
        if draw(st.booleans()):
            step["timestamp"] = f"2026-01-01T00:00:{draw(st.integers(0, 59)):02}Z"
        if draw(st.booleans()):
            step["extra"] = draw(extras)
        if step["source"] == "agent":
            step |= draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "llm_call_count": st.integers(0, 2),
                        "is_copied_context": st.booleans(),
                        "model_name": texts,
                        "metrics": st.fixed_dictionaries(
                            {},
                            optional={
                                "prompt_tokens": st.integers(0, 9),
                                "cached_tokens": st.integers(0, 9),
                                "completion_tokens": st.integers(0, 9),
                                "cost_usd": st.floats(0, 1),
                                "extra": extras | st.just({"total_tokens": 3, "cache_creation_input_tokens": 2}),
                            },
                        ),
                    },
                )
            )
            count = draw(st.integers(0, 3))
            step["tool_calls"] = [
                {"tool_call_id": f"c{index}", "function_name": draw(texts), "arguments": draw(extras)}
                for index in range(count)
            ]
            sources = [{}, *({"source_call_id": f"c{index}"} for index in range(count))]
            outcomes = st.sampled_from([{}, {"extra": {"is_error": True}}])
            results = st.builds(lambda content, *more: {"content": content} | more[0] | more[1], contents,
                                st.sampled_from(sources), outcomes)  # fmt: skip
            step["observation"] = {"results": draw(st.lists(results, max_size=3))}
            if step.get("llm_call_count") == 0:
                step.pop("metrics", None)
        steps.append(step)
    document: dict[str, Any] = {
        "schema_version": draw(st.sampled_from([f"ATIF-v1.{minor}" for minor in range(9)])),
        "agent": {"name": draw(texts), "version": draw(texts)},
        "steps": steps,
        **draw(st.fixed_dictionaries({}, optional={"session_id": texts, "notes": texts, "extra": extras})),
    }
    if depth:
        document["subagent_trajectories"] = [
            {**draw(documents(depth - 1)), "trajectory_id": f"t{index}"} for index in range(draw(st.integers(0, 2)))
        ]
    return document


@given(documents())
def test_in_out_in_is_stable_for_any_document(document: dict[str, Any]) -> None:
    runs = runs_from_atif(document)
    assert values(runs_from_atif(written(runs))) == values(runs)


@given(records(RunRecord), st.booleans())
def test_any_run_can_be_written(run: RunRecord, failed: bool) -> None:
    for call in run.calls:
        if failed:
            call.ext = CallExtensions(status="failed", error=ErrorInfo(message="x"), input=[1], output={"a": 1})
    document = to_atif(run)
    again = runs_from_atif(json.loads(json.dumps(document)))
    assert again[0].id == run.id
    assert len(again[0].calls) == len(run.calls)


@pytest.mark.parametrize("odd", [["failed"], {"failed": True}, 7])
def test_a_status_that_is_no_text_fails_nothing(odd: Any) -> None:
    step = {
        "step_id": 1,
        "source": "agent",
        "message": "",
        "timestamp": "2026-01-01T00:00:00Z",
        "model_name": "m",
        "tool_calls": [{"tool_call_id": "c", "function_name": "search", "arguments": {}}],
        "extra": {"invocation": {"status": odd}, "tool_invocations": [{"status": odd}]},
    }
    document = {
        "schema_version": "ATIF-v1.7",
        "session_id": "s",
        "agent": {"name": "a", "version": "1"},
        "steps": [step],
    }
    (result,) = read_runs([json.dumps(document)])
    assert result.run is not None, result.error
    assert [call.kind.value for call in result.run.calls] == ["llm", "tool"]
