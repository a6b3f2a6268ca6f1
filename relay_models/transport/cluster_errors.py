"""Errors of a Redis Cluster: which ones pass, and what those that do not say to the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from relay_models.errors import ConnectionFailedError, MissingModuleError, StorageError, StoreTimeoutError
from relay_models.transport.topology import Topology
from relay_models.transport.urls import Target

__all__ = [
    "are_slots_unavailable",
    "could_not_ask",
    "is_passing",
    "is_search_passing",
    "lost_cursor",
    "no_coordinator",
    "scattered_slots",
    "timed_out",
]

# What a search answers, since 8.4, while slots are being moved.
_UNAVAILABLE_SLOTS = "unavailable slots"
# What the coordinator of a search answers while the cluster changes.
_PASSING_SEARCHES = (
    "could not send query",
    _UNAVAILABLE_SLOTS,
    "clusterdown",
    "errcluster",
    "uninitialized cluster",
    "cluster state",
    "loading",
    "cluster topology",
)


def is_passing(error: ResponseError) -> bool:
    """Return whether a command was not carried out, and may be at another node or a little later."""
    return isinstance(error, AskError | TryAgainError | ClusterDownError | MasterDownError | ReadOnlyError)


def is_search_passing(error: ResponseError) -> bool:
    """Return whether a search may be answered a little later."""
    text = str(error).lower()
    return is_passing(error) or any(words in text for words in _PASSING_SEARCHES)


def are_slots_unavailable(error: Any) -> bool:
    """Return whether a search was refused because documents are being moved: its index is there."""
    return isinstance(error, ResponseError) and _UNAVAILABLE_SLOTS in str(error).lower()


def no_coordinator(target: Target) -> MissingModuleError:
    """Return the error for a cluster whose search sees one node's documents only."""
    return MissingModuleError(
        f"the search of {target.label} has no coordinator (SEARCH.CLUSTERINFO is unknown there): each node finds only "
        "its own documents. Use Redis 8, which has it built in; Redis Stack as a cluster cannot keep a store, a single "
        "Redis Stack server or one behind Sentinel can"
    )


def scattered_slots(target: Target, topology: Topology) -> StorageError:
    """Return the error for primaries that a release before 8.4 would ask more than once."""
    named = ", ".join(
        f"{primary.label} ({', '.join(f'{first}-{last}' for first, last in primary.slots)})"
        for primary in topology.scattered
    )
    return StorageError(
        f"{target.label} would give rows twice and count them twice: before Redis 8.4 a search asks a primary once for "
        f"each of its ranges of slots, and {named} owns several. Upgrade to Redis 8.4 or later, or move slots "
        "(redis-cli --cluster reshard) until each primary owns one range. Storing and loading by id work meanwhile"
    )


def could_not_ask(target: Target, problem: str, failed: Sequence[str] = ()) -> ConnectionFailedError:
    """Return the error for an answer that could not be had of all shards.

    Args:
        target: the cluster.
        problem: why.
        failed: the nodes that it takes for dead.
    """
    return ConnectionFailedError(
        f"{target.label} cannot answer for all shards: {problem}. Try again later{_dead(failed)}"
    )


def timed_out(target: Target, seconds: float, node: str, state: Any) -> StoreTimeoutError:
    """Return the error for a search that was not answered in time.

    Args:
        target: the cluster.
        seconds: the time limit.
        node: the label of the node that was asked.
        state: the `ClusterState` afterwards.
    """
    why = f": {state.problem}" if state.problem else ", though every shard answers"
    why += _dead(state.failed)
    return StoreTimeoutError(
        f"{node} did not answer a search in {seconds:.3g} s{why}. connect(timeout=…) sets the limit"
    )


def lost_cursor(target: Target) -> StorageError:
    """Return the error for a cursor whose shards are not those that it began with."""
    return StorageError(f"the cursor is lost: {target.label} has changed since it was made")


def _dead(failed: Sequence[str]) -> str:
    """What to do about dead nodes."""
    if not failed:
        return ""
    return (
        f". The cluster still lists the dead node {', '.join(failed)}, which Redis 8.4 to 8.8 may wait for: start it, "
        "or remove it with CLUSTER FORGET on every node"
    )
