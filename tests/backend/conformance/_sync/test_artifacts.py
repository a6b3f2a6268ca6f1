# ruff: noqa
# fmt: off
# Generated from tests/backend/conformance/_async/test_artifacts.py by scripts/generate_sync.py: change that, not this.
"""The artefacts of a `StorageBackend`: one value per agent and kind, stored whole, on captured data."""

from __future__ import annotations

from typing import Any

import pytest

from relay_models.backend._sync.backend import RedisBackend
from relay_models.errors import CorruptDocumentError, InvalidRecordError
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    PromptIR,
    StabilityAnalysisResult,
    TrieEnvelope,
)
from tests.backend.stores import HOSTILE, as_value

from .conftest import Place

KINDS = {
    "plan": ("plan", ExecutionPlan),
    "trie": ("trie", TrieEnvelope),
    "accumulators": ("accumulators", AccumulatorState),
    "acg_observations": ("observations", PromptIR),
    "acg_stability": ("stability", StabilityAnalysisResult),
}


def captured(capture: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The capture's artefacts by kind and agent."""
    found: dict[str, dict[str, Any]] = {}
    for line in capture:
        native, _, agent_id = line["key"].removeprefix("nemo_relay:").partition(":")
        if native in KINDS:
            kind, model = KINDS[native]
            if kind == "observations":
                import json

                value: Any = [PromptIR.model_validate(each) for each in json.loads(line["value"])]
            else:
                value = model.model_validate_json(line["value"])
            found.setdefault(kind, {})[agent_id] = value
    return found


def store(backend: RedisBackend, kind: str, agent_id: str, value: Any) -> None:
    arguments = (value,) if kind == "plan" else (agent_id, value)
    getattr(backend, f"store_{kind}")(*arguments)


def test_artefacts_come_back_as_they_were(backend: RedisBackend, capture: list[dict[str, Any]]) -> None:
    kinds = captured(capture)
    assert set(kinds) == {kind for kind, _ in KINDS.values()}
    for kind, values in kinds.items():
        for agent_id, value in values.items():
            assert getattr(backend, f"load_{kind}")(agent_id) is None
            store(backend, kind, agent_id, value)
        for agent_id, value in values.items():
            assert as_value(getattr(backend, f"load_{kind}")(agent_id)) == as_value(value)


def test_a_store_replaces_and_a_delete_removes(backend: RedisBackend) -> None:
    empty = AccumulatorState.model_validate({"nodes": {}})
    backend.store_accumulators("agent", empty)
    backend.store_accumulators("agent", AccumulatorState.model_validate({"nodes": {}, "later": [1]}))
    assert as_value(backend.load_accumulators("agent")) == {"nodes": {}, "later": [1]}
    assert backend.delete_accumulators("agent") is True
    assert backend.delete_accumulators("agent") is False
    assert backend.load_accumulators("agent") is None
    backend.store_observations("agent", [])
    assert backend.load_observations("agent") == []


def test_agents_of_artefacts_are_kept_apart(backend: RedisBackend) -> None:
    for number, agent_id in enumerate(HOSTILE):
        backend.store_accumulators(agent_id, AccumulatorState.model_validate({"nodes": {}, "number": number}))
    for number, agent_id in enumerate(HOSTILE):
        assert as_value(backend.load_accumulators(agent_id)) == {"nodes": {}, "number": number}, agent_id


def test_a_corrupt_artefact_says_so(backend: RedisBackend, place: Place) -> None:
    backend.store_accumulators("agent", AccumulatorState.model_validate({"nodes": {}}))
    key = f"{backend.key_prefix}@accumulators:agent"
    place.raw.execute_command("JSON.SET", key, "$.record", '"[]"')
    with pytest.raises(CorruptDocumentError) as caught:
        backend.load_accumulators("agent")
    assert caught.value.key == key


def test_what_is_no_artefact_is_refused(backend: RedisBackend) -> None:
    with pytest.raises(InvalidRecordError):
        backend.store_trie("agent", "no trie")  # type: ignore[arg-type]
    with pytest.raises(InvalidRecordError):
        backend.store_observations("agent", ["no prompt"])  # type: ignore[list-item]
