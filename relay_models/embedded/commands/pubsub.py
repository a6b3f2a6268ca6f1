"""`PubSubCommands`: PUBLISH and keyspace events, with patterns matched in linear time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fakeredis._helpers import NoResponse, SimpleError

from relay_models.embedded.commands.keyspace_events import KeyspaceEvent, command_events, event_classes
from relay_models.embedded.glob import compile_glob

__all__ = ["PubSubCommands", "announce_expired"]

_OF_SHARDS: Final = frozenset((b"ssubscribe", b"sunsubscribe"))


class PubSubCommands:
    """Mixed into the engine's sockets; fakeredis' own commands call these methods."""

    _server: Any
    _db: Any
    _db_num: int
    _pubsub: int
    """The number of its subscriptions."""
    _sharded = 0
    """How many of them are to channels of shards."""

    def publish(self, channel: bytes, message: bytes) -> int:
        return self._deliver(b"message", self._server.subscribers, channel, message)

    def spublish(self, channel: bytes, message: bytes) -> int:
        receivers: Iterable[Any] = self._server.ssubscribers.get(channel, ())
        return _send(receivers, [b"smessage", channel, message])

    def _subscribe(self, channels: Iterable[bytes], subscribers: dict[bytes, Any], kind: bytes) -> Any:
        """SUBSCRIBE and its relatives, which count those of shards by themselves."""
        if kind == b"psubscribe":
            for pattern in channels:
                compile_glob(pattern)
        for channel in channels:
            receivers = subscribers.setdefault(channel, set())
            if self not in receivers:
                receivers.add(self)
                self._count(kind, 1)
            self._confirm(kind, channel)
        return NoResponse()

    def _unsubscribe(self, channels: Iterable[bytes], subscribers: dict[bytes, Any], kind: bytes) -> Any:
        """UNSUBSCRIBE and its relatives, which reply where there is nothing to unsubscribe from, too."""
        subscribed = [channel for channel, receivers in subscribers.items() if self in receivers]
        if not channels and not subscribed:
            self._confirm(kind, None)
        for channel in channels or subscribed:
            receivers = subscribers.get(channel, set())
            if self in receivers:
                receivers.remove(self)
                self._count(kind, -1)
                if not receivers:
                    del subscribers[channel]
            self._confirm(kind, channel)
        return NoResponse()

    def _confirm(self, kind: bytes, channel: bytes | None) -> None:
        count = self._sharded if kind in _OF_SHARDS else self._pubsub - self._sharded
        self.put_response([kind, channel, count])  # type: ignore[attr-defined]

    def _count(self, kind: bytes, change: int) -> None:
        if not self._pubsub:  # RESET ends all of them
            self._sharded = 0
        self._pubsub += change
        if kind in _OF_SHARDS:
            self._sharded += change

    def _deliver(self, kind: bytes, subscribers: dict[bytes, Any], channel: bytes, message: bytes) -> int:
        return _deliver(self._server, kind, subscribers, channel, message)

    def _channels(self, subscribers: dict[bytes, Any], *patterns: bytes) -> list[bytes]:
        channels = [channel for channel, receivers in subscribers.items() if receivers]
        return [channel for channel in channels if compile_glob(patterns[0]).match(channel)] if patterns else channels

    def _keyspace_notifications(self, items: list[Any], event: bytes) -> None:
        """Nothing: fakeredis tells of all changes, by the names of commands. `announce_changes` does it instead."""

    def announce_changes(self, name: str, args: Sequence[bytes], result: Any, existed: Mapping[bytes, bool]) -> None:
        """Tell subscribers what a command did to keys, and which had expired."""
        server, database = self._server, self._db
        expired = {key for number, key in server.expired if number == self._db_num}
        changed, server.changed = server.changed or {}, None
        announce_expired(server)
        keys = [key for number, key in changed if number == self._db_num]
        exist = {key: key in database for key in keys if key not in expired or key in database}
        if not isinstance(result, SimpleError):
            for event in command_events(name, args, result, existed, exist):
                _announce(server, self._db_num, event)


def announce_expired(server: Any) -> None:
    """Tell subscribers of the keys that expired."""
    expired, server.expired = server.expired, []
    for number, key in expired:
        _announce(server, number, KeyspaceEvent(b"x", b"expired", key))


def _announce(server: Any, number: int, event: KeyspaceEvent) -> None:
    wanted = event_classes(server.config.get(b"notify-keyspace-events", b""))
    if not wanted.issuperset(event.kind):
        return
    if b"K"[0] in wanted:
        _deliver(server, b"message", server.subscribers, b"__keyspace@%d__:%s" % (number, event.key), event.name)
    if b"E"[0] in wanted:
        _deliver(server, b"message", server.subscribers, b"__keyevent@%d__:%s" % (number, event.name), event.key)


def _deliver(server: Any, kind: bytes, subscribers: dict[bytes, Any], channel: bytes, message: bytes) -> int:
    count = _send(subscribers.get(channel, ()), [kind, channel, message])
    for pattern, receivers in server.psubscribers.items():
        if compile_glob(pattern).match(channel):
            count += _send(receivers, [b"pmessage", pattern, channel, message])
    return count


def _send(receivers: Iterable[Any], message: list[bytes]) -> int:
    sockets = list(receivers)
    for socket in sockets:
        socket.put_response(message)
    return len(sockets)
