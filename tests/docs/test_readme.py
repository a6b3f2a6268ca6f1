"""The README's picture is what the library draws of a packaged run today."""

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
