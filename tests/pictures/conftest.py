"""Records of the capture to draw."""

from __future__ import annotations

from typing import Any

import pytest

from relay_models.records import StabilityAnalysisResult, TrieEnvelope, from_json


@pytest.fixture
def trie(capture: list[dict[str, Any]]) -> TrieEnvelope:
    """A trie of the capture."""
    return next(from_json(TrieEnvelope, row["value"]) for row in capture if ":trie:" in row["key"])


@pytest.fixture
def stability(capture: list[dict[str, Any]]) -> StabilityAnalysisResult:
    """The longest stability result of the capture."""
    found = [from_json(StabilityAnalysisResult, row["value"]) for row in capture if ":acg_stability:" in row["key"]]
    return max(found, key=lambda result: len(result.scores))
