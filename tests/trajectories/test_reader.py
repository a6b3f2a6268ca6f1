"""Files are recognized by content, read in any encoding, and damage is named by line."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models.records import RunRecord
from relay_models.trajectories import Format, ReadResult, RunReader, read_runs, recognize, recognize_source, to_atif
from tests.trajectories.events import nested

DATA = Path(__file__).parent / "data"
FILES = {
    "relay_0.11.0rc3.atof.jsonl": (Format.ATOF, 2),
    "relay_0.11.0rc3.atif.json": (Format.ATIF, 2),
    "relay_0.11.0rc3.otel_full.jsonl": (Format.OTLP, 1),
    "relay_0.11.0rc3.otel_gen_ai.jsonl": (Format.OTLP, 1),
    "relay_0.11.0rc3.otel_openinference.jsonl": (Format.OTLP, 1),
    "relay_0.11.0rc3.redis_rich.jsonl": (Format.CAPTURE, 6),
}


def good(results: Iterator[ReadResult]) -> list[RunRecord]:
    read = list(results)
    assert [str(result) for result in read if result.error] == []
    return [result.run for result in read if result.run is not None]


@pytest.mark.parametrize("name", FILES)
def test_real_files(name: str) -> None:
    kind, count = FILES[name]
    assert recognize_source(DATA / name) is kind
    results = list(read_runs(DATA / name))
    assert len(good(iter(results))) == count
    assert {(result.format, result.source) for result in results} == {(kind, str(DATA / name))}
    assert list(read_runs(DATA / name)) == results  # the same ids each time


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(name: str, encoding: str) -> None:
    text = (DATA / name).read_text()
    assert good(read_runs(io.BytesIO(text.encode(encoding)))) == good(read_runs(DATA / name))


@pytest.mark.parametrize("name", FILES)
def test_compressed_files_and_other_line_ends(name: str, tmp_path: Path) -> None:
    expected = good(read_runs(DATA / name))
    data = (DATA / name).read_bytes()
    (tmp_path / "compressed").write_bytes(gzip.compress(data))
    assert good(read_runs(tmp_path / "compressed")) == expected
    assert good(read_runs(io.BytesIO(data.replace(b"\n", b"\r\n")))) == expected
    assert good(read_runs(io.BytesIO(b"\n\n" + data + b"\n \n"))) == expected


def test_a_compressed_file_that_is_cut(tmp_path: Path) -> None:
    data = gzip.compress("".join(nested().lines * 50).encode())
    path = tmp_path / "cut.gz"
    path.write_bytes(data[: len(data) // 2])
    *runs, last = read_runs(path)
    assert any("compressed file is damaged or cut" in str(result.error) for result in (*runs, last))


def test_run_records_and_lists_and_documents() -> None:
    runs = good(read_runs(nested().lines))
    lines = [run.model_dump_json() for run in runs]
    assert good(read_runs(lines)) == runs
    assert good(read_runs(["[" + ",".join(lines) + "]"])) == runs
    pretty = json.dumps([json.loads(line) for line in lines], indent=2)
    assert good(read_runs(io.BytesIO(pretty.encode()))) == runs
    assert recognize_source(io.BytesIO(pretty.encode())) is Format.RUNS
    documents = "\n".join(json.dumps(json.loads(line), indent=2) for line in lines)
    assert good(read_runs(io.BytesIO(documents.encode()))) == runs


def test_trajectories_one_per_line() -> None:
    runs = good(read_runs(nested().lines))
    lines = [json.dumps(to_atif(run)) for run in runs]
    assert sorted(run.id for run in good(read_runs(lines))) == sorted(run.id for run in runs)


def test_several_formats_in_one_file() -> None:
    lines = [*nested().lines, (DATA / "relay_0.11.0rc3.otel_gen_ai.jsonl").read_text()]
    assert len(good(read_runs(lines))) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ('{"a":1}', "no known format"),
        ("5", "no known format"),
        ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}', "no start"),
        ('{"schema_version":"ATIF-v2.0","agent":{},"steps":[]}', "only ATIF-v1.x"),
        ('{"schema_version":"ATIF-v1.5","agent":{},"steps":[]}', "agent has no name"),
        ('{"schema_version":"ATIF-v1.5","agent":{"name":"a"},"steps":[{"source":"x"}]}', "steps.1.source"),
        ('{"id":"x","agent_id":"a","calls":[],"started_at":"2026-01-01T00:00:00Z"}', "id"),
        ('{"agent_id":"a","calls":NaN}', "calls"),
        ('{"agent_id":"a","calls":[{"name":"x"}]}', "calls.0.kind"),
        ("[" * 200_000, "nested too deeply"),
        ('{"key":"nemo_relay:runs:a:01a22871-7bc2-7500-a66a-04bd31338305","type":"string","value":"{}"}', "id"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(line: str, said: str) -> None:
    lines = nested().lines
    lines.insert(2, line + "\n")
    results = list(read_runs(lines))
    (bad,) = [result for result in results if result.error]
    assert bad.line == 3
    assert said in str(bad.error)
    assert len([result for result in results if result.run]) == 2


def test_bytes_that_are_no_text() -> None:
    data = "".join(nested().lines).encode().replace(b'"outer"', b'"\xff\xfe"', 1)
    (bad,) = [result for result in read_runs(io.BytesIO(data)) if result.error]
    assert (bad.line, "UTF-8" in str(bad.error)) == (1, True)


def test_a_document_that_is_cut() -> None:
    data = (DATA / "relay_0.11.0rc3.atif.json").read_bytes()
    (bad,) = read_runs(io.BytesIO(data[:20_000]))
    assert "ends within a document" in str(bad.error) or "no JSON" in str(bad.error)


def test_a_damaged_first_line_does_not_make_a_document() -> None:
    lines = nested().lines
    lines.insert(0, '{"kind":"scope",\n')
    results = list(read_runs(lines))
    assert [result.line for result in results if result.error] == [1]
    assert len(results) == 3


def test_lines_beyond_the_limit_are_left_out() -> None:
    lines = nested().lines
    lines.insert(1, json.dumps({"a": "x" * 5000}) + "\n")
    data = "".join(lines).encode()
    (bad,) = [result for result in read_runs(io.BytesIO(data), max_line_bytes=2000) if result.error]
    assert (bad.line, bad.error) == (2, "the line is longer than 2000 bytes")


def test_a_run_that_is_too_large_to_hold_is_named() -> None:
    reader = RunReader(max_open_bytes=1500)
    results = [*reader.read(nested().lines), *reader.finish()]
    (bad,) = [result for result in results if result.error]
    outer = next(result.run for result in results if result.run and result.run.agent_id == "outer")
    assert str(outer.id) in str(bad.error)
    assert outer.ext is not None
    assert (outer.ext.status, "incomplete" in (outer.ext.metadata or {})) == ("running", True)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_runs(tmp_path / "absent"))


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_empty_files(data: bytes) -> None:
    assert list(read_runs(io.BytesIO(data))) == []
    assert recognize_source(io.BytesIO(data)) is None


def test_progress_reaches_the_size_of_the_file() -> None:
    told: list[int] = []
    path = DATA / "relay_0.11.0rc3.atof.jsonl"
    list(read_runs(path, progress=told.append))
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size


def test_a_long_file_is_read_in_bounded_memory() -> None:
    class Endless(io.RawIOBase):
        """The same events under other ids, over and over, as a file."""

        def __init__(self, repeats: int) -> None:
            once = "".join(nested().lines).encode()
            self._parts = (once.replace(b"01a22872-", b"%08x-" % number) for number in range(repeats))
            self._rest = b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self._rest:
                self._rest = next(self._parts, b"")
            data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
            buffer[: len(data)] = data
            return len(data)

    tracemalloc.start()
    try:
        count = sum(1 for result in RunReader().read(io.BufferedReader(Endless(1500))) if result.run)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 3000
    assert peak < 2_000_000


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["kind", "uuid", "agent", "steps", "name", "resourceSpans", "scopeSpans",
                                         "spans", "schema_version", "agent_id", "calls", "key", "type", "value",
                                         "source", "message", "traceId", "attributes", "tool_calls", "extra"]),
                        inner | st.sampled_from(["scope", "start", "ATIF-v1.7", "agent", "user", "0" * 32]),
                        max_size=5), max_leaves=20))  # fmt: skip
def test_no_json_upsets_it(value: Any) -> None:
    recognize(value)
    for result in read_runs([json.dumps(value)]):
        assert (result.run is None) != (result.error is None)
