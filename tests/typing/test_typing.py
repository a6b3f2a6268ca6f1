"""A type checker knows what every public method takes and returns."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, get_overloads

import pytest

from relay_models import CallRecord, RedisBackend, RunRecord
from relay_models.records import Record

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


@pytest.fixture(scope="module")
def pyright(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, list[str]]]:
    """What Pyright says of each line, by file and severity."""
    pytest.importorskip("basedpyright")
    project = tmp_path_factory.mktemp("pyright") / "pyrightconfig.json"
    files = [str(HERE / "revealed.py"), str(HERE / "refused.py")]
    project.write_text(json.dumps({"include": files, "typeCheckingMode": "strict", "pythonVersion": "3.11"}))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(project), "--pythonpath", sys.executable]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    found: dict[str, dict[int, list[str]]] = {"information": {}, "error": {}}
    for line in json.loads(said.stdout)["generalDiagnostics"]:
        name, number = Path(line["file"]).name, line["range"]["start"]["line"] + 1
        found[line["severity"]].setdefault(number, []).append(f"{name}: {line['message']}")
    return found


def test_pyright_reads_the_same_types(pyright: dict[str, dict[int, list[str]]]) -> None:
    found = {number: said[0].rpartition(" is ")[2].strip('"') for number, said in pyright["information"].items()}
    assert found == expected("revealed.py")


def test_pyright_refuses_the_same_calls(pyright: dict[str, dict[int, list[str]]]) -> None:
    said = [message for messages in pyright["error"].values() for message in messages]
    assert not [message for message in said if message.startswith("revealed.py")]
    assert set(pyright["error"]) == set(expected("refused.py"))


@pytest.mark.parametrize("name", ["connect", "embedded", "from_client"])
def test_overloads_take_what_the_method_takes(name: str) -> None:
    method = getattr(RedisBackend, name).__func__
    overloads: list[Any] = list(get_overloads(method))
    assert len(overloads) == 2
    for overload in overloads:
        assert list(inspect.signature(overload.__func__).parameters) == list(inspect.signature(method).parameters)


@pytest.mark.parametrize("record", [CallRecord, RunRecord])
def test_constructors_take_every_field(record: type[Record]) -> None:
    source = ast.parse(textwrap.dedent(inspect.getsource(record)))
    (constructor,) = (
        each for each in ast.walk(source) if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    )
    assert {parameter.arg for parameter in constructor.args.kwonlyargs} == {*record.model_fields, "ext"}


def test_wrong_calls_do_not_type_check(tmp_path: Path) -> None:
    found = {int(error[1]): error[2] for line in checked("refused.py", tmp_path) if (error := _ERROR.search(line))}
    assert found == expected("refused.py")
