"""Passwords from a prompt, a file and the environment, and a warning where they are visible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_models.cli.passwords import has_password

from .conftest import Cli

PASSWORD = "s3cret/word"


@pytest.fixture
def server() -> Iterator[str]:
    """The URL, without the password, of an embedded store that is served with one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relay_models.cli", "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE, env={**os.environ, "RELAY_MODELS_PASSWORD": PASSWORD},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with the password."""
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n# and a comment\n")
    return str(path)


def test_a_password_from_a_file_a_prompt_or_the_environment(
    cli: Cli, server: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["agents", "--json"], ["dump", "-"]):
        assert cli(*command, "--url", server).code == 3
        assert cli(*command, "--url", server, "--password-file", file).code == 0
        prompted = cli(*command, "--url", server, "--ask-password", stdin=f"{PASSWORD}\n")
        assert prompted.code == 0
        assert PASSWORD not in prompted.out + prompted.err
    monkeypatch.setenv("RELAY_MODELS_PASSWORD", PASSWORD)
    answer = cli("agents", "--url", server)
    assert answer.code == 0
    assert answer.err == ""


def test_the_password_of_a_deployment(
    cli: Cli, server: str, store: list[str], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("import", server, *store).code == 3
    assert cli("import", server, *store, "--native-password-file", file).code == 0
    assert cli("import", server, *store, "--ask-native-password", stdin=f"{PASSWORD}\n").code == 0
    assert cli("export", server, *store, "--native-password-file", file).code == 0
    monkeypatch.setenv("RELAY_MODELS_NATIVE_PASSWORD", PASSWORD)
    assert cli("import", server, *store).code == 0


def test_a_visible_password_is_warned_of_and_not_repeated(cli: Cli, store: list[str], server: str) -> None:
    url = server.replace("://", "://:s3cret%2Fword@")
    for arguments in (["agents", "--url", url], ["import", url, *store]):
        answer = cli(*arguments)
        assert answer.code == 0
        assert answer.err.startswith("warning: the password in ")
        assert "s3cret" not in answer.err


def test_a_url_from_the_environment_is_not_warned_of(cli: Cli, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_MODELS_URL", server.replace("://", "://:s3cret%2Fword@"))

    answer = cli("agents")

    assert answer.code == 0
    assert answer.err == ""


def test_mistakes(cli: Cli, tmp_path: Path, file: str) -> None:
    (tmp_path / "empty").touch()
    for options, code, said in (
        (["--password-file", str(tmp_path / "missing")], 6, "missing"),
        (["--password-file", str(tmp_path / "empty")], 2, "empty"),
        (["--password-file", file, "--ask-password"], 2, "not from both"),
    ):
        answer = cli("agents", "--url", "redis://127.0.0.1:1", *options)
        assert answer.code == code
        assert said in answer.err
    answer = cli("serve", "--port", "0", "--password", "a", "--password-file", file)
    assert answer.code == 2
    assert "one password" in answer.err


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("redis://h", False),
        ("redis://user@h", False),
        ("redis://:p@h", True),
        ("redis://u:p@h:1/0", True),
        ("unix:///s?password=p", True),
        ("unix:///s?db=0", False),
        ("redis://u:p@[h", True),
    ],
)
def test_urls_with_passwords(url: str, holds: bool) -> None:
    assert has_password(url) is holds
