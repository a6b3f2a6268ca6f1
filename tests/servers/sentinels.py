"""A primary, its replicas and three sentinels, for drills: failover by command, and a primary that is killed."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.servers import redis_stack
from tests.servers.ports import free_port

__all__ = ["SERVICE", "SentinelSetup", "free_port", "wait_until"]

SERVICE = "mymaster"
# How long a primary is silent before the sentinels take it for dead (milliseconds).
_DOWN_AFTER_MS = 1000


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until `condition` gives something true without a connection error, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} was not met in {seconds} s")
        time.sleep(0.02)


class SentinelSetup:
    """One primary, `replicas` replicas and three sentinels; a context manager that stops all of them.

    Args:
        directory: where they keep their files.
        replicas: how many replicas.
        command: the command that starts a data server, without port and directory.
        environment: its environment.
        options: further options of the data servers.
        sentinel_options: further lines of the sentinels' configuration.
    """

    def __init__(
        self,
        directory: Path,
        replicas: int = 1,
        *,
        command: Sequence[str] = ("redis-server",),
        environment: dict[str, str] | None = None,
        options: Sequence[str] = (),
        sentinel_options: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._command = command
        self._environment = environment
        self._options = options
        self._sentinel_options = sentinel_options
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = [free_port() for _ in range(replicas + 1)]
        self.sentinel_ports = [free_port() for _ in range(3)]

    @property
    def url(self) -> str:
        """The URL of the store behind the sentinels."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.sentinel_ports)}/{SERVICE}"

    def __enter__(self) -> SentinelSetup:
        primary, *replicas = self.ports
        try:
            self.start(primary)
            for port in replicas:
                self.start(port, "--replicaof", "127.0.0.1", str(primary))
            wait_until(lambda: len(self.client(primary).role()[2]) == len(replicas))
            for port in self.sentinel_ports:
                self._start_sentinel(port, primary)
            for port in self.sentinel_ports:
                wait_until(lambda port=port: self._is_ready(port, len(replicas)))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def start(self, port: int, *options: str) -> None:
        """Start a data server."""
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        command = [*self._command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        command += ["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb", *self._options, *options]
        self._run(port, command)
        wait_until(self.client(port).ping)

    def kill(self, port: int) -> None:
        """Kill a server, as ``kill -9`` does."""
        process = self._processes.pop(port)
        process.kill()
        process.wait()

    def pause(self, port: int) -> None:
        """Stop a server without ending it."""
        self._processes[port].send_signal(signal.SIGSTOP)

    def resume(self, port: int) -> None:
        """Let a paused server go on."""
        self._processes[port].send_signal(signal.SIGCONT)

    def primary(self) -> int:
        """The port of the primary, as the newest configuration of a sentinel says it."""
        states = [self.client(port).sentinel_master(SERVICE) for port in self.sentinel_ports]
        return int(max(states, key=lambda state: int(state["config-epoch"]))["port"])

    def fail_over(self) -> None:
        """Ask for a clean failover; it takes a second or so."""
        self.client(self.sentinel_ports[0]).execute_command("SENTINEL", "FAILOVER", SERVICE)

    def settle(self) -> None:
        """Wait until the primary has all other running servers as its replicas, and the sentinels know it."""
        running = [port for port in self.ports if port in self._processes]
        wait_until(lambda: len(self.client(self.primary()).role()[2]) == len(running) - 1, 60)

    def client(self, port: int) -> Any:
        """A client of one server."""
        return redis.Redis(port=port, socket_timeout=2, decode_responses=True)

    def _is_ready(self, port: int, replicas: int) -> bool:
        state = self.client(port).sentinel_master(SERVICE)
        return state["num-slaves"] == replicas and state["num-other-sentinels"] == 2

    def _start_sentinel(self, port: int, primary: int) -> None:
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        configuration = directory / "sentinel.conf"
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {directory}",
            *(line for line in self._sentinel_options if "{service}" not in line),
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 5000",
            *(line.format(service=SERVICE) for line in self._sentinel_options if "{service}" in line),
        ]
        configuration.write_text("\n".join(lines) + "\n")
        server = shutil.which("redis-server")
        assert server is not None
        self._run(port, [server, str(configuration), "--sentinel"], plain=True)

    def _run(self, port: int, command: Sequence[str], *, plain: bool = False) -> None:
        with (self._directory / f"{port}.log").open("ab") as log:
            environment = dict(os.environ) if plain or self._environment is None else self._environment
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def main() -> None:
    """Run Redis Stack 7.4 with a replica behind three sentinels until it is stopped; prints the two URLs when ready."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    command, environment = redis_stack.bare_command(redis_stack.unpack())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with (
        tempfile.TemporaryDirectory() as directory,
        SentinelSetup(Path(directory), 1, command=command, environment=environment) as setup,
    ):
        print(f"redis://127.0.0.1:{setup.primary()} {setup.url}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
