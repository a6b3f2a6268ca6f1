"""`MigrationPlan`: what a migration would change, and `MigrationProgress`: how far one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["MigrationPlan", "MigrationProgress", "MigrationResult", "ReportProgress"]

MigrationState = Literal["current", "needed", "unfinished", "unknown"]


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What a migration would do to one collection.

    Attributes:
        kind: the document type, such as ``run``.
        state: ``current`` (nothing to do), ``needed``, or ``unfinished``: the new index is in use, and the old one is
            kept until `finish`. Where `index` is not `target`, it was begun by a program with other models.
            ``unknown`` is an own model that the store has and this program has no class of.
        index: the index in use; None where there is none.
        target: the index that would be made, or is in use already.
        added: columns that are added.
        retyped: columns that get another type.
        removed: columns that are taken away: those that were named to be removed.
        kept: other columns of the store that this program does not know.
        documents: how many documents there are.
        stale: how many of them have columns to compute: those that a writer of another layout stored.
        seconds: estimate of the time that computing them takes, from a sample.
        bytes: estimate of the memory that the second index takes until `finish`.
    """

    kind: str
    state: MigrationState
    index: str | None
    target: str
    added: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    documents: int = 0
    stale: int = 0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """How far a migration is.

    Attributes:
        kind: the document type.
        step: ``index`` while the server fills the new index, ``documents`` while columns are computed.
        done: documents done.
        total: documents to do.
    """

    kind: str
    step: Literal["index", "documents"]
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a migration did to one collection.

    Attributes:
        kind: the document type.
        switched: whether the new index is used from now on.
        rewritten: how many documents got columns computed.
        unreadable: keys of documents whose record cannot be read; they are left as they are.
    """

    kind: str
    switched: bool
    rewritten: int
    unreadable: tuple[str, ...] = ()


ReportProgress: TypeAlias = Callable[[MigrationProgress], None]
"""Called as a migration proceeds."""
