"""Native keys: made and taken apart for any prefix and any agent."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models._glob import escape_glob
from relay_models.errors import InvalidConfigurationError
from relay_models.native import NativeKey, NativeKeys
from relay_models.native.layout import ARTIFACT_KINDS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "a:b::c", "runs:", "runs_index:x", "agent::model=gpt::seed=1::system=sha256:ab", "a b|{c}*?[x]\\", "数据"]
)


@given(TEXTS, TEXTS, st.uuids())
def test_keys_come_apart_as_they_were_made(prefix: str, agent_id: str, run_id: Any) -> None:
    keys = NativeKeys(prefix)
    named = [NativeKey("run", agent_id, str(run_id)), NativeKey("run_index", agent_id)]
    named += [NativeKey(kind, agent_id) for kind in ARTIFACT_KINDS]
    made = [keys.of(key) for key in named]
    assert len(set(made)) == len(made)
    assert [keys.parse(key) for key in made] == named
    assert made[0] == keys.run(agent_id, run_id) == f"{prefix}runs:{agent_id}:{run_id}".encode()
    assert made[1] == keys.run_index(agent_id) == f"{prefix}runs_index:{agent_id}".encode()


def test_the_captured_keys_are_all_known(capture: list[dict[str, Any]]) -> None:
    keys = NativeKeys()
    kinds = {"run": 0, "run_index": 0}
    for line in capture:
        key = keys.parse(line["key"].encode())
        assert key is not None
        assert keys.of(key) == line["key"].encode()
        kinds[key.kind] = kinds.get(key.kind, 0) + 1
    assert set(kinds) == {"run", "run_index", *ARTIFACT_KINDS}
    assert kinds["run"] == 180


@pytest.mark.parametrize(
    "key",
    [b"", b"nemo_relay:", b"nemo_relay:runs", b"nemo_relay:runs:a", b"nemo_relay:runs:a:not-a-run-id",
     b"nemo_relay:other:a", b"nemo_rela:plan:a", b"nemo_relay:plan:\xff", b"x" * 200,
     b"nemo_relay:runs:01a20a40-32e8-77a0-89d5-d5001f7713b4"],
)  # fmt: skip
def test_other_keys_are_nobody_s(key: bytes) -> None:
    assert NativeKeys().parse(key) is None


def test_a_prefix_has_to_be_text() -> None:
    with pytest.raises(InvalidConfigurationError):
        NativeKeys("\ud800")
    with pytest.raises(InvalidConfigurationError):
        NativeKeys(5)  # type: ignore[arg-type]


@given(TEXTS)
def test_escaped_patterns_match_only_themselves(text: str) -> None:
    # fnmatch knows no backslash escapes, so they are turned into one-character classes first.
    escaped = escape_glob(text.encode()).decode()
    pattern, position = "", 0
    while position < len(escaped):
        if escaped[position] == "\\":
            position += 1
            pattern += f"[{escaped[position]}]" if escaped[position] != "\\" else "[\\\\]"
        else:
            pattern += escaped[position]
        position += 1
    assert fnmatch.fnmatchcase(text, pattern)
