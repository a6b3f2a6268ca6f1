"""`ScriptThread`: where the scripts of TCP clients run, so that the event loop stays free for other clients."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from fakeredis._helpers import SimpleError

from relay_models.embedded.scripting.commands import SHUTTING_DOWN

__all__ = ["ScriptThread"]

logger = logging.getLogger("relay_models.embedded")


class Job(NamedTuple):
    """A request that runs a script, the socket it came from, and who gets the reply."""

    socket: Any
    request: Any
    done: Callable[[Any, Any], None]


class ScriptThread:
    """Runs the scripts of all connections, one after the other, while the event loop goes on."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, socket: Any, request: Any, done: Callable[[Any, Any], None]) -> None:
        """Run a request, and call `done` with the socket and the reply in the socket's event loop."""
        if self._thread is None:
            # A daemon: where a script is stuck in one of Lua's own functions, the process must end all the same.
            self._thread = threading.Thread(target=self._work, name="relay-models-scripts", daemon=True)
            self._thread.start()
        self._jobs.put(Job(socket, request, done))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                result = job.socket._answer(job.request)
            except BaseException as error:
                logger.error("a script was ended midway: %s", type(error).__name__)
                result = SimpleError(SHUTTING_DOWN)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                job.socket._event_loop.call_soon_threadsafe(job.done, job.socket, result)

    def stop(self) -> None:
        """Take no more requests."""
        self._jobs.put(None)
