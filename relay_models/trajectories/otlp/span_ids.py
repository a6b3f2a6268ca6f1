"""Ids of spans that runs and calls have, or are written with."""

from __future__ import annotations

import re

from relay_models.records import RunRecord
from relay_models.trajectories.ids import as_uuid, derived_id

_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_IDS = {"trace_id": re.compile(r"[0-9a-f]{32}"), "span_id": _SPAN_ID, "parent_span_id": _SPAN_ID}

__all__ = ["call_span_id", "otel_of", "run_span_id"]


def otel_of(run: RunRecord) -> dict[str, str]:
    """What is kept of the span that a run was read from."""
    told = None if run.ext is None else (run.ext.metadata or {}).get("otel")
    if not isinstance(told, dict):
        return {}
    texts = {name: value for name, value in told.items() if isinstance(value, str)}
    return {name: value for name, value in texts.items() if name not in _IDS or _IDS[name].fullmatch(value)}


def run_span_id(run: RunRecord) -> str:
    """The span of a run: the one it was read from, or the second half of its id."""
    return otel_of(run).get("span_id") or _nonzero(run.id.hex[16:])


def call_span_id(run: RunRecord, index: int) -> str:
    """The span of a call: the second half of its uuid, its span's id, or one derived from its position."""
    call = run.calls[index]
    told = None if call.ext is None else call.ext.id
    if (uuid := as_uuid(told)) is not None:
        return _nonzero(uuid.hex[16:])
    if told is not None and _SPAN_ID.fullmatch(told):
        return _nonzero(told)
    return derived_id("span", str(run.id), index).hex[16:]


def _nonzero(span_id: str) -> str:
    return span_id if span_id.strip("0") else "0000000000000001"
