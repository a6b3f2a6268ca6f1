"""`agent_io`: what an agent was asked and what it answered, as its own span tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from relay_models.trajectories.otlp.attributes import first_of, parsed, unflatten
from relay_models.trajectories.otlp.dialects import SpanEvent, from_json_text, messages_answered, messages_asked

__all__ = ["agent_io"]

_INPUTS = ("input.value", "gen_ai.input.messages", "gen_ai.agent.invocation_input", "ai.prompt")
_OUTPUTS = (
    *("output.value", "gen_ai.output.messages", "gen_ai.agent.invocation_output"),
    *("ai.response.text", "ai.response.object", "final_result"),
)
# The same as JSON, also of a text.
_INPUTS_AS_JSON = ("traceloop.entity.input", "langfuse.observation.input", "langfuse.trace.input", "mlflow.spanInputs")
_OUTPUTS_AS_JSON = tuple(name.replace("input", "output").replace("Inputs", "Outputs") for name in _INPUTS_AS_JSON)
# The whole conversation of a run, as Pydantic AI has it.
_CONVERSATIONS = ("pydantic_ai.all_messages", "all_messages_events")


def agent_io(attributes: Mapping[str, Any], events: Sequence[SpanEvent]) -> dict[str, Any]:
    """The input and output of an agent's span; JSON texts are parsed.

    Args:
        attributes: of the span.
        events: its events, in order.

    Returns:
        ``input`` and ``output``, as far as they are told.
    """
    given, answered = parsed(first_of(attributes, _INPUTS)), parsed(first_of(attributes, _OUTPUTS))
    given = from_json_text(first_of(attributes, _INPUTS_AS_JSON)) if given is None else given
    answered = from_json_text(first_of(attributes, _OUTPUTS_AS_JSON)) if answered is None else answered
    if given is None:
        given = unflatten(attributes, "nemo_relay.start.data.") or messages_asked(attributes, events) or None
    if given is None and isinstance(whole := parsed(first_of(attributes, _CONVERSATIONS)), list):
        given = list(takewhile(lambda item: not _is_answer(item), whole)) or None
    if answered is None:
        answered = unflatten(attributes, "nemo_relay.end.data.") or messages_answered(attributes, events) or None
    return {name: value for name, value in (("input", given), ("output", answered)) if value is not None}


def _is_answer(item: Any) -> bool:
    return isinstance(item, Mapping) and (item.get("role") == "assistant" or item.get("event.name") == "gen_ai.choice")
