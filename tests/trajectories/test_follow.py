"""A log that is still being written is followed, whatever happens to its file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from relay_models.records import RunRecord
from relay_models.trajectories import FileFollower, ReadResult, read_runs, to_otlp
from tests.trajectories.events import nested

WHOLE = [result.run for result in read_runs(nested().lines)]


def found(results: list[ReadResult]) -> list[RunRecord | None]:
    assert [str(result) for result in results if result.error] == []
    return [result.run for result in results]


def test_a_file_that_grows_by_pieces_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    data = "".join(nested().lines).encode()
    follower = FileFollower(path)
    assert list(follower.poll()) == []
    results = []
    with path.open("ab") as file:
        for start in range(0, len(data), 37):
            file.write(data[start : start + 37])
            file.flush()
            results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


def test_a_file_that_is_renamed_and_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    path.write_text("".join(lines[:3]))
    follower = FileFollower(path)
    results = [*follower.poll()]
    with path.open("a") as file:
        file.write("".join(lines[3:6]))
    os.rename(path, tmp_path / "events.jsonl.1")
    results += follower.poll()
    path.write_text("".join(lines[6:]))
    results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


def test_a_file_that_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    path.write_text("".join(lines[:7]))
    follower = FileFollower(path)
    results = [*follower.poll()]
    path.write_text("".join(lines[7:]))
    results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


def test_a_last_line_that_is_cut_is_named_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    path.write_text("".join(lines) + lines[0][:20])
    follower = FileFollower(path)
    assert found(list(follower.poll())) == WHOLE
    (bad,) = follower.finish()
    assert bad.line == len(lines) + 1
    assert "ends within this line" in str(bad.error)
    assert str(bad).startswith(f"{path}:11: ")


@given(st.lists(st.integers(1, 400), max_size=8))
def test_how_it_grows_makes_no_difference(tmp_path_factory: object, sizes: list[int]) -> None:
    path = tmp_path_factory.mktemp("follow") / "e.jsonl"  # type: ignore[attr-defined]
    data = "".join(nested().lines).encode()
    follower = FileFollower(path)
    results = []
    with path.open("ab") as file:
        for size in [*sizes, len(data)]:
            file.write(data[:size])
            file.flush()
            data = data[size:]
            results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


def test_spans_are_given_out_when_their_root_has_come_and_again_with_more(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    request = to_otlp([run for run in WHOLE if run is not None])
    (resource,) = request["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    lines = [
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) + "\n" for span in reversed(scope["spans"])
    ]
    follower = FileFollower(path)
    given: list[int] = []
    with path.open("a") as file:
        for line in [*lines[1:], lines[0]]:  # a call comes last
            file.write(line)
            file.flush()
            results = found(list(follower.poll()))
            given.append(sum(len(run.calls) for run in results if run is not None))
    assert list(follower.poll()) == list(follower.finish()) == []
    assert (given[0], given[-1]) == (0, 3)
    assert given == sorted(given)


def test_a_file_that_is_emptied_and_grows_past_its_old_length(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    path.write_text("".join(lines[:2]))
    follower = FileFollower(path)
    results = [*follower.poll()]
    path.write_text("".join(lines[2:]))
    assert path.stat().st_size > len("".join(lines[:2]))
    results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


def test_a_file_that_is_emptied_under_a_writer_that_goes_on_where_it_was(tmp_path: Path) -> None:
    """The system fills what lies before with NUL bytes."""
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    with path.open("w") as writer:
        writer.write("".join(lines[:3]))
        writer.flush()
        follower = FileFollower(path)
        results = [*follower.poll()]
        os.truncate(path, 0)
        writer.write("".join(lines[3:]))
    results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


@pytest.mark.parametrize("names", [("events.jsonl.2", "events.jsonl.1"), ("events-01.jsonl", "events-02.jsonl")])
def test_several_rotations_between_two_looks(tmp_path: Path, names: tuple[str, str]) -> None:
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    (tmp_path / f"{names[0]}.old").write_text(lines[0])  # of an earlier rotation
    path.write_text("".join(lines[:3]))
    follower = FileFollower(path)
    results = [*follower.poll()]
    with path.open("a") as file:
        file.write("".join(lines[3:5]))
    os.rename(path, tmp_path / names[0])
    path.write_text("".join(lines[5:7]))
    os.rename(path, tmp_path / names[1])
    path.write_text("".join(lines[7:]))
    (tmp_path / "events-errors.jsonl").write_text("{}\n")  # another log
    results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE


def test_a_copy_of_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = nested().lines
    path.write_text("".join(lines[:6]))
    follower = FileFollower(path)
    results = [*follower.poll()]
    (tmp_path / "events.jsonl.copy").write_bytes(path.read_bytes())
    os.rename(path, tmp_path / "events.jsonl.1")
    path.write_text("".join(lines[6:]))
    results += follower.poll()
    results += follower.finish()
    assert found(results) == WHOLE
