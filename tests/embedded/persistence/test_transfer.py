"""Dumps: every type, there and back, between engines and, where one is given, a real server; damaged ones are told."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, TransferError, dump, restore


def fill(client: Any) -> None:
    client.set("t:bytes", b"\xff\x00x")
    client.set("t:text é\n", "täxt")
    client.set("t:empty", "")
    client.set("t:expiring", "1", pxat=4_000_000_000_000)
    client.rpush("t:list", *range(1234))
    client.hset("t:hash", mapping={str(n): n for n in range(700)})
    client.hpexpireat("t:hash", 4_000_000_000_000, "5")
    client.sadd("t:set", *range(1000), b"\xfe")
    client.zadd("t:zset", {str(n): n / 3 for n in range(600)})
    client.zadd("t:zset", {"high": float("inf"), "low": float("-inf")})
    for n in range(20):
        client.xadd("t:stream", {"f": f"v{n}"}, id=f"{n + 1}-1")
    client.xdel("t:stream", "20-1", "3-1")
    client.xgroup_create("t:stream", "group", "0")
    client.xreadgroup("group", "consumer", {"t:stream": ">"}, count=5)
    client.xack("t:stream", "group", "1-1")
    client.xadd("t:emptied", {"a": "b"}, id="1-1")
    client.xdel("t:emptied", "1-1")
    client.execute_command("JSON.SET", "t:json", "$", '{"a":[1,2.5,1e-7,"é"],"big":18446744073709551615}')
    client.execute_command("JSON.SET", "t:text", "$", '"text"')


def state(client: Any) -> dict[bytes, Any]:
    held: dict[bytes, Any] = {}
    for key in sorted(client.scan_iter("t:*")):
        kind = client.type(key)
        if kind == b"stream":
            info = client.xinfo_stream(key)
            content: Any = [
                client.xrange(key),
                [info[name] for name in ("last-generated-id", "entries-added", "max-deleted-entry-id")],
                client.xinfo_groups(key),
                client.xpending_range(key, "group", "-", "+", 10) if client.xinfo_groups(key) else None,
            ]
            for entry in content[3] or ():
                entry.pop("time_since_delivered")
        else:
            read = {
                b"string": client.get,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"hash": lambda key: (client.hgetall(key), client.hpexpiretime(key, "5", "6")),
                b"set": client.smembers,
                b"zset": lambda key: [list(pair) for pair in client.zrange(key, 0, -1, withscores=True)],
                b"ReJSON-RL": lambda key: client.execute_command("JSON.GET", key, "$"),
            }[kind]
            content = read(key)
        held[key] = (kind, content, client.pexpiretime(key))
    return held


@pytest.fixture
def target(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path / "target.db") as server:
        yield server


@pytest.mark.parametrize("name", ["dump.jsonl", "dump.jsonl.gz"])
def test_every_type_there_and_back(
    server: EmbeddedServer, target: EmbeddedServer, protocol: int, tmp_path: Path, name: str
) -> None:
    client = server.client(protocol=protocol)
    fill(client)
    report = dump(client, tmp_path / name)
    assert (report.keys, report.left_out) == (12, [])
    there = target.client(protocol=protocol)
    assert restore(there, tmp_path / name).keys == 12
    assert state(there) == state(client)
    with pytest.raises(TransferError, match="exists already"):
        restore(there, tmp_path / name)
    assert restore(there, tmp_path / name, replace=True).keys == 12
    assert state(there) == state(client)


@pytest.mark.real_server
def test_to_a_real_server_and_back(server: EmbeddedServer, protocol: int, tmp_path: Path) -> None:
    real = redis.Redis.from_url(os.environ["RELAY_MODELS_TEST_REDIS_URL"], protocol=protocol)
    try:
        client = server.client(protocol=protocol)
        fill(client)
        dump(client, tmp_path / "out.jsonl")
        restore(real, tmp_path / "out.jsonl", replace=True)
        assert state(real) == state(client)
        dump(real, tmp_path / "back.jsonl", match="t:*")
        client.flushall()
        restore(client, tmp_path / "back.jsonl")
        assert state(client) == state(real)
    finally:
        for key in real.scan_iter("t:*"):
            real.delete(key)
        real.close()


def test_only_what_fits_the_pattern(server: EmbeddedServer) -> None:
    client = server.client(decode_responses=True)
    client.mset({"a:1": "1", "b:1": "2"})
    out = io.BytesIO()
    assert dump(client, out, match="a:*").keys == 1
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[1] == {"key": "a:1", "type": "string", "value": "1"}
    assert lines[2] == {"end": True, "keys": 1}


def test_keys_that_expired_since_are_left_out(server: EmbeddedServer) -> None:
    text = b'{"format":"relay-models-dump","version":1}\n' + b"".join(
        json.dumps({"key": f"k{n}", "type": "string", "value": "x", "expires": when}).encode() + b"\n"
        for n, when in enumerate((1000, 4_000_000_000_000))
    )
    report = restore(server.client(), io.BytesIO(text + b'{"end":true,"keys":2}\n'))
    assert (report.keys, report.expired) == (1, 1)
    assert server.client().keys() == [b"k1"]


HEADER = b'{"format":"relay-models-dump","version":1}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a dump"),
        (b'{"some":"json"}\n', "not a dump"),
        (b"\x00\x01", "damaged"),
        (b'{"format":"relay-models-dump","version":9}\n', "version 9"),
        (HEADER, "incomplete"),
        (HEADER + b'{"key":"a","type":"string","value":"1"}\n', "incomplete"),
        (HEADER + b'{"key":"a","type":"string","val', "damaged"),
        (HEADER + b'{"key":"a","type":"string"}\n', "cannot be read"),
        (HEADER + b'{"key":5,"type":"string","value":"1"}\n', "text was expected"),
        (HEADER + b'{"key":"a","type":"alien","value":"1"}\n', "alien"),
        (HEADER + b'{"key":"a","type":"list","value":["1"],"part":1}\n', "out of order"),
        (HEADER + b'{"end":true,"keys":3}\n', "3 keys"),
        (HEADER + b"[]\n", "not an object"),
    ],
)
def test_damaged_dumps_are_reported(content: bytes, message: str) -> None:
    with EmbeddedServer() as server, pytest.raises(TransferError, match=message):
        restore(server.client(), io.BytesIO(content))


def test_an_incomplete_compressed_dump_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "dump.gz"
    with EmbeddedServer() as server:
        server.client().set("a", os.urandom(5000))
        dump(server.client(), path)
        assert gzip.decompress(path.read_bytes()).startswith(b'{"format":"relay-models-dump"')
        os.truncate(path, path.stat().st_size // 2)
        server.client().flushall()
        with pytest.raises(TransferError, match="damaged"):
            restore(server.client(), path)


def test_types_of_other_modules(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        client = server.client()
        client.execute_command("TDIGEST.CREATE", "digest")
        client.set("a", "1")
        with pytest.raises(TransferError, match="digest"):
            dump(client, tmp_path / "dump.jsonl")
        assert os.listdir(tmp_path) == []
        report = dump(client, tmp_path / "dump.jsonl", leave_out_unknown=True)
        assert report.keys == 1
        assert [key for key, _ in report.left_out] == [b"digest"]


@pytest.fixture
def one() -> Iterator[Any]:
    with EmbeddedServer() as server:
        client = server.client()
        client.set("a", "1")
        yield client


def content(path: Path) -> list[Any]:
    raw = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(raw) if path.name.endswith(".gz") else raw).splitlines()]


@pytest.mark.parametrize("name", ["dump.jsonl", "dump.jsonl.gz"])
@pytest.mark.parametrize("there", [False, True])
def test_links_are_followed(one: Any, tmp_path: Path, name: str, there: bool) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / name, tmp_path / f"link-{name}"
    if there:
        real.write_text("old")
    link.symlink_to(real)
    dump(one, link)
    assert link.is_symlink()
    assert content(real)[-1] == {"end": True, "keys": 1}
    assert os.listdir(tmp_path / "folder") == [name]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_files_permissions_and_names_stay(one: Any, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text("x" * 10_000)
    path.chmod(mode)
    dump(one, path)
    assert path.stat().st_mode & 0o777 == mode
    os.link(path, tmp_path / "other.jsonl")
    one.set("b", "2")
    dump(one, path)
    assert path.samefile(tmp_path / "other.jsonl")
    assert content(path)[-1] == {"end": True, "keys": 2}
    assert sorted(os.listdir(tmp_path)) == ["dump.jsonl", "other.jsonl"]


def test_a_new_dump_is_for_its_owner_alone(one: Any, tmp_path: Path) -> None:
    dump(one, tmp_path / "dump.jsonl")
    assert (tmp_path / "dump.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_pipes_and_devices_are_written(one: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    dump(one, fifo)
    assert json.loads(os.read(reading, 65536).splitlines()[-1]) == {"end": True, "keys": 1}
    os.close(reading)
    assert fifo.is_fifo()
    (tmp_path / "null").symlink_to("/dev/null")
    dump(one, tmp_path / "null")
    dump(one, "/dev/null")
    assert Path("/dev/null").is_char_device()
    reading, writing = os.pipe()
    dump(one, f"/dev/fd/{writing}")
    assert json.loads(os.read(reading, 65536).splitlines()[-1]) == {"end": True, "keys": 1}
    os.close(reading)
    os.close(writing)


def test_errors_name_the_file_that_was_given_and_leave_it(one: Any, tmp_path: Path) -> None:
    for name in ("missing/dump.jsonl", "."):
        with pytest.raises(OSError, match=r".") as caught:
            dump(one, tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    path = tmp_path / "dump.jsonl"
    path.write_text("old")
    one.execute_command("TDIGEST.CREATE", "digest")
    with pytest.raises(TransferError):
        dump(one, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["dump.jsonl"]


def test_replacing_keeps_what_was_there_until_the_new_value_is_whole(tmp_path: Path) -> None:
    """As when the process is killed in between: the connection ends before the last part of a key."""
    with EmbeddedServer() as server:
        client: Any = server.client()
        client.rpush("list", *range(2000))
        client.execute_command("JSON.SET", "json", "$", "1")
        dump(client, tmp_path / "dump.jsonl")
        client.delete("list", "json")
        client.rpush("list", "old")
        client.set("json", "old", px=10**6)
        lines = (tmp_path / "dump.jsonl").read_bytes().splitlines(keepends=True)
        first = next(at for at, line in enumerate(lines) if b'"part":1' in line)
        with pytest.raises(TransferError, match="incomplete"):
            restore(client, io.BytesIO(b"".join(lines[: first + 1])), replace=True)
        assert client.lrange("list", 0, -1) == [b"old"]
        assert restore(client, tmp_path / "dump.jsonl", replace=True).keys == 2
        assert client.llen("list") == 2000
        assert client.execute_command("JSON.GET", "json") == b"1"
        assert client.pttl("json") == -1
