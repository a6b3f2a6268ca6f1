"""Key names keep stores, agents and kinds apart, and can be taken apart again."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from relay_models.documents import ARTIFACT_KINDS, LAYOUT_VERSION, Keys, Layout, layout_of
from relay_models.errors import InvalidConfigurationError, InvalidRecordError

RUN_ID = "01a20829-5419-78a3-9ad0-f4d3b8e9db7a"
prefixes = st.text(max_size=8).filter(lambda text: "\0" not in text and "@" not in text)
agents = st.one_of(st.text(max_size=8), st.sampled_from(["", "a:b", "@run:", f"x:{RUN_ID}", "\0", "\u2400", "\u24000"]))


@given(prefixes, agents, st.uuids())
def test_keys_come_apart_as_they_were_put_together(prefix: str, agent: str, run_id: UUID) -> None:
    keys = Keys(prefix)
    key = keys.run(agent, run_id)
    assert key == keys.run(agent, str(run_id).upper())
    assert keys.split_run(key) == (agent, str(run_id))
    assert b"\0" not in key
    for kind in ARTIFACT_KINDS:
        assert keys.split(kind, keys.document(kind, agent)) == agent
        assert keys.document(kind, agent).startswith(keys.root(kind))


@given(prefixes, prefixes, agents, agents, st.uuids())
def test_no_two_things_share_a_key(one: str, other: str, agent: str, another: str, run_id: UUID) -> None:
    if (one, agent) != (other, another):
        assert Keys(one).run(agent, run_id) != Keys(other).run(another, run_id)
    if one != other:
        # A prefix that begins another does not make its documents part of that one's index.
        assert not Keys(other).run(another, run_id).startswith(Keys(one).root("run"))


@pytest.mark.parametrize("prefix", ["a@run:b", "@plan:", "x@stability:", "a\0b", "\ud800", 5])
def test_prefixes_that_cannot_work(prefix: str) -> None:
    with pytest.raises(InvalidConfigurationError):
        Keys(prefix)


@pytest.mark.parametrize("prefix", ["", " ", "{a}", "a\nb", "*", "nemo_relay:", "a@b.example:", "@", "数据:"])
def test_prefixes_that_work(prefix: str) -> None:
    keys = Keys(prefix)
    assert keys.alias("run") == f"{prefix}@run"
    assert layout_of(keys.index("run")) == Layout(LAYOUT_VERSION, False)
    assert layout_of(keys.index("run", text=True).encode()) == Layout(LAYOUT_VERSION, True)
    assert layout_of(keys.index("plan", text=True)) == Layout(LAYOUT_VERSION, False)


def test_layouts_are_in_order() -> None:
    assert Layout(1, False) < Layout(1, True) < Layout(2, False)
    assert layout_of("someone:idx") is None


def test_what_is_no_key_of_ours() -> None:
    keys = Keys("p:")
    for key in (b"p:@run:", b"p:@run:x", b"q:@run:a:" + RUN_ID.encode(), b"p:@run:" + RUN_ID.encode()):
        with pytest.raises(ValueError, match="not the key"):
            keys.split_run(key)


@pytest.mark.parametrize(("agent", "run_id"), [("a", "no-uuid"), ("\ud800", RUN_ID), (5, RUN_ID), ("a", None)])
def test_ids_that_cannot_be_stored(agent: str, run_id: str) -> None:
    with pytest.raises(InvalidRecordError):
        Keys("").run(agent, run_id)
