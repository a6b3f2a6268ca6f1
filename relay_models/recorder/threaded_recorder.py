"""`ThreadedRecorder` and `record_runs_in_thread`: record runs with a thread, for applications without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from relay_models._checks import check_callable, check_seconds
from relay_models.recorder.run_queue import Queue, RecorderStats, log, subscribers, subscription_name
from relay_models.records.redact import Redactions, as_redactor
from relay_models.trajectories.builder import AgentNaming
from relay_models.transport.sync import Backoff

__all__ = ["ThreadedRecorder", "record_runs_in_thread"]

# First and longest backoff while the store is away (seconds).
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
# Maximum seconds for which closing holds up a running event loop until NeMo Relay has handed over its events.
_LONGEST_HOLD = 1.0


@contextlib.contextmanager
def record_runs_in_thread(
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
) -> Iterator[ThreadedRecorder]:
    """Store every run of this process's agents while the block runs, with a thread.

    The same as `relay_models.recorder.record_runs`, without an event loop.

    Args:
        backend: A backend of `relay_models.sync`, or a function without arguments that opens one. The thread calls the
            function, retries it until it succeeds, and closes the backend at the end.
        agent_id: As for `record_runs`.
        max_waiting: As for `record_runs`.
        max_calls: As for `record_runs`.
        flush_timeout: As for `record_runs` (seconds).
        keep_io: As for `record_runs`.
        redact: As for `record_runs`.
        max_text_length: As for `record_runs` [characters].
        max_call_bytes: As for `record_runs` [bytes].

    Yields:
        The running recorder.

    Raises:
        MissingExtraError: nemo_relay is not installed.
        InvalidConfigurationError: `redact` or a limit cannot work.
    """
    recorder = ThreadedRecorder(
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
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.close()


class ThreadedRecorder:
    """Records runs with a thread; `record_runs_in_thread` creates one and documents the arguments."""

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
        if not hasattr(backend, "store_runs"):
            check_callable("backend", backend, "a backend of relay_models.sync, or a function that opens one")
        self._subscribers = subscribers()
        self._open: Callable[[], Any] | None = backend if not hasattr(backend, "store_runs") else None
        self._backend = None if self._open else backend
        self._ready = threading.Event()
        self._queue = Queue(
            agent_id,
            max_waiting=max_waiting,
            max_calls=max_calls,
            wake=self._ready.set,
            keep_io=keep_io,
            redact=as_redactor(redact, max_text_length=max_text_length, max_call_bytes=max_call_bytes),
        )
        check_seconds("flush_timeout", flush_timeout)
        self._flush_timeout = flush_timeout
        self._name = subscription_name()
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None

    @property
    def stats(self) -> RecorderStats:
        """Counts so far."""
        return self._queue.stats()

    @property
    def subscriber(self) -> Callable[[Any], None]:
        """The function that receives events, to subscribe it by other means than `start`."""
        return self._queue.take

    def start(self, *, subscribe: bool = True) -> None:
        """Begin to store, and subscribe to events."""
        self._thread = threading.Thread(target=self._write, name=self._name, daemon=True)
        self._thread.start()
        atexit.register(self.close)
        if subscribe:
            self._subscribers.register(self._name, self._queue.take)

    def close(self, *, flush: bool = True) -> None:
        """Store what is left and end, within `flush_timeout` seconds and a moment. Closing twice does nothing.

        Args:
            flush: Let NeMo Relay hand over what it still has; False where it has dropped the subscriber already.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        deadline = time.monotonic() + self._flush_timeout
        if flush:
            _flush(self._subscribers, self._flush_timeout)
        self._subscribers.deregister(self._name)
        self._deadline = deadline
        self._ready.set()
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()) + 1.0)
        self._queue.give_up()

    def _write(self) -> None:
        backoff = Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
        try:
            while True:
                self._ready.clear()
                batch = self._queue.batch()
                if not batch:
                    if self._deadline is not None:
                        return
                    self._ready.wait()
                    continue
                try:
                    if self._backend is None:
                        assert self._open is not None
                        self._backend = self._open()
                    report = self._backend.store_runs(batch, on_refused="skip")
                except Exception as error:  # whatever it is, the runs are kept, and the agent goes on
                    self._queue.failed(error)
                    pause = backoff.next()
                    if self._deadline is not None and time.monotonic() + pause > self._deadline:
                        return
                    self._ready.wait(pause) if self._deadline is None else time.sleep(pause)
                else:
                    backoff.reset()
                    self._queue.done(batch, report)
        except Exception:
            log.exception("the recorder has ended")
        finally:
            if self._open is not None and self._backend is not None:
                self._backend.close()


def _flush(subscribers: Any, timeout: float) -> None:
    """Let NeMo Relay hand over what it still has, for as long as the timeout at most.

    It also waits for calls that are being made. Those of the running event loop cannot end while that loop waits here.
    """
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        timeout = min(timeout, _LONGEST_HOLD)
    thread = threading.Thread(target=subscribers.flush, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        subscribers.flush()
    else:
        thread.join(timeout)
