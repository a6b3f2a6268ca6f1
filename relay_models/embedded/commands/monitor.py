"""`MonitorCommands`: MONITOR, which shows a client every command that is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.commands.permissions import categories_of
from relay_models.embedded.registry import ADMIN, command

__all__ = ["MonitorCommands", "shown_words"]

_ESCAPES: Final = {
    **{byte: b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte for byte in range(256)},
    ord("\\"): b"\\\\",
    ord('"'): b'\\"',
    10: b"\\n",
    13: b"\\r",
    9: b"\\t",
    7: b"\\a",
    8: b"\\b",
}


_SECRET_SETTINGS: Final = frozenset(
    (b"requirepass", b"masterauth", b"masteruser", b"tls-key-file-pass", b"tls-client-key-file-pass")
)


def shown_words(name: str, words: Sequence[bytes]) -> list[bytes]:
    """The words of a request as others may see them, without passwords."""
    hidden: Iterable[int] = ()
    if name == "auth":
        hidden = range(1, len(words))
    elif name == "acl setuser":
        hidden = range(2, len(words))
    elif name == "config set":
        hidden = [at for at in range(3, len(words), 2) if words[at - 1].lower() in _SECRET_SETTINGS]
    elif name == "hello":
        first = next((at for at, word in enumerate(words) if word.lower() == b"auth"), len(words))
        hidden = range(first + 1, first + 3)
    return [b"(redacted)" if at in hidden else word for at, word in enumerate(words)]


class MonitorCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _db_num: int
    _in_transaction: bool

    @command("monitor", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_monitor(self) -> SimpleString:
        if self._in_transaction:
            raise SimpleError("ERR MONITOR isn't allowed for DENY BLOCKING client")
        self._server.monitors.add(self)
        return OK

    def refuse_monitor(self, name: str) -> None:
        """Refuse a command on keys: who watches all commands runs none of these."""
        if self in self._server.monitors and not categories_of(name).isdisjoint((b"@read", b"@write")):
            raise SimpleError("ERR Replica can't interact with the keyspace")

    def show_to_monitors(self, name: str, words: Sequence[bytes], from_script: bool) -> None:
        """Tell those who watch of a command that was run."""
        if b"@admin" in categories_of(name):
            return
        texts = (b"".join(map(_ESCAPES.__getitem__, word)) for word in shown_words(name, words))
        quoted = b" ".join(b'"%b"' % text for text in texts)
        client = "lua" if from_script else self._client_info["addr"]
        seconds, micros = divmod(self._server.clock.now(), 1_000_000)
        line = b"%d.%06d [%d %b] %b" % (seconds, micros, self._db_num, client.encode(), quoted)
        for socket in list(self._server.monitors):
            socket.put_response(socket._decode_result(SimpleString(line)))
