"""Landmarks: bounded, forgotten, and guessed only where asking in full is slow."""

from __future__ import annotations

from relay_models.query.paging.page_bounds import Landmarks


def test_a_question_has_the_landmark_of_its_last_page() -> None:
    landmarks = Landmarks()
    assert landmarks.get(1, 0) is None
    landmarks.put(1, 0, first=90, last=40)
    landmarks.put(2, 0, first=95, last=60)
    assert (landmarks.get(1, 0), landmarks.get(2, 0)) == (40, 60)
    landmarks.forget(1)
    landmarks.forget(3)
    assert landmarks.get(1, 0) is None


def test_only_so_many_are_kept() -> None:
    landmarks = Landmarks()
    for number in range(5000):
        landmarks.put(number, 10_000 + number, first=0, last=number)
    assert landmarks.get(4999, 0) == 4999
    assert sum(landmarks.get(number, 0) is not None for number in range(5000)) == 512
    landmarks.took(50.0)
    assert sum(landmarks.get(-1, 10_000 + number) is not None for number in range(5000)) == 512


def test_a_guess_is_some_pages_of_another_question_in_the_same_order() -> None:
    landmarks = Landmarks()
    landmarks.put(1, 0, first=1000, last=990)
    landmarks.put(2, 5, first=3, last=4)
    assert landmarks.get(7, 0) is None
    landmarks.took(50.0)
    assert (landmarks.get(7, 0), landmarks.get(7, 5), landmarks.get(7, 6)) == (830, 20, None)
    assert landmarks.get(1, 0) == 990
    landmarks.took(0.5)
    assert landmarks.get(7, 0) is None
