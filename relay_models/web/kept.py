"""`Kept`: answers that are computed beside the pages: once for all viewers, and kept if they took long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from relay_models.errors import RelayModelsError

__all__ = ["Answer", "Kept"]

T = TypeVar("T")

QUICK = 0.08
"""How long a page waits for its answer before it is sent without it (seconds)."""
LONG = 10.0
"""How long a page waits that has been sent once, before it is sent again as it is (seconds)."""
WORTH_KEEPING = 0.05
"""How long computing an answer must have taken for it to be kept (seconds)."""
FRESH, MAX_AGE = 60.0, 3600.0
"""Up to which age an answer is shown alone, and up to which while a newer one is computed (seconds)."""
MOST_ANSWERS = 20
"""Maximum number of answers that are kept."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An answer to a question, as far as there is one."""

    value: T | None
    """None where nothing is known yet, or computing it failed."""
    version: int
    """Those that are computed later have greater ones."""
    age: int = 0
    """How old it is (seconds)."""
    is_last: bool = True
    """Whether no more or newer one follows."""
    error: RelayModelsError | None = None
    """Why there is none, or no newer one."""


class _Task(Generic[T]):
    """An answer that is being computed."""

    def __init__(self, version: int) -> None:
        self.began = time.monotonic()
        self.first = self.version = version
        self.value: T | None = None
        self.error: BaseException | None = None
        self.is_done = self.is_awaited = False


class Kept:
    """The answers to the latest questions, of those that took long, and those that are being computed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: dict[Hashable, _Task[Any]] = {}
        self._answers: dict[Hashable, tuple[float, int, Any]] = {}
        self._version = 0

    def ask(
        self, question: Hashable, compute: Callable[[], Iterator[T]], *, again: bool = False, after: int = 0,
        is_shown_again: bool = True,
    ) -> Answer[T]:  # fmt: skip
        """Answer a question with what there is within a short time: a kept answer, a new one, a part of it, nothing.

        Viewers of the same question share one computation, which goes on when none of them waits any more.

        Args:
            question: what is asked.
            compute: yields the answer, or ever larger parts of it.
            again: compute a new answer, however young the kept one is.
            after: the version that is shown already: wait for more, or for a newer one.
            is_shown_again: a kept answer is also for others than those who wait for it.

        Returns:
            The answer; where `is_last` is false, ask again with its version as `after`.
        """
        # Tomorrow the same filter may be about other runs: it knows `today` and `yesterday`.
        question = datetime.now(UTC).date(), question
        with self._changed:
            now = time.monotonic()
            began, version, value = self._answers.get(question, (now, 0, None))
            age = now - began
            if version and (version > after if after else is_shown_again and age < FRESH and not again):
                # For those who waited for it, it is new.
                return Answer(value, version, 0 if after and age < FRESH else int(age))
            has_older = bool(version) and is_shown_again and age < MAX_AGE
            task = self._tasks.get(question)
            if task is None:
                task = self._start(question, compute)
            self._changed.wait_for(
                lambda: task.is_done or (bool(after) and not has_older and task.version > after),
                LONG if after else QUICK,
            )
            # A page that is sent without the whole answer comes back for it, however soon it was computed.
            task.is_awaited |= not task.is_done
            if isinstance(task.error, RelayModelsError):
                return Answer(value if has_older else None, task.version, int(age), error=task.error)
            if task.error is not None:
                raise task.error
            if has_older and not task.is_done:
                return Answer(value, task.first, int(age), is_last=False)
            return Answer(task.value, task.version, is_last=task.is_done)

    def clear(self) -> None:
        """Forget all answers, also those that are being computed."""
        with self._changed:
            self._answers.clear()
            self._tasks.clear()

    def _start(self, question: Hashable, compute: Callable[[], Iterator[T]]) -> _Task[T]:
        task = self._tasks[question] = _Task(self._next_version())

        def work() -> None:
            try:
                for value in compute():
                    with self._changed:
                        task.value, task.version = value, self._next_version()
                        self._changed.notify_all()
            except BaseException as error:
                task.error = error
            with self._changed:
                task.is_done, task.version = True, self._next_version()
                if self._tasks.get(question) is task:
                    del self._tasks[question]
                    self._keep(question, task)
                self._changed.notify_all()

        threading.Thread(target=work, name="relay_models answer", daemon=True).start()
        return task

    def _next_version(self) -> int:
        """Greater than all before, also those of an earlier process whose pages are still open."""
        self._version = max(self._version + 1, time.time_ns() // 1000)
        return self._version

    def _keep(self, question: Hashable, task: _Task[Any]) -> None:
        """Keep a new answer, if there is one that pages wait for or that took long."""
        now = time.monotonic()
        if task.error is not None:
            return
        kept = {each: old for each, old in self._answers.items() if each != question and now - old[0] < MAX_AGE}
        if task.is_awaited or now - task.began > WORTH_KEEPING:
            kept[question] = task.began, task.version, task.value
        self._answers = dict(list(kept.items())[-MOST_ANSWERS:])
