"""`ConfigCommands`: CONFIG, with the settings of a Redis server, of which only a few have an effect here.

Clients and tools read and write settings routinely. So all settings of Redis 7.4 exist, with its defaults, and values
are checked as it checks them. A setting without an effect is kept and returned, nothing else.
"""

from __future__ import annotations

import re
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.commands.keyspace_events import event_classes, event_classes_text
from relay_models.embedded.glob import compile_glob
from relay_models.embedded.registry import ADMIN, command
from relay_models.embedded.search.arguments import Arguments
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.settings import CONFIG_NAMES

__all__ = ["ConfigCommands"]


def _read(text: str) -> dict[bytes, bytes]:
    pairs = (line.strip().partition("=") for line in text.replace(";", "\n").splitlines() if line.strip())
    return {name.encode(): value.encode() for name, _, value in pairs}


SETTINGS = _read("""
acl-pubsub-default=resetchannels; acllog-max-len=128; active-expire-effort=1; activedefrag=no; activerehashing=yes
always-show-logo=no; aof-load-truncated=yes; aof-rewrite-incremental-fsync=yes; aof-timestamp-enabled=no
aof-use-rdb-preamble=yes; appendfsync=everysec; appendonly=no; auto-aof-rewrite-min-size=67108864
auto-aof-rewrite-percentage=100; bind-source-addr=; busy-reply-threshold=5000
client-output-buffer-limit=normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60
client-query-buffer-limit=1073741824; crash-log-enabled=yes; disable-thp=yes; dynamic-hz=yes
hash-max-listpack-entries=512; hash-max-listpack-value=64; hash-max-ziplist-entries=512; hash-max-ziplist-value=64
hide-user-data-from-log=no; hll-sparse-max-bytes=3000; hz=10; latency-monitor-threshold=0
latency-tracking-info-percentiles=50 99 99.9; latency-tracking=yes; lazyfree-lazy-eviction=no; lazyfree-lazy-expire=no
lazyfree-lazy-server-del=no; lazyfree-lazy-user-del=no; lazyfree-lazy-user-flush=no; lfu-decay-time=1
lfu-log-factor=10; list-compress-depth=0; list-max-listpack-size=-2; list-max-ziplist-size=-2; loglevel=notice
lua-time-limit=5000; masterauth=; masteruser=; maxclients=10000; maxmemory-clients=0; maxmemory-eviction-tenacity=10
maxmemory-policy=noeviction; maxmemory-samples=5; maxmemory=0; min-replicas-max-lag=10; min-replicas-to-write=0
min-slaves-max-lag=10; min-slaves-to-write=0; no-appendfsync-on-rewrite=no; notify-keyspace-events=
oom-score-adj-values=0 200 800; oom-score-adj=no; propagation-error-behavior=ignore; protected-mode=yes
proto-max-bulk-len=536870912; rdb-del-sync-files=no; rdb-save-incremental-fsync=yes; rdbcompression=yes
repl-backlog-size=1048576; repl-backlog-ttl=3600; repl-disable-tcp-nodelay=no; repl-diskless-load=disabled
repl-diskless-sync-delay=5; repl-diskless-sync=yes; repl-ping-replica-period=10; repl-timeout=60
replica-announce-ip=; replica-announce-port=0; replica-announced=yes; replica-ignore-maxmemory=yes
replica-lazy-flush=no; replica-priority=100; replica-read-only=yes; replica-serve-stale-data=yes; requirepass=
sanitize-dump-payload=no; save=; set-max-intset-entries=512; set-max-listpack-entries=128; set-max-listpack-value=64
shutdown-on-sigint=default; shutdown-on-sigterm=default; shutdown-timeout=10; slave-priority=100; slave-read-only=yes
slave-serve-stale-data=yes; slowlog-log-slower-than=10000; slowlog-max-len=128; stop-writes-on-bgsave-error=yes
stream-node-max-bytes=4096; stream-node-max-entries=100; tcp-keepalive=300; timeout=0; tracking-table-max-keys=1000000
zset-max-listpack-entries=128; zset-max-listpack-value=64; zset-max-ziplist-entries=128; zset-max-ziplist-value=64
""")
"""The settings that CONFIG SET can change, with their defaults."""

FIXED = _read("""
aclfile=; appenddirname=appendonlydir; appendfilename=appendonly.aof; bind=127.0.0.1; cluster-enabled=no; daemonize=no
databases=16; dbfilename=dump.rdb; dir=; io-threads=1; logfile=; pidfile=; rdbchecksum=yes; replicaof=; slaveof=
supervised=no; syslog-enabled=no; tcp-backlog=511; unixsocket=; unixsocketperm=0
""")
"""The settings that only the start of a server can change."""

