"""Programs of an older layout read and write all the while a store is migrated, and lose nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from relay_models import Column, Document, Run, column
from relay_models.backend import MigrationProgress
from relay_models.embedded import EmbeddedServer, serving_in_thread
from relay_models.sync import RedisBackend

ROOT = Path(__file__).parents[2]


class Ticket(Document):
    """A ticket, as the new version knows it."""

    title: Column[str] = column()
    votes: Column[int] = column()
    team: Column[str] = column(default="red")
    größe: Column[int] = column(value=lambda ticket: len(ticket.title))


class Program:
    """A process that is killed and started again, and the lines that it printed."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, *arguments]
        self.lines: list[str] = []
        self.starts = 0
        self.restart()

    def restart(self) -> None:
        """Kill it, and start it again; it has done something by then."""
        self.kill()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        self.starts += 1
        self.next()

    def next(self) -> None:
        """Wait for what it does next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the program ended"
        self.lines.append(line)

    def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        if self.starts:
            assert self._process.poll() is None, "it found something wrong"
            self._process.kill()
            rest, _ = self._process.communicate()
            self.lines += [line + "\n" for line in rest.split("\n")[:-1]]

    def stop(self) -> None:
        """End it, also where the test has failed."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def program(script: str, *arguments: str) -> Program:
        started.append(Program(str(Path(__file__).with_name(script)), *arguments))
        return started[-1]

    yield program
    for each in started:
        each.stop()


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "server":
        yield request.getfixturevalue("real_redis_url")
        return
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url


def test_runs(url: str, start: Callable[..., Program]) -> None:
    prefix = f"test-{uuid4().hex[:12]}:"
    script = str(Path(__file__).with_name("old_release.py"))
    subprocess.run([sys.executable, script, "create", url, prefix], check=True, timeout=60)
    writer, reader = (start("old_release.py", how, url, prefix) for how in ("write", "read"))
    with RedisBackend.connect(url, prefix, migrate=False) as backend:
        while len(writer.lines) < 200:
            writer.next()

        def restart(progress: MigrationProgress) -> None:
            if writer.starts < 4:
                writer.restart()

        backend.migrations.apply(restart)
        # Old programs go on with the new index, also those that start now.
        for program in (writer, reader):
            program.restart()
        backend.runs.label(writer.lines[-1].split()[0], tags={"seen"})
        for program in (writer, reader):
            program.next()
            program.kill()
        backend.migrations.apply()
        backend.migrations.finish()
        last = {line.split()[0]: int(line.split()[1]) for line in writer.lines}
        found = {run.run_id: run for run in backend.runs.find(Run.agent_id == "old", limit=None)}
        assert found.keys() >= last.keys(), "every run that was acknowledged is there"
        assert len(found) <= len(last) + writer.starts, "and at most one more for each kill"
        # The columns of the new layout are computed for all of them.
        assert backend.count_runs("input_tokens is present") == len(found)
        stored = {key: run.record.calls[0].prompt_tokens for key, run in found.items() if run.record is not None}
        assert all(stored[key] == run.input_tokens for key, run in found.items())
        assert sum(stored[key] != number for key, number in last.items()) <= writer.starts
        assert backend.count_runs("tags has seen") == 1
        (plan,) = [plan for plan in backend.migrations.plan() if plan.kind == "run"]
        assert (plan.state, plan.stale) == ("current", 0)
        backend.delete_runs("all")


def test_own_models(url: str, start: Callable[..., Program]) -> None:
    prefix = f"test-{uuid4().hex[:12]}:"
    old = start("old_models.py", url, prefix)
    old.next()
    with RedisBackend.connect(url, prefix, models=[Ticket], migrate=False) as backend:

        def restart(progress: MigrationProgress) -> None:
            if old.starts < 2:
                old.restart()

        backend.migrations.apply(restart)
        for _ in range(2):
            old.next()
        old.kill()
        tickets = backend.collection(Ticket)
        tickets.save(Ticket(title="new", votes=1, team="blue"))
        backend.migrations.apply()
        backend.migrations.finish()
        found = {ticket.pk: ticket for ticket in tickets.find("team = red", limit=None)}
        saved = {line.strip() for line in old.lines}
        assert found.keys() >= saved
        assert len(found) <= len(saved) + old.starts
        assert tickets.count("größe > 5") == len(found)
        assert tickets.count(Ticket.team == "blue") == 1
        tickets.delete("all")
