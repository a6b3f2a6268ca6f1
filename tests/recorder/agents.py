"""Test agents under the real NeMo Relay runtime: nested agents, parallel tools, failures, calls without codecs."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

import nemo_relay
from nemo_relay import LLMRequest, ScopeType, ToolExecutionResult, llm, plugin, scope, tools
from nemo_relay.adaptive import (
    AcgConfig,
    AdaptiveConfig,
    AdaptiveHintsConfig,
    BackendSpec,
    ComponentSpec,
    StateConfig,
    TelemetryConfig,
    ToolParallelismConfig,
)

SYSTEM = "You are a terse librarian. Answer with a shelf mark."


class Broken(RuntimeError):
    """The provider or a tool fails."""


def adaptive(url: str, agent_id: str, prefix: str = "nemo_relay:") -> ComponentSpec:
    """The runtime's own adaptive telemetry, with all learners, writing to a Redis."""
    return ComponentSpec(
        AdaptiveConfig(
            agent_id=agent_id,
            state=StateConfig(backend=BackendSpec.redis(url, prefix)),
            telemetry=TelemetryConfig(learners=["latency_sensitivity", "tool_parallelism", "acg"]),
            adaptive_hints=AdaptiveHintsConfig(),
            tool_parallelism=ToolParallelismConfig(),
            acg=AcgConfig(provider="openai", observation_window=8),
        )
    )


def request(question: str, model: str = "gpt-4.1-mini") -> LLMRequest:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    return LLMRequest({}, {"model": model, "messages": messages, "temperature": 0.25, "max_tokens": 64})


def answer(model: str = "gpt-4.1-mini", calls: int = 0, **usage: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "QA 76.9 “☃”"}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{number}", "type": "function", "function": {"name": "shelf", "arguments": '{"row": 1e3}'}}
            for number in range(calls)
        ]
    usage = {"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47} | usage
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": usage,
    }


async def ask(name: str = "openai", *, codec: bool = True, fail: bool = False, calls: int = 0) -> None:
    """One LLM call."""

    async def provider(_: LLMRequest) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        if fail:
            raise Broken("503")
        return answer(calls=calls)

    options: dict[str, Any] = {}
    if codec:
        chat = nemo_relay.codecs.OpenAIChatCodec()
        options = {"codec": chat, "response_codec": chat}
    with contextlib.suppress(Broken):
        await llm.execute(name, request("where?"), provider, **options)


async def use(name: str, *, fail: bool = False, seconds: float = 0.0) -> None:
    """One tool call."""

    async def tool(arguments: Any) -> ToolExecutionResult:
        await asyncio.sleep(seconds)
        if fail:
            raise Broken("no such shelf")
        return ToolExecutionResult({"got": arguments})

    with contextlib.suppress(Broken):
        await tools.execute(name, {"row": 1}, tool)


async def plain() -> None:
    with scope.scope("plain", ScopeType.Agent):
        await ask(calls=2)
        await use("shelf")


async def empty() -> None:
    with scope.scope("empty", ScopeType.Agent):
        pass


async def nested() -> None:
    """Agents within agents: each is a run of its own, and functions in between belong to the nearest one."""
    with scope.scope("outer", ScopeType.Agent):
        await ask()
        with scope.scope("step", ScopeType.Function):
            await use("before")
            with scope.scope("inner", ScopeType.Agent):
                await ask("inner-model")
                with scope.scope("deeper", ScopeType.Function):
                    await asyncio.gather(*(use("shelf") for _ in range(3)))
            await use("after")
        await ask()


async def parallel() -> None:
    """The same tool several times at once, ending in another order than they began."""
    with scope.scope("parallel", ScopeType.Agent):
        await asyncio.gather(*(use("shelf", seconds=0.01 * (4 - number)) for number in range(4)))
        await asyncio.gather(use("shelf", seconds=0.01), use("scan"), ask("shelf"))


async def failing() -> None:
    with scope.scope("failing", ScopeType.Agent):
        await ask(fail=True)
        await use("shelf", fail=True)
        await ask()


async def without_codec() -> None:
    with scope.scope("no codec", ScopeType.Agent):
        await ask("in-house", codec=False)
        await ask("in-house", codec=False, fail=True)


async def outside() -> None:
    """Calls under no agent belong to no run."""
    await ask()
    await use("shelf")
    with scope.scope("only a function", ScopeType.Function):
        await ask()


async def raising() -> None:
    """An agent that ends by an exception."""
    with contextlib.suppress(Broken), scope.scope("raising", ScopeType.Agent):
        await ask()
        raise Broken


SHAPES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    shape.__name__: shape for shape in (plain, empty, nested, parallel, failing, without_codec, outside, raising)
}


async def run_shapes(names: list[str], seed: int, *, at_once: int = 1) -> None:
    """Agents of these shapes in a random order, some at the same time."""
    order = random.Random(seed).sample(names, len(names))
    for start in range(0, len(order), at_once):
        await asyncio.gather(*(SHAPES[name]() for name in order[start : start + at_once]))


@contextlib.asynccontextmanager
async def runtime(*components: Any) -> Any:
    """NeMo Relay with these components, for a while."""
    activation = await plugin.initialize(plugin.PluginConfig(components=list(components)))
    try:
        yield
        await nemo_relay.subscribers.flush_async()
    finally:
        await activation.close()
