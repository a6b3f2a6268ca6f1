"""Event files become the runs of the runtime's telemetry, with what that does not tell."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from relay_models.records import ErrorInfo, RunRecord, strip_extensions
from relay_models.trajectories import RunBuilder, RunReader, read_runs
from relay_models.trajectories.atof import AtofEvent, AtofReader
from tests.trajectories.events import FAILED, Log, identifier, nested

DATA = Path(__file__).parent / "data"


def runs(lines: Any) -> list[RunRecord]:
    results = list(read_runs(lines))
    assert [result.error for result in results if result.error] == []
    return [result.run for result in results if result.run is not None]


def ext(record: Any) -> Any:
    assert record.ext is not None
    return record.ext


def test_a_real_file() -> None:
    inner, outer = runs(DATA / "relay_0.11.0rc3.atof.jsonl")
    assert (outer.agent_id, inner.agent_id) == ("outer", "inner agent")
    assert outer.id == UUID("01a22872-4835-77c1-960e-30cc2b2420e1")
    assert [(call.kind, call.name) for call in outer.calls] == [("llm", "openai"), ("tool", "search")]
    assert outer.started_at.text == "2026-11-29T17:55:07.957669627Z"
    assert outer.calls[0].ended_at is not None
    assert outer.calls[0].ended_at.text == "2026-11-29T17:55:07.958714019Z"
    assert (outer.calls[0].prompt_tokens, outer.calls[0].output_tokens, outer.calls[0].tool_call_count) == (1000, 20, 1)
    assert ext(outer.calls[0]).reasoning_tokens == 7
    tool = ext(outer.calls[1])
    assert (tool.status, tool.tool_call_id, tool.input, tool.output) == (
        "completed",
        "c9",
        {"q": 1},
        {"echo": {"q": 1}},
    )
    assert tool.metadata == {"tool_result_annotation": {"note": "annot"}}
    failed = ext(inner.calls[1])
    assert failed.status == "failed"
    assert failed.error == ErrorInfo(
        type="RuntimeError", message="internal error: RuntimeError: x", category="internal_error"
    )
    assert ext(inner).status == "completed"  # the agent went on after its tool had failed
    assert (ext(inner).parent_run_id, ext(inner).root_run_id) == (outer.id, outer.id)
    assert ext(outer).parent_run_id is ext(outer).root_run_id is None


def test_sessions_parents_and_first_tokens() -> None:
    inner, outer = runs(nested().lines)
    assert (ext(outer).session_id, ext(outer).user_id, ext(outer).metadata) == ("s1", "u1", {"tenant": "t"})
    assert (ext(inner).session_id, ext(inner).user_id) == ("s1", "u1")
    assert (ext(inner).parent_run_id, ext(inner).parent_call) == (outer.id, 1)
    llm, tool = map(ext, outer.calls)
    assert (llm.time_to_first_token_ms, llm.input, llm.output) == (250.0, {"model": "m"}, {"text": "hi"})
    assert "secret" not in outer.model_dump_json()
    assert tool.tool_call_id == "c1"
    assert tool.parent_call is None


def test_a_call_within_a_call_names_it() -> None:
    log = Log()
    log.start(1, "agent")
    log.start(2, "tool", 1, "wrap")
    log.start(3, "function", 2)
    log.start(4, "llm", 3, "openai")
    log.end(4)
    log.end(3)
    log.end(2)
    log.end(1)
    (run,) = runs(log.lines)
    assert [ext(call).parent_call for call in run.calls] == [None, 0]


def test_a_failed_run() -> None:
    log = Log()
    log.start(1, "agent")
    log.end(1, metadata={"otel.status_code": "ERROR", "otel.status_description": "boom"})
    (run,) = runs(log.lines)
    assert (ext(run).status, ext(run).error) == ("failed", ErrorInfo(message="boom"))


def test_a_result_that_says_it_is_an_error() -> None:
    log = Log()
    log.start(1, "agent")
    log.start(2, "tool", 1, "t")
    log.end(2, data={"schema": "nemo.relay.tool_result@1", "content": "no such file", "is_error": True, "result": None})
    log.end(1)
    (run,) = runs(log.lines)
    call = ext(run.calls[0])
    assert (call.status, call.output, call.error) == ("failed", "no such file", ErrorInfo(message="no such file"))


def test_parallel_calls_of_one_name_keep_their_own_results() -> None:
    """Telemetry gives an end to the newest open call of the name; what the event says belongs to its own call."""
    log = Log()
    log.start(1, "agent")
    log.start(2, "tool", 1, "t", data={"n": 2})
    log.start(3, "tool", 1, "t", data={"n": 3})
    log.end(2, data="two", metadata=FAILED)
    log.end(3, data="three")
    log.end(1)
    (run,) = runs(log.lines)
    first, second = run.calls
    assert first.ended_at is not None
    assert second.ended_at is not None
    assert first.ended_at > second.ended_at
    assert [(ext(call).status, ext(call).output) for call in run.calls] == [("failed", "two"), ("completed", "three")]
    assert ext(first).ended_at == second.ended_at


def test_a_run_that_has_not_ended_comes_last_as_running() -> None:
    *_, open_run = runs(nested().lines[:-1])
    assert (ext(open_run).status, open_run.ended_at) == ("running", None)
    assert open_run.id == UUID(identifier(1))
    whole = runs(nested().lines)[-1]
    assert open_run.id == whole.id
    assert open_run.calls == whole.calls


def test_a_request_that_cannot_be_understood_refuses_no_run() -> None:
    log = Log()
    log.start(1, "agent")
    log.start(2, "llm", 1, "p", category_profile={"annotated_request": {"messages": 5}})
    log.end(2, category_profile={"annotated_response": {"usage": {"prompt_tokens": 3, "cache_write_tokens": "x"}}})
    log.end(1)
    (run,) = runs(log.lines)
    assert run.calls[0].prompt_tokens == 3
    for kept in ('{"messages":5}', '"cache_write_tokens":"x"'):
        assert kept in run.model_dump_json()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"uuid": None}, "uuid is absent"),
        ({"uuid": 5}, "uuid is 5"),
        ({"name": None}, "name is absent"),
        ({"scope_category": "middle"}, "scope_category"),
        ({"timestamp": "yesterday"}, "yesterday"),
        ({"timestamp": None}, "timestamp"),
        ({"atof_version": "1.0"}, "only 0.x"),
    ],
)
def test_a_wrong_event_is_named_and_the_others_are_read(change: dict[str, Any], said: str) -> None:
    log = nested()
    lines = log.lines
    lines.insert(5, json.dumps({**log.events[5], **change}) + "\n")
    results = list(read_runs(lines))
    (bad,) = [result for result in results if result.error]
    assert bad.line == 6
    assert said in str(bad.error)
    assert len([result for result in results if result.run]) == 2


def test_times_may_be_microseconds() -> None:
    log = nested()
    for event in log.events:
        event["timestamp"] = 1_795_974_907_000_000 + int(event["timestamp"][20:26])
    assert runs(log.lines) == runs(nested().lines)


def test_marks_and_unknown_fields_are_no_harm() -> None:
    log = nested()
    mark = {"kind": "mark", "atof_version": "0.9", "uuid": "m", "parent_uuid": None, "name": "metric", "timestamp": 1}
    events = [{**event, "later": 1} for event in log.events]
    events.insert(4, mark)
    assert runs([json.dumps(event) for event in events]) == runs(log.lines)


@given(st.lists(st.integers(0, 9), max_size=6), st.randoms(use_true_random=False))
def test_lines_that_are_delivered_again_change_nothing(again: list[int], chance: random.Random) -> None:
    lines = list(enumerate(nested().lines))
    for number in again:
        known = [index for index, (line, _) in enumerate(lines) if line == number]
        lines.insert(chance.randint(known[0] + 1, len(lines)), (number, nested().lines[number]))
    whole = {run.id: run for run in runs(nested().lines)}
    found = runs([line for _, line in lines])
    assert {run.id: run for run in found} == whole
    assert len(found) == len(whole)


def test_large_open_runs_are_given_out_as_they_are() -> None:
    reader = AtofReader(max_open_bytes=1000)
    log = Log()
    for number in range(0, 100, 10):
        log.start(number, "agent")
        log.start(number + 1, "tool", number, "t")
    found = [run for event in log.events for run in reader.event(event, 100)]
    assert len(found) + len(list(reader.finish())) == 10
    assert all(ext(run).status == "running" and len(run.calls) == 1 for run in found)


def test_a_rotated_log_is_one_log() -> None:
    lines = nested().lines
    for cut in range(1, len(lines)):
        reader = RunReader()
        results = [*reader.read(lines[:cut]), *reader.read(lines[cut:]), *reader.finish()]
        assert [result.run for result in results] == runs(lines)


@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_interleaved_agents_do_not_mix(chance: random.Random, count: int) -> None:
    logs = []
    for number in range(count):
        text = json.dumps(nested().events)
        for index in range(1, 6):
            text = text.replace(identifier(index), identifier(index + 10 * number))
        logs.append(json.loads(text))
    alone = [run for log in logs for run in runs([json.dumps(event) for event in log])]
    merged = []
    while any(logs):
        merged.append(chance.choice([log for log in logs if log]).pop(0))
    together = runs([json.dumps(event) for event in merged])
    assert sorted(together, key=lambda run: run.id) == sorted(alone, key=lambda run: run.id)


@given(st.sets(st.integers(0, 9)), st.data())
def test_damaged_lines_cost_no_other_run(missing: set[int], data: st.DataObject) -> None:
    lines = nested().lines
    for index in missing:
        lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index]) - 2))] + "\n"
    results = list(read_runs(lines))
    assert {result.line for result in results if result.error} <= {index + 1 for index in missing}
    for result in results:
        if result.run is not None:
            assert RunRecord.model_validate_json(result.run.model_dump_json()) == result.run


def test_input_and_output_can_be_left_out() -> None:
    builder = RunBuilder(keep_io=False)
    found = []
    for event in nested().events:
        run = builder.process(AtofEvent.parse(event))
        if run is not None:
            found.append(run)
    assert [ext(call).input for run in found for call in run.calls] == [None] * 3
    assert list(map(strip_extensions, found)) == list(map(strip_extensions, runs(nested().lines)))
