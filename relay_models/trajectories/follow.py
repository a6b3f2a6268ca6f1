"""`FileFollower`: the runs of an event file that is still being written, also while it is rotated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from relay_models.trajectories.builder import AgentNaming
from relay_models.trajectories.lines import MAX_LINE_BYTES, LineSplitter
from relay_models.trajectories.reader import RunReader
from relay_models.trajectories.recognize import ReadResult

__all__ = ["FileFollower"]

_CHUNK = 2**20


class FileFollower:
    """Reads what has been added to a JSON Lines file since the last time. It never waits.

    A line that has no end yet waits for the rest. When another file has taken the name (rotation), the old one is
    read to its end first; when the file has become shorter, it is read from its beginning. Runs that begin in one
    file and end in the next are whole.

    Args:
        path: the file; it may not exist yet.
        agent_id: the agent of runs from events, or a function of the Agent scope's name; None takes that name.
        max_line_bytes: maximum length of a line [bytes]; a longer one is named and left out.

    Example:
        ``for result in follower.poll(): ...``, then wait, and again; `finish` at the end.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, agent_id: AgentNaming = None, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        self.path = os.fspath(path)
        self._reader = RunReader(agent_id=agent_id, max_line_bytes=max_line_bytes)
        self._reader.name_source(self.path)
        self._splitter = LineSplitter(max_line_bytes)
        self._file: IO[bytes] | None = None

    def poll(self) -> Iterator[ReadResult]:
        """Yield what can be read now: runs that have ended, and lines that cannot be read.

        Raises:
            OSError: the file cannot be read; that it does not exist is no error.
        """
        while True:
            if self._file is None:
                try:
                    self._file = open(self.path, "rb")  # noqa: SIM115 (stays open until it is rotated)
                except FileNotFoundError:
                    return
            file = self._file
            yield from self._rest(file)
            if not self._moved(file):
                yield from self._reader.settle()
                return
            if self._file is None:
                yield from self._rest(file)  # its writer may have gone on until now
                file.close()
            for line in self._splitter.flush():
                yield from self._reader.line(line)

    def finish(self) -> Iterator[ReadResult]:
        """Yield what is left, and close the file: a last line without an end, and the runs that have not ended."""
        for line in self._splitter.flush():
            yield from self._reader.line(line)
        yield from self._reader.finish()
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rest(self, file: IO[bytes]) -> Iterator[ReadResult]:
        while data := file.read(_CHUNK):
            for line in self._splitter.feed(data):
                yield from self._reader.line(line)

    def _moved(self, file: IO[bytes]) -> bool:
        """Whether there is another file, or the file has been cut; it is then to be read from its beginning."""
        here = os.fstat(file.fileno())
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        if (named.st_dev, named.st_ino) != (here.st_dev, here.st_ino):
            self._file = None
            return True
        if here.st_size < file.tell():
            file.seek(0)
            return True
        return False
