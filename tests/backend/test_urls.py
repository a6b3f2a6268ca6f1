"""URLs of stores: what they may be, and that no password gets out of one."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from relay_models.errors import InvalidConfigurationError
from relay_models.transport.urls import parse_target, scrub


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://localhost", "redis://localhost:6379"),
        ("redis://localhost:1234/0", "redis://localhost:1234"),
        ("redis://:secret@example.test", "redis://example.test:6379"),
        ("rediss://alice:secret@example.test:7000/", "rediss://alice@example.test:7000"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://alice:secret@/run/redis.sock?db=0", "unix://alice@/run/redis.sock"),
    ],
)
def test_the_label_says_where_but_not_the_password(url: str, label: str) -> None:
    target = parse_target(url)
    assert target.label == label
    assert "secret" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:6379", "http://localhost", "file.db", "redis://localhost:port", "redis://localhost/5"),
        *("redis://localhost?db=x", "unix:///run/redis.sock?db=3", "redis://localhost:99999"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfigurationError):
        parse_target(url)


def test_the_error_about_a_database_says_what_to_do() -> None:
    with pytest.raises(InvalidConfigurationError, match=r"database 2 .* key_prefix"):
        parse_target("redis://localhost/2")
    with pytest.raises(InvalidConfigurationError, match="key_prefix"):
        parse_target("redis://localhost", {"db": 1})


PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=6).filter(
    lambda word: word not in "redis://alice@example.test:6379" and not word.isalpha()
)


@given(PASSWORDS, st.booleans(), st.sampled_from(["", "/0", "/3", ":word", "?db=7"]))
def test_no_password_gets_out(password: str, quoted: bool, rest: str) -> None:
    written = quote(password, safe="") if quoted else password
    shown = ""
    try:
        target = parse_target(f"redis://alice:{written}@example.test{rest}")
        shown = repr(target) + target.label
    except InvalidConfigurationError as error:
        shown = str(error) + str(error.__cause__ or "" if error.__suppress_context__ else error.__context__ or "")
    assert password not in shown
    assert written not in shown


@given(st.text(min_size=1), st.text(), st.text())
def test_scrubbing_leaves_no_secret(secret: str, before: str, after: str) -> None:
    scrubbed = scrub(before + secret + after, [secret])
    assert secret not in scrubbed.replace("***", "") or secret in "***" or "*" in secret
