"""Ids of spans that runs and calls have, or are written with."""

from __future__ import annotations

from relay_models.records import RunRecord
from relay_models.trajectories.ids import as_uuid, derived_id

__all__ = ["call_span_id", "otel_of", "run_span_id"]


def otel_of(run: RunRecord) -> dict[str, str]:
    """What is kept of the span that a run was read from."""
    told = None if run.ext is None else (run.ext.metadata or {}).get("otel")
    return {name: value for name, value in told.items() if isinstance(value, str)} if isinstance(told, dict) else {}


def run_span_id(run: RunRecord) -> str:
    """The span of a run: the one it was read from, or the second half of its id."""
    return otel_of(run).get("span_id") or _nonzero(run.id.hex[16:])


def call_span_id(run: RunRecord, index: int) -> str:
    """The span of a call: the second half of its uuid, its span's id, or one derived from its position."""
    call = run.calls[index]
    told = None if call.ext is None else call.ext.id
    if (uuid := as_uuid(told)) is not None:
        return _nonzero(uuid.hex[16:])
    if told is not None and len(told) == 16 and all(sign in "0123456789abcdef" for sign in told):
        return _nonzero(told)
    return derived_id("span", str(run.id), index).hex[16:]


def _nonzero(span_id: str) -> str:
    return span_id if span_id.strip("0") else "0000000000000001"
