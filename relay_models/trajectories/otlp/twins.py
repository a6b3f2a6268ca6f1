"""`without_twins`: one span of a model's call where two libraries have written one each, so that it is counted once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from relay_models.trajectories.otlp.attributes import first_of
from relay_models.trajectories.otlp.token_usage import USAGE_KEYS, token_usage

if TYPE_CHECKING:
    from relay_models.trajectories.otlp.spans import Span

__all__ = ["without_twins"]

_MODEL = ("gen_ai.request.model", "llm.model_name", "gen_ai.response.model")
_RESPONSE = ("gen_ai.response.id",)


def without_twins(spans: Mapping[str, Span], roles: Mapping[str, str | None]) -> dict[str, Span]:
    """Merge the spans that different libraries have written of the same call of a model.

    A provider's SDK, the instrumentation around it and a framework may each write a span of one call: below one
    another, or side by side with the one's time within the other's. The outer span stays, with what only the inner
    one tells. Where several inner calls have succeeded, the outer one is no call of its own: its tokens are theirs.

    Args:
        spans: the spans of a trace by id.
        roles: what each of them is.

    Returns:
        The spans that stay; children of a merged span are below the one that stays.
    """
    found = dict(spans)
    inner_of: dict[str, list[Span]] = defaultdict(list)
    calls = sorted(
        (span for span in spans.values() if roles[span.span_id] == "llm"), key=lambda span: (span.start, span.span_id)
    )
    if len({span.scope for span in calls}) < 2:
        return found
    for inner in calls:
        outer = _outer(inner, calls, spans, roles)
        if outer is not None:
            inner_of[outer.span_id].append(inner)
    merged: dict[str, str] = {}
    # The innermost first, so that a chain of three becomes one; spans of one chain may start at the same time.
    outer_of = {inner.span_id: outer_id for outer_id, inners in inner_of.items() for inner in inners}
    for outer_id, inners in sorted(inner_of.items(), key=lambda item: -_depth(item[0], outer_of)):
        if outer_id not in found:
            continue  # spans that are above themselves
        outer = found[outer_id]
        succeeded = [inner for inner in inners if not inner.failed]
        if len(succeeded) > 1:
            attributes = {name: value for name, value in outer.attributes.items() if name not in USAGE_KEYS}
            found[outer_id] = replace(outer, attributes=attributes, cache={})
            continue
        twin = found.pop((succeeded or inners)[-1].span_id) if succeeded or outer.failed else None
        if twin is not None:
            merged[twin.span_id] = outer_id
            found[outer_id] = replace(
                outer,
                attributes={**twin.attributes, **outer.attributes},
                events=[*outer.events, *twin.events],
                exception=outer.exception or twin.exception,
                message=outer.message or twin.message,
                cache={},
            )
    for name, span in found.items():
        parent = span.parent_id
        while parent in merged:
            parent = merged[parent]
        if parent != span.parent_id:
            found[name] = replace(span, parent_id=parent)
    return found


def _depth(span_id: str, outer_of: Mapping[str, str]) -> int:
    """The number of spans that a span is within, one in the other."""
    seen: set[str] = set()
    while span_id in outer_of and span_id not in seen:
        seen.add(span_id)
        span_id = outer_of[span_id]
    return len(seen)


def _outer(inner: Span, calls: list[Span], spans: Mapping[str, Span], roles: Mapping[str, str | None]) -> Span | None:
    """The span of another library around a call: above it, or beside it."""
    seen, above = {inner.span_id}, spans.get(inner.parent_id or "")
    while above is not None and above.span_id not in seen and roles[above.span_id] is None:
        seen.add(above.span_id)
        above = spans.get(above.parent_id or "")
    if above is not None and roles[above.span_id] == "llm":
        return above if above.scope != inner.scope and _agree(above, inner) else None
    beside = [
        call
        for call in calls
        if call.parent_id == inner.parent_id
        and call.scope != inner.scope
        and call.start <= inner.start
        and call.span_id != inner.span_id
        and inner.end is not None
        and (call.end is None or inner.end <= call.end)
        and (call.start, call.end) != (inner.start, inner.end)
        and _agree(call, inner)
        and _look_the_same(call, inner)
    ]
    return beside[-1] if beside else None


def _look_the_same(one: Span, other: Span) -> bool:
    """Whether two spans side by side are of the same call, and not of two calls in parallel."""
    if one.failed and other.failed:
        return True
    response = first_of(one.attributes, _RESPONSE), first_of(other.attributes, _RESPONSE)
    if None not in response:
        return bool(response[0] == response[1])
    usages = [token_usage(span.attributes)[0] for span in (one, other)]
    return all(
        usages[0].get(name) is not None and usages[0][name] == usages[1].get(name)
        for name in ("prompt_tokens", "completion_tokens")
    )


def _agree(one: Span, other: Span) -> bool:
    """Whether two spans can be of the same call, by the model and by the response."""
    for names in (_MODEL, _RESPONSE):
        told = first_of(one.attributes, names), first_of(other.attributes, names)
        if None not in told and not (str(told[0]).startswith(str(told[1])) or str(told[1]).startswith(str(told[0]))):
            return False
    return True
