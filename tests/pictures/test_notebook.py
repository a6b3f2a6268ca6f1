"""Records in IPython: registered by importing the pictures, shown as HTML."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as Tree

import pytest
from IPython.core.formatters import HTMLFormatter

from relay_models.documents import Run
from relay_models.pictures import register_notebook_formatters
from relay_models.records import StabilityAnalysisResult, TrieEnvelope

from .builders import example


@pytest.fixture
def formatter() -> HTMLFormatter:
    """IPython's formatter for HTML, with the records registered."""
    made = HTMLFormatter()
    assert register_notebook_formatters(made)
    return made


def test_records_are_shown_as_pictures(
    formatter: HTMLFormatter, trie: TrieEnvelope, stability: StabilityAnalysisResult
) -> None:
    for record in (example(), trie, stability, Run.of(example())):
        shown = formatter(record)
        Tree.fromstring(shown)
        assert "<svg" in shown


def test_a_run_with_columns_only_is_shown_as_text(formatter: HTMLFormatter) -> None:
    run = Run.of(example())
    columns_only = run.model_copy(update={"record_json": None})

    assert columns_only.record is None
    assert formatter(columns_only) is None


def test_nothing_is_registered_outside_of_ipython() -> None:
    assert not register_notebook_formatters()


def test_importing_the_pictures_in_ipython_is_enough() -> None:
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
from relay_models.records import RunRecord
import relay_models.pictures
run = RunRecord.model_validate_json(
    '{"id": "00000000-0000-0000-0000-000000000001", "agent_id": "a", "calls": [], "started_at": "2026-01-01T00:00:00Z"}'
)
data, _ = shell.display_formatter.format(run)
print("<svg" in data["text/html"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)

    assert done.stdout.strip() == "True", done.stderr
