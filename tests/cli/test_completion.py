"""Shell completion, in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")

COMMAND = Path(sys.executable).parent / "relay-models"


def bash(home: Path, script: str) -> str:
    """What a bash with this home directory, and the command in its path, prints."""
    env = {"HOME": str(home), "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(
        ["bash", "-c", script], env=env, cwd=home, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout


# Presses Tab after a command line: calls the function that the command has registered, as bash does.
TAB = """
tab() {
    COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    found=$(complete -p relay-models); found=${found##* -F }; "${found%% *}" relay-models "${@: -1}"
    printf '%s\\n' "${COMPREPLY[@]}"
}
"""


@pytest.mark.parametrize(
    "load",
    [
        'eval "$(relay-models --show-completion bash)"',
        "relay-models --install-completion bash >/dev/null; source ~/.bashrc",
    ],
    ids=["shown", "installed"],
)
def test_bash_completes_commands_and_options(tmp_path: Path, load: str) -> None:
    commands = bash(tmp_path, f"{TAB}{load}; tab relay-models ru; tab relay-models runs ''").split()
    options = bash(tmp_path, f"{TAB}{load}; tab relay-models runs list --li").split()

    assert commands[0] == "runs"
    assert {"list", "show", "export", "stats", "watch"} <= set(commands)
    assert options == ["--limit"]
