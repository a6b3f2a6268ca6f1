"""Runs and their calls: what an agent did, when, and with how many tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self, cast
from uuid import UUID

import msgspec
from pydantic import Field

from relay_models.records._base import U32, Factories, OpenEnum, from_json, refuse_non_finite, to_json, uuid7
from relay_models.records.deferred import Deferring, deferred_text, view
from relay_models.records.extensions import CallExtensions, Extended, RunExtensions
from relay_models.records.llm import AnnotatedLlmRequest, AnnotatedLlmResponse, CostEstimate
from relay_models.records.plan import MetadataEnvelope
from relay_models.records.timestamp import Timestamp

__all__ = ["CallKind", "CallRecord", "RunRecord"]


class CallKind(OpenEnum):
    """What was called. A kind of a later release is kept: it counts as a call, but as neither of these two."""

    LLM = "llm"
    TOOL = "tool"


class CallRecord(Extended):
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
    relay_models: CallExtensions | None = Field(default=None, description="Extensions, in Python also as `ext`.")

    _fresh: ClassVar[Factories] = {"started_at": Timestamp.now}

    @property
    def ext(self) -> CallExtensions | None:
        """What is known of the call beyond NeMo Relay's record: failure, input and output, parent."""
        return self.relay_models

    @ext.setter
    def ext(self, value: CallExtensions | None) -> None:
        self.relay_models = value

    def _to_json(self) -> bytes:
        members = _untouched_members(self)
        return _with_members(self._serialized(set(members) or None), members)

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
        return None if response is None else view(response).finish_reason_text

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


class RunRecord(Extended):
    """One run of an agent: a scope of type Agent, with the calls under it in the order in which they started."""

    id: UUID = Field(default=..., description="Identifier of the run; a new UUIDv7 when made in Python.")
    agent_id: str = Field(description="Agent that ran; any text.")
    calls: list[CallRecord] = Field(default=..., description="Calls of the run, in the order in which they started.")
    started_at: Timestamp = Field(default=..., description="When the run began (RFC 3339, up to nanoseconds).")
    ended_at: Timestamp | None = Field(
        default=None, description="When the run ended (RFC 3339, up to nanoseconds); absent while it runs."
    )

    relay_models: RunExtensions | None = Field(default=None, description="Extensions, in Python also as `ext`.")

    _fresh: ClassVar[Factories] = {"id": uuid7, "calls": list, "started_at": Timestamp.now}

    @property
    def ext(self) -> RunExtensions | None:
        """What is known of the run beyond NeMo Relay's record: failure, parent, session, user."""
        return self.relay_models

    @ext.setter
    def ext(self, value: RunExtensions | None) -> None:
        self.relay_models = value

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Read a run from JSON text, UTF-8 when bytes; everything in it is checked.

        Its calls, most of its bytes, are made into objects when somebody looks at them. Raises ValueError
        (`InvalidRecordError`, or pydantic's `ValidationError`) for what is no run.
        """
        if options or cls is not RunRecord:
            return super().model_validate_json(json_data, **options)
        return cls._from_json(bytes(json_data) if isinstance(json_data, bytearray) else json_data)

    @classmethod
    def _from_json(cls, data: str | bytes) -> Self:
        read = _read_run(data) if cls is RunRecord else None
        if read is None:
            read = super()._from_json(data)
            refuse_non_finite(read)
        return cast(Self, read)

    def _to_json(self) -> bytes:
        calls = self.calls
        # Whoever appends to a list can put anything in it; what is no call is pydantic's to write or to refuse.
        if not all(isinstance(call, CallRecord) for call in calls) or not any(map(_has_text, calls)):
            return self._serialized()
        shell = self.__copy__()
        shell.__dict__["calls"] = []
        written = b",".join([deferred_text(call) or to_json(call) for call in calls])
        # No text before it can hold this: there are no bare quotes in texts.
        return shell._serialized().replace(b'"calls":[]', b'"calls":[%b]' % written, 1)

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
        texts: dict[str, None] = {}
        for call in map(view, self.calls):
            if (request := call.annotated_request) is not None:
                texts.update(dict.fromkeys(view(request).texts))
            if (response := call.annotated_response) is not None and (answer := view(response).text):
                texts[answer] = None
        return list(texts)

    def _repr_html_(self) -> str:
        """The timeline, for notebooks."""
        from relay_models.pictures import Timeline

        return Timeline(self)._repr_html_()


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


_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_write_members = msgspec.json.Encoder().encode
_NO_ITEMS, _NULL = msgspec.Raw(b"[]"), msgspec.Raw(b"null")


def _read_run(data: str | bytes) -> RunRecord | None:
    """The run in a JSON text, its calls checked but not made (see `deferred`); None if there is anything unusual.

    What is unusual is read whole, as is what is wrong, for pydantic tells what is wrong with it.
    """
    try:
        if isinstance(data, str):
            data = data.encode()
        elif not data.isascii():
            str(data, "utf-8")  # checks what the decoder skips over; giving it the str would take twice as long
        if b"\n" in data or b"\r" in data:
            data = msgspec.json.format(data, indent=-1)  # what is written is one line
        members = _read_members(data)
        calls = [bytes(text) for text in _read_items(members["calls"])]
        for text in calls:
            _CALLS.check(text)
        members["calls"] = _NO_ITEMS
        run = RunRecord.__pydantic_validator__.validate_json(_write_members(members))
    except (ValueError, KeyError, RecursionError, msgspec.MsgspecError):
        return None
    run.__dict__["calls"] = list(map(_CALLS.defer, calls))
    return cast(RunRecord, run)


def _read_call(data: bytes) -> CallRecord:
    """The call in a text that has been checked; its request and response are not made yet."""
    members = _read_members(data)
    texts = {name: text for name in _PARTS if (text := bytes(members.get(name, _NULL))) != b"null"}
    for name in texts:
        del members[name]
    call = from_json(CallRecord, _write_members(members))
    for name, text in texts.items():
        call.__dict__[name] = _PARTS[name].defer(text)
        call.__pydantic_fields_set__.add(name)
    return call


_CALLS = Deferring(CallRecord, _read_call)
_PARTS: dict[str, Deferring[Any]] = {
    "annotated_request": Deferring(AnnotatedLlmRequest),
    "annotated_response": Deferring(AnnotatedLlmResponse),
}


def _untouched_members(call: CallRecord) -> dict[str, bytes]:
    """The parts of a call that nobody has touched yet, as JSON text."""
    values = call.__dict__
    return {name: text for name in _PARTS if (text := deferred_text(values.get(name))) is not None}


def _has_text(call: CallRecord) -> bool:
    """Whether a call, or a part of it, is still text."""
    return deferred_text(call) is not None or bool(_untouched_members(call))


def _with_members(record: bytes, members: Mapping[str, bytes]) -> bytes:
    """The JSON object `record` with some members more."""
    texts = b",".join([b'"%b":%b' % (name.encode(), text) for name, text in members.items()])
    if not texts:
        return record
    return b"%b,%b}" % (record[:-1], texts) if len(record) > 2 else b"{%b}" % texts


def _distinct(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})
