"""`CompressionStatus` and `CompressionResult`: how the records of a store are kept, and what was changed about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CompressionResult", "CompressionStatus", "DictionaryInfo"]


@dataclass(frozen=True, slots=True)
class DictionaryInfo:
    """A dictionary that records are compressed with.

    Attributes:
        id: its name, which follows from its content.
        bytes: its size; None where the store lacks it or has it damaged, and the records that need it cannot be read.
        runs: how many stored runs need it.
        is_current: whether new records are compressed with it.
    """

    id: str
    bytes: int | None
    runs: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class CompressionStatus:
    """How the records of a store are kept.

    Attributes:
        is_on: whether records are compressed when they are stored.
        runs: how many runs there are.
        compressed: how many of them have a compressed record.
        dictionaries: the dictionaries in use, the current one first.
    """

    is_on: bool
    runs: int
    compressed: int
    dictionaries: tuple[DictionaryInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """What compressing stored records, or making them plain, did.

    Attributes:
        rewritten: how many records were changed.
        bytes_before: bytes of their texts before.
        bytes_after: bytes of their texts now.
        unreadable: keys of records that cannot be read, each with the reason; they are left as they are.
    """

    rewritten: int
    bytes_before: int
    bytes_after: int
    unreadable: tuple[str, ...] = ()

    def plus(self, other: CompressionResult) -> CompressionResult:
        """Both together."""
        return CompressionResult(
            self.rewritten + other.rewritten,
            self.bytes_before + other.bytes_before,
            self.bytes_after + other.bytes_after,
            (*self.unreadable, *other.unreadable),
        )
