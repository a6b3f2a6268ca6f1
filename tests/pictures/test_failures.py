"""Failures in a timeline: in words and in color, in the terminal, in SVG and in HTML."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from relay_models.pictures import Timeline
from relay_models.records import ErrorInfo, RunExtensions, RunRecord

from .builders import call, llm, many, run, tool


@pytest.fixture
def failed_run() -> RunRecord:
    broken = call(
        "tool", "search", 300, 500,
        relay_models={"status": "failed", "error": {"type": "TimeoutError", "message": "late <b>\nagain"}},
    )  # fmt: skip
    made = run(llm("openai", 0, 200), broken, tool("fine", 600, 900))
    made.ext = RunExtensions(status="failed", error=ErrorInfo(type="ValueError", message="no shelf"))
    return made


def printed(timeline: Timeline, *, color: bool) -> str:
    out = io.StringIO()
    options = {"force_terminal": True, "color_system": "standard"} if color else {}
    Console(file=out, width=140, **options).print(timeline)  # type: ignore[arg-type]
    return out.getvalue()


def test_in_words(failed_run: RunRecord) -> None:
    text = printed(Timeline(failed_run), color=False)
    assert "run failed: ValueError: no shelf" in text
    assert "1 failed" in text
    assert "failed: TimeoutError: late" in text


def test_in_color(failed_run: RunRecord) -> None:
    lines = printed(Timeline(failed_run), color=True).splitlines()
    (line,) = [line for line in lines if "TimeoutError" in line]
    assert "\x1b[31m" in line
    assert all("\x1b[31m" not in line for line in lines if "fine" in line)


def test_in_svg_and_html(failed_run: RunRecord, tmp_path: Path) -> None:
    timeline = Timeline(failed_run)
    svg = timeline.svg()
    assert svg.count('class="failed"') == 2  # the bar and the legend
    assert "failed: TimeoutError: late &lt;b&gt; again" in svg
    page = Path(timeline.save(tmp_path / "run.html")).read_text(encoding="utf-8")
    assert "failed: TimeoutError: late &lt;b&gt; again" in page


def test_failures_are_counted_where_a_row_is_a_name() -> None:
    crowded = many(60)
    value = crowded.model_dump(mode="json")
    for made in value["calls"][:7]:
        made["name"], made["kind"] = "search", "tool"
        made["relay_models"] = {"status": "failed"}
    text = printed(Timeline(RunRecord.model_validate(value), rows="names"), color=False)
    assert "7 failed" in text
