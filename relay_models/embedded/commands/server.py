"""`ServerCommands`: commands about the server and its keyspace that fakeredis lacks or does inefficiently."""

from __future__ import annotations

import copy
import hmac
import os
import sqlite3
import sys
import zlib
from collections.abc import Sequence
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import DbIndex, Int, Timeout
from fakeredis._commands import Key
from fakeredis._core import CommandItem, Item
from fakeredis._helpers import OK, SimpleError, SimpleString, casematch
from fakeredis.model import (
    ExpiringMembersSet,
    Hash,
    StreamEntryKey,
    XStream,
    ZSet,
)

from relay_models.embedded.commands.command_table import command_names, describe_command
from relay_models.embedded.commands.module import MODULES
from relay_models.embedded.commands.permissions import categories_of
from relay_models.embedded.commands.streams import is_stream_id
from relay_models.embedded.glob import Matcher, compile_glob
from relay_models.embedded.json.value import JsonDocument
from relay_models.embedded.persistence.database import FileDatabase
from relay_models.embedded.persistence.encoding import dump, kind_code, load
from relay_models.embedded.registry import ADMIN, command

__all__ = ["REDIS_VERSION", "ServerCommands", "is_int64"]

REDIS_VERSION = "8.0.2"
DUMP_MAGIC = b"relay-models 1\n"
_SMALLER = "ERR The ID specified in XSETID is smaller"

CLUSTER_QUESTIONS = (
    "countkeysinslot", "getkeysinslot", "info", "keyslot", "links", "myid", "myshardid", "nodes", "shards", "slots",
)  # fmt: skip
CLUSTER_CHANGES = (
    "addslots", "addslotsrange", "bumpepoch", "count-failure-reports", "delslots", "delslotsrange", "failover",
    "flushslots", "forget", "meet", "replicas", "replicate", "reset", "saveconfig", "set-config-epoch", "setslot",
    "slaves",
)  # fmt: skip

ENCODINGS: dict[type, bytes] = {
    list: b"quicklist",
    Hash: b"hashtable",
    ExpiringMembersSet: b"hashtable",
    ZSet: b"skiplist",
    XStream: b"stream",
    JsonDocument: b"raw",
}


SMALL_LIMITS: dict[type, int] = {list: 8192, Hash: 128, ExpiringMembersSet: 128, ZSet: 128}
"""Up to how many elements, for lists bytes, Redis keeps a value in one piece of memory."""


def _encoding(value: Any) -> bytes:
    """How Redis would have stored a value that was made at once."""
    kind, most = type(value), SMALL_LIMITS[type(value)]
    if kind is list:
        return b"listpack" if sum(map(len, value)) + 11 * len(value) <= most else ENCODINGS[kind]
    if kind is ExpiringMembersSet and len(value) <= 512 and all(map(is_int64, value)):
        return b"intset"
    parts = [part for pair in value.items() for part in pair] if kind is Hash else list(value)
    if len(value) > most or any(len(part) > 64 for part in parts):
        return ENCODINGS[kind]
    return b"listpackex" if kind is Hash and value._expirations else b"listpack"


def is_int64(text: bytes) -> bool:
    """Whether a text is what a number of 64 bits is written as."""
    digits = text[1:] if text[:1] == b"-" else text
    return digits.isdigit() and len(digits) < 20 and str(int(text)).encode() == text and -(2**63) <= int(text) < 2**63


class ServerCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _db: Any
    _db_num: int
    _logged_in = False
    _words: Sequence[bytes]

    # The keyspace

    @command("scan", fixed=(Int,), repeat=(bytes,))
    def engine_scan(self, cursor: int, *args: bytes) -> Any:
        if cursor < 0:
            raise SimpleError("ERR invalid cursor")
        if not isinstance(self._db, FileDatabase):
            return self._scan(self._db, cursor, *args)
        pattern: Matcher[bytes] | None = None
        kind: bytes | None = None
        count = 10
        words = iter(args)
        for word in words:
            value = next(words, None)
            if value is None:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
            if casematch(word, b"match"):
                pattern = compile_glob(value)
            elif casematch(word, b"type"):
                kind = value.lower()
            elif casematch(word, b"count"):
                count = Int.decode(value)
                if count < 1:
                    raise SimpleError(msgs.SYNTAX_ERROR_MSG)
            else:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        following, found = self._db.scan(cursor, count)
        if pattern is not None:
            found = [key for key in found if pattern.match(key)]
        if kind is not None:
            found = [key for key in found if self._type_name(key).lower() == kind]
        return [b"%d" % following, found]

    def keys(self, pattern: bytes) -> list[bytes]:
        """KEYS, as fakeredis declares it."""
        matches = compile_glob(pattern).match
        return [key for key in self._db if pattern == b"*" or matches(key)]

    def _scan(self, keys: Any, cursor: int, *args: bytes, scanned_key: bytes | None = None) -> list[Any]:
        """What fakeredis' SCAN, HSCAN, SSCAN and ZSCAN give, with patterns matched in linear time."""
        others: list[bytes] = []
        matches = None
        for at in range(0, len(args), 2):
            if casematch(args[at], b"match") and at + 1 < len(args):
                matches = compile_glob(args[at + 1]).match
            else:
                others += args[at : at + 2]
                if casematch(args[at], b"count") and at + 1 < len(args) and Int.decode(args[at + 1]) < 1:
                    raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        following, found = super()._scan(keys, cursor, *others, scanned_key=scanned_key)  # type: ignore[misc]
        if matches is not None:
            found = [each for each in found if matches(each.encode() if isinstance(each, str) else each)]
        return [following, found]

    def _type_name(self, key: bytes) -> bytes:
        item = self._db.get(key)
        if item is None:
            return b"none"
        name: bytes = self._key_value_type(item).value  # type: ignore[attr-defined]
        return name

    @command("copy", fixed=(Key(), Key()), repeat=(bytes,))
    def engine_copy(self, key: CommandItem, newkey: CommandItem, *args: bytes) -> int:
        target, replace = self._db_num, False
        words = iter(args)
        for word in words:
            if casematch(word, b"replace"):
                replace = True
            elif casematch(word, b"db"):
                target = DbIndex.decode(next(words, b""))
            else:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if key.key == newkey.key and target == self._db_num:
            raise SimpleError(msgs.SRC_DST_SAME_MSG)
        database = self._server.dbs[target]
        if key.value is None or (newkey.key in database and not replace):
            return 0
        # A deep copy: two keys that shared one value would change together.
        item = Item(copy.deepcopy(key.value))
        expires: Any = key.expireat
        item.expireat = expires
        database[newkey.key] = item
        database.notify_watch(newkey.key)
        return 1

    @command("blmove", fixed=(bytes, bytes, bytes, bytes, bytes), keys=(0, 1))
    def engine_blmove(self, source: bytes, target: bytes, wherefrom: bytes, whereto: bytes, timeout: bytes) -> Any:
        ends = [end.lower() for end in (wherefrom, whereto)]
        if not set(ends) <= {b"left", b"right"}:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)

        def move(first_pass: bool) -> bytes | None:
            moved: list[bytes] | None = self._blmovem_pass(  # type: ignore[attr-defined]
                source, target, ends[0] == b"left", ends[1] == b"left", False, 1, True, first_pass
            )
            return moved[0] if moved else None

        return self._blocking(Timeout.decode(timeout), move)  # type: ignore[attr-defined]

    @command(
        "xsetid",
        fixed=(Key(XStream), bytes),
        repeat=(bytes,),
        flags=msgs.FLAG_DO_NOT_CREATE,
        categories="@write @stream @fast",
    )
    def engine_xsetid(self, key: CommandItem, last_id: bytes, *args: bytes) -> SimpleString:
        last = _stream_id(last_id)
        added: int | None = None
        deleted: StreamEntryKey | None = None
        words = iter(args)
        for word in words:
            value = next(words, None)
            if value is not None and casematch(word, b"entriesadded"):
                added = Int.decode(value)
                if added < 0:
                    raise SimpleError("ERR entries_added must be positive")
            elif value is not None and casematch(word, b"maxdeletedid"):
                deleted = _stream_id(value)
                if last < deleted:
                    raise SimpleError(f"{_SMALLER} than the provided max_deleted_entry_id")
            else:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if key.value is None:
            raise SimpleError(msgs.NO_KEY_MSG)
        stream: Any = key.value
        if deleted is None and last < stream._max_deleted_id:
            raise SimpleError(f"{_SMALLER} than current max_deleted_entry_id")
        if len(stream):
            if last < stream._ids[-1]:
                raise SimpleError(f"{_SMALLER} than the target stream top item")
            if added is not None and added < len(stream):
                raise SimpleError("ERR The entries_added specified in XSETID is smaller than the target stream length")
        stream._last_id = last
        stream._entries_added = stream._entries_added if added is None else added
        if deleted is not None and deleted != StreamEntryKey(0, 0):
            stream._max_deleted_id = deleted
        key.updated()
        return OK

    @command("dump", fixed=(Key(missing_return=None),))
    def engine_dump(self, key: CommandItem) -> bytes:
        if kind_code(key.value) is None:
            raise SimpleError("ERR a value of this type cannot be dumped")
        packed = DUMP_MAGIC + dump(key.value)
        return packed + zlib.crc32(packed).to_bytes(4, "big")

    @command("restore", fixed=(Key(), bytes, bytes), repeat=(bytes,))
    def engine_restore(self, key: CommandItem, milliseconds: bytes, payload: bytes, *args: bytes) -> SimpleString:
        replace = absolute = False
        words = iter(args)
        for word in words:
            if casematch(word, b"replace"):
                replace = True
            elif casematch(word, b"absttl"):
                absolute = True
            elif casematch(word, b"idletime") or casematch(word, b"freq"):
                next(words, None)
            else:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if key.value is not None and not replace:
            raise SimpleError(msgs.RESTORE_KEY_EXISTS)
        ttl = Int.decode(milliseconds)
        if ttl < 0:
            raise SimpleError(msgs.RESTORE_INVALID_TTL_MSG)
        packed, checksum = payload[:-4], payload[-4:]
        if not packed.startswith(DUMP_MAGIC) or zlib.crc32(packed).to_bytes(4, "big") != checksum:
            raise SimpleError(msgs.RESTORE_INVALID_CHECKSUM_MSG)
        try:
            key.value = load(packed[len(DUMP_MAGIC) :])
        except ValueError:
            raise SimpleError("ERR Bad data format") from None
        if ttl:
            key.expireat = ttl / 1000 if absolute else self._db.time + ttl / 1000
        return OK

    # Information about the server

    @command("hello", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_hello(self, *args: bytes) -> dict[str, Any]:
        protocol = self._client_info["resp"]
        words = iter(args)
        version = next(words, None)
        if version is not None:
            if version not in (b"2", b"3"):
                raise SimpleError("NOPROTO unsupported protocol version")
            protocol = int(version)
        name: bytes | None = None
        for word in words:
            if casematch(word, b"auth"):
                self._login(next(words, b""), next(words, b""))
            elif casematch(word, b"setname"):
                name = next(words, b"")
            else:
                raise SimpleError(f"ERR Syntax error in HELLO option '{word.decode('utf-8', 'replace')}'")
        if self._needs_login():
            raise SimpleError(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH"
                " <user> <pass> option can be used to authenticate the client and select the RESP protocol version at"
                " the same time"
            )
        if name is not None:
            self._client_info["name"] = name.decode("utf-8", "replace")
        self._client_info["resp"] = protocol
        return {
            "server": "redis",
            "version": REDIS_VERSION,
            "proto": protocol,
            "id": self._client_info.get("id", 1),
            "mode": "standalone",
            "role": "master",
            "modules": [{"name": name, "ver": version, "path": b"", "args": []} for name, version in MODULES],
        }

    def _needs_login(self) -> bool:
        """Whether this connection must log in first. Connections within the process never have to."""
        return False

    def _login(self, user: bytes, password: bytes) -> None:
        """Check a login; raises the error for a wrong one."""
        required = self._server.config.get(b"requirepass", b"")
        if user == b"default" and required:
            right = hmac.compare_digest(required, password) and self._server.acl.users[user].enabled
        else:
            right = self._server.acl.get_user_acl(user).check_password(password)
        if not right:
            client: bytes = self.described()  # type: ignore[attr-defined]
            self._server.acl.add_log_record(b"auth", b"toplevel", self._words[0], user, client)
            raise SimpleError(msgs.AUTH_FAILURE)
        self._client_info["user"] = user.decode()
        self._logged_in = True

    @command("time")
    def engine_time(self) -> list[bytes]:
        # fakeredis tells the machine's time, which may go back.
        seconds, micros = divmod(self._server.clock.now(), 1_000_000)
        return [b"%d" % seconds, b"%d" % micros]

    @command("info", repeat=(bytes,), categories="@slow @dangerous")
    def engine_info(self, *sections: bytes) -> bytes:
        wanted = {section.decode("utf-8", "replace").lower() for section in sections}
        with_modules = bool(wanted & {"all", "everything", "modules"})
        everything = not wanted or bool(wanted & {"all", "default", "everything"})
        lines: list[str] = []
        for title, facts in self._facts().items():
            module, _, _ = title.partition("_")
            if module == "search":
                shown = with_modules or not wanted.isdisjoint((module, title))
            else:
                shown = everything or title.lower() in wanted
            if shown:
                lines += [f"# {title}", *(f"{name}:{value}" for name, value in facts), ""]
        return "\r\n".join(lines).encode()

    def _facts(self) -> dict[str, list[tuple[str, Any]]]:
        server = self._server
        times = os.times()
        uptime = int(server.clock.read() - server.started)
        keyspace = [
            (f"db{number}", f"keys={len(database)},expires={database.count_expiring()},avg_ttl=0")
            for number, database in sorted(server.dbs.items())
            if len(database)
        ]
        return {
            "Server": [
                ("redis_version", REDIS_VERSION),
                ("redis_mode", "standalone"),
                ("os", sys.platform),
                ("arch_bits", 64 if sys.maxsize > 2**32 else 32),
                ("process_id", os.getpid()),
                ("tcp_port", server.port or 0),
                ("uptime_in_seconds", uptime),
                ("uptime_in_days", uptime // 86400),
                ("engine", "relay_models.embedded"),
                ("sqlite_version", sqlite3.sqlite_version),
            ],
            "Clients": [
                ("connected_clients", len(server.sockets)),
                ("maxclients", server.config.get(b"maxclients", b"10000").decode()),
                ("blocked_clients", len(server.blocked)),
                ("tracking_clients", len(server.tracking.clients)),
                ("pubsub_clients", sum(socket._pubsub > 0 for socket in server.sockets)),
                ("watching_clients", sum(bool(socket._watches) for socket in server.sockets)),
            ],
            "Memory": [("used_memory", 0), ("used_memory_human", "0B"), ("maxmemory", 0)],
            "Persistence": [("loading", 0), ("aof_enabled", 0), ("rdb_last_save_time", server.lastsave)],
            "Stats": [
                ("total_connections_received", server._next_client_id - 1),
                ("total_commands_processed", server.commands),
            ],
            "Replication": [("role", "master"), ("connected_slaves", 0), ("master_repl_offset", 0)],
            "CPU": [
                ("used_cpu_sys", f"{times.system:.6f}"),
                ("used_cpu_user", f"{times.user:.6f}"),
                ("used_cpu_sys_children", f"{times.children_system:.6f}"),
                ("used_cpu_user_children", f"{times.children_user:.6f}"),
            ],
            "Cluster": [("cluster_enabled", 0)],
            "Modules": [
                ("module", f"name={name.decode()},ver={version},api=1,filters=0,usedby=[],using=[],options=[]")
                for name, version in MODULES
            ],
            "Keyspace": keyspace,
            "search_version": [("search_version", _dotted(dict(MODULES)[b"search"]))],
            "search_index": [("search_number_of_indexes", len(server.engine.names))],
        }

    @command("command info", repeat=(bytes,))
    def engine_command_info(self, *names: bytes) -> list[Any]:
        if not names:
            return self.engine_command()
        return [describe_command(name.decode("utf-8", "replace").lower()) for name in names]

    @command("command count")
    def engine_command_count(self) -> int:
        return len(command_names())

    @command("command list", repeat=(bytes,), categories="@connection @slow")
    def engine_command_list(self, *args: bytes) -> list[bytes]:
        names = command_names(subcommands=True)
        if not args:
            return names
        if len(args) != 3 or not casematch(args[0], b"filterby"):
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        kind, value = args[1].lower(), args[2]
        if kind == b"module":
            starts = {b"search": b"ft.", b"rejson": b"json."}.get(value.lower())
            return [name for name in names if starts is not None and name.lower().startswith(starts)]
        if kind == b"aclcat":
            wanted = b"@" + value.lower()
            return [name for name in names if wanted in categories_of(name.decode().lower().replace("|", " "))]
        if kind == b"pattern":
            expression = compile_glob(value.lower())
            return [name for name in names if expression.match(name.lower())]
        raise SimpleError(msgs.SYNTAX_ERROR_MSG)

    @command("command docs", repeat=(bytes,), categories="@connection @slow")
    def engine_command_docs(self, *names: bytes) -> dict[bytes, Any]:
        return {}

    @command("command")
    def engine_command(self) -> list[Any]:
        return [describe_command(name.decode().lower()) for name in command_names()]

    @command("object encoding", fixed=(Key(missing_return=None),), categories="@keyspace @read @slow")
    def engine_object_encoding(self, key: CommandItem) -> bytes:
        value = key.value
        if type(value) in SMALL_LIMITS:
            return _encoding(value)
        if type(value) is not bytes:
            return ENCODINGS.get(type(value), b"raw")
        digits = value[1:] if value[:1] == b"-" else value
        if digits.isdigit() and str(int(value)).encode() == value and len(value) < 20:
            return b"int"
        return b"embstr" if len(value) <= 44 else b"raw"

    @command("object refcount", fixed=(Key(missing_return=None),), categories="@keyspace @read @slow")
    def engine_object_refcount(self, key: CommandItem) -> int:
        return 1

    @command("object idletime", fixed=(Key(missing_return=None),), categories="@keyspace @read @slow")
    def engine_object_idletime(self, key: CommandItem) -> int:
        return 0

    @command("memory usage", fixed=(Key(),), repeat=(bytes,), categories="@read @slow")
    def engine_memory_usage(self, key: CommandItem, *args: bytes) -> int | None:
        if args and (len(args) != 2 or not casematch(args[0], b"samples") or Int.decode(args[1]) < 0):
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if key.value is None:
            return None
        return 64 + len(key.key) + (len(dump(key.value)) if kind_code(key.value) is not None else 0)

    @command("asking", "readonly", "readwrite", categories="@connection @fast")
    def engine_not_in_cluster(self) -> None:
        self.engine_no_cluster()

    @command(*(f"cluster {name}" for name in CLUSTER_QUESTIONS), repeat=(bytes,), categories="@slow")
    @command(*(f"cluster {name}" for name in CLUSTER_CHANGES), repeat=(bytes,), categories=ADMIN)
    def engine_no_cluster(self, *args: bytes) -> Any:
        raise SimpleError("ERR This instance has cluster support disabled")

    @command("auth", fixed=(bytes,), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_auth(self, *args: bytes) -> SimpleString:
        if len(args) > 2:
            raise SimpleError(msgs.WRONG_ARGS_MSG6.format("auth"))
        if len(args) == 1 and not self._server.login_required:
            raise SimpleError(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your"
                " configuration is correct?"
            )
        self._login(args[0] if len(args) == 2 else b"default", args[-1])
        return OK

    @command("shutdown", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_shutdown(self, *args: bytes) -> SimpleString:
        stop = self._server.on_shutdown
        if stop is None:
            raise SimpleError("ERR SHUTDOWN is for a served engine; this one belongs to its process")
        stop()
        return OK

    @command("bgrewriteaof", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_bgrewriteaof(self) -> SimpleString:
        # The file is written as soon as anything changes, so there is nothing to rewrite.
        return SimpleString(b"Background append only file rewriting started")

    @command("role", categories="@admin @fast @dangerous")
    def engine_role(self) -> list[Any]:
        return [b"master", 0, []]

    @command("wait", fixed=(Int, Int), categories="@slow @blocking @connection")
    def engine_wait(self, replicas: int, timeout: int) -> int:
        if timeout < 0:
            raise SimpleError(msgs.TIMEOUT_NEGATIVE_MSG)
        return 0


def _stream_id(text: bytes) -> StreamEntryKey:
    if not is_stream_id(text):
        raise SimpleError(msgs.XADD_INVALID_ID)
    return StreamEntryKey.parse_str(text)


def _dotted(version: int) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
