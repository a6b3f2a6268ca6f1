"""The failover drills once each: processes store while a primary is lost, and everything acknowledged is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.servers import redis_stack
from tests.servers.drills import drill_cluster_under_load, drill_sentinel

pytestmark = pytest.mark.skipif(
    not redis_stack.is_supported() or not shutil.which("redis-server"),
    reason="needs x86-64 Linux and redis-server (Debian: apt install redis-server)",
)


@pytest.mark.parametrize("how", ["failover", "kill"])
def test_runs_that_were_acknowledged_outlive_their_primary(tmp_path: Path, how: str) -> None:
    outcome = drill_sentinel(tmp_path, how, processes=2)
    assert outcome.acknowledged > 1000
    assert (outcome.lost, outcome.is_exact) == (0, True)


def test_lists_are_whole_while_slots_move_and_a_replica_is_promoted(tmp_path: Path) -> None:
    outcome = drill_cluster_under_load(tmp_path, processes=2)
    assert (outcome.lost, outcome.is_exact) == (0, True)
