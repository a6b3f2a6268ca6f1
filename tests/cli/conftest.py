"""Running the command in this process or in one of its own, against an embedded store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from relay_models.cli import app

OPTIONS = (
    "RELAY_MODELS_URL",
    "RELAY_MODELS_PATH",
    "RELAY_MODELS_PREFIX",
    "RELAY_MODELS_PASSWORD",
    "COLUMNS",
    "NO_COLOR",
)


@dataclass
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Standard output by lines."""
        return self.out.splitlines()


Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _no_options_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPTIONS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli() -> Cli:
    """Run a command line in this process."""

    def run(*arguments: str, stdin: str | bytes | None = None, width: int | None = None) -> Answer:
        env = {"COLUMNS": str(width)} if width else {}
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def process() -> Cli:
    """Run a command line in a process of its own."""

    def run(*arguments: str, stdin: bytes | None = None, **env: str) -> Answer:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-m", "relay_models.cli", *arguments],
            input=stdin, capture_output=True, timeout=60, check=False,
            env={**os.environ, "PYTHONUTF8": "1", **env},
        )  # fmt: skip
        return Answer(result.returncode, result.stdout.decode(), result.stderr.decode())

    return run


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, capture_path: Path) -> Path:
    """A store file that holds the capture; only for reading."""
    path = tmp_path_factory.mktemp("cli") / "filled.db"
    result = CliRunner().invoke(app, ["import", str(capture_path), "--path", str(path)])
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    """Options that name an empty store."""
    return ["--path", str(tmp_path / "store.db")]


@pytest.fixture
def full(filled: Path) -> list[str]:
    """Options that name the store with the capture."""
    return ["--path", str(filled)]
