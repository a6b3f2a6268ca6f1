"""Replies on the wire against those of redis-server, where it is installed: data/replies.txt over both protocols."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread
from tests.servers.ports import free_port

COMMANDS = (Path(__file__).with_name("data") / "replies.txt").read_text(encoding="utf-8").splitlines()

# What differs, and why; docs/embedded.md names it for users.
LEFT_OUT = {
    "OBJECT HELP": "help texts only list the subcommands",
    "XINFO HELP": "help texts only list the subcommands",
    "LOLWUT x": "there is no picture, and the version is another one",
}


class Server(NamedTuple):
    """The real server's port and version."""

    port: int
    version: tuple[int, ...]


# What Redis 7.0, which Debian has, answers in another way than 7.4, which the engine follows.
BEFORE_7_4 = {
    "ZRANGE z 0 -1 WITHSCORES": "scores have 17 digits",
    "ZRANGEBYSCORE z -inf +inf WITHSCORES": "scores have 17 digits",
    "ZSCAN z 0": "scores have 17 digits",
    "XREAD COUNT 1 STREAMS st 0 1": "the error names the command in capitals",
    "XREADGROUP GROUP g c STREAMS st 0 1": "the error names the command in capitals",
    "BLPOP nol inf": "the text of an error",
    "BLPOP nol 1e30": "the text of an error",
    "ZPOPMIN z": "scores have 17 digits",
    "ZPOPMAX z 2": "scores have 17 digits",
    "ZRANK z q WITHSCORE": "WITHSCORE came with 7.2",
    "ZRANK z nope WITHSCORE": "WITHSCORE came with 7.2",
    "bitcount l a b": "7.0 looks at the key first",
    "zrank s m foo": "WITHSCORE came with 7.2",
    "xsetid st 5-4": "7.0 looks at the last entry alone",
    "blpop s 0x7FFFFFFFFFFFFF": "the text of an error",
    "LPOS l c RANK -9223372036854775808": "7.0 takes it for a positive number",
}


@pytest.fixture(scope="module")
def real() -> Iterator[Server]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    process = subprocess.Popen([program, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        for _ in range(1000):
            try:
                info = client.info("server")
                break
            except redis.ConnectionError:
                time.sleep(0.01)
        else:
            raise AssertionError("redis-server does not start")
        assert info["process_id"] == process.pid, "the port belongs to another server, which must not be emptied"
        yield Server(port, tuple(map(int, info["redis_version"].split(".")[:2])))
    finally:
        process.terminate()
        process.wait()


class Wire:
    """One connection, whose replies keep all that the protocol says."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str) -> Any:
        parts = [word.encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
        return self._read()

    def _read(self) -> Any:
        line = self._file.readline()
        kind, text = line[:1], line[1:-2]
        if kind in (b"$", b"=") and text != b"-1":
            return kind, self._file.read(int(text) + 2)[:-2]
        if kind not in (b"*", b"%", b"~") or text == b"-1":
            return kind, text
        items = [self._read() for _ in range(int(text) * (2 if kind == b"%" else 1))]
        if kind == b"%":
            return kind, sorted(zip(items[::2], items[1::2], strict=True), key=str)
        return kind, sorted(items, key=str) if kind == b"~" else items

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_replies_are_those_of_redis(real: Server, protocol: str) -> None:
    different = {}
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        wires = [Wire(real.port), Wire(urlsplit(endpoint.url).port or 0)]
        try:
            for wire in wires:
                wire.ask("FLUSHALL")
                wire.ask("HELLO", protocol)
            for line in COMMANDS:
                theirs, ours = (wire.ask(*shlex.split(line)) for wire in wires)
                if theirs != ours:
                    different[line] = (theirs, ours)
        finally:
            for wire in wires:
                wire.close()
    named = LEFT_OUT if real.version >= (7, 4) else LEFT_OUT | BEFORE_7_4
    unexpected = {line: replies for line, replies in different.items() if line not in named}
    assert not unexpected, "\n".join(f"{line}\n  {theirs}\n  {ours}" for line, (theirs, ours) in unexpected.items())
    assert not sorted(set(named) - set(different))  # these no longer differ


# What Redis 7.0 says otherwise of a command than 7.4.
DESCRIBED_OTHERWISE = {
    "sinterstore": "its key spec",
    **dict.fromkeys(("zrank", "zrevrank", "command|getkeys", "command|getkeysandflags"), "the number of arguments"),
}


def flattened(infos: Any) -> dict[bytes, list[Any]]:
    """What COMMAND says of each command and subcommand, by its name."""
    found = {}
    for _, info in infos:
        found[info[0][1]] = info
        found.update(flattened(info[9][1]))
    return found


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_commands_are_described_as_redis_describes_them(real: Server, protocol: str) -> None:
    tables = []
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        for port in (real.port, urlsplit(endpoint.url).port or 0):
            wire = Wire(port)
            wire.ask("HELLO", protocol)
            tables.append(flattened(wire.ask("COMMAND")[1]))
            wire.close()
    theirs, ours = tables
    named = {} if real.version >= (7, 4) else DESCRIBED_OTHERWISE
    common = [name for name in theirs if name in ours and name.decode() not in named]
    assert len(common) > 300

    def described(info: list[Any]) -> str:
        # Without the notes that Redis has beside some: first in RESP2, last when sorted.
        specs = [spec[1][:3] if protocol == "3" else spec[1][-6:] for spec in info[8][1]]
        return f"keys {info[3:6]} {specs} arity {info[1]}"

    different = {name: (described(theirs[name]), described(ours[name])) for name in common}
    unexpected = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
    assert not unexpected
