"""`Capture`: a file of native keys and their values, or of run records, one JSON object per line, plain or gzipped.

A line is ``{"key": …, "type": "string" | "list", "value": …}``, as dumps of a NeMo Relay deployment have them, or a
`RunRecord`, as ``runs export --format jsonl`` writes it. The text is UTF-8, with or without a byte order mark, or
UTF-16 or UTF-32, which are converted first. A capture is read twice: the first pass detects the key prefix and the
order of the runs, the second yields the values. Memory holds run ids and file offsets only.
"""

from __future__ import annotations

import codecs
import gzip
import json
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from relay_models._checks import shown
from relay_models.errors import InvalidConfigurationError, NotFoundError

if TYPE_CHECKING:
    from relay_models.native.layout import NativeKey

__all__ = ["BadLine", "Capture", "Entry", "find_prefix", "open_capture", "split_key"]

MARKS = ("runs_index:", "runs:", "plan:", "trie:", "accumulators:", "acg_observations:", "acg_stability:")
"""What follows the prefix in NeMo Relay's keys."""

ORDER = "run_index"
GZIP = b"\x1f\x8b"
MAX_LINE_BYTES = 256 * 2**20
"""Maximum length of a line; a longer one is reported, and not held in memory."""
SAMPLE = 2_000
"""Lines that are read to detect the key prefix."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be imported."""

    line: int
    """From 1."""
    key: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A value to store."""

    line: int
    key: str
    kind: str
    """``run``, or the kind of an artifact as `relay_models.native` names it."""
    agent_id: str
    run_id: str | None
    text: str
    """The record's JSON."""


@dataclass
class Capture:
    """A capture after its first pass."""

    file: BinaryIO
    prefix: str
    """The prefix of its keys, before ``runs:``, ``plan:`` and so on."""
    lines: int = 0
    orders: int = 0
    """Lists of run ids, which give the order in which runs were stored."""
    cache_entries: int = 0
    """Lines of NeMo Relay's response and tool caches, which are skipped."""
    bad: list[BadLine] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)
    """(line, byte offset) of each run, each agent's in the order in which they were stored."""
    artifacts: list[tuple[int, int]] = field(default_factory=list)
    """(line, byte offset) of every other value."""

    def entries(self, places: list[tuple[int, int]], seen: Callable[[int], None]) -> Iterator[Entry]:
        """Yield the values at these places, and note bad lines in `bad`.

        Args:
            places: (line, byte offset) of each value.
            seen: Called with the number of lines read since the last call.
        """
        for line, offset in places:
            self.file.seek(offset)
            seen(1)
            raw = self.file.readline()
            try:
                yield read_entry(raw, line, self.prefix)
            except ValueError as error:
                self.refuse(line, _key_of(raw), str(error))

    def refuse(self, line: int, key: str | None, reason: str) -> None:
        """Note a bad line."""
        self.bad.append(BadLine(line, key, reason))


@contextmanager
def open_capture(path: str, native_prefix: str | None = None) -> Iterator[Capture]:
    """Open a capture and make the first pass over it.

    Args:
        path: The file; ``-`` for standard input.
        native_prefix: The key prefix; detected by default.

    Raises:
        NotFoundError: The file does not exist.
        InvalidConfigurationError: It is truncated or damaged as a gzip file.
        OSError: It cannot be read, or is a directory.
    """
    with _seekable(path) as file:
        prefix = find_prefix(file) if native_prefix is None else native_prefix
        capture = Capture(file, prefix)
        _first_pass(capture)
        yield capture


@contextmanager
def _seekable(path: str) -> Iterator[BinaryIO]:
    """The capture as seekable UTF-8; a pipe and what has to be converted are copied to a temporary file."""
    if path == "-":
        source: BinaryIO = sys.stdin.buffer
    else:
        try:
            source = Path(path).open("rb")  # noqa: SIM115 - closed by the with below
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {path}") from None
    with source, tempfile.TemporaryFile() as copy:
        head, plain = _peek(source)
        if head[:2] == GZIP:
            try:
                with gzip.open(plain) as unpacked:
                    head, plain = _peek(cast(BinaryIO, unpacked))
                    _copy_as_utf8(plain, _encoding(head), copy)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise InvalidConfigurationError(f"{path} is damaged as a gzip file: {error}") from None
        elif plain.seekable() and _encoding(head) == "utf-8":
            yield plain
            return
        else:
            _copy_as_utf8(plain, _encoding(head), copy)
        copy.seek(0)
        yield cast(BinaryIO, copy)


