"""A process killed between any two steps of opening, writing and closing leaves a file with everything."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EVERY = int(os.environ.get("RELAY_MODELS_KILL_EVERY", "5"))
"""Which of the steps are tried: 1 for all of them."""

# What changes a file, or hands something to SQLite that does.
STEPS = {"open", "write", "ftruncate", "fsync", "unlink", "replace", "execute", "executemany", "executescript", "close"}
STEPS |= {"connect", "flock", "chmod", "lseek"}


def run(path: Path, acknowledge: Callable[[bytes], Any]) -> None:
    with EmbeddedServer(path) as server:
        client: Any = server.client(protocol=2)
        if b"idx" not in client.execute_command("FT._LIST"):
            schema = "$.a AS a TAG"
            client.execute_command(*f"FT.CREATE idx ON JSON PREFIX 1 x: SCHEMA {schema}".split())
        for number in range(int(client.get("turn") or 0), 2):
            client.set("turn", number)
            acknowledge(b"turn")
            client.execute_command("JSON.SET", f"x:{number}", "$", '{"a": "b"}')
            acknowledge(b"x:%d" % number)
            client.rpush(f"list:{number}", *range(10))
            acknowledge(b"list:%d" % number)


def killed_at(step: int, path: Path) -> tuple[bool, set[bytes]]:
    """Run in a child that dies before the given step. Returns whether it lived, and what was acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        left = step

        def count(_: Any, event: str, function: Any) -> None:
            nonlocal left
            if event == "c_call" and function.__name__ in STEPS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:

            def acknowledge(key: bytes) -> None:
                sys.setprofile(None)
                os.write(writing, key + b"\n")
                sys.setprofile(count)

            sys.setprofile(count)
            run(path, acknowledge)
            sys.setprofile(None)
            os._exit(0)
        except BaseException:
            sys.setprofile(None)
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        acknowledged = set(file.read().split())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code == 0, acknowledged


@pytest.mark.parametrize("start", ["no file", "an empty file", "a file", "after a kill"])
def test_everything_acknowledged_is_there(tmp_path: Path, start: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    known: set[bytes] = set()
    if start == "an empty file":
        (model / "x.db").touch()
    elif start == "a file":
        with EmbeddedServer(model / "x.db") as server:
            server.client().set("before", "1")
        known = {b"before"}
    elif start == "after a kill":
        _, known = killed_at(110, model / "x.db")
    lived, step = False, 0
    while not lived:
        folder = tmp_path / str(step)
        shutil.copytree(model, folder)
        path = folder / "x.db"
        lived, acknowledged = killed_at(step, path)
        for _ in range(2):
            with EmbeddedServer(path) as server:
                client: Any = server.client(protocol=2)
                keys = set(client.keys())
                assert acknowledged | known <= keys, step
                if client.execute_command("FT._LIST"):
                    found = client.execute_command("FT.SEARCH", "idx", "*", "NOCONTENT")[1:]
                    assert set(found) == {key for key in keys if key.startswith(b"x:")}, step
                assert all(client.llen(key) == 10 for key in keys if key.startswith(b"list:"))
        assert os.listdir(folder) == ["x.db"]
        shutil.rmtree(folder)
        step += EVERY
    assert step > 50
