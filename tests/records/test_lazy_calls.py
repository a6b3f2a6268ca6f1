"""Runs whose calls stay text until they are used behave like runs that were parsed at once."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic_core
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from relay_models.documents import Run
from relay_models.errors import InvalidRecordError
from relay_models.records import (
    AnnotatedLlmRequest,
    AnnotatedLlmResponse,
    CallRecord,
    MetadataEnvelope,
    Record,
    RunRecord,
    from_json,
    to_json,
)
from relay_models.records.loose import Loose
from relay_models.records.record import error_details
from relay_models.records.run import calls_text
from relay_models.records.views import viewing
from tests.records import strategies
from tests.records.test_round_trip import exactly

CALL = {
    "kind": "llm",
    "name": "openai",
    "started_at": "2026-11-23T21:11:49Z",
    "annotated_request": {"messages": [{"role": "user", "content": "NaN?", "x": 1}], "model": "m", "zzz": {"a": 1}},
    "annotated_response": {"finish_reason": "complete", "usage": {"total_tokens": 3}},
}
RUN = {
    "id": "01a20a40-32e8-77a0-89d5-d5001f7713b4",
    "agent_id": "a",
    "started_at": "2026-11-23T21:11:49Z",
    "calls": [CALL, {"kind": "tool", "name": "t", "started_at": "2026-11-23T21:11:49Z", "annotated_request": None}],
    "later": [1],
}
TEXT = json.dumps(RUN)


WHOLE = TypeAdapter(RunRecord)
LOOSE = TypeAdapter(Loose[RunRecord])
"""Reads everything at once, as pydantic does."""


def lazy(text: str | bytes = TEXT) -> RunRecord:
    """A run whose calls are text."""
    run = from_json(RunRecord, text)
    assert calls_text(run) is not None
    return run


@settings(max_examples=80)
@given(strategies.WIRE[RunRecord])
def test_reads_and_writes_what_a_whole_reading_does(value: Any) -> None:
    text = json.dumps(value)
    whole = WHOLE.validate_json(text)
    for written in (to_json(from_json(RunRecord, text)), RunRecord.model_validate_json(text).model_dump_json()):
        assert exactly(json.loads(written)) == exactly(value)
    looked_at = from_json(RunRecord, text.encode())
    assert [each.kind for each in looked_at.calls] == [each["kind"] for each in value["calls"]]
    assert exactly(json.loads(to_json(looked_at))) == exactly(value)
    assert from_json(RunRecord, text) == whole
    assert whole == from_json(RunRecord, text)
    assert from_json(RunRecord, text).model_dump(mode="json") == value
    assert TypeAdapter(list[RunRecord]).dump_python([looked_at], exclude_unset=True, mode="json") == [value]


@settings(max_examples=80)
@given(strategies.WIRE[RunRecord])
def test_has_the_columns_and_texts_of_a_whole_reading(value: Any) -> None:
    text = json.dumps(value)
    whole = WHOLE.validate_json(text)
    assert Run.column_values(from_json(RunRecord, text)) == Run.column_values(whole)
    assert from_json(RunRecord, text).texts == whole.texts


def test_every_run_of_the_capture(capture: list[dict[str, Any]]) -> None:
    for line in capture:
        if line["key"].startswith("nemo_relay:runs:"):
            run, whole = from_json(RunRecord, line["value"]), WHOLE.validate_json(line["value"])
            assert calls_text(run) is not None
            assert Run.column_values(run) == Run.column_values(whole)
            assert run.texts == whole.texts
            assert to_json(run) == line["value"].encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_written_is_one_line(end: str) -> None:
    text = json.dumps(RUN, indent=2).replace("\n", end)
    for data in (text, text.encode()):
        run = from_json(RunRecord, data)
        assert calls_text(run) is not None
        written = to_json(run)
        assert json.loads(written) == RUN
        assert len(written) == len(json.dumps(RUN, separators=(",", ":")))


ODD = strategies.json_values | strategies.timestamps() | st.sampled_from(["2026-11-23T21:11:49+0530", 2**63, 2**64, -1])


DAMAGED: dict[Any, st.SearchStrategy[Any]] = {
    RunRecord: strategies.runs,
    CallRecord: strategies.calls,
    AnnotatedLlmRequest: strategies.requests,
    AnnotatedLlmResponse: strategies.responses,
    MetadataEnvelope: strategies.metadata_envelopes,
}


@st.composite
def damaged(draw: st.DrawFn, kind: type) -> Any:
    """A value of a type with one part of it replaced by another, or left out."""
    value = draw(DAMAGED[kind])  # a new one each time, which may be changed
    places: list[tuple[Any, Any]] = []

    def walk(inside: Any) -> None:
        for name in range(len(inside)) if isinstance(inside, list) else list(inside):
            places.append((inside, name))
            if isinstance(inside[name], dict | list):
                walk(inside[name])

    walk(value)
    if places:
        inside, name = draw(st.sampled_from(places))
        if draw(st.booleans()):
            inside[name] = draw(ODD)
        else:
            del inside[name]
    return value


@pytest.mark.parametrize("kind", list(DAMAGED))
@settings(max_examples=300)
@given(st.data())
def test_what_a_view_takes_is_a_record(kind: type, data: st.DataObject) -> None:
    text = json.dumps(data.draw(damaged(kind)))
    try:
        viewing(kind)(b"[%b]" % text.encode())
    except msgspec.ValidationError:
        return
    TypeAdapter(kind).validate_json(text)


@settings(max_examples=300)
@given(damaged(RunRecord))
def test_what_is_no_run_is_refused_as_a_whole_reading_does(value: Any) -> None:
    text = json.dumps(value)
    try:
        LOOSE.validate_json(text)
    except ValidationError as error:
        path = ".".join(map(str, error_details(error)[0]["loc"]))
    else:
        from_json(RunRecord, text)
        return
    with pytest.raises(InvalidRecordError) as caught:
        from_json(RunRecord, text)
    assert caught.value.path == path


def test_a_usual_run_stays_text_and_an_unusual_one_does_not() -> None:
    """The views are strict, but not so strict that they would refuse what NeMo Relay writes."""
    assert calls_text(from_json(RunRecord, TEXT)) is not None
    unusual = TEXT.replace("21:11:49Z", "23:59:60Z").replace("2026-11-23", "2016-12-31")
    assert calls_text(from_json(RunRecord, unusual)) is None


class Holder(BaseModel):
    """A user's model that holds a run."""

    run: RunRecord


