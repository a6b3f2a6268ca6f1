"""What the operating system refuses ends every command with one line and an exit code."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from relay_models.cli import app
from relay_models.sync import RedisBackend

from .conftest import Answer, Cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the errors are those of POSIX")

FEEDBACK = ("--models", "tests.backend.own_models:Feedback")
# For each command: arguments, {store} for a store file, {capture} for a capture, and what it writes, if anything.
COMMANDS = {
    "import": ["import", "{capture}", "--path", "{store}"],
    "agents": ["agents", "--path", "{store}"],
    "demo": ["demo", "--path", "{store}"],
    "schema": ["schema"],
    "serve": ["serve", "--path", "{store}", "--port", "0"],
    "dump": ["dump", "{target}", "--path", "{store}"],
    "restore": ["restore", "{dump}", "--path", "{store}"],
    "follow": ["follow", "redis://127.0.0.1:1", "--path", "{store}"],
    "export": ["export", "redis://127.0.0.1:1", "--path", "{store}"],
    "receive": ["receive", "--path", "{store}", "--port", "0"],
    "web": ["web", "--path", "{store}", "--port", "0"],
    "report": ["report", "all", "--save", "{target}.html", "--path", "{store}"],
    "mcp": ["mcp", "--path", "{store}"],
    "saved list": ["saved", "list", "--path", "{store}"],
    "saved save": ["saved", "save", "all-runs", "--where", "all", "--path", "{store}"],
    "saved delete": ["saved", "delete", "all-runs", "--path", "{store}"],
    "runs label": ["runs", "label", "--where", "all", "--tag", "seen", "--path", "{store}"],
    "migrate plan": ["migrate", "plan", "--path", "{store}"],
    "migrate apply": ["migrate", "apply", "--path", "{store}"],
    "migrate rollback": ["migrate", "rollback", "--path", "{store}"],
    "migrate finish": ["migrate", "finish", "--path", "{store}"],
    "compress status": ["compress", "status", "--path", "{store}"],
    "compress train": ["compress", "train", "--path", "{store}"],
    "compress apply": ["compress", "apply", "--path", "{store}"],
    "compress undo": ["compress", "undo", "--path", "{store}"],
    "sessions": ["sessions", "--path", "{store}"],
    "prices check": ["prices", "check", "--path", "{store}"],
    "prices apply": ["prices", "apply", "--path", "{store}"],
    "models list": ["models", "list", "Feedback", "--path", "{store}", *FEEDBACK],
    "models show": ["models", "show", "Feedback", "none", "--path", "{store}", *FEEDBACK],
    "models export": ["models", "export", "Feedback", "{target}", "--path", "{store}", *FEEDBACK],
    "runs list": ["runs", "list", "--path", "{store}"],
    "runs show": ["runs", "show", "latest", "--path", "{store}"],
    "runs export": ["runs", "export", "{target}", "--path", "{store}"],
    "runs stats": ["runs", "stats", "--path", "{store}"],
    "runs watch": ["runs", "watch", "--path", "{store}", "--all", "--count", "1"],
}
# Commands that print nothing to standard output here.
SILENT = {
    *("follow", "export", "serve", "mcp", "report", "prices apply", "migrate rollback", "saved save", "saved delete"),
    *("compress train", "models show", "models export"),
}
WITH_STORE = sorted(name for name, arguments in COMMANDS.items() if "{store}" in arguments)
SAVING = {
    "dump": ["dump", "{target}.jsonl"],
    "runs export": ["runs", "export", "{target}.csv"],
    "runs show": ["runs", "show", "latest", "--save", "{target}.svg"],
    "runs stats": ["runs", "stats", "--save", "{target}.png"],
}
PROGRESS = re.compile(r"\w+: documents \d+ of \d+")
READING = {"import": ["import", "{source}"], "restore": ["restore", "{source}"]}


def all_commands(group: click.Group, before: str = "") -> Iterator[str]:
    """The names of all commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_every_command_is_walked() -> None:
    assert sorted(all_commands(typer.main.get_command(app))) == sorted(COMMANDS)


def filled_in(arguments: list[str], **values: str) -> list[str]:
    return [re.sub(r"\{(\w+)\}", lambda found: values[found[1]], argument) for argument in arguments]


def is_one_line(answer: Answer, *codes: int) -> None:
    assert answer.code in codes, answer
    assert "Traceback" not in answer.err, answer
    errors = [line for line in answer.err.splitlines() if line and not PROGRESS.fullmatch(line)]
    assert len(errors) == 1, answer
    assert errors[0].startswith("error: "), answer


