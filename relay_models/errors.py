"""The exceptions of relay_models: one root, and each leaf also the builtin that fits it.

::

    RelayModelsError (Exception)
    ├── StorageError (OSError)                     the store could not do it
    │   ├── ConnectionFailedError (ConnectionError)    unreachable, or lost and not regained
    │   ├── AuthenticationFailedError (PermissionError) the login was refused
    │   ├── PermissionDeniedError (PermissionError)    the ACL of this user lacks a command or a key
    │   ├── StoreTimeoutError (TimeoutError)           no answer within the time limit
    │   │   ├── IncompleteAnswerError                  the server cut its answer short
    │   │   └── NotReplicatedError                     too few replicas have what was written
    │   ├── MissingModuleError (RuntimeError)          no JSON or no search on that server
    │   ├── ConflictError (RuntimeError)               another client changed the document first
    │   ├── IndexMissingError (LookupError)            no index, and not allowed to make one
    │   └── IndexOutdatedError (RuntimeError)          the index has the layout of another release
    ├── SerializationError (ValueError)            a value that is not what its type says
    │   ├── InvalidRecordError                         refused before it was stored
    │   ├── RefusedRecordsError                        some were refused; the others are stored
    │   ├── CorruptDocumentError                       one stored document that cannot be read
    │   │   └── MissingDictionaryError                     the dictionary that its record needs is gone
    │   └── CorruptDocumentsError                      some could not be read; the others are attached
    ├── NotAwaitedError (AttributeError)           the async backend was used before it was open
    ├── NotFoundError (LookupError)                something named is not there
    ├── InvalidConfigurationError (ValueError)     a URL, a prefix or an option that cannot work
    ├── QueryError (ValueError)                    a query that means nothing
    │   ├── UnknownColumnError (LookupError)           no such column; says which there are
    │   │   └── UnknownAttributeError (AttributeError)     the same, of a class: Run.tenant
    │   ├── UnsupportedOperatorError (TypeError)       the column has no such operator; says which it has
    │   └── FilterSyntaxError (ValueError)             the filter language: where, and what was expected
    ├── MissingExtraError (ImportError)            an optional package is not installed; says which
    └── UnsupportedMethodError (NotImplementedError) a redis-om method that would lose data; names the right one

The kinds of error of NeMo Relay's adaptive crate map onto them: ``Storage`` is `StorageError`, ``Serialization`` is
`SerializationError`, ``NotFound`` is `NotFoundError` and ``InvalidConfig`` is `InvalidConfigurationError`.
No message ever holds a password.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "AuthenticationFailedError",
    "ConflictError",
    "ConnectionFailedError",
    "CorruptDocumentError",
    "CorruptDocumentsError",
    "FilterSyntaxError",
    "IncompleteAnswerError",
    "IndexMissingError",
    "IndexOutdatedError",
    "InvalidConfigurationError",
    "InvalidRecordError",
    "MissingDictionaryError",
    "MissingExtraError",
    "MissingModuleError",
    "NotAwaitedError",
    "NotFoundError",
    "NotReplicatedError",
    "PermissionDeniedError",
    "QueryError",
    "RefusedRecordsError",
    "RelayModelsError",
    "SerializationError",
    "StorageError",
    "StoreTimeoutError",
    "UnknownAttributeError",
    "UnknownColumnError",
    "UnsupportedMethodError",
    "UnsupportedOperatorError",
]


# Longest message of an error (characters): what it quotes, such as a key or a filter, may be megabytes.
_LONGEST_MESSAGE = 4_000


class RelayModelsError(Exception):
    """The root of all errors that this library raises on purpose."""

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST_MESSAGE:  # the end says what to do
            text = f"{text[: _LONGEST_MESSAGE // 2]} … {text[-_LONGEST_MESSAGE // 2 :]}"
        # Text that a message quotes may have lone surrogates, which no log and no terminal takes.
        return text.encode("utf-8", "backslashreplace").decode()


class StorageError(RelayModelsError, OSError):
    """The store could not carry out a command."""


class ConnectionFailedError(StorageError, ConnectionError):
    """The server cannot be reached, or the connection was lost and bounded retries did not bring it back."""


class AuthenticationFailedError(StorageError, PermissionError):
    """The server refused the user name or the password."""


class PermissionDeniedError(StorageError, PermissionError):
    """The server's ACL does not let this user run a command or touch a key."""


