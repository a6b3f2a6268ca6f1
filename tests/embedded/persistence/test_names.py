"""One file is one file however it is named, and what cannot be a store is left as it is."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from relay_models.embedded import (
    DamagedFileError,
    EmbeddedError,
    EmbeddedServer,
    FileInUseError,
    FileUnavailableError,
)
from tests.embedded.persistence.processes import killed, python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs links and signals")

HOLDER = """
import sys
from relay_models.embedded import EmbeddedServer
server = EmbeddedServer(sys.argv[1])
server.client().set("a", "1")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Path]:
    """A store, and the same one by other names."""
    real = tmp_path / "real.db"
    with EmbeddedServer(real) as server:
        server.client().set("base", "1")
    (tmp_path / "other").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path)
    found = {
        "link": tmp_path / "link.db",
        "chain": tmp_path / "other" / "chain.db",
        "hard": tmp_path / "other" / "hard.db",
        "through a folder": tmp_path / "folder" / "real.db",
        "relative": Path(os.path.relpath(real)),
        "dots": tmp_path / "other" / ".." / "real.db",
    }
    found["link"].symlink_to("real.db")
    found["chain"].symlink_to("../link.db")
    os.link(real, found["hard"])
    return {"real": real, **found}


OTHERS = ["link", "chain", "hard", "through a folder", "relative", "dots"]


@pytest.mark.parametrize("other", OTHERS)
def test_acknowledged_writes_survive_a_kill_by_either_name(names: dict[str, Path], other: str) -> None:
    for first, second in ((names[other], names["real"]), (names["real"], names[other])):
        killed(first)
        with EmbeddedServer(second) as server:
            assert server.client().dbsize() == 6
            server.client().flushall()
            server.client().set("base", "1")
    assert [name for name in os.listdir(names["real"].parent) if name.startswith("real.db")] == ["real.db"]


@pytest.mark.parametrize("other", OTHERS)
def test_another_name_of_an_open_file_is_in_use(names: dict[str, Path], other: str) -> None:
    with EmbeddedServer(names["real"]) as server:
        server.client().set("a", "1")
        with pytest.raises(FileInUseError, match="in this process") as caught:
            EmbeddedServer(names[other])
        assert caught.value.pid == os.getpid()
        with pytest.raises(subprocess.CalledProcessError):
            python(
                "import sys; from relay_models.embedded import EmbeddedServer; EmbeddedServer(sys.argv[1])",
                names[other],
            )
        server.client().set("b", "1")
    with EmbeddedServer(names[other]) as server:
        assert server.client().dbsize() == 3


