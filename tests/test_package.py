"""The package as a whole: what it exports, what importing it costs, and what its errors are."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path

import pytest

import relay_models
from relay_models import errors

ROOT = Path(relay_models.__file__).parent


def test_every_public_name_is_there_and_typed() -> None:
    typed: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("relay_models."):
            typed.update(alias.asname or alias.name for alias in node.names)
    assert set(relay_models.__all__) <= typed  # what a type checker sees is what there is at run time
    for name in relay_models.__all__:
        assert getattr(relay_models, name) is not None
    assert relay_models.__all__ == sorted(relay_models.__all__)
    assert dir(relay_models) == relay_models.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        relay_models.nothing  # noqa: B018


def test_importing_the_package_loads_no_dependency_and_dials_nothing() -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('dialled')\n"
        "socket.socket.connect = refuse\n"
        "import relay_models\n"
        "assert not {'redis', 'pydantic', 'redis_om', 'fakeredis'} & set(sys.modules)\n"
        "import relay_models.documents, relay_models.records, relay_models.backend, relay_models.sync\n"
        "relay_models.Run, relay_models.RunRecord(agent_id='a')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_ours_and_a_builtin(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, errors.RelayModelsError)
    assert error.__doc__
    assert name in (errors.__doc__ or "")  # the tree in the module's docstring is whole
    if error is not errors.RelayModelsError:
        own = {base.__name__ for base in error.__mro__} & set(dir(builtins)) - {"Exception", "BaseException", "object"}
        assert own, f"{name} is no builtin"


def test_no_module_outgrows_its_room() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 600
    }
    assert long == {}
