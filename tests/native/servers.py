"""Servers that a test may fill, kill and start again: Debian's redis-server, and this library's own `serve`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.servers.ports import free_port

__all__ = ["PlainRedis", "Served", "Server", "need_redis_server"]


def need_redis_server() -> None:
    """Skip where there is no redis-server; in CI that is a failure."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to install redis-server")
        pytest.skip("needs redis-server (Debian: apt install redis-server)")


class Server:
    """A server in a directory of its own, on a port that stays the same when it is started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.directory)
        log.close()
        deadline = time.monotonic() + 60
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=10, **options)  # type: ignore[arg-type]

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class PlainRedis(Server):
    """A redis-server without modules, which loses nothing that it has acknowledged."""

    def command(self) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
        ]


class Served(Server):
    """An embedded store in a file, served over TCP by the command line."""

    def command(self) -> list[str]:
        path = self.directory / "store.db"
        script = "from relay_models.cli import main; main()"
        return [sys.executable, "-c", script, "serve", "--path", str(path), "--port", str(self.port)]
