"""Runs and their calls: what an agent did, when, and with how many tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from pydantic import Field

from ._base import U32, Factories, OpenEnum, Record, from_json, refuse_non_finite, to_json, uuid7
from .deferred import DEFERRED, deferred_text, deferring
from .llm import AnnotatedLlmRequest, AnnotatedLlmResponse, CostEstimate
from .plan import MetadataEnvelope
from .timestamp import Timestamp

__all__ = ["CallKind", "CallRecord", "RunRecord", "read_run"]


class CallKind(OpenEnum):
    """What was called. A kind of a later release is kept: it counts as a call, but as neither of these two."""

    LLM = "llm"
    TOOL = "tool"


class CallRecord(Record):
    """One LLM or tool call of a run."""

    kind: CallKind = Field(description="What was called: llm or tool.")
    name: str = Field(description="Name of the tool, or of the provider for an LLM call.")
    started_at: Timestamp = Field(default=..., description="When the call began (RFC 3339, up to nanoseconds).")
    ended_at: Timestamp | None = Field(
        default=None, description="When the call ended (RFC 3339, up to nanoseconds); absent while it runs."
    )
    metadata_snapshot: MetadataEnvelope | None = Field(default=None, description="Metadata at the time of the call.")
    output_tokens: U32 | None = Field(default=None, description="Tokens of the output, where the provider told.")
    prompt_tokens: U32 | None = Field(default=None, description="Tokens of the prompt, where the provider told.")
    total_tokens: U32 | None = Field(default=None, description="Tokens of both, where the provider told.")
    model_name: str | None = Field(default=None, description="Model that answered, where the response could be read.")
    tool_call_count: U32 | None = Field(default=None, description="Tool calls that the model asked for.")
    annotated_request: AnnotatedLlmRequest | None = Field(default=None, description="Request, where it could be read.")
    annotated_response: AnnotatedLlmResponse | None = Field(
        default=None, description="Response, where it could be read."
    )

    _fresh: ClassVar[Factories] = {"started_at": Timestamp.now}

    def _to_json(self, exclude: set[str] | None = None) -> bytes:
        left_out = set(exclude or ())
        members = []
        for name in _DEFERRED:
            text = deferred_text(self.__dict__.get(name))
            if text is not None and name not in left_out:
                left_out.add(name)
                members.append(b'"%b":%b' % (name.encode(), text))
        return _with_members(super()._to_json(left_out or None), members)

    @property
    def is_finished(self) -> bool:
        """Whether the call has ended."""
        return self.ended_at is not None

    @property
    def duration(self) -> timedelta | None:
        """The time from start to end, cut to microseconds; None while the call runs."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, as one word; None where the response does not say."""
        response = self.annotated_response
        return None if response is None else response.finish_reason_text

    @property
    def cache_read_tokens(self) -> int | None:
        """Prompt tokens that came from a cache, where the provider told."""
        response = self.annotated_response
        return None if response is None or response.usage is None else response.usage.cache_read_tokens

    @property
    def cost(self) -> CostEstimate | None:
        """What the call cost, where it is known."""
        response = self.annotated_response
        return None if response is None or response.usage is None else response.usage.cost


class RunRecord(Record):
    """One run of an agent: a scope of type Agent, with the calls under it in the order in which they started."""

    id: UUID = Field(default=..., description="Identifier of the run; a new UUIDv7 when made in Python.")
    agent_id: str = Field(description="Agent that ran; any text.")
    calls: list[CallRecord] = Field(default=..., description="Calls of the run, in the order in which they started.")
    started_at: Timestamp = Field(default=..., description="When the run began (RFC 3339, up to nanoseconds).")
    ended_at: Timestamp | None = Field(
        default=None, description="When the run ended (RFC 3339, up to nanoseconds); absent while it runs."
    )

    _fresh: ClassVar[Factories] = {"id": uuid7, "calls": list, "started_at": Timestamp.now}

    def _to_json(self, exclude: set[str] | None = None) -> bytes:
        calls = self.calls
        if exclude is None and _any_deferred(calls) and all(isinstance(call, CallRecord) for call in calls):
            array = b'"calls":[%b]' % b",".join([to_json(call) for call in calls])
            return _with_members(super()._to_json({"calls"}), [array])
        return super()._to_json(exclude)

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self.ended_at is not None

    @property
    def duration(self) -> timedelta | None:
        """The time from start to end, cut to microseconds; None while the run goes on."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @property
    def llm_calls(self) -> list[CallRecord]:
        """The calls to models, in order."""
        return [call for call in self.calls if call.kind == "llm"]

    @property
    def tool_calls(self) -> list[CallRecord]:
        """The calls to tools, in order."""
        return [call for call in self.calls if call.kind == "tool"]

    @property
    def unfinished_calls(self) -> list[CallRecord]:
        """The calls without an end: still running, or cut off."""
        return [call for call in self.calls if call.ended_at is None]

    @property
    def providers(self) -> list[str]:
        """Names of the LLM calls, each once, sorted."""
        return sorted({call.name for call in self.calls if call.kind == "llm"})

    @property
    def models(self) -> list[str]:
        """Models that answered, each once, sorted."""
        return _distinct(call.model_name for call in self.calls)

    @property
    def tools(self) -> list[str]:
        """Names of the tools that were called, each once, sorted."""
        return sorted({call.name for call in self.calls if call.kind == "tool"})

    @property
    def finish_reasons(self) -> list[str]:
        """Why models stopped, each reason once, sorted."""
        return _distinct(call.finish_reason for call in self.calls)

    @property
    def prompt_tokens(self) -> int:
        """Sum of the calls' prompt tokens, as far as providers told them."""
        return sum(call.prompt_tokens or 0 for call in self.calls)

    @property
    def output_tokens(self) -> int:
        """Sum of the calls' output tokens, as far as providers told them."""
        return sum(call.output_tokens or 0 for call in self.calls)

    @property
    def total_tokens(self) -> int:
        """Sum of the calls' total tokens, as far as providers told them."""
        return sum(call.total_tokens or 0 for call in self.calls)

    @property
    def cache_read_tokens(self) -> int:
        """Sum of the calls' prompt tokens that came from a cache, as far as providers told them."""
        return sum(call.cache_read_tokens or 0 for call in self.calls)

    @property
    def costs(self) -> dict[str, float]:
        """What the calls cost, by currency; empty when no cost is known."""
        return sum_costs(call.cost for call in self.calls)

    @property
    def cost(self) -> float | None:
        """What the calls cost together; None when no cost is known, or when they are in several currencies."""
        return single_cost(self.costs)

    @property
    def texts(self) -> list[str]:
        """The texts of all prompts and answers, in order, each once (a conversation repeats its beginning)."""
        return list(dict.fromkeys(text for call in self.calls for text in call_texts(call)))

    def _repr_html_(self) -> str:
        """The timeline, for notebooks."""
        from relay_models.timeline import Timeline

        return Timeline(self)._repr_html_()


