"""A NeMo Relay process of its own: learns from a few runs, and tells what it knew before the first of them.

Run as ``python -m tests.native.warm_agent URL PREFIX AGENT RUNS``; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import nemo_relay
import redis
from nemo_relay import ScopeType, codecs, llm, scope
from nemo_relay.adaptive import AdaptiveRuntime

from tests.recorder.agents import adaptive, answer, request


async def one_run() -> None:
    chat = codecs.OpenAIChatCodec()

    async def provider(_: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return answer()

    with scope.scope("librarian", ScopeType.Agent):
        for _ in range(2):
            await llm.execute("openai", request("where?"), provider, codec=chat, response_codec=chat)


async def main(url: str, prefix: str, agent_id: str, runs: int) -> None:
    runtime = AdaptiveRuntime(adaptive(url, agent_id, prefix).config.to_dict())
    await runtime.register()
    question = codecs.OpenAIChatCodec().decode(request("where?"))
    facts = runtime.build_cache_request_facts(
        provider="openai",
        request_id="00000000-0000-0000-0000-000000000103",
        annotated_request=question,
        agent_id=agent_id,
    )
    stored = 0
    with redis.Redis.from_url(url) as client:
        before = client.llen(f"{prefix}runs_index:{agent_id}")
        for _ in range(runs):
            await one_run()
        await nemo_relay.subscribers.flush_async()
        await asyncio.to_thread(runtime.wait_for_idle)
        deadline = time.monotonic() + 20
        while (stored := client.llen(f"{prefix}runs_index:{agent_id}") - before) < runs:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    runtime.deregister()
    await runtime.shutdown()
    print(json.dumps({"facts": facts, "stored": stored}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
