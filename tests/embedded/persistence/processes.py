"""Python run in a process of its own, which may be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["killed", "python"]

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
