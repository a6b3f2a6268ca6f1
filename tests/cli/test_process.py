"""The command as a process: pipes, speed, signals, and the server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text

import relay_models
from relay_models.cli.app import app
from relay_models.pictures.text import cells

from .conftest import Cli

COMMAND = [sys.executable, "-m", "relay_models.cli"]
HEAVY = ("redis_om", "pandas", "polars", "pyarrow", "matplotlib", "fakeredis", "lark")


def test_help_names_all_commands_and_exit_codes(process: Cli) -> None:
    answer = process("--help")

    assert answer.code == 0
    for word in ("import", "agents", "runs", "demo", "schema", "serve", "dump", "restore", "Exit codes"):
        assert word in " ".join(answer.out.split())


def test_no_part_of_a_help_text_is_taken_for_markup() -> None:
    seen = 0
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        for text in filter(None, [command.help, *(getattr(each, "help", None) for each in command.params)]):
            assert Text.from_markup(text).plain == text
            seen += 1
    assert seen > 100


def test_version(process: Cli) -> None:
    assert process("--version").out == f"relay-models {relay_models.__version__}\n"


def test_a_wrong_option_is_a_usage_error(process: Cli) -> None:
    answer = process("runs", "list", "--nonsense")

    assert answer.code == 2
    assert "--nonsense" in answer.err


def test_help_loads_nothing_heavy() -> None:
    code = (
        f"import sys; from relay_models.cli.app import app; print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command", [["runs", "export"], ["runs", "list", "-n", "0"], ["runs", "list", "-n", "0", "--json"]]
)
def test_a_reader_that_leaves_early_is_no_error(filled: Path, command: list[str]) -> None:
    lister = subprocess.Popen(
        [*COMMAND, *command, "--path", str(filled)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert lister.stdout is not None
    assert lister.stderr is not None
    first = lister.stdout.readline()
    lister.stdout.close()
    complaint = lister.stderr.read()
    lister.stderr.close()

    assert lister.wait(timeout=60) == 0
    assert first
    assert complaint == b""


def test_piped_output_has_no_colour_and_is_not_cut(process: Cli, filled: Path) -> None:
    answer = process("runs", "list", "--path", str(filled), "--columns", "run_id,agent_id,models,tools,providers")

    assert "\x1b" not in answer.out
    assert "…" not in answer.out


def test_a_terminal_without_unicode_does_not_crash(process: Cli, filled: Path) -> None:
    answer = process("agents", "--path", str(filled), PYTHONUTF8="0", LC_ALL="C", PYTHONIOENCODING="ascii")

    assert answer.code == 0
    assert "research-agent" in answer.out


def test_a_capture_from_a_pipe(process: Cli, tmp_path: Path, capture_path: Path) -> None:
    answer = process("import", "-", "--path", str(tmp_path / "s.db"), "--json", stdin=capture_path.read_bytes())

    assert answer.code == 0
    assert json.loads(answer.out)["imported"]["runs"] == 180


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_serve_is_a_store_for_other_commands_until_interrupted(process: Cli, filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "served.db"
    path.write_bytes(filled.read_bytes())
    server = subprocess.Popen(
        [*COMMAND, "serve", "--path", str(path), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, "RELAY_MODELS_PASSWORD": "s3cret"},
    )
    try:
        assert server.stdout is not None
        where = json.loads(server.stdout.readline())
        url = where["url"].replace("redis://", "redis://:s3cret@")
        assert "s3cret" not in json.dumps(where)
        assert len(json.loads(process("agents", "--url", url, "--json").out)) == 5
        refused = process("agents", "--url", where["url"])
        assert refused.code == 3
        assert "login" in refused.err
    finally:
        server.send_signal(signal.SIGINT)
        code = server.wait(timeout=60)
        assert server.stdout is not None
        server.stdout.close()
    assert code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_watch_ends_quietly_when_interrupted(filled: Path) -> None:
    watcher = subprocess.Popen(
        [*COMMAND, "runs", "watch", "--all", "--path", str(filled), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watcher.stdout is not None
    assert watcher.stderr is not None
    try:
        assert json.loads(watcher.stdout.readline())["run_id"]
        watcher.send_signal(signal.SIGINT)
        _, complaint = watcher.communicate(timeout=60)
    finally:
        watcher.kill()

    assert watcher.returncode == 130
    assert b"Traceback" not in complaint


def test_help_is_quick(process: Cli) -> None:
    process("--help")
    began = time.perf_counter()
    process("--help")

    # Half a second on an idle machine; a busy one gets some more.
    assert time.perf_counter() - began < 2


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize("columns", [60, 100])
def test_a_terminal_gets_colours_a_progress_bar_and_tables_that_fit(
    filled: Path, tmp_path: Path, capture_path: Path, columns: int
) -> None:
    import fcntl
    import pty
    import struct
    import termios

    def shown(*arguments: str) -> str:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
        child = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env={**env, "TERM": "xterm-256color"}
        )
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # what Linux says when the other end is closed
                break
            if not part:
                break
            parts.append(part)
        os.close(ours)
        assert child.wait(timeout=60) == 0
        return b"".join(parts).decode()

    assert "importing" in shown("import", str(capture_path), "--path", str(tmp_path / "s.db"))
    listed = shown("runs", "list", "--path", str(filled))
    assert "\x1b[1m" in listed
    for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", listed).splitlines():
        assert cells(line) <= columns
