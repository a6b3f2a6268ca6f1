"""`as_of_now`: captured runs as runs of the last two days, with failures, sessions and labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_models.records import CallRecord, RunRecord
    from relay_models.sync import RedisBackend

__all__ = ["as_of_now", "moved_to"]

PACE = 80
"""How many times as long the runs take: the captured models answered within milliseconds."""
_ERRORS = (
    ("TimeoutError", "no answer within 30 s"),
    ("RateLimitError", "429: too many requests, try again in 12 s"),
    ("DatabaseError", 'relation "orders_2025" does not exist'),
)
_USERS = ("ana", "ben", "chen", "dara")
# What goes into tools and comes out, which NeMo Relay does not keep.
_ANSWERS: dict[str, tuple[Any, Any]] = {
    "search": (
        {"query": "refund policy for annual plans"},
        {"hits": [{"title": "Refunds", "score": 0.91}, {"title": "Plans", "score": 0.74}]},
    ),
    "sql_query": ({"sql": "SELECT count(*) FROM orders WHERE status = 'open'"}, {"rows": [[1284]]}),
    "send_email": ({"to": "customer@example.com", "subject": "Your refund"}, {"sent": True}),
    "calculator": ({"expression": "1284 * 0.19"}, 243.96),
    "fetch_page": ({"url": "https://example.com/policy"}, "Annual plans are refunded within 30 days."),
}


def as_of_now(backend: RedisBackend, now: datetime) -> None:
    """Replace the runs of a store by runs of the last two days, with failures, sessions, nested runs and labels."""
    from uuid import UUID  # lazy: start-up time

    from relay_models import SavedQuestion  # lazy: start-up time
    from relay_models.records import RunExtensions  # lazy: start-up time

    captured: list[Any] = [run.record for run in backend.stream_runs(order_by="run_id")]
    # Agents take turns.
    records: list[RunRecord] = sorted(captured, key=lambda record: record.id.int % 997)
    count = len(records)
    told: list[RunRecord] = []
    for position, record in enumerate(records):
        begins = now - timedelta(minutes=3) - timedelta(hours=48) * (count - 1 - position) / count
        session, parent = position // 3, told[-1] if position % 10 == 7 else None
        ext = RunExtensions(session_id=f"conversation-{1204 + session}", user_id=_USERS[session % len(_USERS)])
        if parent is not None and parent.ext is not None:
            begins = parent.started_at.datetime + timedelta(milliseconds=120)
            root: UUID = parent.ext.root_run_id or parent.id
            ext = parent.ext.model_copy(
                update={"parent_run_id": parent.id, "root_run_id": root, "status": None, "error": None}
            )
        run = moved_to(record, begins, PACE)
        run.relay_models = ext
        _answer_tools(run.calls)
        if position % 6 == 4 or position % 9 == 2:
            _fail(run, _ERRORS[position // 6 % len(_ERRORS)], whole=position % 6 == 4)
        told.append(run)
    backend.store_runs(told)
    _label(backend, told)
    backend.saved.save(SavedQuestion("slow-today", "duration > 2s and started = today", order="-duration"))


def moved_to(record: RunRecord, begins: datetime, pace: int = 1) -> RunRecord:
    """Return the run as if it had begun at another time, and taken `pace` times as long."""
    from relay_models.records import Timestamp  # lazy: start-up time

    first, start = record.started_at.nanoseconds, Timestamp(begins).nanoseconds

    def move(value: Any) -> Any:
        return None if value is None else Timestamp.from_nanoseconds(start + (value.nanoseconds - first) * pace)

    moved = record.model_copy(deep=True)
    moved.started_at, moved.ended_at = move(moved.started_at), move(moved.ended_at)
    for call in moved.calls:
        call.started_at, call.ended_at = move(call.started_at), move(call.ended_at)
    return moved


def _answer_tools(calls: Sequence[CallRecord]) -> None:
    from relay_models.records import CallExtensions  # lazy: start-up time

    for call in calls:
        if call.name in _ANSWERS and call.kind == "tool":
            given, answer = _ANSWERS[call.name]
            call.relay_models = CallExtensions(input=given, output=answer)


def _fail(run: RunRecord, error: tuple[str, str], *, whole: bool) -> None:
    """Let the last tool call fail, or the last call; with `whole`, the run as well."""
    from relay_models.records import CallExtensions, ErrorInfo, Status  # lazy: start-up time

    tools = [call for call in run.calls if call.kind == "tool"]
    info = ErrorInfo(type=error[0], message=error[1])
    for call in (tools or list(run.calls))[-1:]:
        given = None if call.ext is None else call.ext.input
        call.relay_models = CallExtensions(status=Status("failed"), error=info, input=given)
    if whole and run.relay_models is not None:
        run.relay_models = run.relay_models.model_copy(update={"status": Status("failed"), "error": info})


def _label(backend: RedisBackend, runs: Sequence[RunRecord]) -> None:
    for position, run in enumerate(runs):
        if position % 3 == 0:
            score = round(0.35 + position * 37 % 60 / 100, 2)
            backend.runs.label(run, scores={"helpfulness": score}, source="evaluator", by="judge-2")
    backend.runs.label(runs[-2], tags={"golden"}, note="Cites its sources; keep as an example.", by="ana")
    backend.runs.label(runs[-5], tags={"to review"}, by="ben")