@pytest.mark.parametrize("name", WITH_STORE)
def test_a_directory_instead_of_a_store(cli: Cli, capture_path: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "dump").touch()
    store = str(tmp_path / "store")

    answer = cli(
        *filled_in(
            COMMANDS[name], store=store, capture=str(capture_path), target=str(tmp_path / "t"), dump=f"{tmp_path}/dump"
        )
    )

    is_one_line(answer, 6)
    assert answer.err == f"error: {store}: Is a directory\n"


@pytest.mark.parametrize("name", WITH_STORE)
def test_a_store_below_a_file(cli: Cli, capture_path: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    store = str(tmp_path / "file" / "store.db")

    answer = cli(
        *filled_in(
            COMMANDS[name], store=store, capture=str(capture_path), target=str(tmp_path / "t"), dump=f"{tmp_path}/file"
        )
    )

    is_one_line(answer, 3, 4, 6)
    assert store in answer.err


@pytest.mark.parametrize("name", sorted(SAVING))
@pytest.mark.parametrize("fault", ["directory", "missing", "below a file"])
def test_a_target_that_cannot_be_written(cli: Cli, full: list[str], tmp_path: Path, name: str, fault: str) -> None:
    (tmp_path / "file").touch()
    base = {"directory": "target", "missing": "missing/target", "below a file": "file/target"}[fault]
    arguments = filled_in(SAVING[name], target=str(tmp_path / base))
    target = next(argument for argument in arguments if str(tmp_path) in argument)
    if fault == "directory":
        Path(target).mkdir()

    answer = cli(*arguments, *full)

    is_one_line(answer, 6)
    assert target in answer.err
    assert "part" not in answer.err
    assert sorted(each.name for each in tmp_path.iterdir()) in (["file"], ["file", Path(target).name])


@pytest.mark.parametrize("name", sorted(READING))
def test_a_source_that_cannot_be_read(cli: Cli, store: list[str], tmp_path: Path, name: str) -> None:
    (tmp_path / "source").mkdir()

    answer = cli(*filled_in(READING[name], source=str(tmp_path / "source")), *store)

    is_one_line(answer, 6)
    assert f"{tmp_path}/source" in answer.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("name", sorted(set(COMMANDS) - SILENT))
def test_standard_output_on_a_full_disk(cli: Cli, tmp_path: Path, filled: Path, capture_path: Path, name: str) -> None:
    store = tmp_path / "store.db"
    store.write_bytes(filled.read_bytes())
    dump = tmp_path / "dump.jsonl"
    assert cli("dump", str(dump), "--path", str(store)).code == 0
    if name == "restore":
        store.unlink()
    prices = tmp_path / "prices.toml"
    prices.write_text("price = []")
    arguments = filled_in(COMMANDS[name], store=str(store), capture=str(capture_path), target="-", dump=str(dump))
    with open("/dev/full", "wb") as nothing:
        done = subprocess.run(
            [sys.executable, "-m", "relay_models.cli", *arguments],
            stdout=nothing, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
            env={**os.environ, "RELAY_MODELS_PRICES": str(prices)},
        )  # fmt: skip

    is_one_line(Answer(done.returncode, "", done.stderr), 6)
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("command", ["serve", "receive", "web", "mcp --http"])
def test_a_port_in_use(cli: Cli, tmp_path: Path, command: str) -> None:
    store = tmp_path / "runs.db"
    with RedisBackend.embedded(store):
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        answer = cli(*command.split(), "--port", str(port), "--path", str(store))

    is_one_line(answer, 6)
    assert answer.err == f"error: 127.0.0.1:{port}: Address already in use\n"


def test_an_address_that_does_not_exist(cli: Cli) -> None:
    is_one_line(cli("serve", "--host", "no.such.host.invalid", "--port", "0"), 3, 6)


def test_closed_standard_streams(filled: Path) -> None:
    line = '"$PYTHON" -m relay_models.cli agents --path "$STORE" >&- 2>&-'
    env = {**os.environ, "PYTHON": sys.executable, "STORE": str(filled)}

    assert subprocess.run(["bash", "-c", line], env=env, timeout=120, check=False).returncode == 0


@pytest.mark.parametrize("command", [("dump", "out"), ("agents",), ("migrate", "plan")])
def test_a_prefix_that_no_key_can_have(
    cli: Cli, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    is_one_line(cli(*command, "--path", str(filled), "--prefix", "\udcff"), 2)