@pytest.mark.parametrize("other", ["real", *OTHERS])
@pytest.mark.parametrize("lock", ["kept", "removed"])
def test_another_process_has_it_by_any_name(names: dict[str, Path], other: str, lock: str) -> None:
    command = [sys.executable, "-c", HOLDER, str(names["real"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        if lock == "removed":
            Path(f"{names['real']}.lock").unlink()
        with pytest.raises(FileInUseError):
            EmbeddedServer(names[other])
        holder.kill()
    with EmbeddedServer(names[other]) as server:
        assert server.client().dbsize() == 2


def test_a_link_to_nothing_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "link.db").symlink_to("volume/new.db")
    with EmbeddedServer(tmp_path / "link.db") as server:
        server.client().set("a", "1")
    assert (tmp_path / "link.db").is_symlink()
    assert os.listdir(tmp_path / "volume") == ["new.db"]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").symlink_to("b.db")
    (tmp_path / "b.db").symlink_to("a.db")
    with pytest.raises(FileUnavailableError):
        EmbeddedServer(tmp_path / "a.db")
    assert sorted(os.listdir(tmp_path)) == ["a.db", "b.db"]


def test_a_folder_may_be_renamed_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    killed(tmp_path / "before" / "x.db")
    (tmp_path / "before").rename(tmp_path / "after")
    killed(tmp_path / "after" / "x.db", count=7)
    with EmbeddedServer(tmp_path / "after" / "x.db") as server:
        assert server.client().dbsize() == 7
    assert os.listdir(tmp_path / "after") == ["x.db"]


def test_files_copied_together_after_a_kill_are_whole(tmp_path: Path) -> None:
    killed(tmp_path / "x.db")
    for rest in ("", "-wal", "-redo"):
        shutil.copy(tmp_path / f"x.db{rest}", tmp_path / f"y.db{rest}")
    for name in ("x.db", "y.db"):
        with EmbeddedServer(tmp_path / name) as server:
            assert server.client().dbsize() == 5


@pytest.mark.parametrize("missing", [("-redo",), ("-wal",), ("-wal", "-redo")])
def test_a_file_without_the_logs_of_a_kill_is_refused(tmp_path: Path, missing: tuple[str, ...]) -> None:
    path = tmp_path / "x.db"
    killed(path, 2000)
    for rest in missing:
        Path(f"{path}{rest}").rename(tmp_path / f"aside{rest}")
    Path(f"{path}.lock").unlink()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DamagedFileError):
        EmbeddedServer(path)
    assert sorted(os.listdir(tmp_path)) == before
    for rest in missing:
        (tmp_path / f"aside{rest}").rename(f"{path}{rest}")
    with EmbeddedServer(path) as server:
        assert server.client().dbsize() == 2000


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs the right to make devices")


@pytest.mark.parametrize("make", [fifo, listening_socket, device, Path.mkdir])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_plain_file_is_left_alone(
    tmp_path: Path, make: object, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has a limit
    path = Path("thing")
    make(path)  # type: ignore[operator]
    before = os.lstat(path)
    if linked:
        Path("link").symlink_to(path)
    with pytest.raises(FileUnavailableError, match="not a file"):
        EmbeddedServer("link" if linked else path)
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert sorted(os.listdir()) == sorted(["thing", *(["link"] if linked else [])])


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666])
def test_an_empty_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x.db"
    path.touch()
    path.chmod(mode)
    with EmbeddedServer(path) as server:
        server.client().set("a", "1")
        assert {stat.S_IMODE(os.stat(f"{path}{rest}").st_mode) for rest in ("", "-wal")} == {mode}
        assert not {stat.S_IMODE(os.stat(f"{path}{rest}").st_mode) & ~mode for rest in ("-redo", ".lock")} - {0}
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_an_empty_file_keeps_its_links(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    os.link(tmp_path / "x.db", tmp_path / "y.db")
    with EmbeddedServer(tmp_path / "x.db") as server:
        server.client().set("a", "1")
    with EmbeddedServer(tmp_path / "y.db") as server:
        assert server.client().get("a") == b"1"


def test_new_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with EmbeddedServer(path) as server:
        server.client().set("a", "1")
        names = os.listdir(tmp_path)
        assert sorted(names) == ["x.db", "x.db-redo", "x.db-wal", "x.db.lock"]
        assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [10, 40_000])
