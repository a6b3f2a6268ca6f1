"""Globs mean what a regular expression of theirs means, in linear time."""

from __future__ import annotations

import re
import time

from hypothesis import given, strategies as st

from relay_models._glob import Glob, escape_glob

ALPHABET = st.sampled_from(list("ab*?\\\n"))


def as_regular_expression(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character in "*?":
            parts.append(".*" if character == "*" else ".")
        else:
            parts.append(re.escape(next(characters, "\\") if character == "\\" else character))
    return re.compile("".join(parts), re.DOTALL)


@given(st.text(ALPHABET, max_size=10), st.text(ALPHABET, max_size=12))
def test_a_glob_fits_what_its_regular_expression_fits(pattern: str, text: str) -> None:
    assert Glob(pattern).fits(text) == (as_regular_expression(pattern).fullmatch(text) is not None)


@given(st.text(max_size=8))
def test_an_escaped_text_fits_itself_only(text: str) -> None:
    assert Glob(escape_glob(text)).fits(text)
    assert not Glob(escape_glob(text)).fits(text + "x")
    assert escape_glob(text.encode()) == escape_glob(text).encode()


def test_a_hostile_pattern_takes_no_longer() -> None:
    text = "a" * 5000
    began = time.perf_counter()
    for pattern in ("*a" * 40 + "b", "*a?" * 40 + "b*", "*?a" * 200 + "*b", "*" + "?" * 500 + "b*"):
        assert not Glob(pattern).fits(text)
    assert time.perf_counter() - began < 5
