"""Errors of redis-py, of servers and of the engine become those of relay_models."""

from __future__ import annotations

import pytest
from redis import exceptions as redis_errors

from relay_models import errors
from relay_models.transport import Target, mapped_errors, translate
from relay_models.transport.error_mapping import is_retryable

HERE = Target("redis://here:6379", "redis", {}, ("hidden-word",))

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
    (
        redis_errors.ResponseError("unknown command 'EVAL', with args beginning with: 'redis.call(\"JSON.GET\")'"),
        errors.StorageError,
    ),
    (redis_errors.ResponseError("x@run: no such index"), errors.IndexMissingError),
    (redis_errors.ResponseError("Unknown Index name"), errors.IndexMissingError),
    (redis_errors.ResponseError("SEARCH_INDEX_NOT_FOUND Index not found: x"), errors.IndexMissingError),
    (redis_errors.ResponseError("Timeout limit was reached"), errors.IncompleteAnswerError),
    (redis_errors.ResponseError("Too many cursors allocated for index"), errors.StorageError),
    (redis_errors.ResponseError("LIMIT exceeds maximum of 0"), errors.StorageError),
    (redis_errors.ReadOnlyError("You can't write against a read only replica."), errors.StorageError),
    (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"), errors.StorageError),
]


@pytest.mark.parametrize(("error", "kind"), FAULTS)
def test_an_error_becomes_one_of_ours(error: Exception, kind: type[Exception]) -> None:
    translated = translate(error, HERE, ("FT.SEARCH", "x"))
    assert type(translated) is kind
    assert "redis://here:6379" in str(translated)


def test_an_error_never_shows_a_password() -> None:
    error = redis_errors.ResponseError("unknown command 'AUTH', with args beginning with: 'me' 'hidden-word'")
    assert "hidden-word" not in str(translate(error, HERE))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Error 111 connecting to here", "is the URL right"),
        ("max number of clients reached", "raise maxclients"),
        ("Connection closed by server", "client-output-buffer-limit"),
        ("Error while reading from here: (104, 'Connection reset by peer')", "proto-max-bulk-len"),
    ],
)
def test_a_lost_connection_says_what_to_look_at(text: str, advice: str) -> None:
    assert advice in str(translate(redis_errors.ConnectionError(text), HERE))


def test_only_lost_connections_are_retried() -> None:
    assert is_retryable(redis_errors.ConnectionError("gone"))
    assert is_retryable(redis_errors.BusyLoadingError("loading"))
    assert not is_retryable(redis_errors.AuthenticationError("WRONGPASS"))
    assert not is_retryable(redis_errors.TimeoutError("slow"))
    assert not is_retryable(redis_errors.ResponseError("no"))


def test_a_block_with_mapped_errors_shows_no_password() -> None:
    with pytest.raises(errors.ConnectionFailedError) as caught, mapped_errors(HERE):
        raise redis_errors.ConnectionError("cannot reach hidden-word")
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_block_with_mapped_errors_lets_others_pass() -> None:
    with pytest.raises(KeyError), mapped_errors(HERE):
        raise KeyError("mine")
