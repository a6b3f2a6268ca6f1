"""Real servers for what goes wrong: a plain Redis without modules, reached by TCP, TLS and a unix socket."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.servers.ports import free_port


@dataclass
class PlainRedis:
    """A running redis-server without modules."""

    port: int
    tls_port: int
    socket: Path
    certificate: Path
    process: subprocess.Popen[bytes]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    certificate, key = directory / "localhost.crt", directory / "localhost.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="session")
def start_plain_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PlainRedis]]:
    """Starts a plain redis-server with further options; it is stopped at the end of the session."""
    if not shutil.which("redis-server") or not shutil.which("openssl"):
        pytest.skip("needs redis-server and openssl (Debian: apt install redis-server openssl)")
    started: list[PlainRedis] = []

    def start(*options: str) -> PlainRedis:
        directory = tmp_path_factory.mktemp("redis")
        certificate, key = make_certificate(directory)
        port, tls_port, path = free_port(), free_port(), directory / "redis.sock"
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        command += ["--unixsocket", str(path), "--tls-port", str(tls_port), "--tls-auth-clients", "no"]
        command += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        process.stdout.close()
        here = PlainRedis(port, tls_port, path, certificate, process)
        started.append(here)
        return here

    yield start
    for server in started:
        server.process.terminate()
        server.process.wait()


@pytest.fixture(scope="session")
def plain_redis(start_plain_redis: Callable[..., PlainRedis]) -> PlainRedis:
    """A plain redis-server with the users ``default``, ``alice`` (password ``s3cret/@``) and ``nobody`` (no rights)."""
    server = start_plain_redis()
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL SETUSER", "alice", "on", ">s3cret/@", "~*", "+@all")
        client.execute_command("ACL SETUSER", "nobody", "on", ">hidden-word", "~*", "-@all", "+@connection", "+hello")
    return server
