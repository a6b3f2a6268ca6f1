"""The fixtures that come with the package, in another test suite."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import relay_models.embedded
from relay_models.embedded import pytest_plugin

SUITE = """
import redis

def test_sync(embedded_redis, embedded_redis_server):
    embedded_redis.json().set("j", "$", {"a": 1})
    assert embedded_redis_server.client().json().get("j") == {"a": 1}

def test_each_has_its_own(embedded_redis):
    assert embedded_redis.keys() == []

async def test_async(async_embedded_redis):
    await async_embedded_redis.set("a", "1")
    assert await async_embedded_redis.get("a") == b"1"
    await async_embedded_redis.aclose()

def test_file(embedded_redis_file, tmp_path):
    embedded_redis_file.client().set("a", "1")
    assert (tmp_path / "embedded.db").exists()

def test_url(embedded_redis_url):
    client = redis.Redis.from_url(embedded_redis_url)
    assert client.ping()
    client.close()
"""


def test_fixtures_in_another_suite(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(SUITE)
    settings = ("asyncio_mode = auto", "asyncio_default_fixture_loop_scope = function", "filterwarnings = error")
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *settings]))
    plugin = [] if "relay_models" in _loaded_by_entry_point() else ["-p", pytest_plugin.__name__]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "5 passed" in run.stdout, run.stdout + run.stderr


def _loaded_by_entry_point() -> set[str]:
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="pytest11")}


def test_loading_the_plugin_loads_little() -> None:
    script = (
        "import sys, relay_models.embedded.pytest_plugin\n"
        "assert not {'redis', 'fakeredis', 'sqlite3', 'pydantic', 'redis_om'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_engine_needs_nothing_else_of_the_package() -> None:
    script = (
        "import sys\n"
        "from relay_models.embedded import EmbeddedServer, dump\n"
        "from relay_models.embedded import serve\n"
        "others = [name for name in sys.modules if name.startswith('relay_models.')\n"
        "          and not name.startswith(('relay_models.embedded', 'relay_models._version'))]\n"
        "assert not others, others\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_no_module_of_the_engine_imports_the_rest_of_the_package() -> None:
    """Not in functions either, which the test above does not see."""
    folder = Path(relay_models.embedded.__file__).parent
    sources = sorted(folder.rglob("*.py"))
    assert len(sources) > 50
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{source}: a relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                ours = f"{name}.".startswith("relay_models.embedded.")
                assert ours or not f"{name}.".startswith("relay_models."), f"{source} imports {name}"


@pytest.mark.parametrize("name", ["EmbeddedServer", "serving", "dump", "FileInUseError"])
def test_names_are_loaded_when_used(name: str) -> None:
    import relay_models.embedded as package

    assert getattr(package, name).__name__ == name
    assert name in dir(package)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense
