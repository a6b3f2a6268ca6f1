"""`RowStream`: rows as they are read, and the documents that could not be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from relay_models.errors import CorruptDocumentError
from relay_models.transport import AnyIterable, iterate

__all__ = ["RowStream", "until_failure"]

T = TypeVar("T")


class RowStream(AsyncIterator[T], Generic[T]):
    """An async iterator of rows.

    A stream that is not read to its end should be closed: by ``async with``, `contextlib.aclosing` or `aclose`.

    Attributes:
        corrupt: the documents that could not be read so far, each once.
        document: the class of the rows, where they are documents.
    """

    def __init__(
        self, make: Callable[[list[CorruptDocumentError]], AsyncGenerator[T, None]], document: type | None = None
    ) -> None:
        self.document = document
        self.corrupt: list[CorruptDocumentError] = []
        self._rows = make(self.corrupt)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._rows

    async def __anext__(self) -> T:
        return await anext(self._rows)

    async def aclose(self) -> None:
        """Stop reading and let the server drop what it keeps."""
        await self._rows.aclose()

    async def __aenter__(self) -> RowStream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def until_failure(records: AnyIterable[Any], failures: list[Exception]) -> AsyncIterator[Any]:
    """The records up to the point where their source raises; what it raised goes into `failures`."""
    try:
        async for record in iterate(records):
            yield record
    except Exception as error:
        failures.append(error)
