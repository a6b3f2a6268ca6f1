"""`raise_if_cancelled`: ends a loop of a task whose cancellation was swallowed."""

from __future__ import annotations

import asyncio

__all__ = ["raise_if_cancelled"]


def raise_if_cancelled() -> None:
    """Raise `asyncio.CancelledError` where the running task is being cancelled; without a task, do nothing.

    Python 3.11's `asyncio.wait_for`, which connections use, swallows a cancellation that comes as its result does. A
    loop without an end would then run on.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop in this thread
        return
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
