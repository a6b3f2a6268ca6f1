"""translate: errors of redis-py, of servers and of the embedded engine as those of `relay_models.errors`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import exceptions as redis_errors

from relay_models.embedded import EmbeddedError
from relay_models.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    IncompleteAnswerError,
    IndexMissingError,
    InvalidConfigurationError,
    MissingModuleError,
    NotReplicatedError,
    PermissionDeniedError,
    RelayModelsError,
    StorageError,
    StoreTimeoutError,
)
from relay_models.transport.urls import Target, scrub

__all__ = ["Busy", "NotReplicated", "is_retryable", "mapped_errors", "said_by", "translate"]

_NO_INDEX = ("no such index", "unknown index name", "index not found", "index was dropped")
_ENDED = ("closed by server", "reset by peer", "broken pipe")
_UNKNOWN = re.compile(r"unknown command [`'\"]?([\w.]+)", re.IGNORECASE)
_LOGIN = ("WRONGPASS", "NOAUTH", "invalid password", "invalid username", "without any password configured")


class Busy(redis_errors.ConnectionError):
    """A script runs on the server, which carries out nothing else until it has ended."""


class NotReplicated(redis_errors.ConnectionError):
    """Too few replicas acknowledged the writes of a batch.

    Args:
        acknowledged: how many did, or the server's error.
        wanted: how many should have.
        keys: the keys that were written; None where a command has none.
    """

    def __init__(self, acknowledged: Any, wanted: int, keys: Sequence[bytes | None]) -> None:
        super().__init__(f"{acknowledged} of {wanted} replicas acknowledged the write")
        self.acknowledged = acknowledged
        self.wanted = wanted
        self.keys = tuple(dict.fromkeys(key for key in keys if key is not None))


def is_retryable(error: Exception) -> bool:
    """Return whether another attempt may help: after a lost connection, or while a server refuses, loads or is busy.

    Not after a refused login; and not after a timeout, which is how long the caller wants to wait in all.
    """
    own = isinstance(error.__cause__, EmbeddedError)
    return isinstance(error, redis_errors.ConnectionError) and not own and not _is_login(error)


def said_by(server: Target, error: Exception) -> None:
    """Note which one of several servers an error came from, for `translate`."""
    error.__dict__["server"] = server


def translate(error: BaseException, target: Target, command: Sequence[object] | None = None) -> RelayModelsError:
    """Return the error to raise for one of redis-py, of a server or of the embedded engine.

    Raise it outside the handler of `error`, whose text may quote a password and would be shown as its context.

    Args:
        error: what went wrong.
        target: where, unless `said_by` knows better; its secrets are removed from the message.
        command: what was sent.
    """
    if isinstance(error, RelayModelsError):
        return error
    target = error.__dict__.get("server", target)
    if isinstance(error.__cause__, EmbeddedError):  # the engine in this process; there is no connection to lose
        error = error.__cause__
    text = scrub(str(error), target.secrets).strip().rstrip(".") or type(error).__name__
    name = _name(command)
    lowered = text.lower()
    if isinstance(error, NotReplicated):
        return _not_replicated(error, text, target)
    if isinstance(error, redis_errors.ReadOnlyError) or text.startswith("READONLY"):
        return StorageError(
            f"{target.label} is a replica, which takes no writes: {text}. Connect to the primary, or through its "
            "sentinels: redis+sentinel://host:26379/service"
        )
    if "used memory > 'maxmemory'" in lowered:
        return StorageError(
            f"{target.label} has no memory left and stores nothing more: {text}. Raise its maxmemory, or delete what "
            "is not needed any more; questions are answered meanwhile"
        )
    if isinstance(error, redis_errors.MovedError | redis_errors.AskError):
        return StorageError(
            f"{target.label} is a node of a Redis Cluster and has only a part of the keys: {text}. "
            "Connect with redis+cluster://host:port"
        )
    if isinstance(error, redis_errors.ClusterDownError | redis_errors.MasterDownError | redis_errors.TryAgainError):
        return ConnectionFailedError(f"{target.label} cannot do that now: {text}. Try again later")
    if isinstance(error, redis_errors.NoPermissionError) or "no permissions" in lowered or text.startswith("NOPERM"):
        return PermissionDeniedError(
            f"{target.label} does not let this user do that: {text}. "
            "The guide on deploying lists the rules that a user needs; ask for them or use another user"
        )
    if _is_login(error):
        return AuthenticationFailedError(
            f"{target.label} refused the login: {text}. Give the user and the password in the URL: "
            "redis://user:password@host:port"
        )
    if isinstance(error, EmbeddedError):
        kind = InvalidConfigurationError if isinstance(error, ValueError) else StorageError
        return kind(text if str(target.label) in text else f"{target.label}: {text}")
    if isinstance(error, redis_errors.TimeoutError):
        return StoreTimeoutError(f"{target.label} did not answer in time: {text}. connect(timeout=…) sets the limit")
    if isinstance(error, redis_errors.BusyLoadingError):
        return ConnectionFailedError(f"{target.label} is still loading its data: {text}. Try again later")
    if isinstance(error, Busy):
        return ConnectionFailedError(
            f"{target.label} runs a long script: {text}. Try again later, or let an administrator send SCRIPT KILL"
        )
    if isinstance(error, redis_errors.ConnectionError):
        return ConnectionFailedError(f"no connection to {target.label}: {text}. {_hint(lowered)}")
    if "unknown command" in lowered:
        return _unknown_command(name, text, target)
    if any(words in lowered for words in _NO_INDEX):
        return IndexMissingError(
            f"the search index of this store on {target.label} does not exist (any more): {text}. "
            "Connect with create_index=True (the default) to create it; the documents themselves are not lost"
        )
    if "too many cursors" in lowered or "index_cursor_limit" in lowered:
        return StorageError(
            f"{target.label} has as many cursors as an index may have: {text}. Read streams to their end or close "
            "them, or raise INDEX_CURSOR_LIMIT (search-index-cursor-limit) of the server"
        )
    if "limit exceeds maximum" in lowered:
        return StorageError(
            f"{target.label} gives no result as large as that: {text}. Raise MAXAGGREGATERESULTS "
            "(search-max-aggregate-results) of the server"
        )
    if "timeout limit was reached" in lowered:
        return IncompleteAnswerError(f"{target.label} stopped the query at its time limit and gave no answer: {text}")
    if isinstance(error, redis_errors.RedisError):
        sent = f" to {name}" if name else ""
        return StorageError(f"{target.label} answered{sent}: {text}")
    return StorageError(f"{target.label}: {type(error).__name__}: {text}")


@contextmanager
def mapped_errors(target: Target) -> Iterator[None]:
    """Raise what fails inside the block as the errors of this library, for code that uses the redis-py client itself.

    Args:
        target: which server or file the block talks to.
    """
    try:
        yield
    except (EmbeddedError, redis_errors.RedisError) as error:
        raise translate(error, target) from None


def _hint(lowered: str) -> str:
    """What to look at after a lost or refused connection."""
    if any(words in lowered for words in _ENDED):
        return (
            "Has the server been stopped, or has it closed the connection for what was sent or asked for? Its log says "
            "so; client-output-buffer-limit, proto-max-bulk-len and maxmemory-clients are its limits"
        )
    if "max number of clients" in lowered:
        return "Close other connections, or raise maxclients of the server"
    return "Is the server running there, and is the URL right?"


def _not_replicated(error: NotReplicated, text: str, target: Target) -> NotReplicatedError:
    shown = ", ".join(key.decode("utf-8", "backslashreplace") for key in error.keys[:3])
    more = f" and {len(error.keys) - 3} more" if len(error.keys) > 3 else ""
    return NotReplicatedError(
        f"{target.label}: only {text} in time, so a failover may lose {shown or 'it'}{more}: the primary has it, "
        "storing it again is harmless. Are the replicas connected? connect(replica_timeout=…) sets the limit",
        error.keys,
    )


def _unknown_command(name: str, text: str, target: Target) -> RelayModelsError:
    said = _UNKNOWN.search(text)  # the rest quotes arguments, which may be a script that names commands
    unknown = (said[1] if said else name).upper()
    for prefix, module in (("FT.", "search"), ("JSON.", "JSON")):
        if unknown.startswith(prefix):
            return MissingModuleError(
                f"{target.label} has no {module} commands: use Redis 8 or Redis Stack, "
                "or RedisBackend.embedded(path), which needs no server"
            )
    return StorageError(f"{target.label} does not know a command that the store needs: {text}")


def _is_login(error: BaseException) -> bool:
    if isinstance(error, redis_errors.AuthenticationError | redis_errors.AuthenticationWrongNumberOfArgsError):
        return True
    return isinstance(error, redis_errors.RedisError) and any(words in str(error) for words in _LOGIN)


def _name(command: Sequence[object] | None) -> str:
    if not command:
        return ""
    first = command[0]
    return first.decode() if isinstance(first, bytes) else str(first)
