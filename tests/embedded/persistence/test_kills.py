"""Mixed writes, in process and served, ended by a signal at any moment: what was acknowledged is there, no more."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer
from tests.embedded.persistence.mixed_writes import check, contents, run

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")

ROUNDS = int(os.environ.get("RELAY_MODELS_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("RELAY_MODELS_KILL_SEED", "1"))

WRITER = """
import os, sys, threading
from tests.embedded.persistence.mixed_writes import run
from relay_models.embedded import EmbeddedServer

server = EmbeddedServer(sys.argv[1])
seed = int(sys.argv[2])
for name in sys.argv[3:]:
    told = f"{name}\\n".encode()
    threading.Thread(target=run, args=(server.client(), seed, name, lambda told=told: os.write(1, told))).start()
"""


def in_process(path: Path, seed: int, names: list[str], seconds: float, number: int) -> Counter[str]:
    """Let a process write for a while and end it; how many steps of each worker were acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path), str(seed), *names]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert process.stdout is not None
    read = process.stdout.readline()
    time_up = threading.Timer(seconds, process.send_signal, (number,))
    time_up.start()
    read += process.stdout.read()
    time_up.join()
    process.stdout.close()
    process.wait()
    return Counter(read.decode().split())


SERVER = """
import sys
from relay_models.embedded import serve
serve(sys.argv[1], port=0, ready=lambda endpoint: print(endpoint.port, flush=True))
"""


def served(path: Path, seed: int, names: list[str], seconds: float, number: int) -> Counter[str]:
    """The same over TCP, where the server is ended and the clients are not."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    done: Counter[str] = Counter()
    lock = threading.Lock()

    def acknowledge(name: str) -> None:
        with lock:
            done[name] += 1

    def work(name: str) -> None:
        # No second try: what was sent again would be there twice.
        client: Any = redis.Redis(port=port, protocol=3, retry=None)
        run(client, seed, name, lambda: acknowledge(name))
        client.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    threading.Event().wait(seconds)
    process.send_signal(number)
    for thread in threads:
        thread.join()
    process.stdout.close()
    assert process.wait() == (0 if number == signal.SIGTERM else -number)
    return done


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("way", [in_process, served])
def test_what_was_acknowledged_is_there_and_nothing_else(tmp_path: Path, way: Any, number: int) -> None:
    path = tmp_path / "state.db"
    rng = random.Random(SEED)
    before: dict[str, Any] = {}
    for turn in range(ROUNDS):
        names = [f"w{turn}{letter}" for letter in "abc"]
        done = way(path, SEED, names, rng.choice((0.01, 0.1, 0.4)) * rng.random() + 0.005, number)
        with EmbeddedServer(path) as server:
            client = server.client()
            for name, state in before.items():
                assert contents(client, name) == state
            for name in names:
                before[name] = check(client, SEED, name, done[name])
