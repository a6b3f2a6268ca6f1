"""Pictures hold what they should, are well formed whatever the names are, and fit their width."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pytest
from hypothesis import given, settings, strategies as st
from rich.console import Console

from relay_models.errors import InvalidConfigurationError
from relay_models.pictures import Picture, StabilityBar, Timeline, TrieTree
from relay_models.pictures.text import cells
from relay_models.records import (
    BlockStabilityScore,
    PredictionTrieNode,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
    from_json,
)

from .builders import example, llm, many, run, tool

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</title><script>alert(1)</script> & \"'<b>\x1b[31m\n\u202e]]>"


def texts(svg: str) -> list[str]:
    """What the picture writes."""
    return ["".join(element.itertext()) for element in Tree.fromstring(svg).iter(f"{SVG}text")]


def tips(svg: str) -> list[str]:
    """The tooltips of the picture."""
    root = Tree.fromstring(svg)
    return ["".join(element.itertext()) for group in root.iter(f"{SVG}g") for element in group.iter(f"{SVG}title")]


def test_each_call_is_told_with_its_tokens_and_model() -> None:
    svg = Timeline(example()).svg()

    assert {"openai", "anthropic", "search", "fetch", "instant", "last", "1,200→34", "gpt-4.1"} <= set(texts(svg))
    assert "LLM call 1: openai\nstarts at 0 ns, takes 400 ms\nmodel gpt-4.1" in tips(svg)[0]
    assert any("no answer recorded" in tip for tip in tips(svg))
    assert any("unfinished" in tip for tip in tips(svg))
    assert len(tips(svg)) == 6


def test_the_picture_is_told_to_those_who_cannot_see_it() -> None:
    root = Tree.fromstring(Timeline(example()).svg())

    assert root.get("role") == "img"
    named = {element.get("id"): "".join(element.itertext()) for element in root if element.get("id")}
    title, description = (named[name] for name in root.get("aria-labelledby", "").split())
    assert "planner" in title
    assert "3 LLM calls, 3 tool calls" in description
    assert "search" in description


def test_kinds_are_told_apart_without_colour() -> None:
    text = Timeline(example()).text(width=100)
    lines = {name: next(line for line in text.splitlines() if name in line) for name in ("openai", "search", "instant")}

    assert "█" in lines["openai"]
    assert "▄" not in lines["openai"]
    assert "▄" in lines["search"]
    assert "█" not in lines["search"]
    assert "\x1b" not in text
    assert "no answer" in text
    assert "unfinished" in text


def test_parallel_tools_are_braced() -> None:
    lines = Timeline(example()).text(width=100).splitlines()

    assert "╭" in next(line for line in lines if "search" in line)
    assert "╰" in next(line for line in lines if "fetch" in line)


def test_colour_is_there_on_request() -> None:
    assert "\x1b[" in Timeline(example()).text(color=True)


def test_a_console_without_unicode_gets_ascii() -> None:
    text = Timeline(run(llm("openai", 0, 500), tool("a", 510, 600), tool("b", 520, 600))).text(ascii_only=True)

    assert text.isascii(), text


def all_pictures(trie: TrieEnvelope, stability: StabilityAnalysisResult) -> list[Picture]:
    """Every sort of picture."""
    return [
        Timeline(example()),
        Timeline(many(1)),
        Timeline(many(300)),
        Timeline(run(end=None)),
        TrieTree(trie),
        StabilityBar(stability, agent_id="数据-агент" * 20),
        StabilityBar(StabilityAnalysisResult(scores=[], stable_prefix_length=0, total_observations=0)),
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_text_fits_its_width(width: int, trie: TrieEnvelope, stability: StabilityAnalysisResult) -> None:
    for picture in all_pictures(trie, stability):
        for ascii_only in (False, True):
            for line in picture.text(width=width, ascii_only=ascii_only).splitlines():
                assert cells(line) <= width, (picture.title, line)


@pytest.mark.parametrize("width", [200, 480, 960, 1600])
def test_svg_stays_within_its_frame(width: int, trie: TrieEnvelope, stability: StabilityAnalysisResult) -> None:
    for picture in all_pictures(trie, stability):
        root = Tree.fromstring(picture.svg(width=width))
        right, bottom = float(root.get("width", 0)), float(root.get("height", 0))
        assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
        for rect in root.iter(f"{SVG}rect"):
            if "%" in rect.get("width", ""):
                continue
            assert float(rect.get("width", 0)) >= 0
            assert float(rect.get("x", 0)) + float(rect.get("width", 0)) <= right + 1, picture.title
            assert float(rect.get("y", 0)) + float(rect.get("height", 0)) <= bottom + 1, picture.title


def test_nothing_is_fetched_and_nothing_runs(trie: TrieEnvelope, stability: StabilityAnalysisResult) -> None:
    for picture in all_pictures(trie, stability):
        page = picture.html()
        assert "<script" not in page
        assert "@import" not in page
        assert set(re.findall(r"https?://[^\"' )]+", page)) <= {"http://www.w3.org/2000/svg"}
        assert "url(#" not in page or re.search(r'id="rm[0-9a-f]{12}h"', page)
        assert "prefers-color-scheme: dark" in page


def hostile_pictures() -> list[Picture]:
    """Pictures of records whose every text is hostile."""
    node = {"name": HOSTILE, "children": {}, "predictions_by_call_index": {}, "predictions_any_index": None}
    root = PredictionTrieNode.model_validate({**node, "children": {HOSTILE: node}})
    score = BlockStabilityScore(
        span_id=HOSTILE, classification="unheard of <b>", score=0.5, confidence=0.5, observation_count=1
    )
    record = run(llm("x", 0, 5), tool("y", 6, 7), agent="z")
    record.agent_id = HOSTILE
    for call in record.calls:
        call.name = HOSTILE
    record.calls[0].model_name = HOSTILE
    return [
        Timeline(record),
        Timeline(record, rows="names"),
        TrieTree(TrieEnvelope(version=HOSTILE, generated_at="2026-01-01T00:00:00Z", workflow_name=HOSTILE, root=root)),
        StabilityBar(
            StabilityAnalysisResult(scores=[score], stable_prefix_length=9, total_observations=1), agent_id=HOSTILE
        ),
    ]


def test_hostile_names_break_nothing() -> None:
    for picture in hostile_pictures():
        Tree.fromstring(picture.svg())
        page = picture.html()
        assert "<script>" not in page
        assert "<b>" not in page
        page.encode()
        assert "\x1b[31m" not in picture.text(color=False)
        assert "\u202e" not in picture.text() + page
        assert "\n" not in picture.title


@settings(max_examples=60)
@given(st.text(), st.text(), st.text())
def test_any_names_make_a_well_formed_picture(agent: str, name: str, model: str) -> None:
    record = run(llm("x", 0, 5), tool("y", 6, 7))
    record.agent_id, record.calls[0].name, record.calls[0].model_name, record.calls[1].name = agent, name, model, name
    picture = Timeline(record)

    Tree.fromstring(picture.svg())
    for line in picture.text(width=70).splitlines():
        assert cells(line) <= 70


def test_pictures_of_one_page_do_not_share_names() -> None:
    pages = [Timeline(example()).svg(), Timeline(many(10)).svg(), Timeline(many(10, seed=2)).svg()]
    names = [set(re.findall(r'id="([^"]+)"', page)) for page in pages]

    assert not names[0] & names[1]
    assert not names[1] & names[2]


@pytest.mark.parametrize(
    ("ending", "begins"),
    [("svg", "<svg "), ("html", "<!DOCTYPE html>"), ("HTM", "<!DOCTYPE html>"), ("txt", "planner")],
)
def test_pictures_are_saved_by_their_ending(tmp_path: Path, ending: str, begins: str) -> None:
    path = Timeline(example()).save(tmp_path / f"run.{ending}")

    assert path.read_text(encoding="utf-8").startswith(begins)
    assert [each.name for each in tmp_path.iterdir()] == [f"run.{ending}"]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigurationError, match=r"\.svg, \.html or \.txt"):
        Timeline(example()).save(tmp_path / "run.png")


def test_a_notebook_shows_the_svg_and_a_repr_its_title() -> None:
    picture = Timeline(example())

    assert picture.svg() in picture._repr_html_()
    assert "planner" in repr(picture)


def test_a_console_prints_a_picture_in_its_width(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=70, force_terminal=False).print(Timeline(example()))

    out = capsys.readouterr().out
    assert "openai" in out
    assert max(cells(line) for line in out.splitlines()) <= 70


def test_html_lists_every_call_in_full() -> None:
    record = many(300)
    page = Timeline(record).html()

    assert page.count("<tr>") == 301
    assert "a_very_long_tool_name_that_goes_on_and_on" in page


def test_a_trie_shows_each_node_with_its_predictions(trie: TrieEnvelope) -> None:
    def nodes(node: PredictionTrieNode) -> list[PredictionTrieNode]:
        return [node, *(below for child in node.children.values() for below in nodes(child))]

    every = nodes(trie.root)
    predictions = sum((n.predictions_any_index is not None) + len(n.predictions_by_call_index) for n in every)
    picture = TrieTree(trie)

    assert f"{len(every)} nodes · {predictions} predictions" in picture.summary
    shown = texts(picture.svg())
    for node in every:
        assert node.name in shown
        assert node.name in picture.text(width=120)


def test_a_deep_trie_needs_no_deep_stack() -> None:
    empty = {"children": {}, "predictions_by_call_index": {}, "predictions_any_index": None}
    root = PredictionTrieNode.model_validate({"name": "root", **empty})
    node = root
    for depth in range(3000):
        child = PredictionTrieNode.model_validate({"name": str(depth), **empty})
        node.children[str(depth)] = child
        node = child

    picture = TrieTree(
        TrieEnvelope(version="1.0", generated_at="2026-01-01T00:00:00Z", workflow_name="deep", root=root)
    )

    assert len(picture.lines) == 3001


def test_stability_counts_its_blocks_and_marks_the_prefix(stability: StabilityAnalysisResult) -> None:
    picture = StabilityBar(stability, agent_id="reviewer")
    text = picture.text(width=100)

    for score in stability.scores:
        assert score.span_id in text
    assert "stable prefix" in text
    assert f"stable prefix of {stability.stable_prefix_length}" in picture.summary
    assert len(tips(picture.svg())) == len(stability.scores)


@pytest.mark.parametrize("make", [Timeline, lambda record: Timeline(record, rows="names")])
def test_every_run_of_the_capture_can_be_drawn(
    make: Callable[[RunRecord], Timeline], capture: list[dict[str, Any]]
) -> None:
    for row in capture:
        if ":runs:" in row["key"]:
            record = from_json(RunRecord, row["value"])
            picture = make(record)
            Tree.fromstring(picture.svg())
            assert len(picture.layout.bars) == len(json.loads(row["value"])["calls"])
