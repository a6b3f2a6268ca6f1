"""Wheels from PyPI that tests use without installing them: downloaded once, and unpacked into a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["cache_directory", "download", "unpacked"]


def cache_directory(name: str) -> Path:
    """The directory in the user's cache that holds what was unpacked under a name."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "relay_models", name)


def download(requirements: Sequence[str], to: Path, *, python: str = "3.11", options: Sequence[str] = ()) -> None:
    """Download wheels without what they depend on, and unpack them into one directory.

    Args:
        requirements: names and versions, as pip has them.
        to: the directory; it is created.
        python: the version of Python that the wheels are for.
        options: further options of ``pip download``.

    Raises:
        subprocess.CalledProcessError: pip cannot download one of them.
    """
    with tempfile.TemporaryDirectory() as wheels:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
                *("--python-version", python, "--dest", wheels, *options, *requirements),
            ],
            check=True,
        )
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(to)


def unpacked(requirement: str, *, python: str = "3.11", cache: Path | None = None) -> Path:
    """The directory with the unpacked wheel of one pure package; downloaded unless the cache has it.

    Raises:
        subprocess.CalledProcessError: pip cannot download it.
    """
    root = cache or cache_directory("wheels")
    ready = root / requirement
    if ready.exists():
        return ready
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        download([requirement], Path(scratch, "unpacked"), python=python)
        try:
            Path(scratch, "unpacked").rename(ready)
        except OSError:
            if not ready.exists():  # another process was quicker
                raise
    return ready