def _peek(source: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the first bytes of a stream, and the stream from its beginning."""
    head = source.read(4)
    if source.seekable():
        source.seek(0)
        return head, source
    return head, cast(BinaryIO, BufferedReader(_Begun(head, source)))


def _encoding(head: bytes) -> str:
    """Detect the encoding of JSON text by its first bytes: by a byte order mark, or by the zero bytes of UTF-16."""
    return json.detect_encoding(head)


def _copy_as_utf8(source: BinaryIO, encoding: str, copy: IO[bytes]) -> None:
    """Copy text as UTF-8 without a byte order mark. What is invalid stays so, and is reported with its line."""
    if encoding == "utf-8":
        shutil.copyfileobj(source, copy)
    elif encoding == "utf-8-sig":
        source.read(len(codecs.BOM_UTF8))
        shutil.copyfileobj(source, copy)
    else:
        decoder = codecs.getincrementaldecoder(encoding)(_INVALID)
        while data := source.read(_CHUNK):
            copy.write(decoder.decode(data).encode("utf-8", "surrogatepass"))
        copy.write(decoder.decode(b"", final=True).encode("utf-8", "surrogatepass"))


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    """Decode invalid bytes to a lone surrogate, which makes the line invalid UTF-8."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udfff", error.end


_INVALID = "relay_models.mark_invalid"
_CHUNK = 1 << 16
codecs.register_error(_INVALID, _mark_invalid)


class _Begun(RawIOBase):
    """A stream whose first bytes were already read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head or self._rest.read(len(buffer))
        self._head = b""
        buffer[: len(data)] = data
        return len(data)


def find_prefix(file: BinaryIO) -> str:
    """Detect the key prefix of a capture: from the values of runs and plans, else the most common one in the keys.

    An agent id may contain ``runs:``, so a key alone does not tell where its prefix ends; but the value of a run has
    its agent and id, and that of a plan its agent.
    """
    proven: Counter[str] = Counter()
    possible: Counter[str] = Counter()
    file.seek(0)
    for _ in range(SAMPLE):
        line, size = _line(file)
        if not size:
            break
        try:
            row = json.loads(line)
            key = row["key"]
            if not isinstance(key, str):
                continue
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        proof = _proven_prefix(key, row.get("value"))
        if proof is not None:
            proven[proof] += 1
        possible.update({key[:at] for mark in MARKS for at in _places(key, mark)})
    file.seek(0)
    if proven:
        return proven.most_common(1)[0][0]
    if possible:
        most = max(possible.values())
        return min((prefix for prefix, count in possible.items() if count == most), key=len)
    return "nemo_relay:"


def _places(text: str, mark: str) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        yield at
        at = text.find(mark, at + 1)


def _proven_prefix(key: str, value: Any) -> str | None:
    if not isinstance(value, str) or not ("runs:" in key or "plan:" in key):
        return None
    try:
        record = json.loads(value)
        tails = [f"runs:{record['agent_id']}:{record['id']}"] if "id" in record else [f"plan:{record['agent_id']}"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return next((key[: -len(tail)] for tail in tails if key.endswith(tail)), None)


def _first_pass(capture: Capture) -> None:
    """Find the offset of each value, and sort each agent's runs in the order of its list of run ids."""
    from relay_models.native.layout import NativeKeys  # lazy: start-up time

    keys = NativeKeys(capture.prefix)
    ranks: dict[tuple[str, str], int] = {}
    first_of_agent: dict[str, int] = {}
    found: list[tuple[int, int, str | None, str | None]] = []
    capture.file.seek(0)
    number = place = 0
    while True:
        raw, size = _line(capture.file)
        if not size:
            break
        number += 1
        here, place = place, place + size
        if size > MAX_LINE_BYTES:
            capture.refuse(number, None, f"the line is longer than {MAX_LINE_BYTES} bytes")
            capture.lines += 1
            continue
        if not raw.strip():
            continue
        capture.lines += 1
        try:
            key, value, run = read_row(raw)
            if run is not None:
                found.append((number, here, str(run.get("agent_id")), str(run.get("id"))))
                continue
            if keys.is_cache_entry(key.encode()):
                capture.cache_entries += 1
                continue
            kind, agent_id, run_id = split_key(key, capture.prefix)
            if kind == ORDER:
                for rank, listed in enumerate(_order(value)):
                    ranks.setdefault((agent_id, listed), rank)
                capture.orders += 1
                continue
        except ValueError as error:
            capture.refuse(number, _key_of(raw), str(error))
            continue
        found.append((number, here, agent_id if kind == "run" else None, run_id))
    for number, _, agent, _ in found:
        if agent is not None:
            first_of_agent.setdefault(agent, number)

    def order(item: tuple[int, int, str | None, str | None]) -> tuple[int, int, int]:
        number, _, agent, run_id = item
        if agent is None or run_id is None:
            return number, 0, 0
        rank = ranks.get((agent, run_id))
        return first_of_agent[agent], (0 if rank is not None else 1), rank if rank is not None else number

    for number, here, agent, _ in sorted(found, key=order):
        (capture.artifacts if agent is None else capture.runs).append((number, here))


def _line(file: BinaryIO) -> tuple[bytes, int]:
    """The next line and its size, 0 at the end of the file; of one that is too long only the size."""
    line = file.readline(MAX_LINE_BYTES + 1)
    size = len(line)
    if size <= MAX_LINE_BYTES:
        return line, size
    while not line.endswith(b"\n") and (line := file.readline(_CHUNK)):
        size += len(line)
    return b"", size


def read_row(raw: bytes) -> tuple[str, Any, dict[str, Any] | None]:
    """Return (key, value, None) of a line, or ("", None, record) where the line is a run record.

    Raises:
        ValueError: The line is neither.
    """
    row = _parse(raw)
    if not isinstance(row, dict):
        raise ValueError(f'expected a JSON object with "key", "type" and "value", found {_JSON_NAMES[type(row)]}')
    if "key" not in row and "calls" in row and "agent_id" in row:
        return "", None, row
    if missing := [name for name in ("key", "value") if name not in row]:
        raise ValueError(f"the object has no {' and no '.join(map(repr, missing))}, and is no run record")
    key, value, kind = row["key"], row["value"], row.get("type", "string")
    if not isinstance(key, str):
        raise ValueError(f"the key is {_JSON_NAMES[type(key)]}, not a string")
    if kind not in ("string", "list"):
        raise ValueError(f"the type is {kind!r}; NeMo Relay stores only strings and lists")
    if not isinstance(value, str if kind == "string" else list):
        raise ValueError(f"the type is {kind!r}, but the value is {_JSON_NAMES[type(value)]}")
    return key, value, None


_JSON_NAMES = {
    type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array",
    dict: "an object",
}  # fmt: skip


def _parse(raw: bytes) -> Any:
    """Parse a line.

    Raises:
        ValueError: It is not JSON in UTF-8; the message says why.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        at = error.start + 1
        if raw[error.start : error.start + 3] == b"\xed\xbf\xbf":
            raise ValueError(f"invalid text at byte {at}: not a character in the file's encoding") from None
        raise ValueError(f"not UTF-8: {error.reason} at byte {at}") from None
    if "\0" in text:
        raise ValueError("not text: it has null characters, as binary files do, and UTF-16 in a UTF-8 file")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise ValueError(f"not complete: the JSON breaks off at column {len(text.rstrip())}") from None
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except ValueError:
        raise ValueError("the JSON holds a number with too many digits") from None


def split_key(key: str, prefix: str) -> NativeKey:
    """Parse a native key.

    Raises:
        ValueError: It is not a key of NeMo Relay with this prefix.
    """
    from relay_models.native.layout import NativeKeys  # lazy: start-up time

    if not key.startswith(prefix):
        raise ValueError(f"the key does not begin with {shown(prefix)}; use --native-prefix for another prefix")
    named = NativeKeys(prefix).parse(key.encode())
    if named is None:
        if key.startswith(f"{prefix}runs:"):
            raise ValueError("the key of a run does not end with a run id")
        raise ValueError(f"not a key of NeMo Relay: {shown(prefix)} is not followed by one of {', '.join(MARKS)}")
    return named


def read_entry(raw: bytes, line: int, prefix: str) -> Entry:
    """Return the value of a line.

    Raises:
        ValueError: The line has none.
    """
    key, value, run = read_row(raw)
    if run is not None:
        return Entry(line, "", "run", str(run.get("agent_id")), str(run.get("id")), raw.decode())
    kind, agent_id, run_id = split_key(key, prefix)
    if kind == ORDER or not isinstance(value, str):
        raise ValueError(f"the value of a {kind} is a string, not a list")
    return Entry(line, key, kind, agent_id, run_id, value)


def _order(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("the value of a run index is a list of run ids")
    return value


def _key_of(raw: bytes) -> str | None:
    try:
        row = _parse(raw)
    except ValueError:
        return None
    key = row.get("key") if isinstance(row, dict) else None
    return key if isinstance(key, str) else None
