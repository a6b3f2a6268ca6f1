"""Bars of an aggregate: their heights, their links and their texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from relay_models import CallRecord, RunRecord
from relay_models.errors import InvalidConfigurationError
from relay_models.pictures import BarChart
from relay_models.sync import RedisBackend

SVG = "{http://www.w3.org/2000/svg}"
GROUPS = [{"agent_id": "planner", "count": 40}, {"agent_id": "<b>", "count": 10}, {"agent_id": None, "count": 0}]


def bars(svg: str) -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(svg).iter(f"{SVG}rect") if each.get("class") == "llm"]


def test_groups_are_bars_in_proportion() -> None:
    drawn = bars(BarChart(GROUPS).svg())
    wide = [float(bar.get("width", "0")) for bar in drawn]
    assert len(wide) == 2  # none has no bar
    assert wide[0] == pytest.approx(4 * wide[1], rel=0.01)


def test_buckets_are_columns_in_proportion() -> None:
    start = datetime(2026, 11, 23, tzinfo=UTC)
    rows = [{"bucket": start + timedelta(hours=n), "p95(duration)": timedelta(seconds=n)} for n in range(4)]
    drawn = bars(BarChart(rows, "p95(duration)").svg(width=400))
    high = [float(bar.get("height", "0")) for bar in drawn]
    assert high[2] == pytest.approx(3 * high[0], rel=0.01)


def test_bars_lead_where_they_are_told_to() -> None:
    chart = BarChart(GROUPS, "count", link=lambda row: f'/runs?agent="{row["agent_id"]}"&x=<' if row["count"] else "")
    root = ElementTree.fromstring(chart.svg())
    assert [link.get("href") for link in root.iter(f"{SVG}a")] == ['/runs?agent="planner"&x=<', '/runs?agent="<b>"&x=<']


def test_texts_are_escaped_and_many_bars_are_cut() -> None:
    rows = [{"agent_id": f"<script>{n}\x00\u202e", "count": n} for n in range(60)]
    chart = BarChart(rows, title="<script>")
    svg = chart.svg()
    assert "<script" not in svg
    assert "and 20 more" in svg
    assert "<script" not in chart.html()


def test_it_is_also_text_and_a_table() -> None:
    chart = BarChart(GROUPS, title="Runs by agent")
    text = chart.text(width=60)
    assert "Runs by agent" in text
    assert re.search(r"planner +█+ 40", text)
    assert "####" in chart.text(width=60, ascii_only=True)
    assert "<td>planner</td>" in re.sub(r' class="[^"]*"', "", chart.details())


def test_nothing_is_drawn_as_nothing() -> None:
    assert "no runs match" in BarChart([]).svg()
    assert "no runs match" in BarChart([]).text()
    with pytest.raises(InvalidConfigurationError, match="no metric"):
        BarChart(GROUPS, "sum(cost)")


def test_groups_of_integers_are_groups_and_no_metric() -> None:
    with RedisBackend.embedded() as backend:
        for count in (1, 1, 20):
            backend.store_run(RunRecord(agent_id="a", calls=[CallRecord(kind="tool", name="t") for _ in range(count)]))
        rows = backend.aggregate_runs(by="tool_calls", metrics=["count", "max(tool_calls)"])
    # The first metric is drawn unless one is named.
    assert re.findall(r"<text[^>]*>([^<]*)<", BarChart(rows).svg()) == ["count", "1", "2", "20", "1"]