class StoreTimeoutError(StorageError, TimeoutError):
    """The server did not answer within the time limit."""


class IncompleteAnswerError(StoreTimeoutError):
    """The server stopped a query at its time limit; what it had found so far is in `partial`."""

    def __init__(self, message: str, partial: Any = None) -> None:
        super().__init__(message)
        self.partial = partial


class NotReplicatedError(StoreTimeoutError):
    """Fewer replicas than asked for have a write in time: the primary has it, a failover may lose it.

    `keys` are the keys that were written; storing them again is harmless.
    """

    def __init__(self, message: str, keys: Sequence[bytes] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class MissingModuleError(StorageError, RuntimeError):
    """The server lacks the JSON or the search commands (Redis 8 and Redis Stack have both)."""


class ConflictError(StorageError, RuntimeError):
    """The document is not the one that was expected: another client changed or deleted it; `key` says which."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class IndexMissingError(StorageError, LookupError):
    """The search index does not exist and may not be made."""


class IndexOutdatedError(StorageError, RuntimeError):
    """The search index was made by a release with another layout."""


class NotAwaitedError(RelayModelsError, AttributeError):
    """A backend that is still being opened was used: `RedisBackend.connect` is awaited first."""


class SerializationError(RelayModelsError, ValueError):
    """A value is not what its type says."""


class InvalidRecordError(SerializationError):
    """A record was refused before anything was stored.

    `path` names the field inside the record, such as ``calls.0.started_at``.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class RefusedRecordsError(SerializationError):
    """Some records of a bulk store were refused, all others are stored: `report` counts them and names each."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class CorruptDocumentError(SerializationError):
    """A stored document cannot be read: `key` says which, `reason` why."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the document at key {key!r} cannot be read: {reason}")
        self.key = key
        self.reason = reason


class MissingDictionaryError(CorruptDocumentError):
    """A record was compressed with a dictionary that the store does not have; `dictionary` is its id."""

    def __init__(self, key: str, reason: str, dictionary: str) -> None:
        super().__init__(key, reason)
        self.dictionary = dictionary


class CorruptDocumentsError(SerializationError):
    """Some documents of an answer cannot be read: `errors` names each by key, `good` holds the others, in order.

    After an export there are no others to hold: they are written, and `good` is None.
    """

    def __init__(self, errors: Sequence[CorruptDocumentError], good: Any) -> None:
        shown = "; ".join(str(error) for error in errors[:3])
        more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
        hint = "" if good is None else " (the readable ones are in .good; on_corrupt='skip' leaves the others out)"
        super().__init__(f"{shown}{more}{hint}")
        self.errors = tuple(errors)
        self.good = good


class NotFoundError(RelayModelsError, LookupError):
    """Something that was named is not there."""


class InvalidConfigurationError(RelayModelsError, ValueError):
    """A URL, a key prefix or an option that cannot work."""


class QueryError(RelayModelsError, ValueError):
    """A query that means nothing, or that the store cannot answer."""


class UnknownColumnError(QueryError, LookupError):
    """No column has that name; the message lists the columns there are.

    `column` is the name that was given, `known` are those of the columns, as the message lists them.
    """

    def __init__(self, message: str, column: Any = None, known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.column = column if isinstance(column, str) else ""
        self.known = tuple(known)


class UnknownAttributeError(UnknownColumnError, AttributeError):
    """A document class has no column of that name, such as ``Run.tenant``; the message lists the columns there are."""


class UnsupportedOperatorError(QueryError, TypeError):
    """The column has no such operator, or does not take such a value; the message lists what it has."""


class FilterSyntaxError(QueryError):
    """Filter text that does not parse: `text` as given, `position` of the fault (0-based, in characters)."""

    def __init__(self, message: str, text: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.text = text
        self.position = position


class MissingExtraError(RelayModelsError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""


class UnsupportedMethodError(RelayModelsError, NotImplementedError):
    """A redis-om method that would lose data or write to the wrong server; the message names the right one."""
