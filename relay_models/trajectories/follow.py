"""`FileFollower`: the runs of an event file that is still being written, also while it is rotated."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import IO

from relay_models._checks import check_path
from relay_models.trajectories.builder import AgentNaming
from relay_models.trajectories.lines import MAX_LINE_BYTES, LineSplitter
from relay_models.trajectories.reader import RunReader
from relay_models.trajectories.recognize import ReadResult

__all__ = ["FileFollower"]

_CHUNK = 2**20
# What is remembered of a file's beginning, and of what was read last, to see that it has other content now [bytes].
_REMEMBERED = 1024
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")


class FileFollower:
    """Reads what has been added to a JSON Lines file since the last time. It never waits.

    A line that has no end yet waits for the rest. When another file has taken the name (rotation), the old one is
    read to its end first, then those that had the name since the last time, unless they have been compressed. When
    the file has been cut, it is read from its beginning, however long it has become meanwhile. Runs that begin in one
    file and end in the next are whole.

    Args:
        path: the file; it may not exist yet.
        agent_id: the agent of runs from events, or a function of the Agent scope's name; None takes that name.
        max_line_bytes: maximum length of a line [bytes]; a longer one is named and left out.

    Raises:
        InvalidConfigurationError: `path` cannot name a file, or `max_line_bytes` is less than 1.

    Example:
        ``for result in follower.poll(): ...``, then wait, and again; `finish` at the end.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, agent_id: AgentNaming = None, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        check_path("path", path)
        self.path = os.fspath(path)
        self._reader = RunReader(agent_id=agent_id, max_line_bytes=max_line_bytes)
        self._reader.name_source(self.path)
        self._splitter = LineSplitter(max_line_bytes)
        self._file: _Followed | None = None
        folder, name = os.path.split(self.path)
        stem, extension = os.path.splitext(name)
        self._folder = folder or "."
        self._rotated_name = re.compile(
            rf"{re.escape(name)}[.-].+|{re.escape(stem)}[.-]\d.*{re.escape(extension)}", re.DOTALL
        )
        self._rotated: set[tuple[int, int]] = set()

    def poll(self) -> Iterator[ReadResult]:
        """Yield what can be read now: runs that have ended, and lines that cannot be read.

        Raises:
            OSError: the file cannot be read; that it does not exist is no error.
        """
        while True:
            if self._file is None:
                self._rotated = {key for key, _ in self._rotated_files()}
                try:
                    self._file = _Followed(self.path)
                except FileNotFoundError:
                    return
            file = self._file
            yield from self._rest(file)
            if self._has_name(file):
                self._rotated = {key for key, _ in self._rotated_files()}
                yield from self._reader.settle()
                return
            yield from self._rest(file)  # its writer may have gone on until now
            yield from self._end()
            file.close()
            self._file = None
            for passed in self._passed(file):
                yield from self._rest(passed)
                yield from self._end()
                passed.close()

    def finish(self) -> Iterator[ReadResult]:
        """Yield what is left, and close the file: a last line without an end, and the runs that have not ended."""
        yield from self._end()
        yield from self._reader.finish()
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rest(self, file: _Followed) -> Iterator[ReadResult]:
        while True:
            data = file.read()
            if data is None:  # it has been cut
                yield from self._end()
                file.restart()
                continue
            if not data:
                return
            for line in self._splitter.feed(data):
                yield from self._reader.line(line)

    def _end(self) -> Iterator[ReadResult]:
        for line in self._splitter.flush():
            yield from self._reader.line(line)

    def _has_name(self, file: _Followed) -> bool:
        """Whether no other file has taken the name."""
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return True
        return (named.st_dev, named.st_ino) == file.key

    def _rotated_files(self) -> Iterator[tuple[tuple[int, int], os.DirEntry[str]]]:
        """The files beside this one that are called as rotated ones are."""
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if self._rotated_name.fullmatch(entry.name) and not entry.name.endswith(_COMPRESSED):
                        status = entry.stat()
                        yield (status.st_dev, status.st_ino), entry
        except OSError:  # a folder that may not be listed, or a file that is gone
            return

    def _passed(self, old: _Followed) -> Iterator[_Followed]:
        """The files that had the name after the old one, and have lost it again, in their order."""
        known = self._rotated | {old.key}
        found = [entry for key, entry in self._rotated_files() if key not in known]
        for entry in sorted(found, key=lambda entry: (entry.stat().st_mtime_ns, entry.name)):
            try:
                passed = _Followed(entry.path)
            except OSError:
                continue
            if passed.beginning and passed.beginning == old.beginning:
                passed.close()  # a copy of what has been read
                continue
            yield passed


class _Followed:
    """An open file, the position in it, and what tells that it still has the content that was read."""

    def __init__(self, path: str) -> None:
        self._file: IO[bytes] = open(path, "rb", buffering=0)  # noqa: SIM115 (stays open until it is rotated)
        status = os.fstat(self._file.fileno())
        self.key = status.st_dev, status.st_ino
        self.beginning = b""
        self.restart()

    def restart(self) -> None:
        """Read from the beginning next."""
        self._position = 0
        self._last = b""

    def read(self) -> bytes | None:
        """What has been added, at most a chunk; None where what was read last is no longer there."""
        self._file.seek(self._position - len(self._last))
        data = self._file.read(len(self._last) + _CHUNK)
        if not data.startswith(self._last):
            return None
        added = data[len(self._last) :]
        if self._position < _REMEMBERED:
            self.beginning = (self.beginning[: self._position] + added)[:_REMEMBERED]
        self._position += len(added)
        self._last = data[-_REMEMBERED:]
        return added

    def close(self) -> None:
        self._file.close()
