"""Everything public is in the reference."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import relay_models
import relay_models.export
import relay_models.native
import relay_models.pictures

MODULES = [relay_models, relay_models.export, relay_models.native, relay_models.pictures]
NAMES = [
    (module.__name__, name) for module in MODULES for name in module.__all__ if name not in ("__version__", "TableRows")
]


@pytest.fixture(scope="module")
def described(site: Path) -> set[str]:
    """The names that have a heading of their own, the last part of each, in small letters."""
    pages = [*(site / "reference").rglob("*.html"), *(site / "schema").rglob("*.html")]
    found = re.findall(r'<h[1-6] id="([^"]+)"', "\n".join(page.read_text(encoding="utf-8") for page in pages))
    return {name.rpartition(".")[2].lower() for name in found} | {name.lower() for name in found}


def test_every_public_name_is_described(described: set[str]) -> None:
    missing = [f"{module}.{name}" for module, name in NAMES if name.lower() not in described]
    assert not missing


def test_every_method_of_the_backend_is_described(described: set[str]) -> None:
    methods = [name for name, _ in inspect.getmembers(relay_models.RedisBackend) if not name.startswith("_")]
    missing = [name for name in methods if f"relay_models.backend.redisbackend.{name}" not in described]
    assert not missing


def test_every_command_is_described(described: set[str]) -> None:
    from typer.main import get_command

    from relay_models.cli import app

    def names(command: object, path: str) -> list[str]:
        children = getattr(command, "commands", {}).items()
        return [path, *(name for child, sub in children if not sub.hidden for name in names(sub, f"{path}-{child}"))]

    missing = [name for name in names(get_command(app), "relay-models") if name not in described]
    assert not missing
