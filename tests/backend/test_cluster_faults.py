"""A store on a cluster while everything goes wrong at random: each answer is right, or an error of this library."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay_models.errors import RelayModelsError
from relay_models.records import RunRecord
from relay_models.sync import RedisBackend
from relay_models.transport._sync import cluster_nodes, cluster_search, cluster_watch
from tests.backend.stores import make_run
from tests.servers.simulated_cluster import SimulatedCluster, SimulatedNode

T = TypeVar("T")

AGENTS = ("a", "b")
# How long nodes do not know of a change, and after that their coordinators (seconds); real ones take fifty times that.
STALE_SECONDS = 0.02
SOON = st.integers(1, 12)
PICK = st.integers(0, 5)
AGENT, TAG = st.sampled_from(AGENTS), st.sampled_from(["x", "y"])


def one_of(**kinds: tuple[st.SearchStrategy[Any], ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    """The name of a method with its arguments."""
    return st.one_of(*(st.tuples(st.just(name), *arguments) for name, arguments in kinds.items()))


CHANGES = one_of(store=(AGENT, st.integers(1, 6)), store_again=(PICK,), delete=(PICK,), label=(PICK, TAG))
QUESTIONS = one_of(
    count=(AGENT,), find=(TAG,), list=(AGENT,), stream=(), aggregate=(), agents=(), load=(PICK,),
    stream_through_a_fault=(PICK, PICK),
)  # fmt: skip
FAULTS = one_of(
    fail_over=(PICK, SOON, st.integers(0, 3)),
    lose=(PICK, SOON, SOON, st.sampled_from([0, 1, 1000]), st.booleans()),
    hang=(PICK, SOON),
    reshard=(PICK, PICK, SOON, SOON, st.sampled_from([0, 1000]), st.integers(1, 4)),
    grow=(PICK, SOON),
    lose_indexes=(PICK, SOON),
    lose_cursors=(SOON,),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are shorter by the factor by which the simulated cluster is quicker than real ones."""
    monkeypatch.setattr(cluster_watch, "_SETTLING_SECONDS", 1.5 * STALE_SECONDS)
    monkeypatch.setattr(cluster_watch, "_ANSWER_SECONDS", 5.0)
    monkeypatch.setattr(cluster_nodes, "_FIRST_BACKOFF", 0.002)
    monkeypatch.setattr(cluster_nodes, "_LONGEST_BACKOFF", 0.01)
    monkeypatch.setattr(cluster_search, "_FIRST_BACKOFF", 0.002)
    monkeypatch.setattr(cluster_search, "_LONGEST_BACKOFF", 0.01)


class ClusterFaults(RuleBasedStateMachine):
    """Stores, changes, deletes and asks, and schedules faults that come after a number of commands.

    Attributes:
        runs: the runs that must be there, in the order in which they were stored.
        tags: their tags.
        errors: what was not answered.
    """

    runs: dict[str, RunRecord]
    tags: dict[str, list[str]]
    errors: list[str]

    @initialize(version=st.sampled_from(["8.0.6", "8.4.0", "8.6.3"]))
    def connect(self, version: str) -> None:
        self.runs, self.tags, self.made, self.errors = {}, {}, 0, []
        self.cluster = SimulatedCluster(version=version, stale_seconds=STALE_SECONDS)
        self.cluster.__enter__()
        self.backend = RedisBackend.connect(self.cluster.url, timeout=20)

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        try:
            if not hasattr(self, "backend"):
                return
            self.settle()
            if any(len(node.ranges) > 1 for node in self.cluster.primaries):
                self.cluster.version = "8.6.3"  # as the error says: upgrade
                self.backend.close()
                self.backend = RedisBackend.connect(self.cluster.url, timeout=20)
            self.check_everything(self.backend)
            with RedisBackend.connect(self.cluster.url, timeout=20) as other:
                self.check_everything(other)
        finally:
            if hasattr(self, "backend"):
                self.backend.close()
            self.cluster.__exit__()

    # What is done: as many changes and questions as faults

    @rule(what=CHANGES)
    def change(self, what: tuple[Any, ...]) -> None:
        getattr(self, what[0])(*what[1:])

    @rule(what=QUESTIONS)
    def ask(self, what: tuple[Any, ...]) -> None:
        getattr(self, what[0])(*what[1:])

    @rule(what=FAULTS)
    def fault(self, what: tuple[Any, ...]) -> None:
        getattr(self, what[0])(*what[1:])

    # What is stored and asked

    def store(self, agent: str, count: int) -> None:
        made = [make_run(agent, self.made + number) for number in range(count)]
        self.made += count
        self.make_change(made, lambda: self.backend.store_runs(made) if count > 1 else self.backend.store_run(made[0]))

    def store_again(self, pick: int) -> None:
        if old := self.some_run(pick):
            new = make_run(old.agent_id, self.made, run_id=old.id)
            self.made += 1
            self.make_change([new], lambda: self.backend.store_run(new))

    def delete(self, pick: int) -> None:
        if run := self.some_run(pick):
            try:
                assert self.backend.delete_run(run.agent_id, run.id) in (True, False)
            except RelayModelsError as error:
                self.failed(error)
                self.resolve({str(run.id): (run, None)})
            else:
                del self.runs[str(run.id)]
                self.tags.pop(str(run.id), None)

    def label(self, pick: int, tag: str) -> None:
        if run := self.some_run(pick):
            wanted = sorted({*self.tags.get(str(run.id), []), tag})
            try:
                self.backend.runs.label(run, tags=[tag])
            except RelayModelsError as error:
                self.failed(error)
                self.settle()
                found = self.backend.runs.get(run.agent_id, run.id)
                assert found is not None
                assert sorted(found.tags) in (wanted, self.tags.get(str(run.id), []))
                self.tags[str(run.id)] = sorted(found.tags)
            else:
                self.tags[str(run.id)] = wanted

    def count(self, agent: str) -> None:
        self.is_right(lambda: self.backend.count_runs(f"agent = {agent}"), len(self.of(agent)))

    def find(self, tag: str) -> None:
        wanted = sorted(run_id for run_id, tags in self.tags.items() if tag in tags)
        question = f"tags has {tag}"
        self.is_right(lambda: sorted(run.run_id for run in self.backend.find_runs(question, limit=None)), wanted)

    def list(self, agent: str) -> None:
        self.is_right(lambda: self.backend.list_runs(agent), self.of(agent))

    def stream(self) -> None:
        wanted = sorted(self.runs.values(), key=lambda run: run.started_at)
        runs = self.backend.stream_runs(order_by="started_at", page_size=3)
        self.is_right(lambda: [run.record for run in runs], wanted)

    def stream_through_a_fault(self, at: int, pick: int) -> None:
        wanted = sorted(self.runs.values(), key=lambda run: run.started_at)

        def read() -> Iterator[RunRecord]:
            for number, run in enumerate(self.backend.stream_runs(order_by="started_at", page_size=2)):
                if number == at:
                    self.fail_over(pick, 1, 0)
                yield run.record

        self.is_right(lambda: list(read()), wanted)

    def aggregate(self) -> None:
        wanted = {agent: len(self.of(agent)) for agent in AGENTS if self.of(agent)}
        ask = self.backend.aggregate_runs
        self.is_right(lambda: {row["agent_id"]: row["count"] for row in ask(by="agent_id")}, wanted)

    def agents(self) -> None:
        wanted = {agent: len(self.of(agent)) for agent in AGENTS if self.of(agent)}
        self.is_right(lambda: {agent.agent_id: agent.runs for agent in self.backend.agents()}, wanted)

    def load(self, pick: int) -> None:
        if run := self.some_run(pick):
            self.is_right(lambda: self.backend.load_run(run.agent_id, run.id), run)

    # What goes wrong

    def fail_over(self, pick: int, soon: int, filling: int) -> None:
        async def step() -> None:
            await self.cluster.promoting(self.node(pick), filling=filling)

        self.cluster.after(soon, step)

    def lose(self, pick: int, soon: int, later: int, partial: int, comes_back: bool) -> None:
        async def kill() -> None:
            node = self.node(pick)
            await self.cluster.killing(node, partial_answers=partial)

            async def mend() -> None:
                if not node.slots:
                    return
                if comes_back:
                    await self.cluster.restarting(node)
                else:
                    await self.cluster.promoting(node)

            self.cluster.after(later, mend)

        self.cluster.after(soon, kill)

    def hang(self, pick: int, soon: int) -> None:
        async def pause() -> None:
            node = self.node(pick)
            node.is_paused = True
            self.cluster.later(0.05, lambda: setattr(node, "is_paused", False))

        self.cluster.after(soon, pause)

    def reshard(self, pick: int, to: int, soon: int, later: int, partial: int, part: int) -> None:
        """Move the first part of a node's slots: to its neighbour they become one range, elsewhere several."""

        async def begin() -> None:
            source, target = self.node(pick), self.node(to)
            if source is target or source.is_dead or target.is_dead:
                return
            slots = sorted(source.slots)
            slots = slots[: len(slots) // part]
            if len(slots) == len(source.slots) or source.migrating or source.importing or target.migrating:
                return
            self.cluster.partial_answers = partial
            for slot in slots:
                self.cluster.begin_move(slot, target)
            keys = [key for key in source.keys if self.cluster.owner(key) is source]
            for key in random.Random(soon).sample(keys, len(keys) // 2):
                if self.cluster.slot_of(key) in source.migrating:
                    self.cluster.move_key(key, source, target)

            async def end() -> None:
                for node in self.cluster.nodes:
                    for goal in set(node.migrating.values()):
                        self.cluster.end_move(set(slots), goal)

            self.cluster.after(later, end)

        self.cluster.after(soon, begin)

    def grow(self, pick: int, soon: int) -> None:
        async def step() -> None:
            source = self.node(pick)
            if len(self.cluster.primaries) > 5 or source.is_dead or source.migrating or source.importing:
                return
            new = await self.cluster.adding()
            slots = sorted(source.slots)
            await self.cluster.moving(set(slots[len(slots) // 2 :]), new)

        self.cluster.after(soon, step)

    def lose_indexes(self, pick: int, soon: int) -> None:
        async def step() -> None:
            await self.cluster.flushing(self.node(pick), keep_documents=True)

        self.cluster.after(soon, step)

    def lose_cursors(self, soon: int) -> None:
        async def step() -> None:
            for node in self.cluster.nodes:
                node.cursors.clear()

        self.cluster.after(soon, step)

    # How it is judged

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        if hasattr(self, "cluster"):
            keys = [key for node in self.cluster.primaries for key in node.keys]
            assert len(keys) == len(set(keys))

    def is_right(self, question: Callable[[], T], wanted: T) -> None:
        """An answer is right, or there is none."""
        try:
            found = question()
        except RelayModelsError as error:
            self.failed(error)
        else:
            assert found == wanted

    def make_change(self, runs: list[RunRecord], step: Callable[[], Any]) -> None:
        """Store runs; what an error leaves open is looked up."""
        before = {str(run.id): (run, self.runs.get(str(run.id))) for run in runs}
        try:
            step()
        except RelayModelsError as error:
            self.failed(error)
            self.resolve(before)
        else:
            self.runs.update({str(run.id): run for run in runs})

    def resolve(self, changes: dict[str, tuple[RunRecord | None, RunRecord | None]]) -> None:
        """Look up which of the two states of each run holds after a change that ended in an error."""
        self.settle()
        for run_id, states in changes.items():
            (agent,) = {run.agent_id for run in states if run is not None}
            found = self.backend.load_run(agent, run_id)
            assert found in states
            if found is None:
                self.runs.pop(run_id, None)
                self.tags.pop(run_id, None)
            else:
                self.runs[run_id] = found

    def settle(self) -> None:
        """Let all faults come and pass."""
        self.cluster.do(self.cluster.run_scheduled())

    def check_everything(self, backend: RedisBackend) -> None:
        assert backend.count_runs() == len(self.runs)
        for agent in AGENTS:
            assert backend.list_runs(agent) == self.of(agent)
        found = {run.run_id: sorted(run.tags) for run in backend.stream_runs()}
        assert found == {run_id: self.tags.get(run_id, []) for run_id in self.runs}

    def failed(self, error: RelayModelsError) -> None:
        self.errors.append(str(error))

    def of(self, agent: str) -> list[RunRecord]:
        return [run for run in self.runs.values() if run.agent_id == agent]

    def some_run(self, pick: int) -> RunRecord | None:
        runs = list(self.runs.values())
        return runs[pick % len(runs)] if runs else None

    def node(self, pick: int) -> SimulatedNode:
        return self.cluster.primaries[pick % len(self.cluster.primaries)]


class TestClusterFaults(ClusterFaults.TestCase):
    """The machine, with fixtures."""

    settings = settings(max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
