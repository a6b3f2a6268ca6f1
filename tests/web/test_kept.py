"""Answers that take long: computed once for all viewers, part by part, and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from relay_models.errors import ConnectionFailedError
from relay_models.web.kept import Kept


class Slow:
    """A computation in two parts, each of which waits until it may go on."""

    def __init__(self) -> None:
        self.began = 0
        self.may_go_on = [threading.Event(), threading.Event()]
        self.error: Exception | None = None

    def compute(self) -> Iterator[str]:
        self.began += 1
        number = self.began
        for part, event in enumerate(self.may_go_on, 1):
            assert event.wait(30)
            if self.error is not None:
                raise self.error
            yield f"part {part} of {number}"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Nothing that is computed is there at once, and all of it is kept."""
    monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", -1)
    made = Slow()
    yield made
    for event in made.may_go_on:
        event.set()


def test_viewers_of_one_question_ask_once(slow: Slow) -> None:
    kept = Kept()
    answers = [kept.ask("question", slow.compute) for _ in range(5)]
    assert {answer.value for answer in answers} == {None}
    assert not any(answer.is_last for answer in answers)
    slow.may_go_on[0].set()
    answers = [kept.ask("question", slow.compute, after=answer.version) for answer in answers]
    assert {answer.value for answer in answers} == {"part 1 of 1"}
    assert not any(answer.is_last for answer in answers)
    slow.may_go_on[1].set()
    answers = [kept.ask("question", slow.compute, after=answer.version) for answer in answers]
    answers.append(kept.ask("question", slow.compute))
    assert {answer.value for answer in answers} == {"part 2 of 1"}
    assert all(answer.is_last for answer in answers)
    assert slow.began == 1


def test_viewers_of_an_older_answer_ask_once_for_a_newer_one(slow: Slow) -> None:
    kept = Kept()
    for event in slow.may_go_on:
        event.set()
    first = kept.ask("question", slow.compute)
    while not first.is_last:
        first = kept.ask("question", slow.compute, after=first.version)
    slow.may_go_on[1].clear()
    answers = [kept.ask("question", slow.compute, again=True) for _ in range(5)]
    # Not a part of the newer one.
    assert {(answer.value, answer.is_last) for answer in answers} == {("part 2 of 1", False)}
    slow.may_go_on[1].set()
    answers = [kept.ask("question", slow.compute, after=answer.version) for answer in answers]
    assert {(answer.value, answer.is_last) for answer in answers} == {("part 2 of 2", True)}
    assert slow.began == 2


def test_what_a_page_waits_for_is_kept_however_soon_it_is_there(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", 60)
    kept = Kept()
    first = kept.ask("question", slow.compute)
    for event in slow.may_go_on:
        event.set()
    for thread in threading.enumerate():
        if thread.name == "relay_models answer":
            thread.join()
    answer = kept.ask("question", slow.compute, after=first.version)
    assert (answer.value, answer.is_last, slow.began) == ("part 2 of 1", True, 1)


def test_a_part_is_shown_where_no_more_comes_in_time(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_models.web.kept.LONG", 0)
    kept = Kept()
    answer = kept.ask("question", slow.compute)
    assert kept.ask("question", slow.compute, after=answer.version) == answer
    slow.may_go_on[0].set()
    while answer.value is None:
        answer = kept.ask("question", slow.compute, after=answer.version)
    assert kept.ask("question", slow.compute, after=answer.version) == answer
    assert not answer.is_last


def test_an_error_is_told_to_every_viewer_and_not_kept(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    slow.error = ConnectionFailedError("the server is gone")
    waiting = [kept.ask("question", slow.compute)]
    monkeypatch.setattr("relay_models.web.kept.QUICK", 30)
    slow.may_go_on[0].set()
    waiting.append(kept.ask("question", slow.compute))
    assert waiting[1].error is slow.error
    assert waiting[1].is_last
    slow.error = None
    slow.may_go_on[1].set()
    assert kept.ask("question", slow.compute, after=waiting[0].version).error is None


def test_what_is_computed_while_answers_are_forgotten_is_forgotten(slow: Slow) -> None:
    kept = Kept()
    before = kept.ask("question", slow.compute)
    kept.clear()
    after = kept.ask("question", slow.compute)
    for event in slow.may_go_on:
        event.set()
    while not after.is_last:
        after = kept.ask("question", slow.compute, after=after.version)
    assert after.value == "part 2 of 2"
    assert kept.ask("question", slow.compute, after=before.version).value == "part 2 of 2"


def test_a_page_of_an_earlier_process_is_answered(slow: Slow) -> None:
    for event in slow.may_go_on:
        event.set()
    version = Kept().ask("question", slow.compute).version
    for shown in (version, 10**18):
        kept = Kept()
        answer = kept.ask("question", slow.compute, after=shown)
        while not answer.is_last:
            answer = kept.ask("question", slow.compute, after=answer.version)
        assert answer.value is not None
