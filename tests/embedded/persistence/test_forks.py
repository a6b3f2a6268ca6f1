"""After a fork the child touches nothing of the parent's store."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from relay_models.embedded import EmbeddedServer
from tests.embedded.persistence.processes import python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORK = """
import gc, os, signal, sys, threading
from relay_models.embedded import EmbeddedServer

path, way, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
server = EmbeddedServer(path)
client = server.client()
client.set("before", "x" * size)
if way == "a lock is held":
    # As by a thread that runs a command at the moment of the fork.
    server._state.lock.acquire()
child = os.fork()
if child == 0:
    status = 0
    if way == "close":
        client.close()
        server.close()
        server.close()
    elif way == "drop":
        del client, server
        gc.collect()
    elif way == "with":
        with server:
            pass
    elif way == "use":
        for use in (lambda: client.get("before"), lambda: server.client().set("a", "1")):
            try:
                use()
                status = 3
            except Exception as error:
                status = status if "open another one after a fork" in str(error) else 4
        try:
            EmbeddedServer(path)
            status = 5
        except BlockingIOError:
            pass
    elif way == "a lock is held":
        server.close()
    elif way == "grandchild":
        if os.fork() == 0:
            server.close()
            sys.exit()
        os.wait()
        server.close()
    sys.exit(status)  # not os._exit: the interpreter deletes every object
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if way == "a lock is held":
    server._state.lock.release()
for number in range(10):
    client.set(f"after{number}", "x" * size)
print("done", flush=True)
if len(sys.argv) == 4:
    os.kill(os.getpid(), signal.SIGKILL)
server.close()
"""

WAYS = ["close", "drop", "with", "use", "exit", "a lock is held", "grandchild"]


CASES = [(way, 1, ()) for way in WAYS] + [("close", 300_000, ()), ("drop", 300_000, ()), ("drop", 1, ("closed",))]


@pytest.mark.parametrize(("way", "size", "end"), CASES)
def test_what_the_parent_acknowledges_afterwards_is_there(tmp_path: Path, way: str, size: int, end: tuple[str]) -> None:
    path = tmp_path / "x.db"
    assert python(FORK, path, way, size, *end, check=bool(end)).split()[-1:] == ["done"]
    with EmbeddedServer(path) as server:
        assert server.client().dbsize() == 11
    assert os.listdir(tmp_path) == ["x.db"]


BACKEND = """
import multiprocessing, sys
from relay_models.sync import RedisBackend

def work(backend):
    try:
        backend.list_runs("a")
    except Exception as error:
        assert type(error).__name__ == "StorageError" and "open another one after a fork" in str(error), error
        assert "server running" not in str(error), error
    else:
        raise SystemExit(3)
    backend.close()

backend = RedisBackend.embedded(sys.argv[1])
process = multiprocessing.get_context("fork").Process(target=work, args=(backend,))
process.start()
process.join(60)
assert process.exitcode == 0, process.exitcode
assert backend.list_runs("a") == []
backend.close()
print("done")
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="forks are not safe there")
def test_a_backend_in_a_worker_says_so(tmp_path: Path) -> None:
    assert python(BACKEND, tmp_path / "x.db").split() == ["done"]
