"""The parts of the backend that do no I/O: pages, replies of both protocols, the clock, the generated twin."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models._gc import collector_paused
from relay_models.backend.clock import StoreClock
from relay_models.backend.column_changes import column_changes
from relay_models.backend.listing import Page, first_page, next_page, scan_command
from relay_models.backend.replies import (
    KeyRow,
    decode_agents,
    decode_body,
    decode_ids,
    decode_index_info,
    decode_key_page,
    decode_texts,
)
from relay_models.documents import Keys, encode_run
from tests.backend.stores import make_run

ROOT = Path(__file__).parents[2]


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 9), st.randoms())
def test_pages_give_every_row_once_and_in_order(instants: list[int], limit: int, random: Any) -> None:
    rows = [KeyRow(instant, b"%03d" % number) for number, instant in enumerate(instants)]
    random.shuffle(rows)
    given_out: list[KeyRow] = []
    page: Page | None = first_page(limit)
    for _ in range(400):
        if page is None:
            break
        # The server's order among equal times is its own.
        left = sorted((row for row in rows if page.since is None or row.stored_at >= page.since), key=lambda r: r[0])
        answer = left[: page.limit]
        new = page.new(answer)
        given_out += new
        page = next_page(page, answer, new)
    assert page is None
    assert sorted(given_out) == sorted(rows)
    assert [row.stored_at for row in given_out] == sorted(instants)


def test_pages_of_both_protocols() -> None:
    resp2 = [2, b"k1", [b"stored_at", b"5"], b"k2", [b"stored_at", b"6"]]
    resp3 = {
        b"total_results": 2,
        b"results": [
            {b"id": b"k1", b"extra_attributes": {b"stored_at": b"5"}, b"values": []},
            None,
            {b"id": b"k2", b"extra_attributes": {b"stored_at": b"6"}, b"values": []},
        ],
        b"warning": [],
    }
    assert decode_key_page(resp2) == decode_key_page(resp3) == ([KeyRow(5, b"k1"), KeyRow(6, b"k2")], [])
    assert decode_key_page(resp3 | {b"warning": [b"Timeout limit was reached"]})[1] == ["Timeout limit was reached"]
    assert decode_texts([1, b"k", [b"record", b"{}"], b"gone", None]) == {b"k": b"{}"}
    assert decode_ids([2, b"a", b"b"]) == decode_ids({b"results": [{b"id": b"a"}, {b"id": b"b"}]}) == [b"a", b"b"]


def test_agents_and_the_warning_that_some_are_missing() -> None:
    row = {b"agent_id": b"a", b"runs": b"1", b"running": b"0", b"started": b"-inf", b"stored": b"7"}
    reply = {b"results": [{b"extra_attributes": row}], b"warning": [b"Timeout limit was reached"]}
    agents, warnings = decode_agents(reply)
    assert agents[0].agent_id == "a"
    assert agents[0].last_started_at is None
    assert warnings == ["Timeout limit was reached"]


@pytest.mark.parametrize("reply", [b"[]", b"[17]", b'["a", "b"]', b"{}", b"null", b"not json", b'[{"a": 1}]'])
def test_a_body_that_is_no_text_is_corrupt(reply: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_body(reply)


def test_bodies() -> None:
    assert decode_body(None) is None
    assert decode_body(b'["{\\"a\\":1}"]') == '{"a":1}'


def test_index_information_of_both_protocols() -> None:
    resp2 = [b"index_name", b"i", b"attributes", [[b"identifier", b"$.a", b"attribute", b"a"]], b"indexing", b"1"]
    resp2 += [b"percent_indexed", b"0.25", b"num_docs", b"3", b"hash_indexing_failures", b"1"]
    info = decode_index_info(resp2)
    assert (info.name, info.indexing, info.filled, info.documents, info.failures) == ("i", True, 0.25, 3, 1)
    assert info.columns == {"a"}
    assert decode_index_info({b"index_name": b"i", b"attributes": [{b"attribute": b"a"}]}).indexing is False


def test_the_clock_never_gives_an_instant_twice() -> None:
    clock = StoreClock()
    assert len({clock.now() for _ in range(10_000)}) == 10_000
    clock.set(1_000_000, 0, 0)
    before = clock.now()
    assert clock.now() > before
    clock.set(9_000_000_000_000_000, 0, 0)
    assert clock.now() >= 9_000_000_000_000_000


def test_patterns_of_hostile_prefixes_are_escaped() -> None:
    assert scan_command(b"a*[b]?\\", 0)[3] == b"a\\*\\[b\\]\\?\\\\*"


def test_columns_that_differ_from_the_record() -> None:
    from pydantic_core import from_json

    keys, run = Keys("x:"), make_run("agent", 3)
    document = from_json(encode_run(run, 5))
    key = keys.run("agent", run.id)
    assert column_changes("run", keys, key, document, text=False) == {}
    changed = document | {"calls": 99, "tools": ["none"]}
    assert column_changes("run", keys, key, changed, text=False) == {"calls": 1, "tools": None}
    with pytest.raises(ValueError, match="no record text"):
        column_changes("run", keys, key, {}, text=False)


def test_the_collector_is_paused_and_left_as_it_was() -> None:
    assert gc.isenabled()
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_synchronous_twin_is_what_its_source_gives() -> None:
    pytest.importorskip("unasync")
    command = [sys.executable, str(ROOT / "scripts" / "generate_sync.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
