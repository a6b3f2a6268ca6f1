"""Reading a capture: prefixes, the order of runs, and lines that cannot be read."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from relay_models.cli import capture
from relay_models.cli.capture import Capture, Entry, find_prefix, open_capture, split_key
from relay_models.errors import InvalidConfigurationError, NotFoundError


def entries(capture: Capture) -> list[Entry]:
    """All values, the runs first."""
    places = [*capture.runs, *capture.artifacts]
    return list(capture.entries(places, lambda count: None))


def line(key: str, value: Any, kind: str = "string") -> str:
    """A line of a capture."""
    return json.dumps({"key": key, "type": kind, "value": value})


def run_text(agent: str, number: int) -> str:
    """A run record's JSON."""
    run = {"id": str(UUID(int=number)), "agent_id": agent, "calls": [], "started_at": "2026-01-01T00:00:00Z"}
    return json.dumps(run)


def run_line(agent: str, number: int, prefix: str = "nemo_relay:") -> str:
    """The line of a run."""
    return line(f"{prefix}runs:{agent}:{UUID(int=number)}", run_text(agent, number))


def write(path: Path, *lines: str) -> str:
    """A capture file of these lines."""
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8", newline="")
    return str(path)


def test_the_capture_is_read_whole(capture_path: Path, capture: list[dict[str, Any]]) -> None:
    with open_capture(str(capture_path)) as opened:
        found = entries(opened)

    assert opened.bad == []
    assert opened.prefix == "nemo_relay:"
    assert opened.lines == len(capture)
    wanted = {row["key"]: row["value"] for row in capture if row["type"] == "string"}
    assert {entry.key: entry.text for entry in found} == wanted
    assert opened.orders == sum(row["type"] == "list" for row in capture)


def test_runs_come_in_the_order_their_list_says(tmp_path: Path) -> None:
    order = [str(UUID(int=number)) for number in (3, 1, 2)]
    path = write(
        tmp_path / "c.jsonl",
        *(run_line("a", number) for number in (1, 2, 3, 9)),
        line("nemo_relay:runs_index:a", order, "list"),
    )

    with open_capture(path) as capture:
        assert [entry.run_id for entry in entries(capture)] == [*order, str(UUID(int=9))]


def test_a_run_listed_twice_stands_at_its_first_place(tmp_path: Path) -> None:
    order = [str(UUID(int=number)) for number in (2, 1, 2)]
    path = write(
        tmp_path / "c.jsonl", line("p:runs_index:a", order, "list"), run_line("a", 1, "p:"), run_line("a", 2, "p:")
    )

    with open_capture(path) as capture:
        assert [entry.run_id for entry in entries(capture)] == order[:2]


@pytest.mark.parametrize("agent", ["a", "a:b", "x:runs:y", "plan:", "runs:", "研究 | {}", "a::model=b::seed=c"])
@pytest.mark.parametrize("prefix", ["", "nemo_relay:", "a:runs:", "prod: ", "{x}"])
def test_the_prefix_is_found_whatever_it_and_the_agents_hold(prefix: str, agent: str) -> None:
    lines = [line(f"{prefix}trie:{agent}", "{}"), run_line(agent, 1, prefix)]

    assert find_prefix(io.BytesIO("\n".join(lines).encode())) == prefix


@given(st.text(max_size=8), st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_run_keys_are_split_as_they_were_made(prefix: str, agents: list[str]) -> None:
    lines = [run_line(agent, number, prefix) for number, agent in enumerate(agents)]

    assert find_prefix(io.BytesIO("\n".join(lines).encode())) == prefix
    for number, agent in enumerate(agents):
        assert split_key(f"{prefix}runs:{agent}:{UUID(int=number)}", prefix) == ("run", agent, str(UUID(int=number)))


def test_without_runs_the_prefix_is_what_most_keys_share(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", line("x:y:trie:a", "{}"), line("x:y:acg_stability:plan:b", "{}"))

    with open_capture(path) as capture:
        assert capture.prefix == "x:y:"
        assert [(entry.kind, entry.agent_id) for entry in entries(capture)] == [("trie", "a"), ("stability", "plan:b")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "breaks off at column 1"),
        ("[1]", "expected a JSON object"),
        ('{"key": "nemo_relay:trie:a"}', "no 'value'"),
        ('{"value": "x"}', "no 'key'"),
        ('{"key": 1, "value": "x"}', "the key is a number, not a string"),
        (line("nemo_relay:trie:a", "x", "hash"), "the type is 'hash'"),
        (line("nemo_relay:trie:a", [], "string"), "the type is 'string', but the value is an array"),
        (line("nemo_relay:trie:a", [], "list"), "not a list"),
        (line("nemo_relay:runs_index:a", [1], "list"), "a run index is a list of run ids"),
        (line("nemo_relay:other:a", "x"), "not a key of NeMo Relay"),
        (line("else:trie:a", "x"), "does not begin with 'nemo_relay:'"),
        (line("nemo_relay:runs:short", "x"), "does not end with a run id"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, bad: str, reason: str) -> None:
    path = write(tmp_path / "c.jsonl", run_line("a", 1), bad, run_line("a", 2))

    with open_capture(path) as capture:
        found = entries(capture)

    assert [entry.line for entry in found] == [1, 3]
    (named,) = capture.bad
    assert named.line == 2
    assert reason in named.reason


def test_bytes_that_are_no_utf_8_are_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(run_line("a", 1).encode() + b"\n" + b'{"key": "\xff"}\n')

    with open_capture(str(path)) as capture:
        assert len(entries(capture)) == 1
        assert "UTF-8" in capture.bad[0].reason


def test_bare_records_are_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", run_text("a", 1), run_text("b", 2))

    with open_capture(path) as capture:
        assert [(entry.kind, entry.agent_id, entry.key) for entry in entries(capture)] == [
            ("run", "a", ""),
            ("run", "b", ""),
        ]


def test_blank_lines_and_a_missing_last_newline_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(f"\n{run_line('a', 1)}\r\n\n{run_line('a', 2)}")

    with open_capture(str(path)) as capture:
        assert [entry.line for entry in entries(capture)] == [2, 4]
        assert capture.lines == 2
        assert capture.bad == []


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(run_line("a", 1).encode()))

    with open_capture(str(path)) as capture:
        assert len(entries(capture)) == 1


def test_a_cut_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(run_line("a", 1).encode())[:-12])

    with pytest.raises(InvalidConfigurationError, match="damaged"), open_capture(str(path)):
        pass


