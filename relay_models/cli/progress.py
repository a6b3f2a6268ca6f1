"""`Progress`: how far a migration is, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_models.backend.migration import MigrationProgress
    from relay_models.cli.session import Session

__all__ = ["Progress"]


class Progress:
    """A line on standard error for each step, at most one for each tenth of it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shown: tuple[str, str, int] | None = None

    def __call__(self, progress: MigrationProgress) -> None:
        tenth = 10 * progress.done // max(1, progress.total)
        now = (progress.kind, progress.step, tenth)
        if now != self._shown:
            self._shown = now
            self._session.out.note(f"{progress.kind}: {progress.step} {progress.done:,} of {progress.total:,}")
