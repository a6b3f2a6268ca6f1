"""Reading a capture: lines of native keys and their values, or of bare run records, plain or gzipped.

A line is ``{"key": …, "type": "string" | "list", "value": …}``, as a dump of a NeMo Relay deployment has them, or a
`RunRecord` by itself, as ``runs export --format jsonl`` writes it. A capture is read twice: the first pass finds the
key prefix and the order of the runs, the second gives the values. Memory holds run ids and places in the file only.
"""

from __future__ import annotations

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
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from relay_models.errors import InvalidConfigurationError, NotFoundError

if TYPE_CHECKING:
    from relay_models.native.layout import NativeKey

__all__ = ["BadLine", "Capture", "Entry", "find_prefix", "open_capture", "split_key"]

MARKS = ("runs_index:", "runs:", "plan:", "trie:", "accumulators:", "acg_observations:", "acg_stability:")
"""What follows the prefix in NeMo Relay's keys, for finding out the prefix."""

ORDER = "run_index"
GZIP = b"\x1f\x8b"
SAMPLE = 2_000
"""Lines that are looked at to find the key prefix."""


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
    """``run``, or the kind of an artefact as `relay_models.native` names it."""
    agent_id: str
    run_id: str | None
    text: str
    """The record's JSON."""


@dataclass
class Capture:
    """A capture after its first pass."""

    file: BinaryIO
    prefix: str
    """What stands before ``runs:``, ``plan:`` and so on in its keys."""
    lines: int = 0
    orders: int = 0
    """Lists of run ids, which say in which order runs were stored."""
    bad: list[BadLine] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)
    """(line, byte) of each run, every agent's in the order in which they were stored."""
    artifacts: list[tuple[int, int]] = field(default_factory=list)
    """(line, byte) of every other value."""

    def entries(self, places: list[tuple[int, int]], seen: Callable[[int], None]) -> Iterator[Entry]:
        """The values at these places; bad lines go to `bad`. `seen` is told how many lines were read since last."""
        for line, place in places:
            self.file.seek(place)
            seen(1)
            raw = self.file.readline()
            try:
                yield read_entry(raw, line, self.prefix)
            except ValueError as error:
                self.refuse(line, _key_of(raw), str(error))

    def refuse(self, line: int, key: str | None, reason: str) -> None:
        """Remember a bad line."""
        self.bad.append(BadLine(line, key, reason))


@contextmanager
def open_capture(path: str, native_prefix: str | None = None) -> Iterator[Capture]:
    """Open a capture and read it a first time; ``-`` is standard input.

    Raises:
        NotFoundError: there is no such file.
        InvalidConfigurationError: it is a directory, or is cut off or damaged as a gzip file.
    """
    with _seekable(path) as file:
        prefix = find_prefix(file) if native_prefix is None else native_prefix
        capture = Capture(file, prefix)
        _first_pass(capture)
        yield capture


@contextmanager
def _seekable(path: str) -> Iterator[BinaryIO]:
    """The bytes of the capture, unpacked; what cannot be read twice is copied to a temporary file."""
    if path == "-":
        source: BinaryIO = sys.stdin.buffer
    else:
        try:
            source = Path(path).open("rb")  # noqa: SIM115 - closed by the with below
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {path}") from None
        except IsADirectoryError:
            raise InvalidConfigurationError(f"{path} is a directory, not a capture") from None
    with source, tempfile.TemporaryFile() as copy:
        head = source.read(2)
        if source.seekable():
            source.seek(0)
            if head != GZIP:
                yield source
                return
        else:
            source = cast(BinaryIO, BufferedReader(_Begun(head, source)))
        if head == GZIP:
            try:
                with gzip.open(source) as unpacked:
                    shutil.copyfileobj(unpacked, copy)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise InvalidConfigurationError(f"{path} is damaged as a gzip file: {error}") from None
        else:
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield cast(BinaryIO, copy)


class _Begun(RawIOBase):
    """A stream whose first bytes were read already."""

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
    """The key prefix of a capture: what run and plan values prove, else what most keys can agree on.

    An agent id may itself hold ``runs:``, so a key alone does not say where its prefix ends; but a run's value names
    its agent and id, and a plan's its agent.
    """
    proven: Counter[str] = Counter()
    possible: Counter[str] = Counter()
    file.seek(0)
    for _, line in zip(range(SAMPLE), file, strict=False):
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
    """Note where each value is, and sort each agent's runs as its list of run ids says."""
    ranks: dict[tuple[str, str], int] = {}
    first_of_agent: dict[str, int] = {}
    found: list[tuple[int, int, str | None, str | None]] = []
    capture.file.seek(0)
    number = place = 0
    while raw := capture.file.readline():
        number += 1
        here, place = place, place + len(raw)
        if not raw.strip():
            continue
        capture.lines += 1
        try:
            key, value, run = read_row(raw)
            if run is not None:
                found.append((number, here, str(run.get("agent_id")), str(run.get("id"))))
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


def read_row(raw: bytes) -> tuple[str, Any, dict[str, Any] | None]:
    """(key, value, None) of a line, or ("", None, record) where the line is a run record by itself.

    Raises:
        ValueError: the line is neither.
    """
    try:
        row = json.loads(raw)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError('not a JSON object with "key", "type" and "value"')
    if "key" not in row and "calls" in row and "agent_id" in row:
        return "", None, row
    if missing := [name for name in ("key", "value") if name not in row]:
        raise ValueError(f"no {' and no '.join(map(repr, missing))} in the object")
    key, value, kind = row["key"], row["value"], row.get("type", "string")
    if not isinstance(key, str):
        raise ValueError("the key is not text")
    if kind not in ("string", "list"):
        raise ValueError(f"values of type {kind!r} are none of NeMo Relay's")
    if kind == "string" and not isinstance(value, str):
        raise ValueError("the type is string, but the value is not")
    if kind == "list" and not isinstance(value, list):
        raise ValueError("the type is list, but the value is not")
    return key, value, None


def split_key(key: str, prefix: str) -> NativeKey:
    """What a native key names.

    Raises:
        ValueError: the key is none of NeMo Relay's under this prefix.
    """
    from relay_models.native.layout import NativeKeys

    if not key.startswith(prefix):
        raise ValueError(f"the key does not begin with {prefix!r}; --native-prefix names another")
    named = NativeKeys(prefix).parse(key.encode())
    if named is None:
        if key.startswith(f"{prefix}runs:"):
            raise ValueError("the key of a run does not end in its id")
        raise ValueError(f"the key is none of NeMo Relay's: after {prefix!r} comes none of {', '.join(MARKS)}")
    return named


def read_entry(raw: bytes, line: int, prefix: str) -> Entry:
    """The value of a line.

    Raises:
        ValueError: the line holds none.
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
        raise ValueError("the order of runs is a list of run ids")
    return value


def _key_of(raw: bytes) -> str | None:
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    key = row.get("key") if isinstance(row, dict) else None
    return key if isinstance(key, str) else None
