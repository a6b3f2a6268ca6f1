"""Topology: which primaries a Redis Cluster has and which slots they own, read from CLUSTER NODES."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import redis.crc

from relay_models.transport.urls import Address

__all__ = ["SLOTS", "NodeView", "Primary", "Topology", "newest", "parse_nodes", "slot_of"]

# redis-om installs type stubs of an old redis-py, which lack this function.
_crc: Any = redis.crc

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Return the slot of a key."""
    slot: int = _crc.key_slot(key)
    return slot


@dataclass(frozen=True, order=True)
class Primary:
    """A primary that owns slots: its id, its address, and the ranges of slots (first and last included)."""

    id: str
    address: Address
    slots: tuple[tuple[int, int], ...]

    @property
    def label(self) -> str:
        """Its address, for messages."""
        host, port = self.address
        return f"{host}:{port}"


@dataclass(frozen=True)
class Topology:
    """The primaries of a cluster that own slots, ordered by id."""

    primaries: tuple[Primary, ...]

    @cached_property
    def owners(self) -> Sequence[Primary | None]:
        """The owner of each slot."""
        owners: list[Primary | None] = [None] * SLOTS
        for primary in self.primaries:
            for first, last in primary.slots:
                owners[first : last + 1] = [primary] * (last + 1 - first)
        return owners

    @property
    def owned(self) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
        """Who owns which slots, whatever address a node is known by."""
        return tuple((primary.id, primary.slots) for primary in self.primaries)

    @property
    def is_complete(self) -> bool:
        """Whether every slot has an owner."""
        return sum(last + 1 - first for primary in self.primaries for first, last in primary.slots) == SLOTS

    @property
    def scattered(self) -> tuple[Primary, ...]:
        """The primaries whose slots are in several ranges."""
        return tuple(primary for primary in self.primaries if len(primary.slots) > 1)


@dataclass(frozen=True)
class NodeView:
    """What one node says about the cluster.

    Attributes:
        topology: the primaries, as this node sees them.
        failing: the addresses of nodes that it cannot reach, primaries with slots only.
        failed: the addresses of all nodes that it takes for dead.
        is_moving: whether slots are being moved from or to this node.
        primary: the id of the node itself, where it is a primary with slots.
        epochs: the sum of the primaries' configuration epochs; the larger, the newer.
        replicas: replicas that it reaches: the id of the primary, the address.
    """

    topology: Topology
    failing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    is_moving: bool = False
    primary: str = ""
    epochs: int = field(default=0, compare=False)
    replicas: tuple[tuple[str, Address], ...] = ()


def parse_nodes(reply: bytes | str, asked: Address) -> NodeView:
    """Read the reply to CLUSTER NODES.

    Args:
        reply: the text.
        asked: the address of the node that was asked, for where it does not know its own.
    """
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    primaries, failing, failed, replicas = [], [], [], []
    is_moving = False
    itself = ""
    epochs = 0
    for line in text.splitlines():
        node, where, flags, follows, _, _, epoch, link, *slots = line.split(" ")
        # "ip:port@bus-port,hostname,…": the name, where one is announced, is what certificates are made out to.
        place, _, more = where.partition(",")
        host, _, port = place.partition("@")[0].rpartition(":")
        name = more.partition(",")[0]
        address = (name or host or asked[0], int(port or 0))
        states = flags.split(",")
        if "fail" in states:
            failed.append(f"{address[0]}:{address[1]}")
        if states[-1:] == ["slave"] and link == "connected":  # neither failing nor unknown
            replicas.append((follows, address))
        ranges = tuple(_range(part) for part in slots if not part.startswith("["))
        if "master" not in states or not ranges:
            continue
        if "fail" in states or "fail?" in states or "handshake" in states:
            failing.append(f"{address[0]}:{address[1]}")
        if "myself" in states:
            itself = node
            is_moving = len(ranges) < len(slots)
        epochs += int(epoch)
        primaries.append(Primary(node, address, ranges))
    return NodeView(
        Topology(tuple(sorted(primaries))),
        tuple(failing),
        tuple(failed),
        is_moving,
        itself,
        epochs,
        tuple(sorted(replicas)),
    )


def newest(views: Iterable[NodeView]) -> NodeView:
    """Return the view of the newest configuration."""
    return max(views, key=lambda view: view.epochs)


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)