def call_texts(call: CallRecord) -> list[str]:
    """The texts of a call's prompt and answer."""
    request, response = call.annotated_request, call.annotated_response
    texts = [] if request is None else request.texts
    answer = None if response is None else response.text
    return [*texts, answer] if answer else texts


def sum_costs(costs: Iterable[CostEstimate | None]) -> dict[str, float]:
    """Sums by currency of the costs that are known."""
    sums: dict[str, float] = {}
    for cost in costs:
        amount = None if cost is None else cost.amount
        if cost is not None and amount is not None:
            currency = cost.currency.upper()
            sums[currency] = sums.get(currency, 0.0) + amount
    return sums


def single_cost(costs: Mapping[str, float]) -> float | None:
    """The one sum, or None where there is none or they are of several currencies."""
    return next(iter(costs.values())) if len(costs) == 1 else None


def read_run(data: str | bytes, *, defer_responses: bool = False) -> RunRecord:
    """Read a run from JSON, whose requests stay text until somebody looks at them (see `deferred`).

    That they are JSON is checked at once; whether they are what their fields say, when they are looked at.

    Args:
        data: JSON text, UTF-8 when bytes.
        defer_responses: keep the responses as text as well, for somebody who may not look at them.

    Raises:
        InvalidRecordError: it is no JSON, or a value is not what its field says; names the field's path.
    """
    try:
        if isinstance(data, bytes) and not data.isascii():
            str(data, "utf-8")  # checks what the decoder skips over; giving it the str would take twice as long
        members = _read_members(data)
        calls = _read_calls(members["calls"])
    except (ValueError, KeyError, RecursionError, msgspec.MsgspecError):
        # Pydantic tells what is wrong with it, or reads what is only unusual: NaN, which is no JSON, or a deep nesting.
        run = from_json(RunRecord, data)
        refuse_non_finite(run)
        return run
    deferred: list[tuple[int, str, bytes]] = []
    for place, call in enumerate(calls):
        for name in _DEFERRED if defer_responses else _REQUESTS:
            if name in call:
                text = bytes(call[name])
                if text[0] == _BRACE:
                    del call[name]
                    deferred.append((place, name, text))
    run = from_json(RunRecord, _write_members({**members, "calls": calls}))
    read_calls = run.calls
    for place, name, text in deferred:
        record = read_calls[place]
        record.__dict__[name] = _DEFERRED[name](text, run.id, f"calls.{place}.{name}")
        record.__pydantic_fields_set__.add(name)
    return run


_BRACE = ord("{")
_DEFERRED: dict[str, Callable[[bytes, object, str], Record]] = {
    "annotated_request": deferring(AnnotatedLlmRequest),
    "annotated_response": deferring(AnnotatedLlmResponse),
}
_REQUESTS = ("annotated_request",)
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_calls = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_write_members = msgspec.json.Encoder().encode


def _any_deferred(calls: list[CallRecord]) -> bool:
    for call in calls:
        values = getattr(call, "__dict__", _NOTHING)
        if type(values.get("annotated_request")) in DEFERRED or type(values.get("annotated_response")) in DEFERRED:
            return True
    return False


_NOTHING: dict[str, Any] = {}


def _with_members(record: bytes, members: list[bytes]) -> bytes:
    """The JSON object `record` with some members more."""
    if not members:
        return record
    return b"%b,%b}" % (record[:-1], b",".join(members)) if len(record) > 2 else b"{%b}" % b",".join(members)


def _distinct(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})
