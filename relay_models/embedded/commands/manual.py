"""`ManualCommands`: HELP, LOLWUT and MEMORY's reports, which people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import SUPPORTED_COMMANDS
from fakeredis._helpers import SimpleError, SimpleString, casematch

from relay_models.embedded.commands.server import REDIS_VERSION
from relay_models.embedded.registry import ADMIN, COMMANDS, command

__all__ = ["ManualCommands"]


class ManualCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _words: Sequence[bytes]

    @command(
        *(f"{name} help" for name in ("cluster", "config", "latency", "memory", "module", "slowlog")),
        categories="@slow",
    )
    @command("client help", "command help", categories="@slow @connection")
    @command("object help", categories="@slow @keyspace")
    @command("xgroup help", "xinfo help", categories="@slow @stream")
    def engine_help(self) -> list[SimpleString]:
        name = self._words[0].decode().upper()
        known = [each.upper().split() for each in {*COMMANDS, *SUPPORTED_COMMANDS}]
        words = sorted(words[1] for words in known if words[0] == name and words[1:] not in ([], ["HELP"]))
        first = f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        lines = [first, *words, "HELP", "    Print this help."]
        return [SimpleString(line.encode()) for line in lines]

    @command("lolwut", repeat=(bytes,), categories="@fast @read")
    def engine_lolwut(self, *args: bytes) -> bytes:
        if len(args) > 1 and casematch(args[0], b"version"):
            Int.decode(args[1])
        return f"Redis ver. {REDIS_VERSION}\n".encode()

    @command("memory doctor", flags=msgs.FLAG_NO_SCRIPT, categories="@slow")
    def engine_memory_doctor(self) -> bytes:
        return b"The memory of this server is that of its process, of which it knows no problem."

    @command("latency doctor", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_latency_doctor(self) -> bytes:
        return b"This server does not watch latencies. Its slow log has the commands that took long."

    @command("latency graph", fixed=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_latency_graph(self, event: bytes) -> None:
        raise SimpleError(f"ERR No samples available for event '{event.decode('utf-8', 'replace')}'")

    @command("memory malloc-stats", categories="@slow")
    def engine_memory_malloc_stats(self) -> bytes:
        return b"Stats not supported for the current allocator"

    @command("memory stats", categories="@slow")
    def engine_memory_stats(self) -> dict[str, Any]:
        """What is known of it: how many keys there are. As in INFO, sizes are 0."""
        databases = {number: database for number, database in sorted(self._server.dbs.items()) if len(database)}
        unknown = (
            *("peak.allocated", "total.allocated", "startup.allocated", "replication.backlog", "clients.slaves"),
            *("clients.normal", "cluster.links", "aof.buffer", "lua.caches", "functions.caches"),
        )
        allocator = ("allocator-fragmentation", "allocator-rss", "rss-overhead")
        per_database = {"overhead.hashtable.main": 0, "overhead.hashtable.expires": 0}
        return {
            **dict.fromkeys(unknown, 0),
            **{f"db.{number}": dict(per_database) for number in databases},
            "overhead.total": 0,
            "keys.count": sum(map(len, databases.values())),
            "keys.bytes-per-key": 0,
            "dataset.bytes": 0,
            "dataset.percentage": 0.0,
            "peak.percentage": 0.0,
            **dict.fromkeys(("allocator.allocated", "allocator.active", "allocator.resident"), 0),
            **{f"{name}.{unit}": zero for name in allocator for unit, zero in (("ratio", 0.0), ("bytes", 0))},
            "fragmentation": 0.0,
            "fragmentation.bytes": 0,
        }
