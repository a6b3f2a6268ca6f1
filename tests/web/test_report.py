"""The static report: one file that loads nothing."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from relay_models import CallRecord, RunRecord
from relay_models.errors import QueryError
from relay_models.sync import RedisBackend
from relay_models.web import write_report
from tests.web.hostile import ATTACKS


def test_a_report_is_one_file_of_its_owner(store: RedisBackend, tmp_path: Path) -> None:
    path = write_report(store, tmp_path / "report.html", "duration > 20ms", order_by="-duration", limit=7, title="Slow")
    page = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "<title>Slow</title>" in page
    assert len(re.findall(r"<tr><td class=\"nowrap\"><code", page)) == 7
    assert page.count("Timeline of run") >= 5
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page


def test_a_report_of_hostile_runs_holds_only_data(hostile_store: RedisBackend, tmp_path: Path) -> None:
    page = write_report(hostile_store, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("<h1") == 1
    assert len(ATTACKS) == page.count('<code title="')


def test_a_report_about_nothing_is_a_report(store: RedisBackend, tmp_path: Path) -> None:
    assert "0 runs" in write_report(store, tmp_path / "a.html", "agent = nobody").read_text(encoding="utf-8")
    with pytest.raises(QueryError):
        write_report(store, tmp_path / "b.html", "nonsense")
    assert not (tmp_path / "b.html").exists()


def test_a_report_of_very_long_runs_stays_small(empty: RedisBackend, tmp_path: Path) -> None:
    empty.store_run(RunRecord(agent_id="long", calls=[CallRecord(kind="tool", name="search") for _ in range(5_000)]))
    page = write_report(empty, tmp_path / "report.html").read_text()
    assert "The first 300 of 5,000 calls" in page
    assert len(page) < 300_000
