"""A Redis Cluster for drills: primaries and replicas that are killed, paused, promoted and resharded."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from tests.servers.ports import free_port
from tests.servers.sentinels import wait_until

__all__ = ["ClusterSetup"]

_SLOTS = 16384


class ClusterSetup:
    """Primaries with equal ranges of slots, each with a number of replicas; a context manager that stops them.

    Args:
        directory: where they keep their files.
        primaries: how many primaries.
        replicas: how many replicas each of them has.
        command: the command that starts a server, without port and directory.
        environment: its environment.
        options: further options of the servers.
    """

    def __init__(
        self,
        directory: Path,
        primaries: int = 3,
        replicas: int = 0,
        *,
        command: Sequence[str] = ("redis-server",),
        environment: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._command = command
        self._environment = environment
        self._options = options
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        # Where each server talks to the others; the same after a restart, so that a whole cluster finds itself again.
        self._bus_ports: dict[int, int] = {}
        self.primaries = [free_port() for _ in range(primaries)]
        self.replicas = {port: [free_port() for _ in range(replicas)] for port in self.primaries}

    @property
    def ports(self) -> list[int]:
        """The ports of all servers."""
        return [*self.primaries, *(port for ports in self.replicas.values() for port in ports)]

    @property
    def url(self) -> str:
        """The URL of the store on the cluster."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.primaries)

    def __enter__(self) -> ClusterSetup:
        try:
            for port in self.ports:
                self.start(port)
            first, *others = self.ports
            for number, port in enumerate(self.primaries):
                begin = number * _SLOTS // len(self.primaries)
                end = (number + 1) * _SLOTS // len(self.primaries) - 1
                self.run(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                self.run(port, "CLUSTER", "ADDSLOTSRANGE", begin, end)
            for port in others:
                self.meet(port, first)
            wait_until(lambda: all(self.is_known_by(port, len(self.ports)) for port in self.ports))
            for primary, replicas in self.replicas.items():
                for port in replicas:
                    wait_until(lambda port=port, primary=primary: self.replicate(port, primary))
            wait_until(self.is_ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def start(self, port: int) -> None:
        """Start a server; one that was started before knows the cluster still."""
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        bus_port = self._bus_ports.setdefault(port, free_port())
        command = [*self._command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        command += ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(bus_port)]
        command += ["--repl-diskless-sync-delay", "0", *self._options]
        with (self._directory / f"{port}.log").open("ab") as log:
            environment = dict(os.environ) if self._environment is None else self._environment
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
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

    def client(self, port: int) -> Any:
        """A client of one server."""
        return redis.Redis(port=port, socket_timeout=3, decode_responses=True)

    def run(self, port: int, *command: Any) -> Any:
        """Send a command to one server."""
        with self.client(port) as client:
            return client.execute_command(*command)

    def meet(self, port: int, other: int) -> None:
        """Introduce a server to the cluster of another one."""
        bus = next(line for line in self._nodes(other) if "myself" in line).split(" ")[1].partition("@")[2]
        self.run(port, "CLUSTER", "MEET", "127.0.0.1", other, bus.partition(",")[0])

    def add(self) -> int:
        """Start a primary without slots and let it join; returns its port."""
        port = free_port()
        self.start(port)
        self.meet(port, self.primaries[0])
        self.primaries.append(port)
        self.replicas[port] = []
        wait_until(lambda: all(self.is_known_by(each, len(self.ports)) for each in self.ports))
        wait_until(self.is_ready)
        return port

    def id_of(self, port: int) -> str:
        """The id of a node."""
        return str(self.run(port, "CLUSTER", "MYID"))

    def replicate(self, port: int, primary: int) -> bool:
        """Make a server a replica."""
        return bool(self.run(port, "CLUSTER", "REPLICATE", self.id_of(primary)))

    def move_slot(self, slot: int, source: int, target: int) -> None:
        """Move a slot with its keys, as ``redis-cli --cluster reshard`` does."""
        self.run(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.run(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        while keys := self.run(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.run(source, "MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys)
        for port in (target, source):
            self.run(port, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def fail_over(self, replica: int) -> None:
        """Promote a replica cleanly, and wait until it is the primary."""
        self.run(replica, "CLUSTER", "FAILOVER")
        wait_until(lambda: self.run(replica, "ROLE")[0] == "master")

    def is_known_by(self, port: int, nodes: int) -> bool:
        """Whether a node knows all the others."""
        return len([line for line in self._nodes(port) if "handshake" not in line]) == nodes

    def is_ready(self) -> bool:
        """Whether all nodes that run say that the cluster works, with their replicas in step."""
        for port in self._processes:
            if "cluster_state:ok" not in self.run(port, "CLUSTER", "INFO"):
                return False
        roles = [self.run(port, "ROLE") for port in self._processes]
        followed = [len(role[2]) for role in roles if role[0] == "master"]
        return sum(followed) == len(roles) - len(followed)

    def _nodes(self, port: int) -> list[str]:
        with self.client(port) as client:
            reply = client.connection_pool.get_connection()
            try:
                reply.send_command("CLUSTER", "NODES")
                return str(reply.read_response()).splitlines()
            finally:
                client.connection_pool.release(reply)
