"""Replies of both protocols are decoded to the same values, and a partial answer is noticed."""

from __future__ import annotations

import pytest

from relay_models.errors import IncompleteAnswerError
from relay_models.query.agents import agents_steps
from relay_models.query.replies import (
    check_complete,
    decode_body,
    decode_cursor,
    decode_index_info,
    decode_rows,
    decode_total,
    record_slots,
)
from relay_models.query.steps import Answer

TIMEOUT = "Timeout limit was reached"
CAPPED = "Query TIMEOUT exceeded the configured maximum of 60000 ms; effective timeout was capped"


def test_rows_of_both_protocols() -> None:
    resp2 = [2, [b"a", b"1"], None, [b"a", b"2"]]
    resp3 = {
        b"results": [{b"extra_attributes": {b"a": b"1"}}, None, {b"extra_attributes": {b"a": b"2"}}],
        b"warning": [],
    }
    assert decode_rows(resp2).rows == decode_rows(resp3).rows == [{b"a": b"1"}, None, {b"a": b"2"}]
    assert decode_rows(resp3).present() == [{b"a": b"1"}, {b"a": b"2"}]
    assert decode_total([7]) == decode_total({b"total_results": 7}) == (7, [])


def test_texts_of_records_are_replaced_in_both_protocols() -> None:
    rows = [[b"__key", b"k", b"$.record", b"old"], None, [b"__key", b"l"]]
    resp3 = {b"results": [None if row is None else {b"extra_attributes": dict(zip(row[::2], row[1::2], strict=True))}
                          for row in rows]}  # fmt: skip
    for reply in ([3, *map(list_or_none, rows)], resp3, [[3, *map(list_or_none, rows)], 5], [resp3, 5]):
        for row, place, text in record_slots(reply):
            assert text in (b"old", b"new")
            row[place] = b"new"
        found = decode_cursor(reply)[0] if isinstance(reply, list) and len(reply) == 2 else decode_rows(reply)
        assert found.rows == [{b"__key": b"k", b"$.record": b"new"}, None, {b"__key": b"l"}]


def list_or_none(row: list[bytes] | None) -> list[bytes] | None:
    return None if row is None else list(row)


@pytest.mark.parametrize(
    ("warnings", "counted"), [([], []), ([TIMEOUT], [TIMEOUT]), ([CAPPED], []), ([CAPPED, "New"], ["New"])]
)
def test_only_known_warnings_are_harmless(warnings: list[str], counted: list[str]) -> None:
    reply = {b"results": [], b"total_results": 0, b"warning": [warning.encode() for warning in warnings]}
    assert decode_rows(reply).warnings == decode_total(reply)[1] == counted
    answer = Answer(reply, 1.0)
    assert check_complete(counted, answer, 500, True) == ("; ".join(counted) or None)
    if counted:
        with pytest.raises(IncompleteAnswerError, match=counted[0]):
            check_complete(counted, answer, 500, False)


def test_agents_without_a_start_and_agents_that_are_missing() -> None:
    row = {b"agent_id": b"a", b"runs": b"1", b"running": b"0", b"started": b"-inf", b"stored": b"7"}
    steps = agents_steps("alias", 500)
    next(steps)
    with pytest.raises(StopIteration) as stop:
        steps.send(Answer([{b"results": [{b"extra_attributes": row}], b"warning": []}, 0]))
    (agent,) = stop.value.value
    assert (agent.agent_id, agent.runs, agent.last_started_at) == ("a", 1, None)
    steps = agents_steps("alias", 500)
    next(steps)
    with pytest.raises(IncompleteAnswerError):
        steps.send(Answer([{b"results": [{b"extra_attributes": row}], b"warning": [TIMEOUT.encode()]}, 0]))


@pytest.mark.parametrize("reply", [b"[]", b"[17]", b'["a", "b"]', b"{}", b"null", b"not json", b'[{"a": 1}]'])
def test_a_body_that_is_no_text_is_corrupt(reply: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_body(reply)


def test_bodies() -> None:
    assert decode_body(None) is None
    assert decode_body(b'["{\\"a\\":1}"]') == '{"a":1}'


def test_index_information_of_both_protocols() -> None:
    resp2 = [
        b"index_name",
        b"i",
        b"attributes",
        [[b"identifier", b"$.a", b"attribute", b"a", b"type", b"TAG"]],
        b"indexing",
        b"1",
    ]
    resp2 += [b"percent_indexed", b"0.25", b"num_docs", b"3", b"hash_indexing_failures", b"1"]
    info = decode_index_info(resp2)
    assert (info.name, info.indexing, info.filled, info.documents, info.failures) == ("i", True, 0.25, 3, 1)
    assert info.columns == {"a"}
    attribute = {b"identifier": b"$.a", b"attribute": b"a", b"type": b"TAG"}
    assert decode_index_info({b"index_name": b"i", b"attributes": [attribute]}).indexing is False
    assert not info.out_of_memory
    sizes = [(b"1.5", 1_572_864), (b"17592186044416", 0), (b"17592186044415.9", 0)]
    for megabytes, size in sizes:
        assert decode_index_info([*resp2, b"total_index_memory_sz_mb", megabytes]).bytes == size
    failed = [b"indexing failures", 1, b"background indexing status", b"OOM failure"]
    for errors in (failed, dict(zip(failed[::2], failed[1::2], strict=True))):
        assert decode_index_info({b"index_name": b"i", b"Index Errors": errors}).out_of_memory
        assert decode_index_info([*resp2, b"Index Errors", errors]).out_of_memory