USES: dict[str, Callable[[RunRecord], Any]] = {
    "attribute": lambda run: run.calls,
    "getattr": lambda run: getattr(run, "calls"),  # noqa: B009
    "hasattr": lambda run: hasattr(run, "calls"),
    "no such attribute": lambda run: hasattr(run, "nothing"),
    "extra": lambda run: run.later,  # type: ignore[attr-defined]
    "repr": repr,
    "str": str,
    "dict": dict,
    "iter": list,
    "model_dump": lambda run: run.model_dump(),
    "model_dump json": lambda run: run.model_dump(mode="json"),
    "include": lambda run: run.model_dump(include={"calls": {0: {"name"}}}),
    "exclude": lambda run: run.model_dump_json(exclude={"calls": {"__all__": {"annotated_request"}}}),
    "exclude_none": lambda run: run.model_dump(exclude_none=True),
    "model_dump_json": lambda run: json.loads(run.model_dump_json()),
    "indented": lambda run: run.model_dump_json(indent=2),
    "round trip": lambda run: run.model_dump(round_trip=True),
    "to_json": lambda run: json.loads(to_json(run)),
    "pydantic_core": lambda run: json.loads(pydantic_core.to_json(run)),
    "any": lambda run: TypeAdapter(Any).dump_python(run),
    "adapter": lambda run: TypeAdapter(RunRecord).dump_json(run),
    "list": lambda run: TypeAdapter(list[RunRecord]).dump_python([run]),
    "as any": lambda run: TypeAdapter(list[BaseModel]).dump_python([run], serialize_as_any=True),
    "held": lambda run: Holder(run=run).model_dump_json(),
    "held by a record": lambda run: Batch(runs=[run]).model_dump(),
    "equal": lambda run: run == WHOLE.validate_json(TEXT),
    "equal, other way": lambda run: WHOLE.validate_json(TEXT) == run,
    "two lazy ones": lambda run: run == lazy(),
    "unequal": lambda run: run == 1,
    "set": lambda run: (setattr(run, "agent_id", "b"), to_json(run))[1],
    "set calls": lambda run: (setattr(run, "calls", []), run.model_dump())[1],
    "set extra": lambda run: (setattr(run, "later", 2), run.calls)[1],
    "delete": lambda run: (delattr(run, "calls"), hasattr(run, "calls"))[1],
    "fields set": lambda run: run.model_fields_set,
    "extras": lambda run: run.model_extra,
    "texts": lambda run: run.texts,
    "costs": lambda run: run.costs,
    "not understood": lambda run: run.not_understood,
    "columns": Run.column_values,
    "from attributes": lambda run: TypeAdapter(Seen).validate_python(run, from_attributes=True),
    "validated again": lambda run: RunRecord.model_validate(run) is run,
    "validated dump": lambda run: RunRecord.model_validate(run.model_dump()),
    "copy": copy.copy,
    "shared": lambda run: copy.copy(run).calls is run.calls,
    "deepcopy": copy.deepcopy,
    "not shared": lambda run: copy.deepcopy(run).calls is run.calls,
    "pickle": lambda run: pickle.loads(pickle.dumps(run)),
    "model_copy": lambda run: run.model_copy(),
    "model_copy update": lambda run: run.model_copy(update={"agent_id": "b"}),
    "model_copy deep": lambda run: run.model_copy(deep=True),
    "match": lambda run: {"run": [run]} == {"run": [lazy()]},
}


