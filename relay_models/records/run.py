"""`RunRecord`: one run of an agent, whose calls stay JSON text until they are used."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast
from uuid import UUID

import msgspec
from pydantic import Field

from relay_models._checks import check_type
from relay_models.records.call import CallRecord
from relay_models.records.depth import is_too_deep
from relay_models.records.extensions import EXTENSIONS_KEY, Extended, RunExtensions
from relay_models.records.llm import CostEstimate
from relay_models.records.loose import Loose, unknown_shapes
from relay_models.records.record import Factories, adapter, from_json, refuse_non_finite, to_json, uuid7
from relay_models.records.timestamp import Timestamp
from relay_models.records.views import viewing

__all__ = ["RunRecord", "strip_extensions"]

call_views = viewing(CallRecord)
"""Reads the JSON text of calls as views of them, and checks all of it."""


class _CallsText:
    """The value of `RunRecord.calls` until the calls are used: their JSON text, which has been checked."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def calls(self) -> list[CallRecord]:
        """Parse the calls; threads that do it at the same time get the same list."""
        return cast(list[CallRecord], self.__dict__.setdefault("parsed", from_json(list[CallRecord], self.text)))


class _LazyCalls:
    """The attribute `RunRecord.calls`, which parses the calls when it is first read."""

    def __get__(self, record: RunRecord | None, owner: type) -> Any:
        if record is None:
            raise AttributeError("calls")  # as any field of a pydantic class
        record._complete()
        try:
            return record.__dict__["calls"]
        except KeyError:
            raise AttributeError(f"{owner.__name__!r} object has no attribute 'calls'") from None

    def __set__(self, record: RunRecord, value: Any) -> None:
        record.__dict__["calls"] = value

    def __delete__(self, record: RunRecord) -> None:
        del record.__dict__["calls"]


class RunRecord(Extended):
    """One run of an agent: a scope of type Agent, with the calls under it in the order in which they started.

    A run that `from_json` reads keeps its calls as JSON text, which has been checked, until they are used. Nothing
    but time and memory depends on it: every use of such a run gives what it gives of one that was read at once.

    Example:
        ```python
        run = RunRecord(agent_id="planner")
        run.calls.append(CallRecord(kind="tool", name="search"))
        ```
    """

    id: UUID = Field(default=..., description="Identifier of the run; a new UUIDv7 when made in Python.")
    agent_id: str = Field(description="Agent that ran; any text.")
    calls: list[Loose[CallRecord]] = Field(
        default=..., description="Calls of the run, in the order in which they started."
    )
    started_at: Timestamp = Field(default=..., description="When the run began (RFC 3339, up to nanoseconds).")
    ended_at: Timestamp | None = Field(
        default=None, description="When the run ended (RFC 3339, up to nanoseconds); absent while it runs."
    )

    relay_models: Loose[RunExtensions] | None = Field(default=None, description="Extensions, in Python also as `ext`.")

    _fresh: ClassVar[Factories] = {"id": uuid7, "calls": list, "started_at": Timestamp.now}
    _is_lazy: ClassVar[bool] = True

    if TYPE_CHECKING:
        # What pydantic takes for each field; type checkers would ask for what the field holds.
        def __init__(
            self,
            /,
            *,
            agent_id: str,
            id: UUID | str = ...,
            calls: list[CallRecord] | list[dict[str, Any]] = ...,
            started_at: Timestamp | datetime | str = ...,
            ended_at: Timestamp | datetime | str | None = None,
            relay_models: RunExtensions | dict[str, Any] | None = None,
            ext: RunExtensions | dict[str, Any] | None = None,
            **unknown: Any,
        ) -> None: ...

    @property
    def ext(self) -> RunExtensions | None:
        """What is known of the run beyond NeMo Relay's record: failure, parent, session, user."""
        return self.relay_models

    @ext.setter
    def ext(self, value: RunExtensions | None) -> None:
        self.relay_models = value

    @classmethod
    def _from_json(cls, data: str | bytes) -> Self:
        lazy = _read_lazily(data) if cls is RunRecord else None
        if lazy is not None:
            return cast(Self, lazy)
        read: Self = adapter(Loose[cls]).validate_json(data)  # type: ignore[valid-type,misc]
        refuse_non_finite(read)
        return read

    def _to_json(self) -> bytes:
        text = calls_text(self)
        if text is None:
            return super()._to_json()
        shell = super().__copy__()
        shell.__dict__["calls"] = []
        # No text before it can hold this: there are no bare quotes in texts.
        return super(RunRecord, shell)._to_json().replace(b'"calls":[]', b'"calls":' + text, 1)

    # Python and pydantic see the values of the object by attribute, and in each of the following ways.

    def _complete(self) -> None:
        values = self.__dict__
        kept = values.get("calls")
        if isinstance(kept, _CallsText):
            values["calls"] = kept.calls()

    def __setattr__(self, name: str, value: Any) -> None:
        self._complete()  # pydantic copies all values
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._complete()
        super().__delattr__(name)

    __hash__ = None  # type: ignore[assignment]  # as of every record

    def __eq__(self, other: object) -> bool:
        self._complete()
        if isinstance(other, RunRecord):
            other._complete()
        return super().__eq__(other)

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        self._complete()
        return super().__iter__()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        self._complete()
        return super().__repr_args__()

    def __copy__(self) -> Self:
        self._complete()
        return super().__copy__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        self._complete()
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        self._complete()
        return super().__getstate__()

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
        """Sum of the calls' prompt tokens, as far as providers reported them."""
        return sum(call.prompt_tokens or 0 for call in self.calls)

    @property
    def output_tokens(self) -> int:
        """Sum of the calls' output tokens, as far as providers reported them."""
        return sum(call.output_tokens or 0 for call in self.calls)

    @property
    def total_tokens(self) -> int:
        """Sum of the calls' total tokens, as far as providers reported them."""
        return sum(call.total_tokens or 0 for call in self.calls)

    @property
    def cache_read_tokens(self) -> int:
        """Sum of the calls' prompt tokens that came from a cache, as far as providers reported them."""
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
        return call_texts(self.calls)

    @property
    def not_understood(self) -> list[str]:
        """Paths of the values that are not what their field says; they are kept as they came.

        An example is ``calls.2.annotated_response.usage.total_tokens``. Only what a run is stored by is never among
        them: its id, agent and start, and of each call kind, name and start.
        """
        # A call that is kept as text has been checked: there is nothing of the kind in it.
        is_checked = calls_text(self) is not None
        return [".".join(path) for path in unknown_shapes(self, without="calls" if is_checked else None)]


