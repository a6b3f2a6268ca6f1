"""`Run`: the document of one run, and the columns by which runs are found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self

from redis_om import Field

from relay_models._checks import shown
from relay_models.columns.column import Column, Origin
from relay_models.columns.scores import Scores
from relay_models.documents.base import Document, column
from relay_models.documents.labels import Labels
from relay_models.documents.run_summary import RunSummary, summarize
from relay_models.errors import InvalidConfigurationError
from relay_models.records import RunRecord, to_json

__all__ = ["Run", "record_of"]

_SUM = "Sum over the calls that tell it (RunRecord.calls[].{}); none where no call does."


class Run(Document):
    """One stored run: the columns that queries use, and the record where it was fetched.

    Times are stored as integer microseconds since 1970 (UTC) and read as aware datetimes; durations are stored as
    microseconds and read as timedeltas. Columns without a `value` are attributes of the `RunSummary`.
    """

    kind: ClassVar[str] = "run"
    record_type: ClassVar[Any] = RunRecord
    summary_type: ClassVar[type | None] = RunSummary
    has_labels: ClassVar[bool] = True

    agent_id: Column[str] = column("The agent that ran (RunRecord.agent_id).", aliases=("agent",), heading="agent")
    run_id: Column[str] = column(
        "The run's UUID, lower case (RunRecord.id).", is_uuid=True, aliases=("id", "run"), heading="run"
    )
    status: Column[Literal["running", "completed", "failed"]] = column(
        "failed where that is known (RunRecord.ext.status); else running, or completed once the run has an end "
        "(RunRecord.ended_at). A failed call does not make its run fail."
    )
    started_at: Column[datetime] = column(
        "When the run began (RunRecord.started_at).", aliases=("started",), heading="began (UTC)"
    )
    ended_at: Column[datetime | None] = column(
        "When it ended (RunRecord.ended_at); none while it runs.", aliases=("ended",)
    )
    duration: Column[timedelta | None] = column(
        "From start to end, rounded down to microseconds; none while it runs.", heading="took"
    )
    calls: Column[int] = column("Calls of any kind (RunRecord.calls).", unit="calls")
    llm_calls: Column[int] = column("Calls of the kind llm.", unit="calls", heading="LLM")
    tool_calls: Column[int] = column("Calls of the kind tool.", unit="calls", heading="tools")
    unfinished_calls: Column[int] = column("Calls without an end.", unit="calls", sortable=False)
    providers: Column[list[str]] = column(
        "Names of the LLM calls, each once, sorted (RunRecord.calls[].name).", aliases=("provider",)
    )
    models: Column[list[str]] = column(
        "Models that answered, each once, sorted (RunRecord.calls[].model_name).", aliases=("model",)
    )
    tools: Column[list[str]] = column(
        "Names of the tool calls, each once, sorted (RunRecord.calls[].name).", aliases=("tool",), heading="tools used"
    )
    finish_reasons: Column[list[str]] = column(
        "Why the answers ended, each reason once, sorted (RunRecord.calls[].annotated_response.finish_reason).",
        aliases=("reason", "finish_reason"),
    )
    prompt_tokens: Column[int | None] = column(
        _SUM.format("prompt_tokens") + " As the providers count: with or without cached ones; see input_tokens.",
        unit="tokens",
        sortable=False,
    )
    output_tokens: Column[int | None] = column(
        "Tokens of the output, reasoning included whatever the provider counts; none where no call tells any.",
        unit="tokens",
    )
    total_tokens: Column[int | None] = column(
        _SUM.format("total_tokens") + " As the providers count.", unit="tokens", aliases=("tokens",), heading="tokens"
    )
    cache_read_tokens: Column[int | None] = column(
        _SUM.format("annotated_response.usage.cache_read_tokens") + " See cached_input_tokens.",
        unit="tokens",
        sortable=False,
    )
    cost: Column[float | None] = column(
        "Sum over the calls that tell it (RunRecord.calls[].annotated_response.usage.cost); none where no call does or "
        "they are in several currencies. Kept to 15 significant digits.",
        unit="currency",
    )
    stored_at: Column[datetime | None] = column(
        "When the run was first stored; later than that of every run stored before by this backend.",
        origin=Origin.STORE,
        aliases=("stored",),
    )
    updated_at: Column[datetime | None] = column("When it was last stored.", origin=Origin.STORE, aliases=("updated",))
    text: Column[None] = column(
        "Words of prompts and answers (RunRecord.texts), indexed only where the store is opened with index_text; "
        "never read back.",
        text=True,
        value=lambda record: record.texts,
        aliases=("words",),
    )
    failed_calls: Column[int | None] = column(
        "Calls that failed (RunRecord.calls[].ext.status); none where no call tells how it went.",
        unit="calls",
        aliases=("failures",),
    )
    error_types: Column[list[str]] = column(
        "Types of the errors of the run and of its calls, each once, sorted (ext.error.type, else ext.error.category).",
        aliases=("error", "error_type"),
    )
    session_id: Column[str | None] = column(
        "Session (conversation) that the run belongs to (RunRecord.ext.session_id).", aliases=("session",)
    )
    user_id: Column[str | None] = column(
        "User on whose behalf the agent ran (RunRecord.ext.user_id).", aliases=("user",)
    )
    parent_run_id: Column[str | None] = column(
        "Run that called this one (RunRecord.ext.parent_run_id); none at the root.",
        is_uuid=True,
        aliases=("parent",),
        sortable=False,
    )
    root_run_id: Column[str | None] = column(
        "Outermost run that this one belongs to (RunRecord.ext.root_run_id); none at the root.",
        is_uuid=True,
        aliases=("root",),
    )
    time_to_first_token: Column[timedelta | None] = column(
        "Time to the first token of the first call that tells it (RunRecord.calls[].ext.time_to_first_token_ms).",
        aliases=("ttft",),
    )
    input_tokens: Column[int | None] = column(
        "Tokens of the prompts, those read from and written to caches included whatever the provider counts; none "
        "where no call tells any.",
        unit="tokens",
    )
    cached_input_tokens: Column[int | None] = column("Part of input_tokens: read from a cache.", unit="tokens")
    cache_write_tokens: Column[int | None] = column(
        "Part of input_tokens: written to a cache.", unit="tokens", sortable=False
    )
    reasoning_tokens: Column[int | None] = column("Part of output_tokens: spent on reasoning.", unit="tokens")
    estimated_cost: Column[float | None] = column(
        "Estimated cost of the calls that tell none, by the price table of the backend that stored the run; none "
        "without a table, or where it has no price. Not part of cost.",
        unit="currency",
        origin=Origin.KEY,
    )
    trace_id: Column[str | None] = column(
        "OpenTelemetry trace that the run was read from (RunRecord.ext.metadata.otel.trace_id), in hex.",
        aliases=("trace",),
        sortable=False,
    )
    tags: Column[list[str]] = column(
        "Tags that were put on the run (`label`), sorted; kept when it is stored again.",
        origin=Origin.STORE,
        aliases=("tag",),
    )
    notes: Column[list[str]] = column(
        "Notes on the run (`label`), each text once, sorted; `labels` has their order.",
        origin=Origin.STORE,
        aliases=("note",),
    )
    scores: Scores = column(
        "Scores of the run by name (`label`); score.helpfulness is the one of that name.",
        origin=Origin.STORE,
        aliases=("score",),
    )
    labels_json: str | None = Field(
        default=None, description="Tags, scores and notes with their origins as JSON text, kept under `labels`."
    )
    record_json: str | None = Field(
        default=None, description="The record as JSON text, kept under `record`; none where only columns were read."
    )

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """The document of a record, as it would be stored but for the times of storing."""
        return cls.from_stored(cls.column_values(record), to_json(record).decode())

    @classmethod
    def summarize(cls, record: RunRecord) -> RunSummary:
        """What the columns hold, computed in one pass over the calls."""
        return summarize(record)

    @classmethod
    def describe(cls, record: Any) -> str:
        """What a message calls a run."""
        return f"run {record.id} of agent {shown(record.agent_id)}"

    @property
    def labels(self) -> Labels:
        """Tags, scores and notes, with who said so and when.

        Raises:
            ValueError: the stored text is no such thing.
        """
        return Labels.parse(self.labels_json)

    @property
    def record(self) -> RunRecord | None:
        """The run's record, parsed when first asked for; None where only columns were read.

        Raises:
            InvalidRecordError: the stored text is not a run.
        """
        return self._parsed_record()  # type: ignore[no-any-return]

    @classmethod
    def _pk(cls, data: Mapping[str, Any]) -> str:
        return f"{data['agent_id']}:{data['run_id']}"


def record_of(item: RunRecord | Run) -> RunRecord:
    """Return the record of a record or of a `Run`.

    Args:
        item: A record, or a `Run` that was read with its record.

    Returns:
        The record itself, or the one of the `Run`.

    Raises:
        InvalidConfigurationError: `item` is neither, or a `Run` that was read with its columns only.
    """
    if isinstance(item, RunRecord):
        return item
    if not isinstance(item, Run):
        raise InvalidConfigurationError(f"expected a RunRecord or a Run, not {type(item).__name__}")
    record = item.record
    if record is None:
        raise InvalidConfigurationError(
            f"run {item.run_id} was read with its columns only, but its record is needed: "
            "pass runs with their records, as find_runs(…) without columns=True or iter_runs(…) return them"
        )
    return record
