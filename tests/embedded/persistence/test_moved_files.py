"""A file that is replaced, moved or removed while a store has it open."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from relay_models.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")


def stored(path: Path, **values: str) -> Path:
    with EmbeddedServer(path) as server:
        server.client().mset(values)
    return path


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("aside.db"))


def replaced(path: Path) -> None:
    os.replace(path.with_name("new.db"), path)


def replaced_by_a_copy_of_it(path: Path) -> None:
    shutil.copy(path, path.with_name("new.db"))
    os.replace(path.with_name("new.db"), path)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def wal_removed(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def redo_removed(path: Path) -> None:
    Path(f"{path}-redo").unlink()


@pytest.mark.parametrize(
    "change",
    [removed, moved, replaced, replaced_by_a_copy_of_it, replaced_by_a_folder, wal_removed, redo_removed],
)
@pytest.mark.parametrize("big", [False, True])
def test_nothing_more_is_acknowledged(tmp_path: Path, change: Callable[[Path], None], big: bool) -> None:
    stored(tmp_path / "new.db", other="1")
    path = stored(tmp_path / "x.db", before="1")
    server = EmbeddedServer(path)
    client = server.client()
    client.set("acknowledged", "1")
    change(path)
    with pytest.raises(redis.ConnectionError, match=r"while .* open"):
        client.set("lost", "x" * (3_000_000 if big else 1))
    with pytest.raises(redis.ConnectionError, match=r"while .* open"):
        client.get("before")
    server.close()
    assert not [name for name in os.listdir(tmp_path) if name.startswith("x.db-")]


def test_the_new_file_is_left_alone(tmp_path: Path) -> None:
    new = stored(tmp_path / "new.db", other="1")
    content = new.read_bytes()
    path = stored(tmp_path / "x.db", before="1")
    server = EmbeddedServer(path)
    server.client().set("acknowledged", "1")
    replaced(path)
    server.close()
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["x.db"]
    with EmbeddedServer(path) as server:
        assert server.client().keys() == [b"other"]


@pytest.mark.parametrize("noticed", [False, True])
def test_a_moved_file_has_everything_that_was_acknowledged(tmp_path: Path, noticed: bool) -> None:
    path = stored(tmp_path / "x.db", before="1")
    server = EmbeddedServer(path)
    client = server.client()
    client.set("acknowledged", "1")
    client.rpush("list", *range(5000))
    client.set("later", "1")
    moved(path)
    if noticed:
        with pytest.raises(redis.ConnectionError):
            client.set("lost", "1")
    server.close()
    assert os.listdir(tmp_path) == ["aside.db"]
    with EmbeddedServer(tmp_path / "aside.db") as server:
        assert sorted(server.client().keys()) == [b"acknowledged", b"before", b"later", b"list"]
        assert server.client().llen("list") == 5000


def test_a_file_that_another_server_opened_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    path = stored(tmp_path / "x.db", before="1")
    first = EmbeddedServer(path)
    first.client().set("acknowledged", "1")
    (tmp_path / "aside").mkdir()
    for name in os.listdir(tmp_path):
        if name.startswith("x.db"):
            (tmp_path / name).rename(tmp_path / "aside" / name)
    with EmbeddedServer(path) as second:
        second.client().set("a", "1")
        first.close()
        second.client().set("b", "1")
    with EmbeddedServer(path) as second:
        assert sorted(second.client().keys()) == [b"a", b"b"]
    with EmbeddedServer(tmp_path / "aside" / "x.db") as moved_one:
        assert sorted(moved_one.client().keys()) == [b"acknowledged", b"before"]


def test_a_link_that_leads_elsewhere_now_changes_nothing(tmp_path: Path) -> None:
    stored(tmp_path / "new.db", other="1")
    stored(tmp_path / "x.db", before="1")
    (tmp_path / "link.db").symlink_to("x.db")
    with EmbeddedServer(tmp_path / "link.db") as server:
        (tmp_path / "link.db").unlink()
        (tmp_path / "link.db").symlink_to("new.db")
        server.client().set("a", "1")
    with EmbeddedServer(tmp_path / "x.db") as server:
        assert sorted(server.client().keys()) == [b"a", b"before"]