@pytest.mark.parametrize("copied", ["closed", "open", "before a kill"])
def test_an_older_copy_beside_the_log_of_a_kill_is_refused(tmp_path: Path, size: int, copied: str) -> None:
    """Whatever its size: its log would be applied to pages of another state."""
    path = tmp_path / "x.db"
    with EmbeddedServer(path) as server:
        for number in range(300):
            server.client().set(f"old{number}", "x" * size)
        if copied == "open":
            shutil.copy(path, tmp_path / "copy.db")
            server.client().set("later", "1")
            for number in range(40):
                server.client().set(f"more{number}", "x" * 1_000_000)
    if copied == "closed":
        shutil.copy(path, tmp_path / "copy.db")
        with EmbeddedServer(path) as server:
            server.client().set("later", "1")
    if copied == "before a kill":
        killed(path, 20, 1000)
        shutil.copy(path, tmp_path / "copy.db")
        EmbeddedServer(path).close()
    killed(path, 20, 1000)
    shutil.copy(tmp_path / "copy.db", path)
    Path(f"{path}.lock").unlink()
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    with pytest.raises(DamagedFileError):
        EmbeddedServer(path)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_another_store_beside_the_log_of_a_kill_is_refused(tmp_path: Path) -> None:
    for name in ("x.db", "y.db"):
        killed(tmp_path / name)
    shutil.copy(tmp_path / "y.db", tmp_path / "x.db")
    with pytest.raises(EmbeddedError):
        EmbeddedServer(tmp_path / "x.db")
    shutil.copy(tmp_path / "y.db-wal", tmp_path / "x.db-wal")
    with pytest.raises(DamagedFileError):
        EmbeddedServer(tmp_path / "x.db")
    shutil.copy(tmp_path / "y.db-redo", tmp_path / "x.db-redo")
    with EmbeddedServer(tmp_path / "x.db") as server:
        assert server.client().dbsize() == 5


@pytest.mark.parametrize("what", ["link", "link to nothing", "FIFO", "directory"])
@pytest.mark.parametrize("rest", ["-redo", "-wal", ".lock", "-new"])
@pytest.mark.parametrize("is_there", [True, False])
def test_what_has_the_name_of_a_log_is_left_alone(tmp_path: Path, rest: str, what: str, is_there: bool) -> None:
    """Such as a link that somebody else put into a directory that everybody may write to."""
    path, other, victim = tmp_path / "x.db", tmp_path / f"x.db{rest}", tmp_path / "notes"
    if is_there:
        EmbeddedServer(path).close()
    if what.startswith("link"):
        other.symlink_to(victim)
        if what == "link":
            victim.write_text("precious")
    elif what == "FIFO":
        os.mkfifo(other)
    else:
        other.mkdir()
    if rest == "-new" and (is_there or what != "directory"):
        EmbeddedServer(path).close()  # a link or a FIFO is removed, and never written to
    else:
        with pytest.raises(FileUnavailableError) as caught:
            EmbeddedServer(path)
        if rest != "-new":
            named = "link" if what.startswith("link") else what
            assert f"{other} is a {named}, and not a file of this engine: move it away" in str(caught.value)
            assert os.path.lexists(other)
    assert victim.exists() == (what == "link")
    assert not victim.exists() or victim.read_text() == "precious"


def test_a_file_that_is_no_lock_file_is_kept(tmp_path: Path) -> None:
    notes = tmp_path / "x.db.lock"
    notes.write_text("my notes on locks")
    with pytest.raises(FileUnavailableError, match="not a lock file of this engine: move it away"):
        EmbeddedServer(tmp_path / "x.db")
    assert notes.read_text() == "my notes on locks"


def test_the_journal_of_another_program_is_not_applied(tmp_path: Path) -> None:
    """SQLite finds journals by their names alone, and would roll the file back with it."""
    path, journal = tmp_path / "x.db", tmp_path / "x.db-journal"
    EmbeddedServer(path).close()
    before = path.read_bytes()
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0\0\0\1" + bytes(500))
    with pytest.raises(FileUnavailableError, match=r"x\.db-journal is the journal of another program"):
        EmbeddedServer(path)
    assert path.read_bytes() == before
    journal.unlink()
    EmbeddedServer(path).close()


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.db")
    killed(Path(os.fsdecode(path)))
    for _ in range(2):
        with EmbeddedServer(os.fsdecode(path)) as server:
            assert server.client().dbsize() == 5
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff.db"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800.db"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(FileUnavailableError, match="no file can have this name"):
        EmbeddedServer(name)


def test_a_missing_file_is_no_full_disk() -> None:
    with pytest.raises(FileUnavailableError, match="No such file or directory") as caught:
        EmbeddedServer("/proc/no/such/file.db")
    assert "full" not in str(caught.value)