class Batch(Record):
    """A user's record that holds runs."""

    runs: list[RunRecord]


class Seen(BaseModel):
    """What a user's model takes of a run by its attributes."""

    agent_id: str
    calls: list[Any]


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_use_gives_what_a_whole_reading_gives(use: Callable[[RunRecord], Any]) -> None:
    first, whole = lazy(), WHOLE.validate_json(TEXT)
    assert use(first) == use(whole)
    assert first == whole
    assert first.model_dump() == whole.model_dump()


@settings(max_examples=40, deadline=None)
@given(strategies.WIRE[RunRecord], st.lists(st.sampled_from(sorted(USES)), min_size=1, max_size=4))
def test_uses_follow_each_other(value: Any, names: list[str]) -> None:
    text = json.dumps({**value, "later": [1]})
    first, whole = from_json(RunRecord, text), WHOLE.validate_json(text)
    for name in names:
        results = []
        for run in (first, whole):
            try:
                results.append(USES[name](run))
            except AttributeError as error:  # calls were deleted
                results.append(str(error))
        assert results[0] == results[1], name


def test_a_subclass_is_parsed_at_once() -> None:
    class Mine(RunRecord):
        pass

    assert calls_text(from_json(Mine, TEXT)) is None
    assert json.loads(to_json(from_json(Mine, TEXT))) == RUN


def test_validation_by_pydantic_parses_at_once() -> None:
    for run in (RunRecord.model_validate_json(TEXT), TypeAdapter(list[RunRecord]).validate_json(f"[{TEXT}]")[0]):
        assert calls_text(run) is None


def test_what_makes_no_use_of_calls_leaves_them_text() -> None:
    run = lazy()
    assert json.loads(to_json(run)) == json.loads(run.model_dump_json()) == RUN
    assert (run.agent_id, run.is_finished, run.later, run.not_understood) == ("a", False, [1], [])  # type: ignore[attr-defined]
    assert Run.column_values(run)["calls"] == 2
    assert calls_text(run) is not None
    assert len(run.calls) == 2
    assert calls_text(run) is None


