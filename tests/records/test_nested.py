"""A record within anything that pydantic serializes is dumped as it is dumped alone: nothing absent becomes null."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, Generic, Optional, TypeVar, Union

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticSerializationError
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12

from relay_models.errors import InvalidRecordError
from relay_models.records import (
    AccumulatorState,
    CallRecord,
    ExecutionPlan,
    MetadataEnvelope,
    PredictionTrieNode,
    PromptIR,
    Record,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
    from_json,
    to_json,
)
from tests.records import strategies

Item = TypeVar("Item")


class InModel(BaseModel, Generic[Item]):
    item: Item
    absent: int | None = None


@dataclasses.dataclass
class InDataclass(Generic[Item]):
    item: Item


@pydantic_dataclass
class InPydanticDataclass:
    item: RunRecord


class InTypedDict(TypedDict):
    item: RunRecord


class InRecord(Record):
    item: Any = None
    runs: list[RunRecord] = Field(default_factory=list)


KINDS = [RunRecord, ExecutionPlan, TrieEnvelope, AccumulatorState, StabilityAnalysisResult]
RUN = {
    "id": "01a20a40-32e8-77a0-89d5-d5001f7713b4",
    "agent_id": "a",
    "calls": [
        {
            "kind": "llm", "name": "openai", "started_at": "2026-11-23T21:11:49Z", "annotated_request": None,
            "annotated_response": {"usage": {"total_tokens": 3}, "later": None},
        }
    ],
    "started_at": "2026-11-23T21:11:49.123456789Z",
    "later": [1],
}  # fmt: skip
TEXT = json.dumps(RUN)

# For a type of record: a type that holds it, what makes one, and where the record is in a dump.
HOLDERS: dict[str, Callable[[Any, Any], tuple[Any, Any, Callable[[Any], Any]]]] = {
    "itself": lambda kind, it: (kind, it, lambda dump: dump),
    "list": lambda kind, it: (list[kind], [it], lambda dump: dump[0]),
    "dict": lambda kind, it: (dict[str, kind], {"x": it}, lambda dump: dump["x"]),
    "tuple": lambda kind, it: (tuple[int, kind], (1, it), lambda dump: dump[1]),
    "optional": lambda kind, it: (Optional[kind], it, lambda dump: dump),  # noqa: UP045
    "union": lambda kind, it: (Union[int, ExecutionPlan, kind, str], it, lambda dump: dump),  # noqa: UP007
    "any": lambda kind, it: (Any, it, lambda dump: dump),
    "base": lambda kind, it: (Record, it, lambda dump: dump),
    "model": lambda kind, it: (InModel[kind], InModel[kind](item=it), lambda dump: dump["item"]),
    "root model": lambda kind, it: (RootModel[list[kind]], RootModel[list[kind]]([it]), lambda dump: dump[0]),
    "dataclass": lambda kind, it: (InDataclass[kind], InDataclass(it), lambda dump: dump["item"]),
    "record": lambda kind, it: (InRecord, InRecord(item=it), lambda dump: dump["item"]),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_nested_record_is_dumped_as_it_is_alone(kind: Any, holder: Any) -> None:
    @settings(max_examples=8, deadline=None)
    @given(strategies.WIRE[kind], st.booleans())
    def check(value: Any, eager: bool) -> None:
        text = json.dumps(value)
        record = TypeAdapter(kind).validate_json(text) if eager else from_json(kind, text)
        outer, held, find = holder(kind, record)
        adapter = TypeAdapter(outer)
        for options in ({}, {"exclude_unset": False}, {"exclude_unset": True}, {"round_trip": True}):
            assert find(json.loads(adapter.dump_json(held, **options))) == value
            assert find(adapter.dump_python(held, mode="json", **options)) == value
            assert find(adapter.dump_python(held, **options)) == record.model_dump()

    check()


@pytest.mark.parametrize(
    "outer",
    [InPydanticDataclass, InTypedDict],
)
def test_in_other_classes(outer: Any) -> None:
    held = TypeAdapter(outer).validate_python({"item": from_json(RunRecord, TEXT)})
    assert json.loads(TypeAdapter(outer).dump_json(held)) == {"item": RUN}


def test_runs_in_a_users_record_are_parsed_when_it_is_dumped() -> None:
    held = InRecord(item=1, runs=[from_json(RunRecord, TEXT)])
    assert held.model_dump(mode="json") == json.loads(to_json(held)) == {"item": 1, "runs": [RUN]}


def test_unset_fields_of_the_outer_model_follow_its_own_options() -> None:
    held = InModel[RunRecord](item=from_json(RunRecord, TEXT))
    assert json.loads(held.model_dump_json()) == {"item": RUN, "absent": None}
    assert json.loads(held.model_dump_json(exclude_unset=True)) == {"item": RUN}


@pytest.mark.parametrize("nested", [False, True])
def test_options_reach_into_the_record(nested: bool) -> None:
    record = from_json(RunRecord, TEXT)

    def dump(**options: Any) -> Any:
        if not nested:
            python, text = record.model_dump(mode="json", **options), record.model_dump_json(**options)
        else:
            options = {name: {0: item} if name in ("include", "exclude") else item for name, item in options.items()}
            (python,) = TypeAdapter(list[RunRecord]).dump_python([record], mode="json", **options)
            text = TypeAdapter(list[RunRecord]).dump_json([record], **options).decode()
            assert len(json.loads(text)) == 1
            assert python == json.loads(text)[0]
            return python
        assert json.loads(text) == python
        return python

    assert dump(include={"agent_id": True}) == {"agent_id": "a"}
    assert dump(include={"calls": {0: {"name"}}}) == {"calls": [{"name": "openai"}]}
    assert dump(exclude={"calls": True, "id": True, "later": True, "started_at": True}) == {"agent_id": "a"}
    assert "annotated_request" not in dump(exclude_none=True)["calls"][0]
    assert dump(serialize_as_any=True) == RUN
    assert dump(by_alias=True) == RUN


def test_modes() -> None:
    record = from_json(RunRecord, TEXT)
    dumped = TypeAdapter(list[RunRecord]).dump_python([record])[0]
    assert dumped == record.model_dump()
    assert dumped["started_at"] is record.started_at
    assert dumped["id"] is record.id


def test_a_subclass_keeps_its_fields() -> None:
    class Mine(RunRecord):
        mine: int = 1
        absent: int | None = None

    run = Mine(agent_id="a", mine=2)
    (dumped,) = TypeAdapter(list[RunRecord]).dump_python([run])
    assert dumped["mine"] == 2
    assert "absent" not in dumped


def test_a_users_alias_is_used() -> None:
    class Aliased(Record):
        model_config = ConfigDict(serialize_by_alias=True)
        items: list[CallRecord]

    held = Aliased(items=[])
    assert TypeAdapter(list[Aliased]).dump_python([held]) == [{"items": []}]


def test_what_json_cannot_hold_is_refused_when_nested() -> None:
    run = RunRecord(agent_id="a", odd=float("nan"))
    with pytest.raises(PydanticSerializationError, match=r"RunRecord\.odd is nan"):
        TypeAdapter(list[RunRecord]).dump_json([run])


def test_a_value_that_is_no_record_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="RunRecord"):
        assert TypeAdapter(list[RunRecord]).dump_python([5]) == [5]  # type: ignore[list-item]


@pytest.mark.parametrize("kind", [*KINDS, PromptIR, PredictionTrieNode, MetadataEnvelope, CallRecord])
def test_the_json_schema_of_a_dump_is_that_of_what_is_read(kind: type[Record]) -> None:
    for outer in (kind, InModel[kind]):  # type: ignore[valid-type]
        assert outer.model_json_schema(mode="serialization") == outer.model_json_schema(mode="validation")


@pytest.mark.parametrize("levels", [150, 200, 300, 900, 5000, 100_000])
def test_a_record_is_written_only_if_it_can_be_read_again(levels: int) -> None:
    """JSON may be nested as deep as it is read; deeper, it is refused, whether it was made in Python or read."""
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}
    call = CallRecord(kind="tool", name="search", metadata={"m": deep})
    run = RunRecord(agent_id="planner", calls=[call])
    if levels < 190:
        read = from_json(RunRecord, to_json(run))
        assert read == run
        return
    with pytest.raises(InvalidRecordError, match=r"levels deep|depth"):
        to_json(run)
    shallow = to_json(RunRecord(agent_id="planner", calls=[CallRecord(kind="tool", name="search", metadata={"m": 0})]))
    with pytest.raises(InvalidRecordError, match="recursion limit"):
        from_json(RunRecord, shallow.replace(b'"m":0', b'"m":' + b'{"a":' * levels + b"1" + b"}" * levels))


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless["b"] = endless
    run = RunRecord(agent_id="planner", calls=[CallRecord(kind="tool", name="search", metadata=endless)])
    with pytest.raises(InvalidRecordError, match="Circular"):
        to_json(run)
