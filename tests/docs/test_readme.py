"""The README's picture and links, and what CONTRIBUTING.md names."""

from __future__ import annotations

import gzip
import json
import re
from importlib.resources import files
from pathlib import Path

from relay_models.pictures import Timeline
from relay_models.records import RunRecord

ROOT = Path(__file__).parents[2]


def test_the_picture_is_what_is_drawn() -> None:
    shown = (ROOT / "docs" / "assets" / "readme-timeline.svg").read_text(encoding="utf-8")
    data = gzip.decompress((files("relay_models.cli") / "data" / "demo.jsonl.gz").read_bytes())
    runs = [json.loads(line) for line in data.splitlines() if b":runs:" in line]
    (value,) = [run["value"] for run in runs if run["key"][-36:] in shown]
    drawn = Timeline(RunRecord.model_validate_json(value)).svg()
    assert drawn.strip() == shown.strip(), "draw it again: Timeline(run).save('docs/assets/readme-timeline.svg')"


def test_the_readme_links_to_files_that_are_there() -> None:

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert targets
    assert not [target for target in targets if not (ROOT / target).is_file()]


def test_contributing_names_files_and_steps_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## The map") : text.index("## From a record")]
    named = re.findall(r"`([\w./]+(?:/|\.py))`", table)
    assert len(named) > 20
    assert not [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "relay_models"))]
    steps = re.findall(r'^step "(.+?)(?: \(.*)?"$', (ROOT / ".ci" / "run").read_text(), re.M)
    for step in set(steps) - {"all passed"}:
        assert f"\n| {step} |" in text
