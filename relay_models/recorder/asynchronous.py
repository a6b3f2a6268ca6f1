"""`record_runs`: a recorder whose writer is a task of the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from relay_models.recorder.core import Queue, RecorderStats, subscribers, subscription_name
from relay_models.trajectories.builder import AgentNaming

__all__ = ["Recorder", "record_runs"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@asynccontextmanager
async def record_runs(
    backend: Any,
    agent_id: AgentNaming = None,
    *,
    max_waiting: int = 10_000,
    max_calls: int = 100_000,
    flush_timeout: float = 10.0,
) -> AsyncIterator[Recorder]:
    """Store every run of this process's agents while the block runs.

    ::

        async with await RedisBackend.connect(url) as backend, record_runs(backend, "research-agent"):
            await my_agent()

    The agent is never waited for and never disturbed: its events are taken on NeMo Relay's own thread, finished runs
    are stored in batches by a task, and kept while the store is away. At the end everything that has happened is
    stored, which takes at most `flush_timeout` seconds when the store is away.

    Args:
        backend: the store, a `RedisBackend` or another `StorageBackend`, of the running event loop.
        agent_id: the agent of all runs, as in NeMo Relay's adaptive configuration; or a function that makes one of
            the name of a run's Agent scope; None takes that name itself.
        max_waiting: finished runs to hold while the store is away; beyond it the oldest are dropped, and counted.
        max_calls: calls of open runs to hold; beyond it the oldest open run is given up, and counted.
        flush_timeout: seconds.

    Raises:
        MissingExtraError: nemo_relay is not installed.
    """
    recorder = Recorder(backend, agent_id, max_waiting=max_waiting, max_calls=max_calls, flush_timeout=flush_timeout)
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.close()


class Recorder:
    """A running recorder; see `record_runs`, which makes, starts and closes one."""

    def __init__(
        self,
        backend: Any,
        agent_id: AgentNaming = None,
        *,
        max_waiting: int = 10_000,
        max_calls: int = 100_000,
        flush_timeout: float = 10.0,
    ) -> None:
        self._subscribers = subscribers()
        self._backend = backend
        self._queue = Queue(agent_id, max_waiting=max_waiting, max_calls=max_calls, wake=self._wake)
        self._flush_timeout = flush_timeout
        self._name = subscription_name()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def stats(self) -> RecorderStats:
        """What it has done so far."""
        return self._queue.stats()

    async def start(self) -> None:
        """Subscribe to events and begin to store."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._write(), name=self._name)
        self._subscribers.register(self._name, self._queue.take)

    async def flush(self) -> None:
        """Wait until everything that has happened so far is stored, or `flush_timeout` is over."""
        await self._subscribers.flush_async()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._flush_timeout):
                while self._queue.batch():
                    self._ready.set()
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Store what is left and end. Closing twice does nothing."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            await self._subscribers.flush_async()
            self._subscribers.deregister(self._name)
            self._closing = True
            self._ready.set()
            await asyncio.wait([task], timeout=self._flush_timeout)
        finally:
            self._subscribers.deregister(self._name)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            self._queue.give_up()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(self._ready.set)

    async def _write(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._ready.clear()
            batch = self._queue.batch()
            if not batch:
                if self._closing:
                    return
                await self._ready.wait()
                continue
            try:
                report = await self._backend.store_runs(batch, on_refused="skip")
            except Exception as error:  # whatever it is, the runs are kept, and the agent goes on
                self._queue.failed(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                self._queue.done(batch, report.stored, len(report.refused))
