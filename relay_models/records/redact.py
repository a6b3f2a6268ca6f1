"""`Redactor`: removes secrets and personal data from runs, and cuts what is too large, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jsonpath_ng import JSONPath
from jsonpath_ng.ext.parser import parse
from pydantic import ValidationError
from pydantic_core import to_json

from relay_models._checks import check_count, check_type, shown
from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.records.extensions import EXTENSIONS_KEY
from relay_models.records.record import from_json
from relay_models.records.run import RunRecord

__all__ = ["REDACTED", "Redaction", "Redactions", "Redactor", "as_redactor"]

# What stands for a text or number that was removed.
REDACTED = "[redacted]"

Redaction = Callable[[RunRecord], RunRecord | None]
"""A function that returns the run to store; None leaves the run out."""

Redactions = str | Redaction | Iterable[str | Redaction] | None
"""What `redact=` takes: a JSON path, a function (a `Redactor` is one), several of them, or nothing."""

# A lower limit would cut what is no content: names, kinds of message, identifiers.
_LEAST_LIMIT = 100

# Parts of a call that may be of any size, in the order in which they are given up.
_PARTS = ((EXTENSIONS_KEY, "output"), (EXTENSIONS_KEY, "input"), ("annotated_request",), ("annotated_response",))

# The same of a run beside its calls.
_RUN_PARTS = _PARTS[:2]


class Redactor:
    """Applies redactions and size limits to runs.

    JSON paths (as of jsonpath-ng) address the run as JSON, such as ``$.calls[*].relay_models.input.password`` or
    ``$..api_key``. A text, number or boolean at a path becomes ``"[redacted]"``, an object or list becomes empty,
    and `RunExtensions.redacted` names the paths that matched. What a limit cut is named by `CallExtensions.cut`, and
    of the run's own input and output by `RunExtensions.cut`.

    Args:
        *redactions: functions of a run, and JSON paths, applied in this order.
        max_text_length: maximum length of each text in a call's request, response, input and output [characters].
        max_call_bytes: maximum size of a call as JSON [bytes]; a larger one loses output, input, request and
            response, in this order, until it fits. The same goes for a run without its calls.

    Raises:
        InvalidConfigurationError: a path does not parse, or a limit is below 100.

    Example:
        ``Redactor("$..api_key", lambda run: run if run.agent_id != "secret" else None, max_text_length=10_000)``
    """

    def __init__(
        self,
        *redactions: str | Redaction,
        max_text_length: int | None = None,
        max_call_bytes: int | None = None,
    ) -> None:
        for name, limit in (("max_text_length", max_text_length), ("max_call_bytes", max_call_bytes)):
            if limit is not None:
                check_count(name, limit, _LEAST_LIMIT)
        self._max_text_length = max_text_length
        self._max_call_bytes = max_call_bytes
        self._steps: list[Redaction] = []
        paths: list[tuple[str, JSONPath]] = []
        for redaction in redactions:
            if isinstance(redaction, str):
                paths.append((redaction, _parsed(redaction)))
                continue
            if paths:
                self._steps.append(_by_paths(paths))
                paths = []
            self._steps.append(redaction)
        if paths:
            self._steps.append(_by_paths(paths))

    def __call__(self, run: RunRecord) -> RunRecord | None:
        """Return the run as it may be stored; None when a function leaves it out.

        Args:
            run: the run; it is not changed by paths and limits.

        Raises:
            InvalidRecordError: a path removed what a run cannot be without, such as its start.
            Exception: what a redaction function raises. The run must not be stored then.
        """
        for step in self._steps:
            redacted = step(run)
            if redacted is None:
                return None
            run = redacted
        if self._max_text_length is None and self._max_call_bytes is None:
            return run
        value = run.model_dump(mode="json")
        changed = [self._limit(call, _PARTS) for call in value["calls"]]
        changed.append(self._limit(value, _RUN_PARTS))
        return _record(value, "a size limit") if any(changed) else run

    def apply(self, runs: Iterable[RunRecord]) -> list[RunRecord]:
        """Return the runs that may be stored, in order."""
        check_type("runs", runs, Iterable, "a list of runs")
        return [redacted for run in runs if (redacted := self(run)) is not None]

    def _limit(self, call: dict[str, Any], parts: Iterable[tuple[str, ...]]) -> bool:
        """Cut parts of a call, or of a run, as JSON, to the limits; whether anything was cut."""
        marks: list[dict[str, Any]] = []
        if self._max_text_length is not None:
            for path in parts:
                holder, name = _holder(call, path), path[-1]
                if holder is not None and name in holder:
                    holder[name] = _cut(holder[name], self._max_text_length, ".".join(path), marks)
        if self._max_call_bytes is not None:
            size = len(to_json({name: item for name, item in call.items() if name != "calls"}))
            for path in parts:
                holder, name = _holder(call, path), path[-1]
                if size > self._max_call_bytes and holder is not None and name in holder:
                    removed = len(to_json(holder.pop(name)))
                    marks.append({"path": ".".join(path), "size": removed, "kept": 0})
                    size -= removed
        if marks:
            extensions = call.setdefault(EXTENSIONS_KEY, {})
            extensions["cut"] = [*(extensions.get("cut") or ()), *marks]
        return bool(marks)


def as_redactor(
    redact: Redactions, *, max_text_length: int | None = None, max_call_bytes: int | None = None
) -> Redaction | None:
    """Make one function of what `redact=` and the size limits say; None where there is nothing to do.

    Raises:
        InvalidConfigurationError: it is none of what `Redactor` takes.
    """
    if redact is None:
        steps: list[str | Redaction] = []
    elif isinstance(redact, str) or callable(redact):
        steps = [redact]
    else:
        try:
            steps = list(redact)
        except TypeError:
            steps = [redact]  # type: ignore[list-item]
    for step in steps:
        if not isinstance(step, str) and not callable(step):
            raise InvalidConfigurationError(f"redact takes JSON paths and functions of a run, not {shown(step)}")
    if not steps and max_text_length is None and max_call_bytes is None:
        return None
    return Redactor(*steps, max_text_length=max_text_length, max_call_bytes=max_call_bytes)


def _parsed(path: str) -> JSONPath:
    try:
        return parse(path)
    except Exception as error:
        raise InvalidConfigurationError(f"{shown(path)} is no JSON path: {error}") from None


def _by_paths(paths: list[tuple[str, JSONPath]]) -> Redaction:
    paths = list(paths)

    def redact(run: RunRecord) -> RunRecord:
        value = run.model_dump(mode="json")
        matched = []
        for text, path in paths:
            found = False

            def remove(old: Any, _data: Any, _field: Any) -> Any:
                nonlocal found
                found = True
                return type(old)() if isinstance(old, (dict, list)) else None if old is None else REDACTED

            value = path.update(value, remove)
            if found:
                matched.append(text)
        if not matched:
            return run
        extensions = value.setdefault(EXTENSIONS_KEY, {})
        extensions["redacted"] = list(dict.fromkeys((*(extensions.get("redacted") or ()), *matched)))
        return _record(value, f"the redaction of {', '.join(matched)}")

    return redact


def _record(value: dict[str, Any], what: str) -> RunRecord:
    """The record of a changed JSON value."""
    try:
        return from_json(RunRecord, to_json(value))
    except (InvalidRecordError, ValidationError) as error:
        path = error.path if isinstance(error, InvalidRecordError) else ""
        raise InvalidRecordError(f"{what} leaves no valid run, which is not stored: {path} is needed", path) from None


def _holder(call: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    holder: Any = call
    for name in path[:-1]:
        holder = holder.get(name)
        if not isinstance(holder, dict):
            return None
    return holder if isinstance(holder, dict) else None


def _cut(value: Any, limit: int, path: str, marks: list[dict[str, Any]]) -> Any:
    """The value with its texts cut to the limit and a mark for each."""
    if isinstance(value, str):
        if len(value) <= limit:
            return value
        marks.append({"path": path, "size": len(value), "kept": limit})
        return f"{value[:limit]}… [cut: {limit} of {len(value)} characters]"
    if isinstance(value, list):
        return [_cut(item, limit, f"{path}.{index}", marks) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _cut(item, limit, f"{path}.{key}", marks) for key, item in value.items()}
    return value
