"""From a record or a `Run` row to the rows of a table, as dicts of Python values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.export.columns import RUN_COLUMNS, TableRows, Type
from relay_models.records.deferred import deferred_text, view

if TYPE_CHECKING:
    from relay_models.records import CallRecord, RunRecord, Timestamp
    from relay_models.records._base import Record

__all__ = ["body", "expand"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FROM_RESPONSE = ("finish_reason", "cache_read_tokens", "cost")
_TYPES = {column.name: column.type for column in RUN_COLUMNS}


def expand(item: Any, rows: TableRows, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The table's rows for one run: one, or one per call. They have at least the columns asked for.

    Raises:
        InvalidConfigurationError: the item is neither a record nor a `Run`; or rows per call are wanted and it was
            read without its body.
    """
    if rows == "calls":
        record = body(item)
        wanted = frozenset(names)
        for index, call in enumerate(record.calls, 1):
            yield _call(record, call, index, wanted)
    else:
        yield _run(item, names)


def body(item: Any) -> RunRecord:
    """The record of a record or of a `Run` row.

    Raises:
        InvalidConfigurationError: it is neither, or the row was read without its body.
    """
    from relay_models.records import RunRecord

    if isinstance(item, RunRecord):
        return item
    if not _is_row(item):
        raise _stranger(item)
    record = item.record
    if not isinstance(record, RunRecord):
        raise InvalidConfigurationError(
            f"run {item.run_id} was read with its columns only, but its record is wanted: "
            "give the runs with their records, as find_runs(…) without columns=True or iter_runs(…) do"
        )
    return record


def _run(item: Any, names: Sequence[str]) -> dict[str, Any]:
    from relay_models.documents import Run
    from relay_models.records import RunRecord

    if isinstance(item, RunRecord):
        stored = Run.column_values(item)
        return {name: _value(_TYPES[name], stored.get(name)) for name in names}
    if not _is_row(item):
        raise _stranger(item)
    return {name: getattr(item, name) for name in names}


def _is_row(item: Any) -> bool:
    from relay_models.documents import Run

    return isinstance(item, Run)


def _stranger(item: Any) -> InvalidConfigurationError:
    return InvalidConfigurationError(f"a RunRecord or a Run row is wanted, not a {type(item).__name__}")


def _value(kind: Type, stored: Any) -> Any:
    match kind:
        case Type.TEXTS:
            return [] if stored is None else list(stored)
        case Type.TIME if stored is not None:
            return _moment(stored)
        case Type.DURATION if stored is not None:
            return timedelta(microseconds=stored)
        case Type.NUMBER if stored is not None:
            return float(stored)
        case _:
            return stored


def _call(record: RunRecord, call: CallRecord, index: int, wanted: frozenset[str]) -> dict[str, Any]:
    response = call.annotated_response
    if response is not None:
        response = None if wanted.isdisjoint(_FROM_RESPONSE) else view(response)
    usage = None if response is None else response.usage
    cost = None if usage is None else usage.cost
    return {
        "agent_id": record.agent_id,
        "run_id": str(record.id),
        "call": index,
        "kind": str(call.kind),
        "name": call.name,
        "started_at": _instant(call.started_at),
        "ended_at": None if call.ended_at is None else _instant(call.ended_at),
        "duration": call.duration,
        "model": call.model_name,
        "finish_reason": None if response is None else response.finish_reason_text,
        "prompt_tokens": call.prompt_tokens,
        "output_tokens": call.output_tokens,
        "total_tokens": call.total_tokens,
        "cache_read_tokens": None if usage is None else usage.cache_read_tokens,
        "tool_call_count": call.tool_call_count,
        "cost": None if cost is None else cost.amount,
        "request": _text(call.annotated_request) if "request" in wanted else None,
        "response": _text(call.annotated_response) if "response" in wanted else None,
    }


def _text(part: Record | None) -> str | None:
    """A request or response as JSON: while nobody has touched it, as it came, be it what its type says or not."""
    if part is None:
        return None
    text = deferred_text(part)
    return part.model_dump_json() if text is None else text.decode()


def _instant(timestamp: Timestamp) -> datetime:
    return _moment(timestamp.microseconds)


def _moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise InvalidRecordError("a time is outside of the years 1 to 9999 in UTC", path="started_at") from None
