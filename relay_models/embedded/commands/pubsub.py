"""`PubSubCommands`: PUBLISH and keyspace events, with patterns matched in linear time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fakeredis._socket._notifications import KEYSPACE_EVENT_NAMES

from relay_models.embedded.glob import compile_glob

__all__ = ["PubSubCommands"]


class PubSubCommands:
    """Mixed into the engine's sockets; fakeredis' own commands call these methods."""

    _server: Any
    _db_num: int

    def publish(self, channel: bytes, message: bytes) -> int:
        return self._deliver(b"message", self._server.subscribers, channel, message)

    def spublish(self, channel: bytes, message: bytes) -> int:
        receivers: Iterable[Any] = self._server.ssubscribers.get(channel, ())
        return _send(receivers, [b"smessage", channel, message])

    def _subscribe(self, channels: Iterable[bytes], subscribers: dict[bytes, Any], kind: bytes) -> Any:
        """SUBSCRIBE and its relatives, as fakeredis has them, but for patterns that would keep publishers waiting."""
        if kind == b"psubscribe":
            for pattern in channels:
                compile_glob(pattern)
        return super()._subscribe(channels, subscribers, kind)  # type: ignore[misc]

    def _deliver(self, kind: bytes, subscribers: dict[bytes, Any], channel: bytes, message: bytes) -> int:
        count = _send(subscribers.get(channel, ()), [kind, channel, message])
        for pattern, receivers in self._server.psubscribers.items():
            if compile_glob(pattern).match(channel):
                count += _send(receivers, [b"pmessage", pattern, channel, message])
        return count

    def _channels(self, subscribers: dict[bytes, Any], *patterns: bytes) -> list[bytes]:
        channels = [channel for channel, receivers in subscribers.items() if receivers]
        return [channel for channel in channels if compile_glob(patterns[0]).match(channel)] if patterns else channels

    def _keyspace_notifications(self, items: list[Any], event: bytes) -> None:
        server = self._server
        if not server.subscribers and not server.psubscribers:
            return
        event = KEYSPACE_EVENT_NAMES.get(event, event)
        for item in items:
            if item.is_modified:
                number = b"%d" % self._db_num
                self._deliver(b"message", server.subscribers, b"__keyspace@%s__:%s" % (number, item.key), event)
                self._deliver(b"message", server.subscribers, b"__keyevent@%s__:%s" % (number, event), item.key)


def _send(receivers: Iterable[Any], message: list[bytes]) -> int:
    sockets = list(receivers)
    for socket in sockets:
        socket.put_response(message)
    return len(sockets)
