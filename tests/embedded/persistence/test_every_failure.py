"""Each call to the operating system fails once: what is acknowledged was done once, the rest is undone, and said."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, FileUnavailableError

EVERY = int(os.environ.get("RELAY_MODELS_FAIL_EVERY", "4"))
"""Which of the calls fail: 1 for all of them."""

CALLS = ("open", "write", "ftruncate", "lseek", "fsync", "fstat", "unlink", "replace", "chmod")


class Failing:
    """Counts the calls, and lets one of them fail."""

    def __init__(self, number: int, code: int) -> None:
        self.left, self.code, self.failed = number, code, ""

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield

    def _wrapped(self, name: str, call: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                self.failed = name
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **options)

        return wrapped


def run(path: Path, done: dict[str, int], sync: Any) -> None:
    with EmbeddedServer(path, sync=sync) as server:
        client: Any = server.client(protocol=2, retry=None)
        commands = [("RPUSH", f"list:{number}", *range(3)) for number in range(4)]
        commands += [("INCRBY", f"n:{number}", 3) for number in range(3)]
        commands.insert(2, ("SET", "much", "x" * 300_000))
        for command in commands:
            try:
                client.execute_command(*command)
            except redis.ConnectionError:  # nothing of it was kept
                continue
            done[command[1]] = 300_000 if command[1] == "much" else 3


@pytest.mark.parametrize(("code", "sync"), [(errno.EIO, "process"), (errno.ENOSPC, "power")])
def test_what_is_acknowledged_was_done_once(tmp_path: Path, code: int, sync: str) -> None:
    failing, step = None, EVERY - 1
    while failing is None or failing.failed:
        path, done = tmp_path / f"{step}.db", dict[str, int]()
        failing = Failing(step, code)
        with failing(), contextlib.suppress(FileUnavailableError):
            run(path, done, sync)
        for _ in range(2):
            with EmbeddedServer(path) as server:
                client: Any = server.client(protocol=2, decode_responses=True)
                sizes = {"list": client.llen, "string": client.strlen}
                found = {key: sizes[client.type(key)](key) for key in client.keys("*")}
                found |= {key: int(client.get(key)) for key in found if key.startswith("n:")}
            assert found == done, (step, failing.failed)
        assert [name for name in os.listdir(tmp_path) if name.startswith(f"{step}.")] == [path.name], failing.failed
        step += EVERY
    assert step > 30
