"""A type checker knows what every public method takes and returns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

HERE = Path(__file__).parent
_NOTE = re.compile(r":(\d+): note: Revealed type is \"(.*)\"$")
_ERROR = re.compile(r":(\d+): error: .*\[([a-z-]+)\]$")


def checked(name: str, tmp_path: Path) -> list[str]:
    root = HERE.parents[1]
    options = ["--config-file", str(root / "pyproject.toml"), "--no-error-summary", "--hide-error-context"]
    options += ["--cache-dir", str(root / ".mypy_cache"), "--no-pretty"]
    out, errors, _ = api.run([*options, str(HERE / name)])
    assert not errors, errors
    return [line for line in out.splitlines() if f"{name}:" in line]


def expected(name: str) -> dict[int, str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return {
        number: line.rpartition("  # ")[2] for number, line in enumerate(lines, 1) if "  # " in line and line[:1] == " "
    }


def plainly(text: str) -> str:
    """A type without the modules of its names."""
    return re.sub(r"[A-Za-z_]+\.", "", text.replace("?", ""))


def test_every_method_says_what_it_returns(tmp_path: Path) -> None:
    found: dict[int, str] = {}
    for line in checked("revealed.py", tmp_path):
        note = _NOTE.search(line)
        assert note is not None, line
        found[int(note[1])] = plainly(note[2])
    assert found == expected("revealed.py")


def test_wrong_calls_do_not_type_check(tmp_path: Path) -> None:
    found = {int(error[1]): error[2] for line in checked("refused.py", tmp_path) if (error := _ERROR.search(line))}
    assert found == expected("refused.py")
