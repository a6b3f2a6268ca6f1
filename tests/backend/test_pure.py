"""The parts of the backend that do no I/O: pages, replies of both protocols, the clock, the generated twin."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from relay_models._gc import collector_paused
from relay_models.backend.clock import StoreClock
from relay_models.backend.column_changes import column_changes
from relay_models.backend.scan import scan_command
from relay_models.documents import Keys, Run, encode_run
from tests.backend.stores import make_run

ROOT = Path(__file__).parents[2]


def test_the_clock_never_gives_an_instant_twice() -> None:
    clock = StoreClock()
    assert len({clock.now() for _ in range(10_000)}) == 10_000
    for server_us in (1_000_000, 9_000_000_000_000_000, 5_000_000):
        before = clock.now()
        clock.read(server_us, clock.mark())
        assert clock.now() > before or server_us == 1_000_000  # the first reading sets the clock


def test_patterns_of_hostile_prefixes_are_escaped() -> None:
    assert scan_command(b"a*[b]?\\", 0)[3] == b"a\\*\\[b\\]\\?\\\\*"


def test_columns_that_differ_from_the_record() -> None:
    from pydantic_core import from_json

    keys, run = Keys("x:"), make_run("agent", 3)
    document = from_json(encode_run(run, 5))
    key = keys.run("agent", run.id)
    assert column_changes(Run, keys, key, document, text=False) == {}
    changed = document | {"calls": 99, "tools": ["none"]}
    assert column_changes(Run, keys, key, changed, text=False) == {"calls": 1, "tools": None}
    with pytest.raises(ValueError, match="no record text"):
        column_changes(Run, keys, key, {}, text=False)


def test_the_collector_is_paused_and_left_as_it_was() -> None:
    assert gc.isenabled()
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_synchronous_twin_is_what_its_source_gives() -> None:
    pytest.importorskip("unasync")
    command = [sys.executable, str(ROOT / "scripts" / "generate_sync.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
