"""`Kept`: answers that took long, kept for a minute to be shown again with their age."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["Kept"]

T = TypeVar("T")

MAX_AGE, WORTH_KEEPING = 60.0, 0.05
"""How long an answer is kept, and how long making it must have taken (seconds)."""
MOST_ANSWERS = 20
"""Maximum number of answers that are kept."""


class Kept:
    """The answers to the latest questions, of those that took long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Hashable, tuple[float, Any]] = {}

    def find(self, question: Hashable) -> tuple[Any, int] | None:
        """A kept answer and how old it is (seconds)."""
        with self._lock:
            kept = self._answers.get(question)
        if kept is None:
            return None
        made, answer = kept
        age = time.monotonic() - made
        return (answer, int(age)) if age < MAX_AGE else None

    def keep(self, question: Hashable, answer: Any, seconds: float) -> None:
        """Keep an answer if making it took long enough."""
        with self._lock:
            self._answers.pop(question, None)
            if seconds > WORTH_KEEPING:
                self._answers[question] = time.monotonic(), answer
            if len(self._answers) > MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]

    def get(self, question: Hashable, make: Callable[[], T], *, again: bool = False) -> tuple[T, int]:
        """The answer to a question and how old it is (seconds); made where none is kept, or `again`."""
        kept = None if again else self.find(question)
        if kept is not None:
            return kept
        began = time.monotonic()
        answer = make()
        self.keep(question, answer, time.monotonic() - began)
        return answer, 0
