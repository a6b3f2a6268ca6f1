"""`read_lines`: the lines of a file in bounded memory, whatever its encoding, each with its number."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from relay_models._checks import check_callable, check_path, check_type

__all__ = ["MAX_LINE_BYTES", "Line", "LineSplitter", "Source", "read_lines", "source_name"]

# Maximum length of one line; a longer one is skipped and named [bytes].
MAX_LINE_BYTES = 256 * 2**20

_CHUNK = 2**16

Source = str | os.PathLike[str] | IO[bytes] | Iterable[str | bytes]


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank."""

    number: int
    """Number of the line, from 1."""
    data: bytes
    """UTF-8 text without its end; empty when `problem` says why."""
    is_terminated: bool = True
    """Whether the line has an end; without one, the file may have been cut within it."""
    problem: str | None = None


def source_name(source: Source) -> str | None:
    """The name of a file, for messages; None where there is none."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else None


def read_lines(
    source: Source, *, max_line_bytes: int = MAX_LINE_BYTES, progress: Callable[[int], None] | None = None
) -> Iterator[Line]:
    """Read the lines of a source that are not blank.

    UTF-8 with or without a byte order mark, UTF-16 and gzip are recognized by their first bytes.

    Args:
        source: a path, a binary file, or lines as text or UTF-8 bytes.
        max_line_bytes: maximum length of a line [bytes]; a longer one comes without its data.
        progress: called with the number of bytes of the file that have been read.

    Raises:
        OSError: the file cannot be opened or read.
    """
    if progress is not None:
        check_callable("progress", progress, "a function of a number of bytes, or None")
    if isinstance(source, (str, os.PathLike)):
        check_path("source", source)
        with open(source, "rb") as file:
            yield from _of_file(file, max_line_bytes, progress)
    elif hasattr(source, "readline"):
        yield from _of_file(cast("IO[bytes]", source), max_line_bytes, progress)
    else:
        check_type("source", source, Iterable, "a path, a binary file, or lines")
        for number, text in enumerate(source, 1):
            check_type("a line", text, (str, bytes, bytearray, memoryview), "text or bytes")
            data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            ended = data.endswith(b"\n")
            if data := _bare(data):
                yield Line(number, data, ended)


def _of_file(file: IO[bytes], limit: int, progress: Callable[[int], None] | None) -> Iterator[Line]:
    head, stream = _peeked(file)
    position = _positions(file)
    if head[:2] == b"\x1f\x8b":
        head, stream = _peeked(gzip.GzipFile(fileobj=stream))
    encoding = _encoding(head)
    if encoding != "utf-8":
        stream = _Transcoded(stream, encoding)
    number, size, parts = 0, 0, list[bytes]()
    while True:
        try:
            data = stream.readline(min(limit, _CHUNK * 16))
        except (EOFError, gzip.BadGzipFile) as error:
            yield Line(number + 1, b"", False, f"the compressed file is damaged or cut: {error}")
            return
        if not data:
            break
        if progress is not None:
            progress(position())
        size += len(data)
        parts.append(data)
        if size > limit:
            parts.clear()
        if data.endswith(b"\n"):
            number += 1
            yield from _joined(number, parts, size, limit, True)
            size, parts = 0, []
    if size:
        yield from _joined(number + 1, parts, size, limit, False)


def _joined(number: int, parts: list[bytes], size: int, limit: int, ended: bool) -> Iterator[Line]:
    """The line that is made of these parts, unless it is blank."""
    if size > limit:
        yield Line(number, b"", ended, f"the line is longer than {limit} bytes")
        return
    data = b"".join(parts)
    if bare := _bare(data.removeprefix(b"\xef\xbb\xbf") if number == 1 else data):
        yield Line(number, bare, ended)


class LineSplitter:
    """Splits the growing content of a UTF-8 file into lines; what has no end yet waits for the rest.

    Args:
        max_line_bytes: maximum length of a line [bytes]; a longer one comes without its data.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 0

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take more of the file; the lines that are complete now."""
        *complete, rest = data.split(b"\n")
        for piece in complete:
            yield from self._line(piece, True)
        self._size += len(rest)
        if rest and self._size <= self._limit:
            self._parts.append(rest)
        elif rest:
            self._parts.clear()

    def flush(self) -> Iterator[Line]:
        """The last line, if it has no end; the next data begin another file."""
        if self._size:
            yield from self._line(b"", False)
        self._number = 0

    def _line(self, piece: bytes, ended: bool) -> Iterator[Line]:
        self._number += 1
        parts, size = [*self._parts, piece], self._size + len(piece)
        self._parts, self._size = [], 0
        yield from _joined(self._number, parts, size, self._limit, ended)


class _Transcoded:
    """Lines of UTF-16 text as UTF-8."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="\n")

    def readline(self, limit: int) -> bytes:
        return self._text.readline(limit).removeprefix("\ufeff").encode("utf-8", "replace")


def _peeked(file: Any) -> tuple[bytes, Any]:
    """The first bytes of a binary file, and the file with them still to be read."""
    stream = file if hasattr(file, "peek") else io.BufferedReader(_Raw(file), _CHUNK)
    return stream.peek(4)[:4], stream


class _Raw(io.RawIOBase):
    """A readable object as a raw stream."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _positions(file: Any) -> Callable[[], int]:
    def position() -> int:
        try:
            return int(file.tell())
        except (OSError, ValueError):
            return 0

    return position


def _encoding(head: bytes) -> str:
    if head[:2] == b"\xff\xfe" or (len(head) >= 2 and head[1] == 0 and head[0] != 0):
        return "utf-16-le"
    if head[:2] == b"\xfe\xff" or (len(head) >= 2 and head[0] == 0 and head[1] != 0):
        return "utf-16-be"
    return "utf-8"


def _bare(data: bytes) -> bytes:
    # 0x1e separates the records of JSON text sequences (RFC 7464). A file that is emptied under a writer that goes on
    # where it was begins with NUL bytes.
    return data.strip(b" \t\r\n\x1e\0")
