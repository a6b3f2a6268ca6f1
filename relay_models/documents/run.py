"""`Run`: the document of one run, and the columns by which runs are found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from pydantic import field_validator
from redis_om import Field

from relay_models._time import datetime_of
from relay_models.columns.column import Column, Kind
from relay_models.documents.base import Document, column, document
from relay_models.documents.run_columns import run_columns, run_words
from relay_models.records import RunRecord, from_json, to_json

if TYPE_CHECKING:
    from relay_models.query.find import Query

__all__ = ["Run"]

_SUM = "Sum over the calls that tell it (RunRecord.calls[].{}); none where no call does."


@document("run")
class Run(Document, index=True):
    """One stored run: the columns that queries use, and the record where it was fetched.

    Times are stored as integer microseconds since 1970 (UTC) and read as aware datetimes; durations are stored as
    microseconds and read as timedeltas. Everything is computed from the record by `run_columns`.
    """

    agent_id: Column[str] = column(Kind.TAG, "The agent that ran (RunRecord.agent_id).")
    run_id: Column[str] = column(Kind.TAG, "The run's UUID, lower case (RunRecord.id).")
    status: Column[str] = column(
        Kind.TAG,
        "running, or completed once the run has an end (RunRecord.ended_at).",
        choices=("running", "completed"),
    )
    started_at: Column[datetime] = column(Kind.TIME, "When the run began (RunRecord.started_at).", unit="µs")
    ended_at: Column[datetime | None] = column(
        Kind.TIME, "When it ended (RunRecord.ended_at); none while it runs.", unit="µs", default=None
    )
    duration: Column[timedelta | None] = column(
        Kind.DURATION, "From start to end, rounded down to microseconds; none while it runs.", unit="µs", default=None
    )
    calls: Column[int] = column(Kind.COUNT, "Calls of any kind (RunRecord.calls).", unit="calls")
    llm_calls: Column[int] = column(Kind.COUNT, "Calls of the kind llm.", unit="calls")
    tool_calls: Column[int] = column(Kind.COUNT, "Calls of the kind tool.", unit="calls")
    unfinished_calls: Column[int] = column(Kind.COUNT, "Calls without an end.", unit="calls")
    providers: Column[list[str]] = column(
        Kind.TAGS, "Names of the LLM calls, each once, sorted (RunRecord.calls[].name).", default_factory=list
    )
    models: Column[list[str]] = column(
        Kind.TAGS, "Models that answered, each once, sorted (RunRecord.calls[].model_name).", default_factory=list
    )
    tools: Column[list[str]] = column(
        Kind.TAGS, "Names of the tool calls, each once, sorted (RunRecord.calls[].name).", default_factory=list
    )
    finish_reasons: Column[list[str]] = column(
        Kind.TAGS,
        "Why the answers ended, each reason once, sorted (RunRecord.calls[].annotated_response.finish_reason).",
        default_factory=list,
    )
    prompt_tokens: Column[int | None] = column(Kind.COUNT, _SUM.format("prompt_tokens"), unit="tokens", default=None)
    output_tokens: Column[int | None] = column(Kind.COUNT, _SUM.format("output_tokens"), unit="tokens", default=None)
    total_tokens: Column[int | None] = column(Kind.COUNT, _SUM.format("total_tokens"), unit="tokens", default=None)
    cache_read_tokens: Column[int | None] = column(
        Kind.COUNT, _SUM.format("annotated_response.usage.cache_read_tokens"), unit="tokens", default=None
    )
    cost: Column[float | None] = column(
        Kind.NUMBER,
        "Sum over the calls that tell it (RunRecord.calls[].annotated_response.usage.cost); none where no call does or "
        "they are in several currencies. Kept to 15 significant digits.",
        unit="currency",
        default=None,
    )
    stored_at: Column[datetime | None] = column(
        Kind.TIME, "When the run was first stored; later than that of every run stored before by this backend.",
        unit="µs", default=None,
    )  # fmt: skip
    updated_at: Column[datetime | None] = column(Kind.TIME, "When it was last stored.", unit="µs", default=None)
    text: Column[None] = column(
        Kind.WORDS,
        "Words of prompts and answers (RunRecord.texts), indexed only where the store is opened with index_text; "
        "never read back.",
        default=None,
    )
    record_json: str | None = Field(
        default=None, description="The record as JSON text, kept under `record`; none where only columns were read."
    )

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """The document of a record, as it would be stored but for the times of storing."""
        return cls.from_stored(run_columns(record), to_json(record).decode())

    @property
    def record(self) -> RunRecord | None:
        """The run's record, parsed when first asked for; None where only columns were read.

        Raises `InvalidRecordError` where the stored text is no run.
        """
        if self._record is None and self.record_json is not None:
            self._record = from_json(RunRecord, self.record_json)
        return self._record  # type: ignore[no-any-return]

    @classmethod
    def find(cls, *expressions: Any) -> Query[Run]:  # type: ignore[override]  # run by a backend, not by redis-om
        """A query for the runs that meet all `expressions`; every run without any. It is run by a backend::

        query = Run.find(Run.agent_id == "planner", Run.duration > timedelta(seconds=2))
        page = await backend.find_runs(query)
        """
        from relay_models.query.find import Query

        return Query.of(cls, expressions)

    def words(self) -> list[str] | None:
        """The words that a text match looks at; None where the record was not read."""
        return None if self.record is None else run_words(self.record)

    @classmethod
    def _pk(cls, data: Mapping[str, Any]) -> str:
        return f"{data['agent_id']}:{data['run_id']}"

    @field_validator("started_at", "ended_at", "stored_at", "updated_at", mode="before")
    @classmethod
    def _from_microseconds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime_of(value)
        return getattr(value, "datetime", value)

    @field_validator("duration", mode="before")
    @classmethod
    def _span(cls, value: Any) -> Any:
        return timedelta(microseconds=value) if isinstance(value, int) and not isinstance(value, bool) else value
