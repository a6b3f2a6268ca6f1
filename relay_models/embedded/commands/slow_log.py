"""`SlowLog`: the commands that took long, and `SlowLogCommands`, which show them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.commands.config import SETTINGS
from relay_models.embedded.registry import ADMIN, command, subcommand_error

__all__ = ["SlowLog", "SlowLogCommands"]

# How much of a command is kept: its words, and bytes of each.
MAX_WORDS: Final = 32
MAX_WORD: Final = 128


class SlowLog:
    """The last commands that took longer than the settings allow, the latest first.

    Args:
        config: The settings that were changed.
    """

    def __init__(self, config: Mapping[bytes, bytes]) -> None:
        self._config = config
        self._count = 0
        self.entries: deque[list[Any]] = deque()

    def _setting(self, name: bytes) -> int:
        return int(self._config.get(name, SETTINGS[name]))

    @property
    def threshold(self) -> int:
        """How long a command may take, in microseconds; negative for any time."""
        return self._setting(b"slowlog-log-slower-than")

    def add(self, now: int, micros: int, words: Sequence[bytes], address: bytes, name: bytes) -> None:
        """Keep a command that took `micros` and ended at `now` (seconds)."""
        kept = [_shortened(word) for word in words[: MAX_WORDS - (len(words) > MAX_WORDS)]]
        if len(words) > MAX_WORDS:
            kept.append(b"... (%d more arguments)" % (len(words) - MAX_WORDS + 1))
        self.entries.appendleft([self._count, now, micros, kept, address, name])
        self._count += 1
        while len(self.entries) > self._setting(b"slowlog-max-len"):
            self.entries.pop()


def _shortened(word: bytes) -> bytes:
    return word if len(word) <= MAX_WORD else b"%b... (%d more bytes)" % (word[:MAX_WORD], len(word) - MAX_WORD)


class SlowLogCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _words: Sequence[bytes]

    @command("slowlog get", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_slowlog_get(self, *args: bytes) -> list[list[Any]]:
        if len(args) > 1:
            raise subcommand_error(self._words)
        too_low = "ERR count should be greater than or equal to -1"
        count = Int.decode(args[0], too_low) if args else 10
        if count < -1:
            raise SimpleError(too_low)
        entries = list(self._server.slow_log.entries)
        return entries if count == -1 else entries[:count]

    @command("slowlog len", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_slowlog_length(self) -> int:
        return len(self._server.slow_log.entries)

    @command("slowlog reset", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_slowlog_reset(self) -> SimpleString:
        self._server.slow_log.entries.clear()
        return OK