def test_a_missing_file_and_a_directory_are_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.jsonl"), open_capture(str(tmp_path / "nothing.jsonl")):
        pass
    with pytest.raises(IsADirectoryError, match="directory"), open_capture(str(tmp_path)):
        pass


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    with open_capture(write(tmp_path / "c.jsonl")) as capture:
        assert entries(capture) == []


ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_encodings_are_converted(tmp_path: Path, encoding: str, packed: bool) -> None:
    text = "".join(f"{each}\n" for each in (run_text("ägent 🚀", 1), run_line("b", 2)))
    path = tmp_path / "capture.jsonl"
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if packed else raw)

    with open_capture(str(path)) as opened:
        found = entries(opened)

    assert opened.bad == []
    assert [(entry.line, entry.agent_id) for entry in found] == [(1, "ägent 🚀"), (2, "b")]
    assert found[0].text.strip() == run_text("ägent 🚀", 1)


def test_invalid_utf_16_is_one_bad_line(tmp_path: Path) -> None:
    good, bad = (f"{run_text('a', number)}\n".encode("utf-16-le") for number in (1, 2))
    path = tmp_path / "capture.jsonl"
    path.write_bytes(b"\xff\xfe" + good + b"\x00\xdc" + bad + good[:-7])

    with open_capture(str(path)) as opened:
        assert [entry.line for entry in entries(opened)] == [1]

    assert [(each.line, each.reason) for each in opened.bad] == [
        (2, "invalid text at byte 1: not a character in the file's encoding"),
        (3, opened.bad[1].reason),
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"key": "nemo_relay:runs:a:b", "type": "str', "not complete: the JSON breaks off at column 43"),
        (b'{"key": "nemo_relay:plan:a", ', "not complete: the JSON breaks off at column 28"),
        (b"\xff\xff", "not UTF-8: invalid start byte at byte 1"),
        (b'{"a\x00"}', "not text: it has null characters"),
        (b"[1, 2]", "found an array"),
        (b"null", "found null"),
        (b'"text"', "found a string"),
        (b"{}", "has no 'key' and no 'value'"),
        (b'{"key": 5, "value": ""}', "the key is a number, not a string"),
        (b'{"key": "k", "value": {}}', "the type is 'string', but the value is an object"),
        (b'{"key": "k", "value": "", "type": "hash"}', "the type is 'hash'; NeMo Relay stores only strings and lists"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"key": ' + b"9" * 5000 + b"}", "too many digits"),
        (b"key,value", "not JSON: Expecting value at column 1"),
    ],
)
def test_a_bad_line_says_why(tmp_path: Path, raw: bytes, reason: str) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(f"{run_line('a', 1)}\n".encode() + raw + b"\n")

    with open_capture(str(path)) as opened:
        assert len(entries(opened)) == 1

    (bad,) = opened.bad
    assert bad.line == 2
    assert reason in bad.reason


def test_a_line_that_is_too_long_is_reported_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not held in memory: a file without any line break may be larger than that."""
    monkeypatch.setattr(capture, "MAX_LINE_BYTES", 10_000)
    path = tmp_path / "capture.jsonl"
    path.write_bytes(b"y" * 200_000 + b"\n" + f"{run_line('a', 1)}\n".encode() + b"x" * 10_001)

    with open_capture(str(path)) as opened:
        assert len(entries(opened)) == 1

    assert [(bad.line, bad.reason) for bad in opened.bad] == [
        (1, "the line is longer than 10000 bytes"),
        (3, "the line is longer than 10000 bytes"),
    ]