CHOICES = {
    b"appendfsync": ("everysec", "always", "no"),
    b"loglevel": ("debug", "verbose", "notice", "warning", "nothing"),
    b"maxmemory-policy": (
        "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
        "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction",
    ),
}  # fmt: skip

_UNITS = {b"": 1, b"b": 1, b"k": 1000, b"kb": 1024, b"m": 10**6, b"mb": 2**20, b"g": 10**9, b"gb": 2**30}
_IN_BYTES = frozenset((
    b"auto-aof-rewrite-min-size", b"client-query-buffer-limit", b"hll-sparse-max-bytes", b"maxmemory",
    b"maxmemory-clients", b"proto-max-bulk-len", b"repl-backlog-size", b"stream-node-max-bytes",
))  # fmt: skip
_EVENTS = b"notify-keyspace-events"
_SIZE = re.compile(rb"([0-9]+)([a-z]*)\Z")
_NUMBER = re.compile(rb"-?[0-9]+\Z")


def _checked(name: bytes, value: bytes) -> bytes:
    """A value as it is kept. Raises `ValueError` with the reason where it is invalid."""
    if name in CHOICES:
        choices = CHOICES[name]
        if value.lower().decode("utf-8", "replace") not in choices:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(choices)}")
        return value.lower()
    if name == _EVENTS:
        event_classes(value)
    default = SETTINGS[name]
    if default in (b"yes", b"no") and name not in (b"oom-score-adj", b"sanitize-dump-payload"):
        if value.lower() not in (b"yes", b"no"):
            raise ValueError("argument must be 'yes' or 'no'")
        return value.lower()
    if not _NUMBER.match(default):
        return value
    size = _SIZE.match(value.lower()) if name in _IN_BYTES else None
    if size is not None and size[2] in _UNITS:
        return b"%d" % (int(size[1]) * _UNITS[size[2]])
    if not _NUMBER.match(value):
        memory = name in _IN_BYTES
        raise ValueError("argument must be a memory value" if memory else "argument couldn't be parsed into an integer")
    return b"%d" % int(value)


def _failed(name: bytes, reason: object) -> SimpleError:
    text = name.decode("utf-8", "replace")
    return SimpleError(f"ERR CONFIG SET failed (possibly related to argument '{text}') - {reason}")


class ConfigCommands:
    """Mixed into the engine's sockets."""

    _server: Any

    @command("config get", fixed=(bytes,), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_config_get(self, *patterns: bytes) -> dict[bytes, bytes]:
        known = {**FIXED, **SETTINGS, **self._server.config, b"port": b"%d" % (self._server.port or 0)}
        if self._server.engine is not None:
            settings = self._server.engine.settings.by_config_name()
            known |= {name.encode(): value.encode() for name, value in settings.items()}
        known[_EVENTS] = event_classes_text(known[_EVENTS])
        expressions = [compile_glob(pattern.lower()) for pattern in patterns]
        return {name: value for name, value in known.items() if any(e.match(name) for e in expressions)}

    @command("config set", fixed=(bytes, bytes), repeat=(bytes, bytes), flags=msgs.FLAG_NO_SCRIPT)
    def engine_config_set(self, *words: bytes) -> SimpleString:
        changes: dict[bytes, bytes] = {}
        searching: dict[bytes, bytes] = {}
        for name, value in zip(words[::2], words[1::2], strict=True):
            key = name.lower()
            if key in changes or key in searching:
                raise _failed(name, "duplicate parameter")
            if key in FIXED or key == b"port":
                raise _failed(name, "can't set immutable config")
            if key.decode("utf-8", "replace") in CONFIG_NAMES and self._server.engine is not None:
                searching[key] = value
            elif key in SETTINGS:
                try:
                    changes[key] = _checked(key, value)
                except ValueError as reason:
                    raise _failed(name, reason) from None
            else:
                text = name.decode("utf-8", "replace")
                raise SimpleError(f"ERR Unknown option or number of arguments for CONFIG SET - '{text}'")
        for name, value in searching.items():
            try:
                self._server.engine.settings.set(CONFIG_NAMES[name.decode()].encode(), Arguments([value]))
            except SearchError as reason:
                raise _failed(name, reason) from None
        self._server.config.update(changes)
        return OK

    @command("config resetstat", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_config_resetstat(self) -> SimpleString:
        self._server.commands = 0
        return OK

    @command("config rewrite", flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_config_rewrite(self) -> SimpleString:
        return OK
