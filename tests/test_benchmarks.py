"""All benchmark modules join one command, and the page of figures is that of the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import modules
from benchmarks.growth_picture import growth_svg
from benchmarks.results import Result, across_engines

ROOT = Path(__file__).parents[1]


def test_all_modules_are_found() -> None:
    names = {name for name, _ in modules()}
    assert {"cluster", "embedded", "export", "interop", "models", "queries", "scale", "served", "store"} <= names


def test_a_module_is_measured_and_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "scale", "--runs", "1000", "--rounds", "1"]
    command += [
        "--path",
        str(tmp_path / "b.db"),
        "--json",
        str(tmp_path / "f.json"),
        "--picture",
        str(tmp_path / "g.svg"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "agents, 1,000 runs" in run.stdout
    written = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    results = [Result.from_json(each) for each in written["results"]]
    assert all(each.module == "scale" and each.engine == "embedded" and each.value > 0 for each in results)
    assert (tmp_path / "g.svg").read_text(encoding="utf-8").startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "g.svg"]


def test_an_unknown_module_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks", "stoer"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 2
    assert "no module stoer; there are" in run.stderr


def test_bars() -> None:
    assert Result("a", 2.0, bar=1.5).is_missed
    assert not Result("a", 0.6, bar=0.5, at_least=True).is_missed
    assert Result("a", 0.4, bar=0.5, at_least=True).is_missed
    engines = [Result("a", 8.0, unit="ms", across=3.0, engine="embedded", module="m")]
    engines.append(Result("a", 2.0, unit="ms", engine="server", module="m"))
    (ratio,) = across_engines(engines)
    assert (ratio.value, ratio.vs, ratio.is_missed) == (4.0, "a server", True)
    assert Result.from_json(ratio.to_json()) == ratio


def test_the_picture_says_every_figure() -> None:
    picture = growth_svg({1_000: {"agents": 0.001}, 10_000: {"agents": 0.01}}, "growth")
    assert "agents: 1.00 ms at 1,000, 10.00 ms at 10,000" in picture


def test_the_table_of_history_is_that_of_the_files() -> None:
    command = [sys.executable, "scripts/benchmark_history.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stdout
