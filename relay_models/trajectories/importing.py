"""`FileImport`: the runs of files on their way into a store, redacted, with what could not be imported by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from relay_models._checks import check_callable, check_type, shown
from relay_models.errors import InvalidConfigurationError
from relay_models.records import RunRecord
from relay_models.records.redact import Redactions, as_redactor
from relay_models.trajectories.builder import AgentNaming
from relay_models.trajectories.lines import Source
from relay_models.trajectories.reader import RunReader
from relay_models.trajectories.recognize import ReadResult

__all__ = ["BadLine", "FileImport"]


# Notes to hold: every run of a file may have some.
_MAX_NOTES = 1000


@dataclass(frozen=True, slots=True)
class BadLine:
    """What could not be imported, or not understood, and why."""

    source: str | None
    """Name of the file, where it has one."""
    line: int | None
    """Number of the line, from 1."""
    reason: str

    def __str__(self) -> str:
        return f"{self.source or 'line'}{':' if self.source else ' '}{self.line}: {self.reason}"


class FileImport:
    """Reads runs from files and prepares them for a store.

    Args:
        agent_id: as `read_runs` takes it.
        redact: what removes secrets before a run is stored: JSON paths, functions of a run, or a `Redactor`. A run
            whose redaction fails is named in `bad` and not stored.
        max_text_length: maximum length of each text in a call; longer ones are cut [characters].
        max_call_bytes: maximum size of a call as JSON [bytes].

    Raises:
        InvalidConfigurationError: `redact` or a limit cannot work.

    Example:
        ```python
        files = FileImport(redact="$..api_key")
        report = backend.store_runs(files.read(["events.jsonl"]), on_refused="skip")
        ```
    """

    def __init__(
        self,
        *,
        agent_id: AgentNaming = None,
        redact: Redactions = None,
        max_text_length: int | None = None,
        max_call_bytes: int | None = None,
    ) -> None:
        self._agent_id = agent_id
        self._redact = as_redactor(redact, max_text_length=max_text_length, max_call_bytes=max_call_bytes)
        self.bad: list[BadLine] = []
        """What could not be imported."""
        self.notes: list[BadLine] = []
        """What was imported, but is kept in another form, or is of an unknown shape; the first 1,000."""
        self.noted = 0
        """How many such notes there are."""
        self.withheld = 0
        """Runs that a redaction left out."""
        self.origins: dict[str, tuple[str | None, int | None]] = {}
        """File and line of each run that was given out, by run id."""

    def read(
        self, sources: Iterable[Source], *, progress: Callable[[Source, int], None] | None = None
    ) -> Iterator[RunRecord]:
        """Read files one after the other; runs that begin in one and end in the next, as rotated logs have, are whole.

        Args:
            sources: the files, as `read_runs` takes them.
            progress: called with a file and the number of its bytes that have been read.

        Yields:
            The runs, redacted.

        Raises:
            OSError: a file cannot be opened or read.
        """
        if progress is not None:
            check_callable("progress", progress, "a function of a file and a number of bytes, or None")
        if isinstance(sources, str | bytes) or not isinstance(sources, Iterable):
            raise InvalidConfigurationError(f"sources is a list of files, such as [{shown(sources)}]")
        reader = RunReader(agent_id=self._agent_id)
        for source in sources:
            seen = None if progress is None else _of_source(progress, source)
            yield from self.take(reader.read(source, progress=seen))
        yield from self.take(reader.finish())

    def take(self, results: Iterable[ReadResult]) -> Iterator[RunRecord]:
        """Take what a reader or a `FileFollower` gives; yield the runs, redacted."""
        check_type("results", results, Iterable, "what a reader or a FileFollower gives")
        for result in results:
            check_type("a result", result, ReadResult, "what a reader or a FileFollower gives")
            run = result.run
            for note in result.notes:
                self.noted += 1
                if self.noted <= _MAX_NOTES:
                    self.notes.append(BadLine(result.source, result.line, note))
            if run is None:
                if result.error is not None:
                    self.bad.append(BadLine(result.source, result.line, result.error))
                continue
            if self._redact is not None:
                try:
                    redacted = self._redact(run)
                except Exception as error:
                    self.bad.append(
                        BadLine(
                            result.source, result.line, f"run {run.id} is not stored, its redaction failed: {error}"
                        )
                    )
                    continue
                if redacted is None:
                    self.withheld += 1
                    continue
                run = redacted
            self.origins[str(run.id)] = (result.source, result.line)
            yield run

    def refuse(self, run_id: str, reason: str) -> None:
        """Note a run that the store refused."""
        check_type("run_id", run_id, (str, UUID), "the id of a run")
        check_type("reason", reason, str, "text")
        source, line = self.origins.get(str(run_id), (None, None))
        self.bad.append(BadLine(source, line, f"run {run_id}: {reason}"))


def _of_source(progress: Callable[[Source, int], None], source: Source) -> Callable[[int], None]:
    return lambda position: progress(source, position)
