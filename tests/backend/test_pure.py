"""The parts of the backend that do no I/O: pages, replies of both protocols, the clock, faults, the generated twin."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from redis import exceptions as redis_errors

from relay_models import errors
from relay_models._gc import collector_paused
from relay_models.backend.clock import StoreClock
from relay_models.backend.column_changes import column_changes
from relay_models.backend.scan import scan_command
from relay_models.documents import Keys, encode_run
from relay_models.transport.error_mapping import retryable, translate
from relay_models.transport.urls import Target
from tests.backend.stores import make_run

ROOT = Path(__file__).parents[2]
HERE = Target("redis://here:6379", "redis", {}, ("hidden-word",))


def test_the_clock_never_gives_an_instant_twice() -> None:
    clock = StoreClock()
    assert len({clock.now() for _ in range(10_000)}) == 10_000
    clock.set(1_000_000, 0, 0)
    before = clock.now()
    assert clock.now() > before
    clock.set(9_000_000_000_000_000, 0, 0)
    assert clock.now() >= 9_000_000_000_000_000


FAULTS = [
    (redis_errors.AuthenticationError("WRONGPASS invalid username-password pair"), errors.AuthenticationFailedError),
    (redis_errors.ResponseError("NOAUTH Authentication required."), errors.AuthenticationFailedError),
    (
        redis_errors.NoPermissionError("User x has no permissions to run the 'get' command"),
        errors.PermissionDeniedError,
    ),
    (redis_errors.TimeoutError("Timeout reading from socket"), errors.StoreTimeoutError),
    (redis_errors.ConnectionError("Error 111 connecting to here"), errors.ConnectionFailedError),
    (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), errors.ConnectionFailedError),
    (redis_errors.ResponseError("unknown command 'FT.SEARCH'"), errors.MissingModuleError),
    (redis_errors.ResponseError("unknown command `JSON.SET`, with args beginning with: "), errors.MissingModuleError),
    (redis_errors.ResponseError("x@run: no such index"), errors.IndexMissingError),
    (redis_errors.ResponseError("Unknown Index name"), errors.IndexMissingError),
    (redis_errors.ResponseError("SEARCH_INDEX_NOT_FOUND Index not found: x"), errors.IndexMissingError),
    (redis_errors.ResponseError("Timeout limit was reached"), errors.IncompleteAnswerError),
    (redis_errors.ReadOnlyError("You can't write against a read only replica."), errors.StorageError),
    (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"), errors.StorageError),
]


@pytest.mark.parametrize(("error", "kind"), FAULTS)
def test_faults_in_our_words(error: Exception, kind: type[Exception]) -> None:
    translated = translate(error, HERE, ("FT.SEARCH", "x"))
    assert type(translated) is kind
    assert "redis://here:6379" in str(translated)


def test_faults_never_show_a_password() -> None:
    error = redis_errors.ResponseError("unknown command 'AUTH', with args beginning with: 'me' 'hidden-word'")
    assert "hidden-word" not in str(translate(error, HERE))


def test_a_refused_login_and_a_time_limit_are_not_tried_again() -> None:
    assert retryable(redis_errors.ConnectionError("gone"))
    assert retryable(redis_errors.BusyLoadingError("loading"))
    assert not retryable(redis_errors.AuthenticationError("WRONGPASS"))
    assert not retryable(redis_errors.TimeoutError("slow"))
    assert not retryable(redis_errors.ResponseError("no"))


def test_patterns_of_hostile_prefixes_are_escaped() -> None:
    assert scan_command(b"a*[b]?\\", 0)[3] == b"a\\*\\[b\\]\\?\\\\*"


def test_columns_that_differ_from_the_record() -> None:
    from pydantic_core import from_json

    keys, run = Keys("x:"), make_run("agent", 3)
    document = from_json(encode_run(run, 5))
    key = keys.run("agent", run.id)
    assert column_changes("run", keys, key, document, text=False) == {}
    changed = document | {"calls": 99, "tools": ["none"]}
    assert column_changes("run", keys, key, changed, text=False) == {"calls": 1, "tools": None}
    with pytest.raises(ValueError, match="no record text"):
        column_changes("run", keys, key, {}, text=False)


def test_the_collector_is_paused_and_left_as_it_was() -> None:
    assert gc.isenabled()
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_synchronous_twin_is_what_its_source_gives() -> None:
    pytest.importorskip("unasync")
    command = [sys.executable, str(ROOT / "scripts" / "generate_sync.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
