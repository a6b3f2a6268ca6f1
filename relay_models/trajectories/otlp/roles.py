"""`role_of`: what a span is, agent, model or tool, in the words of the libraries that write spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["role_of"]

_LLM, _TOOL, _AGENT = "llm", "tool", "agent"

# Attributes that say what a span is, most specific first, and their values in lower case.
_WORDS: dict[str, dict[str, str]] = {
    # Vercel's AI SDK: its outer calls loop over models and tools.
    "ai.operationId": {
        **dict.fromkeys(("ai.generatetext", "ai.streamtext", "ai.generateobject", "ai.streamobject"), _AGENT),
        **dict.fromkeys(
            (
                *("ai.generatetext.dogenerate", "ai.streamtext.dostream"),
                *("ai.generateobject.dogenerate", "ai.streamobject.dostream"),
                *("ai.embed.doembed", "ai.embedmany.doembed"),
            ),
            _LLM,
        ),
        "ai.toolcall": _TOOL,
    },
    "gen_ai.operation.name": {
        **dict.fromkeys(("chat", "text_completion", "chat.completions", "text.completions"), _LLM),
        "generate_content": _LLM,
        "embeddings": _LLM,
        "execute_tool": _TOOL,
        "invoke_agent": _AGENT,
        "invoke_workflow": _AGENT,
    },
    "openinference.span.kind": {"llm": _LLM, "embedding": _LLM, "tool": _TOOL, "agent": _AGENT},
    "nemo_relay.scope_type": {"llm": _LLM, "embedder": _LLM, "tool": _TOOL, "agent": _AGENT},
    "langfuse.observation.type": {"generation": _LLM, "embedding": _LLM, "tool": _TOOL, "agent": _AGENT},
    "traceloop.span.kind": {"workflow": _AGENT, "agent": _AGENT, "tool": _TOOL},
    "langsmith.span.kind": {"llm": _LLM, "embedding": _LLM, "tool": _TOOL, "agent": _AGENT},
    "mlflow.spanType": {"llm": _LLM, "chat_model": _LLM, "embedding": _LLM, "tool": _TOOL, "agent": _AGENT},
    "gen_ai.span.kind": {"llm": _LLM, "embedding": _LLM, "tool": _TOOL, "agent": _AGENT},
    "llm.request.type": {"chat": _LLM, "completion": _LLM, "embedding": _LLM},
}
# Pairs of attributes that only spans of one role have, where none of the words is there.
_SIGNS = (
    (_TOOL, ("gen_ai.tool.name",), ("tool_arguments", "tool_response", "gen_ai.tool.call.id")),
    (_AGENT, ("agent_name",), ("model_name", "all_messages_events", "pydantic_ai.all_messages")),
    (_LLM, ("gen_ai.request.model", "gen_ai.response.model"), ("gen_ai.system", "gen_ai.provider.name")),
)


def role_of(attributes: Mapping[str, Any]) -> str | None:
    """What a span is: llm, tool or agent; None for anything else."""
    is_told = False
    for name, words in _WORDS.items():
        value = attributes.get(name)
        if value is not None:
            is_told = True
            if (role := words.get(str(value).strip('"').lower())) is not None:
                return role
    if is_told:
        return None
    for role, one, other in _SIGNS:
        if any(name in attributes for name in one) and any(name in attributes for name in other):
            return role
    return None
