# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/streams.py by scripts/generate_sync.py: change that, not this.
"""`RowStream`: rows as they are read, and the documents that could not be."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from relay_models.errors import CorruptDocumentError
from relay_models.transport.sync import AnyIterable, iterate

__all__ = ["RowStream", "until_failure"]

T = TypeVar("T")


class RowStream(Iterator[T], Generic[T]):
    """An async iterator of rows.

    A stream that is not read to its end should be closed: by ``with``, `contextlib.aclosing` or `aclose`.

    Attributes:
        corrupt: the documents that could not be read so far, each once.
        document: the class of the rows, where they are documents.
    """

    def __init__(
        self, make: Callable[[list[CorruptDocumentError]], Generator[T, None]], document: type | None = None
    ) -> None:
        self.document = document
        self.corrupt: list[CorruptDocumentError] = []
        self._rows = make(self.corrupt)

    def __iter__(self) -> Iterator[T]:
        return self._rows

    def __next__(self) -> T:
        return next(self._rows)

    def close(self) -> None:
        """Stop reading and let the server drop what it keeps."""
        self._rows.close()

    def __enter__(self) -> RowStream[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def until_failure(records: AnyIterable[Any], failures: list[Exception]) -> Iterator[Any]:
    """The records up to the point where their source raises; what it raised goes into `failures`."""
    try:
        for record in iterate(records):
            yield record
    except Exception as error:
        failures.append(error)
