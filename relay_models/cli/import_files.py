"""`import_files`: store the runs of files in the formats in which runs travel; `follow_file` one that still grows."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from relay_models.cli.import_capture import PLURALS, Imported
from relay_models.errors import NotFoundError

if TYPE_CHECKING:
    from relay_models.records import RunRecord
    from relay_models.records.redact import Redaction
    from relay_models.sync import RedisBackend
    from relay_models.trajectories import BadLine, FileImport

__all__ = ["FileStore", "as_file", "import_files", "is_capture", "new_or_changed"]

_AT_ONCE = 100


@contextmanager
def as_file(source: str) -> Iterator[str]:
    """The path of a file that can be read twice: standard input (``-``) and pipes are copied.

    Raises:
        NotFoundError: the file does not exist.
    """
    if source != "-" and not os.path.exists(source):
        raise NotFoundError(f"there is no file {source}")
    if source != "-" and not Path(source).is_fifo():
        yield source
        return
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as copy:
        if source == "-":
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with open(source, "rb") as pipe:
                shutil.copyfileobj(pipe, copy)
        copy.flush()
        yield copy.name


def is_capture(path: str) -> bool:
    """Whether a file holds NeMo Relay's keys or run records, or nothing that is known."""
    from relay_models.trajectories import Format, recognize_source  # lazy: start-up time

    return recognize_source(path) in (Format.CAPTURE, Format.RUNS, None)


def new_or_changed(
    backend: RedisBackend, runs: Iterable[RunRecord], unchanged: Callable[[int], None] = lambda count: None
) -> Iterator[RunRecord]:
    """Yield the runs that the store does not have as they are; `unchanged` is told how many it has."""
    from relay_models.records import to_json  # lazy: start-up time

    waiting = iter(runs)
    while part := list(islice(waiting, _AT_ONCE)):
        # A run may come twice in one part, first as far as it was known.
        part = list({run.id: run for run in part}.values())
        for run, stored in zip(part, backend.run_texts(part), strict=True):
            if stored == to_json(run):
                unchanged(1)
            else:
                yield run


class FileStore:
    """Stores what a `FileImport` reads, and counts."""

    def __init__(self, backend: RedisBackend, files: FileImport) -> None:
        self.files = files
        self.created = self.replaced = self.unchanged = 0
        self._backend = backend

    def store(self, runs: Iterable[RunRecord]) -> int:
        """Store runs that are new or changed; return how many."""
        report = self._backend.store_runs(new_or_changed(self._backend, runs, self._count_unchanged), on_refused="skip")
        for refused in report.refused:
            self.files.refuse(refused.run_id or "", str(refused.error))
        self.files.origins.clear()
        self.created += report.created
        self.replaced += report.replaced
        return report.stored

    def _count_unchanged(self, count: int) -> None:
        self.unchanged += count


def import_files(
    backend: RedisBackend,
    paths: dict[str, str],
    agent_id: str | None,
    redact: Redaction | None,
    seen: Callable[[str, int], None] = lambda path, position: None,
) -> Imported:
    """Store the runs of files.

    Args:
        backend: the store.
        paths: the files, and how the user named them.
        agent_id: the agent of runs from events; None takes the name of their scope.
        redact: what removes secrets.
        seen: called with a file and the number of its bytes that have been read.
    """
    from relay_models.trajectories import FileImport  # lazy: start-up time

    files = FileImport(agent_id=agent_id, redact=redact)
    store = FileStore(backend, files)
    store.store(files.read(paths, progress=lambda path, position: seen(str(path), position)))
    counts = dict.fromkeys(PLURALS, 0) | {"run": store.created + store.replaced}
    several = len(paths) > 1

    def named(lines: Iterable[BadLine]) -> list[dict[str, str | int | None]]:
        return [
            {"line": each.line, "key": None, "reason": each.reason}
            | ({"file": paths.get(each.source or "", each.source)} if several else {})
            for each in lines
        ]

    return Imported(
        ", ".join(paths.values()), "", counts, store.replaced, named(files.bad), named(files.notes), files.noted,
        {"unchanged": store.unchanged, "withheld": files.withheld},
    )  # fmt: skip
