"""`Page`: the rows of an answer, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, overload

from relay_models._gc import collector_paused
from relay_models.errors import CorruptDocumentError

__all__ = ["Page"]

T_co = TypeVar("T_co", covariant=True)
Record_co = TypeVar("Record_co", covariant=True)


class _HasRecord(Protocol[Record_co]):
    @property
    def record(self) -> Record_co | None: ...


@dataclass(frozen=True, slots=True)
class Page(Sequence[T_co], Generic[T_co]):
    """Rows of an answer, a sequence of them, and how to go on.

    Attributes:
        rows: the documents.
        next: the cursor for the rows after these (``after=page.next``); None at the end.
        complete: False where the server cut its answer short and a partial one was allowed.
        warnings: why it may be incomplete.
        corrupt: documents that could not be read and were skipped.
    """

    rows: Sequence[T_co]
    next: str | None = None
    complete: bool = True
    warnings: tuple[str, ...] = ()
    corrupt: tuple[CorruptDocumentError, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        return self.rows[index]

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.rows)

    @property
    def records(self: Page[_HasRecord[Record_co]]) -> list[Record_co]:
        """The records of the rows; rows read with ``columns=True`` have none."""
        with collector_paused():
            found = [row.record for row in self.rows]
        return [record for record in found if record is not None]