def test_a_change_is_written() -> None:
    run = lazy()
    run.calls[0].annotated_request.messages[0].content = "changed"  # type: ignore[union-attr]
    expected = json.loads(TEXT)
    expected["calls"][0]["annotated_request"]["messages"][0]["content"] = "changed"
    assert json.loads(to_json(run)) == expected
    run.calls[0].annotated_response = None
    del expected["calls"][0]["annotated_response"]
    assert json.loads(to_json(run)) == expected


def test_calls_can_move_between_runs() -> None:
    other = RunRecord(agent_id="b", calls=lazy().calls)
    assert json.loads(to_json(other))["calls"][0] == CALL
    assert json.loads(TypeAdapter(CallRecord).dump_json(other.calls[0])) == CALL


def test_calls_can_be_added_and_taken_out() -> None:
    run = lazy()
    run.calls.append(CallRecord(kind="tool", name="later", started_at="2026-11-23T21:11:50Z"))
    assert [each["name"] for each in json.loads(to_json(run))["calls"]] == ["openai", "t", "later"]
    del run.calls[:2]
    assert [each["name"] for each in json.loads(to_json(run))["calls"]] == ["later"]
    run.calls.clear()
    assert json.loads(to_json(run))["calls"] == []


def test_nesting_that_only_text_can_have() -> None:
    """Pydantic reads 200 levels and NeMo Relay 128: what is deeper is refused at once, not when calls are looked at."""
    with pytest.raises(InvalidRecordError, match="recursion"):
        from_json(RunRecord, TEXT.replace('"a": 1', f'"a": {"[" * 400}{"]" * 400}'))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (TEXT[:-5], ""),
        (TEXT.replace('"calls": [', '"calls": 5, "was": ['), "calls"),
        (TEXT.replace('"kind": "tool", ', ""), "calls.1.kind"),
        (
            TEXT.replace(
                '"openai", "started_at": "2026-11-23T21:11:49Z', '"x", "started_at": "2026-11-23T21:11:49+0530'
            ),
            "calls.0.started_at",
        ),
        (TEXT.replace('"a": 1', '"a": NaN'), "calls.0.annotated_request.zzz.a"),
        (TEXT.replace('"later": [1]', '"later": [1e999]'), "later.0"),
        (TEXT.replace('"a": 1', '"a": "\\ud800"'), ""),
        (TEXT.encode().replace(b'"a": 1', b'"a": "\xff"'), ""),
        ("[]", ""),
        ("", ""),
    ],
)
def test_what_is_no_run_is_said_at_once(text: str | bytes, path: str) -> None:
    with pytest.raises(InvalidRecordError) as caught:
        from_json(RunRecord, text)
    assert caught.value.path == path


def test_a_number_beyond_a_double_is_no_json_value() -> None:
    """The text itself is JSON, so it is kept; a value made of it would be infinite."""
    text = TEXT.replace('"a": 1', '"a": 1e999')
    assert b"1e999" in to_json(from_json(RunRecord, text))


def test_threads_see_one_list() -> None:
    uses: list[Callable[[RunRecord], Any]] = [
        lambda run: run.calls,
        lambda run: (to_json(run), run.calls)[1],
        lambda run: (run.model_dump(), run.calls)[1],
        lambda run: (setattr(run, "later", 2), run.calls)[1],
    ]
    for _ in range(100):
        shared, seen = lazy(), []
        start = threading.Barrier(len(uses))

        def look(use: Any, run: Any = shared, start: threading.Barrier = start, seen: list[Any] = seen) -> None:
            start.wait()
            seen.append(use(run))

        threads = [threading.Thread(target=look, args=[use]) for use in uses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(calls) for calls in seen}) == 1
        assert len(seen) == len(uses)
