"""`Kept`: answers that took long, kept to be shown again with their age while newer ones are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

__all__ = ["Answer", "Kept"]

T = TypeVar("T")

WORTH_KEEPING = 0.05
"""How long making an answer must have taken for it to be kept (seconds)."""
FRESH, MAX_AGE = 60.0, 3600.0
"""Up to which age an answer is shown alone, and up to which while a newer one is made (seconds)."""
MOST_ANSWERS = 20
"""Maximum number of answers that are kept."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An answer to a question."""

    value: T
    age: int = 0
    """How old it is (seconds)."""
    is_last: bool = True
    """Whether no newer one follows."""


class Kept:
    """The answers to the latest questions, of those that took long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Hashable, tuple[float, Any]] = {}
        self._cleared = float("-inf")

    def answers(self, question: Hashable, make: Callable[[], T], *, again: bool = False) -> Iterator[Answer[T]]:
        """Answer a question: with a kept answer, with an older one and then a new one, or with a new one.

        A new answer is kept once the caller has come back for more, as parts of it may be made while it is shown.

        Args:
            question: what is asked.
            make: makes a new answer.
            again: make a new one, however young the kept one is.
        """
        # Tomorrow the same filter may be about other runs: it knows `today` and `yesterday`.
        question = datetime.now(UTC).date(), question
        with self._lock:
            kept = self._answers.get(question)
        began = time.monotonic()
        if kept is not None and (age := began - kept[0]) < MAX_AGE:
            is_last = age < FRESH and not again
            yield Answer(kept[1], int(age), is_last)
            if is_last:
                return
            began = time.monotonic()
        answer = make()
        yield Answer(answer)
        self._keep(question, answer, began)

    def clear(self) -> None:
        """Forget all answers, also those that are being made."""
        with self._lock:
            self._answers.clear()
            self._cleared = time.monotonic()

    def _keep(self, question: Hashable, answer: Any, began: float) -> None:
        now = time.monotonic()
        with self._lock:
            kept = {each: old for each, old in self._answers.items() if each != question and now - old[0] < MAX_AGE}
            if now - began > WORTH_KEEPING and began > self._cleared:
                kept[question] = began, answer
            self._answers = dict(list(kept.items())[-MOST_ANSWERS:])
