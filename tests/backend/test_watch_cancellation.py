"""A task that is cancelled leaves an endless loop, also where the cancellation was swallowed on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from relay_models import RedisBackend
from relay_models.backend._async import collection
from relay_models.documents import Plan


@pytest.mark.parametrize("kind", ["runs", "plans"])
async def test_a_swallowed_cancellation_ends_a_watch(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    waits = 0

    async def swallows(seconds: float) -> None:
        """Wait as `asyncio.wait_for` of Python 3.11 does when its result and a cancellation come at once."""
        nonlocal waits
        waits += 1
        task = asyncio.current_task()
        assert task is not None
        if waits == 3:
            task.cancel()
        assert waits < 10, "the watch goes on"
        with suppress(asyncio.CancelledError):
            if waits == 3:
                await asyncio.Event().wait()

    monkeypatch.setattr(collection, "sleep", swallows)
    async with await RedisBackend.embedded() as backend:
        documents: Any = getattr(backend, kind)

        async def watching() -> None:
            async for _ in documents.watch():
                pass

        task = asyncio.create_task(watching())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waits == 3
        assert backend.plans.document is Plan
