"""`follow_file`: store the runs of an event file while it is written."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_models.cli.session import Session
    from relay_models.records.redact import Redaction
    from relay_models.sync import RedisBackend

__all__ = ["follow_file"]


def follow_file(
    session: Session,
    backend: RedisBackend,
    path: str,
    stopped: threading.Event,
    *,
    agent_id: str | None,
    redact: Redaction | None,
    poll: float,
) -> None:
    """Store runs as they end, until `stopped` is set; then those that have not ended, as running.

    Args:
        session: the command's session, for messages.
        backend: the store.
        path: the file; it may not exist yet, and may be rotated.
        stopped: set from a signal handler.
        agent_id: the agent of all runs; None takes the name of their scope.
        redact: what removes secrets.
        poll: seconds between two looks at the file.
    """
    # lazy: start-up time
    from relay_models.cli.import_files import FileStore
    from relay_models.cli.output import counted
    from relay_models.trajectories import FileFollower, FileImport

    files = FileImport(redact=redact)
    store = FileStore(backend, files)
    follower = FileFollower(path, agent_id=agent_id)

    def report(stored: int) -> None:
        for bad in (*files.bad, *files.notes):
            if session.as_json:
                session.out.line({"line": bad.line, "reason": bad.reason})
            else:
                session.out.warn(f"{path}, line {bad.line}: {bad.reason}")
        if stored and session.as_json:
            session.out.line({"runs": stored, "bad": len(files.bad)})
        elif stored:
            session.out.print(f"+{counted(stored, 'run')}")
        files.bad.clear()
        files.notes.clear()
        files.noted = 0

    try:
        while not stopped.is_set():
            report(store.store(files.take(follower.poll())))
            stopped.wait(poll)
        report(store.store(files.take(follower.poll())))
        report(store.store(files.take(follower.finish())))
    finally:
        follower.close()
