"""`ClientCommands`: CLIENT, and commands about replication, logs and statistics that the engine does not have."""

from __future__ import annotations

from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import OK, SimpleError, SimpleString, casematch

from relay_models.embedded.commands.bitmaps import bitfield_steps
from relay_models.embedded.registry import ADMIN, command

__all__ = ["ClientCommands"]

CONNECTION = "@connection @slow"
CLIENT_TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")
_CLIENT_FIELDS: Final[dict[str, object]] = dict.fromkeys(
    (
        "id", "addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "ssub", "multi", "watch",
        "qbuf", "qbuf-free", "argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll", "omem", "tot-mem", "events", "cmd",
        "user", "redir", "resp", "lib-name", "lib-ver",
    ),
    0,
) | {"fd": 8, "events": "r", "redir": -1, "lib-name": "", "lib-ver": ""}  # fmt: skip
"""What CLIENT LIST tells of a connection, in Redis's order."""


class ClientCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _db_num: int
    _pubsub: int
    _logged_in: bool
    _blocked: bool
    _transaction: list[Any] | None
    _watches: set[Any]

    # Connections

    def client_setinfo(self, option: bytes, value: bytes) -> SimpleString:
        """CLIENT SETINFO, as fakeredis declares it, for names of one word."""
        name = option.decode("utf-8", "replace")
        if option.lower() not in (b"lib-name", b"lib-ver"):
            raise SimpleError(f"ERR Unrecognized option '{name}'")
        if not all(b"!"[0] <= each <= b"~"[0] for each in value):
            raise SimpleError(f"ERR {name} cannot contain spaces, newlines or special characters.")
        result: SimpleString = super().client_setinfo(option, value)  # type: ignore[misc]
        return result

    def described(self) -> bytes:
        """This connection as a line of CLIENT LIST."""
        info, server, queued = self._client_info, self._server, self._transaction
        kinds = (server.subscribers, server.psubscribers, server.ssubscribers)
        sub, psub, ssub = (sum(self in sockets for sockets in kind.values()) for kind in kinds)
        tracked = server.tracking.clients.get(self)
        states = (
            ("O", self in server.monitors), ("P", sub or psub or ssub), ("x", queued is not None),
            ("t", tracked), ("R", tracked and tracked.is_broken), ("B", tracked and tracked.broadcast),
        )  # fmt: skip
        flags = "".join(letter for letter, holds in (*states, ("b", self._blocked)) if holds)
        own = info.get("flags", "N").replace("N", "")
        known = {
            "db": self._db_num,
            "flags": flags + own or "N",
            "sub": sub,
            "psub": psub,
            "ssub": ssub,
            "multi": -1 if queued is None else len(queued),
            "watch": len(self._watches),
            "redir": -1 if tracked is None else tracked.redirect,
        }
        fields = {**_CLIENT_FIELDS, **dict(info.items()), **known}
        return " ".join(f"{name}={value}" for name, value in fields.items()).encode()

    @command("client list", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_client_list(self, *args: bytes) -> bytes:
        wanted: bytes | None = None
        numbers: set[int] | None = None
        if args and casematch(args[0], b"type") and len(args) == 2:
            wanted = args[1].lower()
            if wanted not in CLIENT_TYPES:
                raise SimpleError(f"ERR Unknown client type '{args[1].decode('utf-8', 'replace')}'")
        elif args and casematch(args[0], b"id") and len(args) > 1:
            numbers = {Int.decode(arg, "ERR Invalid client ID") for arg in args[1:]}
        elif args:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        lines = []
        for socket in list(self._server.sockets):
            if numbers is not None and socket._client_info["id"] not in numbers:
                continue
            if wanted is not None and wanted != (b"pubsub" if socket._pubsub else b"normal"):
                continue
            lines.append(socket.described() + b"\n")
        return b"".join(lines)

    @command("client info", flags=msgs.FLAG_NO_SCRIPT)
    def engine_client_info(self) -> bytes:
        return self.described() + b"\n"

    @command("client getname", flags=msgs.FLAG_NO_SCRIPT)
    def engine_client_getname(self) -> bytes | None:
        name: str = self._client_info.get("name", "")
        return name.encode() or None

    @command("reset", flags=msgs.FLAG_NO_SCRIPT + msgs.FLAG_TRANSACTION)
    def engine_reset(self) -> Any:
        # RESET also ends the login.
        self._logged_in = False
        self._server.monitors.discard(self)
        self._server.tracking.forget(self)
        return self.reset()  # type: ignore[attr-defined]

    # Statistics, which are always empty

    @command("latency latest", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_no_records(self) -> list[Any]:
        return []

    @command("latency history", fixed=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_latency_history(self, event: bytes) -> list[Any]:
        return []

    @command("latency reset", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_latency_reset(self, *events: bytes) -> int:
        return 0

    @command("memory purge", flags=msgs.FLAG_NO_SCRIPT, categories="@slow")
    def engine_nothing_kept(self) -> SimpleString:
        return OK

    @command("replicaof", "slaveof", fixed=(bytes, bytes), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_replicaof(self, host: bytes, port: bytes) -> SimpleString:
        if casematch(host, b"no") and casematch(port, b"one"):
            return OK
        raise SimpleError("ERR replication is not supported by the embedded engine; use a Redis server for it")

    # What fakeredis lacks, or does differently

    @command("bitfield_ro", fixed=(Key(bytes),), repeat=(bytes,), categories="@bitmap @fast @read")
    def engine_bitfield_ro(self, key: CommandItem, *args: bytes) -> Any:
        steps, _ = bitfield_steps(args)
        if any(kind != b"get" for kind, *_ in steps):
            raise SimpleError("ERR BITFIELD_RO only supports the GET subcommand")
        return self.bitfield(key, *args)  # type: ignore[attr-defined]
