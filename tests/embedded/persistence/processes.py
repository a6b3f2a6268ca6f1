"""Python run in a process of its own, which may be killed, and full disks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["fill", "killed", "python"]

WRITES = """
import os, signal, sys
from relay_models.embedded import EmbeddedServer
client = EmbeddedServer(sys.argv[1]).client()
for number in range(int(sys.argv[2])):
    client.set(f"k{number}", "v" * int(sys.argv[3]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def python(script: str, *arguments: object, check: bool = True) -> str:
    """Run a script and return what it printed."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=check, timeout=100).stdout


def killed(path: Path, count: int = 5, size: int = 1) -> None:
    """Let a process write keys into a file until SIGKILL."""
    python(WRITES, path, count, size, check=False)


def fill(folder: Path) -> Path:
    """Leave not a byte."""
    rest = folder / "rest"
    with rest.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return rest
