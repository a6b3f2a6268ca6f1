"""URLs of stores: what they may be, and that no password gets out of one."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from relay_models import errors
from relay_models.backend import RedisBackend
from relay_models.errors import InvalidConfigurationError
from relay_models.sync import RedisBackend as SyncRedisBackend
from relay_models.transport import parse_target
from relay_models.transport.urls import scrub


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
        *("unix://run/redis.sock", "redis://local\nhost", "redis://[::1", "REDIS://localhost"),
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


def messages(error: BaseException) -> str:
    """Everything that an error and all its causes and contexts say, suppressed or not."""
    found, left, seen = "", [error], set()
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            found += f"{each} {each!r} {each.args}"
            left += [other for other in (each.__cause__, each.__context__) if other is not None]
    return found


# Passwords in two parts around what has a meaning in a URL; a part that is a number may be taken for a port.
UNESCAPED = [
    f"{first}{between}{last}"
    for between in ("/", "?", "#", "[", "]", "@", ":", "%", "/@", "?x=", "\n", "\u2100", "/0@", ":/")
    for first in ("hid4en", "4321")
    for last in ("w0rd7", "8765")
]


@pytest.mark.parametrize(
    "url", ["redis://alice:{}@h:1", "rediss://:{}@h/0", "redis://alice:{}@[::1]:2", "unix://a:{}@/s"]
)
@pytest.mark.parametrize("password", UNESCAPED)
def test_no_part_of_an_unescaped_password_gets_out(url: str, password: str) -> None:
    parts = [part for part in ("hid4en", "4321", "w0rd7", "8765") if part in password]
    try:
        target = parse_target(url.format(password))
        shown = repr(target) + target.label
    except InvalidConfigurationError as error:
        shown = messages(error)
    assert not [part for part in parts if part in shown]


@pytest.mark.parametrize(
    "url", ["redis://a:hid4en/w0rd7@127.0.0.1", "redis://a:hid4en%2Fw0rd7@127.0.0.1:1", "redis://a:4321/w0rd7@h"]
)
async def test_no_error_of_connect_has_a_password_in_its_context(url: str) -> None:
    with pytest.raises(errors.RelayModelsError) as caught:
        await RedisBackend.connect(url, retries=0)
    with pytest.raises(errors.RelayModelsError) as blocking:
        SyncRedisBackend.connect(url, retries=0)
    for said in (messages(caught.value), messages(blocking.value)):
        assert not [part for part in ("hid4en", "w0rd7", "4321") if part in said]


def test_an_escaped_password_is_taken_as_it_is() -> None:
    target = parse_target(f"redis://alice:{quote('/?#@:[]% ', safe='')}@h")
    assert target.options["password"] == "/?#@:[]% "
    assert target.label == "redis://alice@h:6379"


def test_any_database_where_none_is_searched() -> None:
    target = parse_target("redis://localhost/3", any_database=True)
    assert (target.label, target.options["db"]) == ("redis://localhost:6379/3", 3)


@given(PASSWORDS, st.booleans(), st.sampled_from(["", "/0", "/3", ":word", "?db=7"]))
def test_no_password_gets_out(password: str, quoted: bool, rest: str) -> None:
    written = quote(password, safe="") if quoted else password
    shown = ""
    try:
        target = parse_target(f"redis://alice:{written}@example.test{rest}")
        shown = repr(target) + target.label
    except InvalidConfigurationError as error:
        shown = messages(error)
    assert password not in shown
    assert written not in shown


@given(st.text(min_size=1), st.text(), st.text())
def test_scrubbing_leaves_no_secret(secret: str, before: str, after: str) -> None:
    scrubbed = scrub(before + secret + after, [secret])
    assert secret not in scrubbed.replace("***", "") or secret in "***" or "*" in secret
