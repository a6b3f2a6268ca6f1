"""`open_output`: links, modes, pipes, devices, and what an error leaves behind."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_models._files import PRIVATE, open_output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and FIFOs are those of POSIX")


def write(path: str | os.PathLike[str], content: bytes = b"new", **options: int) -> None:
    with open_output(path, **options) as file:
        file.write(content)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_mode_that_open_would_give(tmp_path: Path) -> None:
    write(tmp_path / "ours")
    (tmp_path / "usual").touch()

    assert (tmp_path / "ours").read_bytes() == b"new"
    assert mode_of(tmp_path / "ours") == mode_of(tmp_path / "usual")


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write(tmp_path / "prompts", mode=PRIVATE)

    assert mode_of(tmp_path / "prompts") == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    target.chmod(mode)

    write(target, mode=PRIVATE)

    assert target.read_bytes() == b"new"
    assert mode_of(target) == mode


def test_the_old_content_stays_until_the_end_and_after_an_error(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail() -> None:
        with open_output(target) as file:
            file.write(b"new")
            assert target.read_bytes() == b"old"
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()

    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("exists", [True, False], ids=["existing", "dangling"])
def test_links_are_followed_and_stay(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, middle, link = tmp_path / "elsewhere" / "file", tmp_path / "middle", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    middle.symlink_to("elsewhere/file")
    link.symlink_to(middle)

    write(link)

    assert link.is_symlink()
    assert middle.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_hard_link_stays_one_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old and longer")
    second.hardlink_to(first)

    write(first)

    assert second.read_bytes() == b"new"
    assert first.samefile(second)


def test_a_hard_link_keeps_its_content_after_an_error(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"old")
    (tmp_path / "second").hardlink_to(first)

    def fail() -> None:
        with open_output(first) as file:
            file.write(b"new")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()

    assert first.read_bytes() == b"old"


def test_a_fifo_is_written_and_stays(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()

    write(fifo, b"through")
    reader.join(30)

    assert read == [b"through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_stays_a_device() -> None:
    before = os.stat(os.devnull)

    write(os.devnull, b"gone")

    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert os.stat(os.devnull).st_ino == before.st_ino


SCRIPT = """
import sys
from relay_models._files import open_output
with open_output(sys.argv[1]) as file:
    file.write(b"new\\n")
"""


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="there is no /dev/fd")
@pytest.mark.parametrize(
    "line",
    [
        '"$PYTHON" -c "$SCRIPT" >(cat > through); wait $!',
        'exec 7> through; "$PYTHON" -c "$SCRIPT" /dev/fd/7',
        '"$PYTHON" -c "$SCRIPT" /dev/stdout > through',
        '"$PYTHON" -c "$SCRIPT" /dev/stdout | cat > through',
    ],
)
def test_descriptors_of_a_shell_are_written(tmp_path: Path, line: str) -> None:
    env = {**os.environ, "PYTHON": sys.executable, "SCRIPT": SCRIPT}
    subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, check=True, timeout=60)

    assert (tmp_path / "through").read_bytes() == b"new\n"


def test_appending_to_standard_output_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"old\n")
    env = {**os.environ, "PYTHON": sys.executable, "SCRIPT": SCRIPT}
    subprocess.run(
        ["bash", "-c", '"$PYTHON" -c "$SCRIPT" /dev/stdout >> log'], cwd=tmp_path, env=env, check=True, timeout=60
    )

    assert (tmp_path / "log").read_bytes() == b"old\nnew\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_names_the_users_file() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write("/dev/full", b"x" * 100_000)

    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/dev/full"


def test_errors_name_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, kind in (
        ("directory", IsADirectoryError),
        ("missing/file", FileNotFoundError),
        ("file/below", NotADirectoryError),
        ("loop", OSError),
        ("n" * 300, OSError),
    ):
        path = str(tmp_path / name)
        with pytest.raises(kind) as caught:
            write(path)
        assert caught.value.filename == path
    assert sorted(os.listdir(tmp_path)) == ["directory", "file", "loop"]


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 255))

    assert (tmp_path / ("n" * 255)).read_bytes() == b"new"


@pytest.fixture
def own_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory of a user without privileges, as whom the test runs: root may write everywhere."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    nobody = 65534
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, nobody, nobody)
    os.setresuid(nobody, nobody, 0)
    try:
        yield directory
    finally:
        os.setresuid(0, 0, 0)
        shutil.rmtree(directory)


def test_a_file_without_write_permission_is_refused(own_directory: Path) -> None:
    target = own_directory / "file"
    target.write_bytes(b"old")
    target.chmod(0o400)

    with pytest.raises(PermissionError) as caught:
        write(target)
    assert caught.value.filename == str(target)


def test_a_file_in_a_directory_without_write_permission_is_rewritten(own_directory: Path) -> None:
    target = own_directory / "file"
    target.write_bytes(b"old and longer")
    own_directory.chmod(0o500)
    try:
        write(target)
    finally:
        own_directory.chmod(0o700)

    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(OSError, match="no file can have this name") as caught, open_output(name):
        pass
    assert caught.value.filename == name


def test_an_error_says_the_name_that_was_given_and_no_other(tmp_path: Path) -> None:
    target = str(tmp_path / "missing" / "x.csv")
    with pytest.raises(FileNotFoundError) as caught, open_output(target):
        pass
    assert str(caught.value) == f"[Errno 2] No such file or directory: {target!r}"