# A class attribute named as a field would be its default, so it is set when pydantic has made the class.
setattr(RunRecord, "calls", _LazyCalls())  # noqa: B010


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


def call_texts(calls: Iterable[CallRecord]) -> list[str]:
    """The texts of the prompts and answers of `calls`, in order, each once."""
    texts: dict[str, None] = {}
    for call in calls:
        if (request := call.annotated_request) is not None:
            texts.update(dict.fromkeys(request.texts))
        if (response := call.annotated_response) is not None and (answer := response.text):
            texts[answer] = None
    return list(texts)


def calls_text(record: RunRecord) -> bytes | None:
    """The JSON text of the calls of a record that keeps them as text, else None."""
    kept = record.__dict__.get("calls")
    return kept.text if isinstance(kept, _CallsText) else None


_NO_CALLS = msgspec.Raw(b"[]")
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_write_members = msgspec.json.Encoder().encode


def _read_lazily(data: str | bytes) -> RunRecord | None:
    """The run in a JSON text, its calls checked but kept as text; None where anything is wrong or unusual.

    Such a text is for pydantic, which takes more than views do, and says what is wrong.
    """
    try:
        if isinstance(data, str):
            data = data.encode()
        elif not data.isascii():
            str(data, "utf-8")  # checks what the decoder skips over; giving it the str would take twice as long
        if is_too_deep(data):
            return None
        if b"\n" in data or b"\r" in data:
            data = msgspec.json.format(data, indent=-1)  # what is written is one line
        members = _read_members(data)
        text = bytes(members["calls"])
        call_views(text)
        members["calls"] = _NO_CALLS
        run = cast(RunRecord, RunRecord.__pydantic_validator__.validate_json(_write_members(members)))
        if run.model_extra:
            refuse_non_finite(run)
    except (ValueError, KeyError, RecursionError, msgspec.MsgspecError):
        return None
    run.__dict__["calls"] = _CallsText(text)
    return run


def run_from(value: dict[str, Any]) -> RunRecord:
    """The run in a JSON value, with what is not understood in it kept, as `from_json` keeps it.

    Raises:
        ValidationError: it is no run.
    """
    return adapter(Loose[RunRecord]).validate_python(value)


def call_text(call: CallRecord) -> bytes | None:
    """A call as JSON text that `run_of_texts` takes; None where something in it is not understood or unusual."""
    text = to_json(call)
    try:
        call_views(b"[%b]" % text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return text


def run_of_texts(value: dict[str, Any], calls: Iterable[bytes]) -> RunRecord:
    """The run in a JSON value without calls, with calls whose texts `call_text` has made.

    Raises:
        ValidationError: it is no run.
    """
    run = run_from({**value, "calls": []})
    run.__dict__["calls"] = _CallsText(b"[%b]" % b",".join(calls))
    return run


def _distinct(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})


def strip_extensions(run: RunRecord) -> RunRecord:
    """Return the run as NeMo Relay itself would have written it: without extensions.

    Args:
        run: a run, with or without extensions; it is not changed.

    Returns:
        A copy without the key ``"relay_models"`` in the run and in its calls.

    Example:
        ``backend.store_run(strip_extensions(run))``
    """
    check_type("run", run, RunRecord, "a RunRecord")
    bare: dict[str, Any] = {EXTENSIONS_KEY: None}
    calls = [call if call.relay_models is None else call.model_copy(update=bare) for call in run.calls]
    if run.relay_models is None and all(new is old for new, old in zip(calls, run.calls, strict=True)):
        return run.model_copy()
    return run.model_copy(update={**bare, "calls": calls})
