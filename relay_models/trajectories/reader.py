"""`read_runs`: the runs in a file of any known format, recognized by its content, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from relay_models._checks import check_count, check_type
from relay_models.records import RunRecord, from_json
from relay_models.records.mending import LenientDecoder, mended, notes_of, read_run
from relay_models.trajectories.atif import runs_from_atif
from relay_models.trajectories.atof import MAX_OPEN_BYTES, AtofReader
from relay_models.trajectories.builder import INCOMPLETE, AgentNaming
from relay_models.trajectories.ids import as_uuid
from relay_models.trajectories.lines import MAX_LINE_BYTES, Line, Source, read_lines, source_name
from relay_models.trajectories.otlp.reading import SpanReader
from relay_models.trajectories.problems import describe
from relay_models.trajectories.recognize import Format, ReadResult, decode_json, recognize

__all__ = ["RunReader", "read_runs", "recognize_source"]

# Lines that are looked at to find out whether a file is one document or has a value per line.
_LOOK_AHEAD = 50


def read_runs(
    source: Source,
    *,
    agent_id: AgentNaming = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    progress: Callable[[int], None] | None = None,
) -> Iterator[ReadResult]:
    """Read runs from a file, whatever its format: a NeMo Relay capture, events, trajectories, spans or run records.

    A line that cannot be read is one result with its number and the reason; the others are read. Runs whose end is
    not in the file come last, as running ones. Reading a file twice gives the same ids. Memory is bounded by the
    longest line and by what is open at a time, not by the size of the file; only a document that spans several lines
    is read as a whole.

    Args:
        source: a path, a binary file, or lines as text or UTF-8 bytes. UTF-8, UTF-16 and gzip are recognized.
        agent_id: the agent of runs from events, or a function of the Agent scope's name; None takes that name.
        max_line_bytes: maximum length of a line [bytes]; a longer one is named and left out.
        progress: called with the number of bytes of the file that have been read.

    Yields:
        A result per run, and one per line that cannot be read.

    Raises:
        InvalidConfigurationError: `max_line_bytes` is less than 1.
        OSError: the file cannot be opened or read.

    Example:
        ``runs = [result.run for result in read_runs("events.jsonl") if result.run]``
    """
    reader = RunReader(agent_id=agent_id, max_line_bytes=max_line_bytes)
    yield from reader.read(source, progress=progress)
    yield from reader.finish()


def recognize_source(source: Source) -> Format | None:
    """Recognize the format of a file by its first lines.

    Args:
        source: as `read_runs` takes it; of an iterable of lines, the first are used up.

    Returns:
        The format; None where it has no known one.

    Raises:
        OSError: the file cannot be opened or read.
    """
    lines = read_lines(source)
    head, whole = _look_ahead(lines)
    if whole:
        try:
            return recognize(decode_json(b"\n".join(line.data for line in (*head, *lines)))[0])
        except ValueError:
            pass
    for line in (*head, *islice(lines, _LOOK_AHEAD)):
        if (found := recognize(_decoded(line))) is not None:
            return found
    return None


class RunReader:
    """Reads runs from one or more files; runs that begin in one and end in the next, as rotated logs have, are whole.

    Args:
        agent_id: as `read_runs` takes it.
        max_line_bytes: maximum length of a line [bytes]; a longer one is named and left out.
        max_open_bytes: maximum size of what is held of runs that have not ended [bytes]; beyond it the oldest is
            given out as far as it has been read.

    Raises:
        InvalidConfigurationError: a limit is less than 1.
    """

    def __init__(
        self,
        *,
        agent_id: AgentNaming = None,
        max_line_bytes: int = MAX_LINE_BYTES,
        max_open_bytes: int = MAX_OPEN_BYTES,
    ) -> None:
        check_count("max_line_bytes", max_line_bytes)
        check_count("max_open_bytes", max_open_bytes)
        self._max_line_bytes = max_line_bytes
        self._events = AtofReader(agent_id, max_open_bytes=max_open_bytes)
        self._spans = SpanReader(max_open_bytes=max_open_bytes)
        self._source: str | None = None
        self._line: int | None = None

    def read(self, source: Source, *, progress: Callable[[int], None] | None = None) -> Iterator[ReadResult]:
        """Read a file, as `read_runs` does, without the runs that have not ended.

        Raises:
            OSError: the file cannot be opened or read.
        """
        self.name_source(source_name(source))
        lines = read_lines(source, max_line_bytes=self._max_line_bytes, progress=progress)
        head, whole = _look_ahead(lines)
        if whole:
            yield from self._document(head, lines)
            return
        for group in (head, lines):
            for line in group:
                yield from self.line(line)

    def name_source(self, name: str | None) -> None:
        """Name the file that the next lines come from, for results."""
        self._source, self._line = name, None

    def line(self, line: Line) -> Iterator[ReadResult]:
        """Read one line."""
        check_type("line", line, Line, "a Line")
        self._line = line.number
        if line.problem is not None:
            yield self._failed(line.problem)
            return
        try:
            value, notes = decode_json(line.data)
        except ValueError as error:
            cut = "" if line.is_terminated else "the file ends within this line: "
            yield self._failed(f"{cut}{error}")
            return
        yield from self._value(value, line.data, notes)

    def settle(self) -> Iterator[ReadResult]:
        """Yield the runs of traces of which the root has come, as far as they are known; more spans replace them."""
        for found in self._spans.settle():
            yield self._outcome(found, Format.OTLP)

    def finish(self) -> Iterator[ReadResult]:
        """Yield the runs that have not ended, as far as they have been read."""
        for run in self._events.finish():
            yield self._read(run, Format.ATOF)
        for found in self._spans.finish():
            yield self._outcome(found, Format.OTLP)

    def _value(self, value: Any, data: bytes, notes: Sequence[str] = ()) -> Iterator[ReadResult]:
        """Read a decoded line or document, with what was replaced in it."""
        if isinstance(value, list):
            for item in value:
                yield from self._value(item, b"", notes)
                notes = ()
            return
        kind = recognize(value)
        if kind is None:
            yield self._failed("it is of no known format")
            return
        if notes:
            yield self._result(kind, notes=notes)
        try:
            if kind is Format.OTLP:
                for found in self._spans.add(value, len(data)):
                    yield self._outcome(found, kind)
                return
            if kind is Format.CAPTURE:
                yield from self._captured(value)
                return
            for run in self._runs(kind, value, b"" if notes else data):
                yield self._read(run, kind)
                if kind is Format.ATOF and run.ext is not None and INCOMPLETE in (run.ext.metadata or {}):
                    yield self._failed(
                        f"the run {run.id} is not complete: {(run.ext.metadata or {})[INCOMPLETE]}", kind
                    )
        except ValidationError as error:
            yield self._failed(describe(error), kind)
        except (ValueError, RecursionError) as error:
            yield self._failed(str(error) or "it is nested too deeply", kind)

    def _runs(self, kind: Format, value: Mapping[str, Any], data: bytes) -> Iterable[RunRecord]:
        if kind is Format.ATOF:
            return self._events.event(value, len(data))
        if kind is Format.ATIF:
            return runs_from_atif(value)
        return [from_json(RunRecord, data or to_json(value))]

    def _captured(self, value: Mapping[str, Any]) -> Iterator[ReadResult]:
        """Read the run in a key of a capture; none is in the other kinds of keys."""
        key, text = value["key"], value["value"]
        if isinstance(text, str) and ":runs:" in f":{key}" and as_uuid(key[-36:]) is not None:
            run, _, notes = read_run(text)
            yield self._result(Format.CAPTURE, run=run, notes=notes)

    def _document(self, head: list[Line], lines: Iterator[Line]) -> Iterator[ReadResult]:
        """Read a document that spans lines, or several one after the other."""
        pieces = [(line.number, line.data) for line in head]
        for line in lines:
            if line.problem is not None:
                self._line = line.number
                yield self._failed(line.problem)
                return
            pieces.append((line.number, line.data))
        data = b"\n".join(piece for _, piece in pieces)
        self._line = pieces[0][0]
        try:
            value, notes = decode_json(data)
        except ValueError as error:
            yield from self._several(data, pieces, str(error))
        else:
            yield from self._value(value, data, notes)

    def _several(self, data: bytes, pieces: list[tuple[int, bytes]], reason: str) -> Iterator[ReadResult]:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            yield self._failed(reason)
            return
        decoder, position = LenientDecoder(), 0
        while position < len(text):
            self._line = pieces[text.count("\n", 0, position)][0]
            try:
                value, end = decoder.raw_decode(text, position)
                value, notes = mended(value)
            except json.JSONDecodeError as error:
                if position == 0 and any(recognize(_decoded(Line(*piece))) for piece in pieces):
                    # Not a document, but lines of which the first is damaged.
                    for number, piece in pieces:
                        yield from self.line(Line(number, piece))
                    return
                self._line = pieces[min(error.lineno, len(pieces)) - 1][0]
                cut = "the file ends within a document: " if error.pos >= len(text) else ""
                yield self._failed(f"{cut}it is no JSON: {error.msg}")
                return
            except RecursionError:
                yield self._failed("it is nested too deeply")
                return
            yield from self._value(value, text[position:end].encode(), notes)
            position = end
            while position < len(text) and text[position] in " \t\r\n,":
                position += 1

    def _outcome(self, found: RunRecord | str, kind: Format) -> ReadResult:
        return self._failed(found, kind) if isinstance(found, str) else self._read(found, kind)

    def _read(self, run: RunRecord, kind: Format) -> ReadResult:
        return self._result(kind, run=run, notes=notes_of(run))

    def _failed(self, reason: str, kind: Format | None = None) -> ReadResult:
        return self._result(kind, error=reason)

    def _result(self, kind: Format | None, **told: Any) -> ReadResult:
        return ReadResult(line=self._line, source=self._source, format=kind, **told)


def _look_ahead(lines: Iterator[Line]) -> tuple[list[Line], bool]:
    """The first lines, and whether they belong to a document that spans lines."""
    head: list[Line] = []
    for line in lines:
        head.append(line)
        if isinstance(_decoded(line), (dict, list)):
            # A complete value: one of several lines, unless it is an inner part of a document.
            return head, len(head) > 1 and recognize(_decoded(line)) is None
        if not _opens(head[0]):
            return head, False
        if len(head) >= _LOOK_AHEAD:
            break
    return head, len(head) > 1


def _opens(line: Line) -> bool:
    """Whether a document that spans lines begins so: with a bracket, and with no more than its first member."""
    data = line.data
    return data[:1] in (b"{", b"[") and data.endswith((b"{", b"[", b",")) and len(data) < 4096


def _decoded(line: Line) -> Any:
    try:
        return decode_json(line.data)[0]
    except ValueError:
        return None
