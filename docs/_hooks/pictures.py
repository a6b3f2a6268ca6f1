"""Pictures that are drawn at build time: the timeline of a captured run, for the home page and the guides."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files as resources
from typing import Any

from mkdocs.structure.files import File, Files

from relay_models.pictures import Timeline
from relay_models.records import RunRecord

TIMELINE = "assets/timeline.svg"


def on_files(files: Files, config: Any) -> Files:
    files.append(File.generated(config, TIMELINE, content=Timeline(telling_run()).svg(width=960)))
    return files


def telling_run() -> RunRecord:
    """The captured run whose timeline shows most: several models and tools, yet few enough calls to read."""
    data = (resources("relay_models.cli") / "data" / "demo.jsonl.gz").read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    runs = [
        RunRecord.model_validate_json(line["value"])
        for line in lines
        if ":runs:" in line["key"] and line["type"] == "string"
    ]
    return max(
        (run for run in runs if len(run.calls) <= 12),
        key=lambda run: (len(run.calls), len(set(run.tools)), str(run.id)),
    )
