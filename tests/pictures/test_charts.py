"""Aggregates as charts."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as Tree

import pytest

from relay_models.errors import InvalidConfigurationError, MissingExtraError
from relay_models.pictures import chart
from relay_models.pictures.charts import MOST_BARS, MOST_SERIES, read_rows

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def by_model() -> list[dict[str, Any]]:
    """Rows grouped by model; one group has none."""
    return [
        {"models": "gpt-4.1 $x$", "count": 12, "avg(duration)": timedelta(milliseconds=20), "cost": None},
        {"models": None, "count": 1, "avg(duration)": None, "cost": 0.5},
    ]


def by_hour() -> Iterator[dict[str, Any]]:
    """Rows by hour and agent."""
    for agent in ("a", "b"):
        for hour in range(5):
            yield {"started_at": BEGIN + timedelta(hours=hour), "agent_id": agent, "count": hour}


def drawn(figure: Any) -> str:
    """The figure as SVG with real texts."""
    import matplotlib as mpl

    stream = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(stream, format="svg")
    Tree.fromstring(stream.getvalue())
    return stream.getvalue().decode()


def test_columns_are_told_by_their_values() -> None:
    assert read_rows(by_model()).groups == ("models",)
    assert read_rows(by_model()).metrics == ("count", "avg(duration)", "cost")
    data = read_rows(by_hour())
    assert (data.time, data.groups, data.metrics) == ("started_at", ("agent_id",), ("count",))


def test_bars_stand_for_groups_with_their_numbers() -> None:
    figure = chart(by_model(), title="By $model$")

    assert len(figure.axes) == 3
    assert [bar.get_width() for bar in figure.axes[0].patches] == [12, 1]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [20, 0]
    svg = drawn(figure)
    for text in ("gpt-4.1 $x$", "(none)", "avg(duration) (ms)", "By $model$"):
        assert text in svg


def test_lines_run_over_time_one_for_each_group() -> None:
    figure = chart(by_hour())

    (panel,) = figure.axes
    assert [line.get_label() for line in panel.lines] == ["a", "b"]
    assert list(panel.lines[0].get_ydata()) == [0, 1, 2, 3, 4]
    assert len({(line.get_marker(), line.get_linestyle()) for line in panel.lines}) == 2
    drawn(figure)


def test_metrics_can_be_chosen() -> None:
    assert len(chart(by_model(), metrics=["count"]).axes) == 1
    with pytest.raises(InvalidConfigurationError, match="count, "):
        chart(by_model(), metrics=["sum"])
    with pytest.raises(InvalidConfigurationError, match="no metric"):
        chart([{"agent_id": "a"}])


def test_what_does_not_fit_is_counted() -> None:
    assert "and 7 more rows" in drawn(chart([{"agent_id": str(n), "count": n} for n in range(MOST_BARS + 7)]))
    rows = [{"at": BEGIN, "agent_id": str(n), "count": n} for n in range(MOST_SERIES + 3)]
    assert "and 3 more groups" in drawn(chart(rows))


def test_nothing_to_draw_is_said() -> None:
    assert "no runs match" in drawn(chart([]))


def test_rows_of_no_known_sort_are_refused() -> None:
    with pytest.raises(InvalidConfigurationError, match="int"):
        chart([1])


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingExtraError, match=r"relay-models\[plot\]"):
        chart(by_model())
