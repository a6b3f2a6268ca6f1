"""`Recorder` and `record_runs`: record runs with a task of the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from relay_models._checks import check_seconds
from relay_models.recorder.run_queue import Queue, RecorderStats, subscribers, subscription_name
from relay_models.records.redact import Redactions, as_redactor
from relay_models.trajectories.builder import AgentNaming
from relay_models.transport import Backoff, raise_if_cancelled

__all__ = ["Recorder", "record_runs"]

# First and longest backoff while the store is away (seconds).
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0


@asynccontextmanager
async def record_runs(
    backend: Any,
    agent_id: AgentNaming = None,
    *,
    max_waiting: int = 10_000,
    max_calls: int = 100_000,
    flush_timeout: float = 10.0,
    keep_io: bool = True,
    redact: Redactions = None,
    max_text_length: int | None = None,
    max_call_bytes: int | None = None,
) -> AsyncIterator[Recorder]:
    """Store every run of this process's agents while the block runs.

    Recording never blocks or disturbs the agent: events are received on NeMo Relay's own thread, and a task stores
    finished runs in batches and buffers them while the store is down. When the block ends, everything that happened
    is stored, which takes at most `flush_timeout` seconds if the store is down.

    Args:
        backend: The store: a `RedisBackend` or another `StorageBackend`, of the running event loop.
        agent_id: The agent of all runs, as in NeMo Relay's adaptive configuration, or a function that derives it from
            the name of a run's Agent scope. None uses that name.
        max_waiting: Maximum number of finished runs to buffer while the store is down. Beyond it the oldest are dropped
            and counted.
        max_calls: Maximum number of calls of open runs to hold. Beyond it the oldest open run is dropped and counted.
        flush_timeout: How long to wait for the store at the end (seconds).
        keep_io: Whether the input and output of tools, and of models that no codec read, are stored.
        redact: What removes secrets and personal data before a run is stored: JSON paths, functions of a run, or a
            `Redactor`. A run whose redaction fails is not stored, but counted as withheld.
        max_text_length: Maximum length of each text in a call; longer ones are cut [characters].
        max_call_bytes: Maximum size of a call as JSON; a larger one loses output, input, request and response [bytes].

    Yields:
        The running recorder.

    Raises:
        MissingExtraError: nemo_relay is not installed.
        InvalidConfigurationError: `redact` or a limit cannot work.

    Example:
        ```python
        async with await RedisBackend.connect(url) as backend, record_runs(backend, "research-agent"):
            await my_agent()
        ```
    """
    recorder = Recorder(
        backend,
        agent_id,
        max_waiting=max_waiting,
        max_calls=max_calls,
        flush_timeout=flush_timeout,
        keep_io=keep_io,
        redact=redact,
        max_text_length=max_text_length,
        max_call_bytes=max_call_bytes,
    )
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.close()


class Recorder:
    """Records runs with a task of the event loop; `record_runs` creates, starts and closes one.

    Args:
        backend: The store: a `RedisBackend` or another `StorageBackend`, of the running event loop.
        agent_id: The agent of all runs, as in NeMo Relay's adaptive configuration, or a function that derives it from
            the name of a run's Agent scope. None uses that name.
        max_waiting: Maximum number of finished runs to buffer while the store is down. Beyond it the oldest are dropped
            and counted.
        max_calls: Maximum number of calls of open runs to hold. Beyond it the oldest open run is dropped and counted.
        flush_timeout: How long to wait for the store at the end (seconds).
        keep_io: Whether the input and output of tools, and of models that no codec read, are stored.
        redact: What removes secrets and personal data before a run is stored: JSON paths, functions of a run, or a
            `Redactor`. A run whose redaction fails is not stored, but counted as withheld.
        max_text_length: Maximum length of each text in a call; longer ones are cut [characters].
        max_call_bytes: Maximum size of a call as JSON; a larger one loses output, input, request and response [bytes].
    """

    def __init__(
        self,
        backend: Any,
        agent_id: AgentNaming = None,
        *,
        max_waiting: int = 10_000,
        max_calls: int = 100_000,
        flush_timeout: float = 10.0,
        keep_io: bool = True,
        redact: Redactions = None,
        max_text_length: int | None = None,
        max_call_bytes: int | None = None,
    ) -> None:
        self._subscribers = subscribers()
        self._backend = backend
        self._queue = Queue(
            agent_id,
            max_waiting=max_waiting,
            max_calls=max_calls,
            wake=self._wake,
            keep_io=keep_io,
            redact=as_redactor(redact, max_text_length=max_text_length, max_call_bytes=max_call_bytes),
        )
        check_seconds("flush_timeout", flush_timeout)
        self._flush_timeout = flush_timeout
        self._name = subscription_name()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def stats(self) -> RecorderStats:
        """Counts so far."""
        return self._queue.stats()

    async def start(self) -> None:
        """Subscribe to events and start storing."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._write(), name=self._name)
        self._subscribers.register(self._name, self._queue.take)

    async def flush(self) -> None:
        """Wait until everything so far is stored, or until `flush_timeout` has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._flush_timeout):
                await self._subscribers.flush_async()
                while self._queue.batch():
                    self._ready.set()
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Store what is left and stop. Closing twice does nothing."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            with contextlib.suppress(TimeoutError):  # it also waits for calls that are being made
                async with asyncio.timeout(self._flush_timeout):
                    await self._subscribers.flush_async()
            self._subscribers.deregister(self._name)
            self._closing = True
            self._ready.set()
            await asyncio.wait([task], timeout=self._flush_timeout)
        finally:
            self._subscribers.deregister(self._name)
            try:
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
            finally:
                self._queue.give_up()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(self._ready.set)

    async def _write(self) -> None:
        backoff = Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        while True:
            raise_if_cancelled()
            self._ready.clear()
            batch = self._queue.batch()
            if not batch:
                if self._closing:
                    return
                await self._ready.wait()
                continue
            try:
                report = await self._backend.store_runs(batch, on_refused="skip")
            except Exception as error:  # the runs stay buffered, and the agent continues
                self._queue.failed(error)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                self._queue.done(batch, report)
