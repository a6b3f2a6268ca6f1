"""Lists and watches while the server's clock steps: stored order holds and nothing is missed."""

from __future__ import annotations

from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from relay_models.backend._async import collection
from relay_models.backend._async.backend import RedisBackend
from relay_models.backend.clock import StoreClock
from relay_models.records import ExecutionPlan, MetadataEnvelope
from tests.backend.stores import make_run

from .conftest import Place

STEPS: list[float] = [300, -300, 3, -3, 86_400, -86_400]


class Clocks:
    """The clocks of a server, which can be set, and of this machine, which can sleep; a trip takes a millisecond."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.local_us = 5_000_000
        self.difference = 1_795_000_000_000_000
        monkeypatch.setattr("relay_models.backend.clock_check.decode_time", self.server_us)
        local = SimpleNamespace(monotonic_ns=self.local_ns, time_ns=self.wall_ns)
        monkeypatch.setattr("relay_models.backend.clock.time", local)

    def local_ns(self) -> int:
        return self.local_us * 1000

    def wall_ns(self) -> int:
        return (self.local_us + self.difference) * 1000

    def server_us(self, reply: Any) -> int:
        self.local_us += 500
        now = self.local_us + self.difference
        self.local_us += 500
        return now

    def step(self, seconds: float) -> None:
        """Set the server's clock."""
        self.difference += int(seconds * 1_000_000)

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.local_us += int(seconds * 1_000_000)


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
async def writers(place: Place) -> list[RedisBackend]:
    """Two backends of one store, as two processes have them."""
    return [await place.open("steps:"), await place.open("steps:")]


async def listed(backend: RedisBackend) -> list[str]:
    return [str(run.id) for run in await backend.list_runs("a")]


@pytest.mark.parametrize("step", STEPS)
async def test_stored_order_holds(writers: list[RedisBackend], place: Place, clocks: Clocks, step: float) -> None:
    first, second = writers
    stored = []

    async def store(*backends: RedisBackend) -> None:
        for backend in backends:
            run = make_run("a", len(stored))
            stored.append(str(run.id))
            await backend.store_run(run)
            clocks.pass_by(0.001)

    await store(first, second, first)
    clocks.step(step)
    late = await place.open("steps:")
    await store(late, second, late, first, second, late, first)
    clocks.step(-step)
    later = await place.open("steps:")
    await store(second, later, late, first, later, second)
    clocks.step(step / 2)
    await store(first, late, second, later)
    for backend in (first, second, late, later):
        assert await listed(backend) == stored


@pytest.mark.parametrize("step", STEPS)
async def test_batches_keep_their_order(writers: list[RedisBackend], place: Place, clocks: Clocks, step: float) -> None:
    first, second = writers
    stored = []
    for number in range(9):
        if number in (2, 6):
            clocks.step(step if number == 2 else -step)
        runs = [make_run("a", number) for _ in range(7)]
        stored += [str(run.id) for run in runs]
        await (first, second, await place.open("steps:"))[number % 3].store_runs(runs, batch_size=7)
        clocks.pass_by(0.001)
    assert await listed(first) == stored


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("step", STEPS)
async def test_a_watch_misses_nothing(
    writers: list[RedisBackend],
    place: Place,
    clocks: Clocks,
    monkeypatch: pytest.MonkeyPatch,
    step: float,
    changes: bool,
) -> None:
    first, second = writers
    made: list[Any] = [make_run("a", number) for number in range(12)]
    await first.store_runs(made[:2])
    idle = 0

    async def meanwhile(seconds: float) -> None:
        nonlocal idle
        idle += 1
        if idle == 1:
            await second.store_run(made[2])
        elif idle == 2:
            clocks.step(step)
            await second.store_run(made[3])
        elif idle == 3:
            await (await place.open("steps:")).store_runs(made[4:6])
            clocks.pass_by(0.001)
            await second.store_run(made[6])
        elif idle == 5:
            clocks.step(-step)
        elif idle == 6:
            await (await place.open("steps:")).store_run(made[7])
            clocks.pass_by(0.001)
            await second.store_runs(made[8:10])
            clocks.pass_by(0.001)  # no write of a real server takes no time
            await first.store_run(made[10])
        elif idle == 8:
            await second.store_run(made[11])

    monkeypatch.setattr(collection, "sleep", meanwhile)
    seen = []
    async with aclosing(first.watch_runs(changes=changes)) as watch:
        async for run in watch:
            seen.append(run.run_id)
            if run.run_id == str(made[11].id):
                break
    wanted = [str(run.id) for run in made[2:]]
    assert sorted(seen) == sorted(wanted)
    # A cluster's clock is read beside a write, not with it: a watch may see a run before its stamp is corrected.
    assert await listed(first) == [str(run.id) for run in made]
    assert place.is_cluster or seen == wanted


@pytest.mark.parametrize("step", STEPS)
async def test_a_watch_of_plans_misses_none(
    writers: list[RedisBackend], place: Place, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    first, second = writers
    names = iter("bcdef")

    async def meanwhile(seconds: float) -> None:
        name = next(names)
        if name == "d":
            clocks.step(step)
        backend = await place.open("steps:") if name == "e" else second
        template = MetadataEnvelope(agent_id=name)
        await backend.store_plan(ExecutionPlan(agent_id=name, parallel_groups=[], metadata_template=template))

    monkeypatch.setattr(collection, "sleep", meanwhile)
    async with aclosing(first.plans.watch()) as watch:
        assert [(await anext(watch)).agent_id for _ in range(5)] == list("bcdef")


@pytest.mark.parametrize("asleep", [1, 300, 86_400])
async def test_a_writer_that_slept(
    writers: list[RedisBackend], clocks: Clocks, monkeypatch: pytest.MonkeyPatch, asleep: float
) -> None:
    """The monotonic clock of a laptop stands still while it sleeps."""
    first, second = writers
    store_clock = first._store.clock
    monkeypatch.setattr(store_clock, "_monotonic_ns", lambda: clocks.local_ns() - int(asleep * 1e9))
    runs = [make_run("a", number) for number in range(4)]
    for number, run in enumerate(runs):
        await (second, first)[number % 2].store_run(run)
        clocks.pass_by(0.001)
    assert await listed(first) == [str(run.id) for run in runs]
    assert abs(store_clock.now() - second._store.clock.now()) < 5_000


async def test_a_clock_that_nobody_may_have_had_is_not_followed(writers: list[RedisBackend], place: Place) -> None:
    await writers[0].store_run(make_run("a", 1))
    key = f"{writers[0].key_prefix}@run:a:{make_run('a').id}"
    await place.raw.execute_command("JSON.SET", key, "$", '{"agent_id": "x", "updated_at": 9000000000000000}')
    other = await place.open("steps:")
    assert not other._store.clock.is_ahead


async def test_a_writer_that_was_idle_while_the_clock_went_there_and_back(
    writers: list[RedisBackend], clocks: Clocks
) -> None:
    first, second = writers
    runs = [make_run("a", number) for number in range(6)]
    await second.store_run(runs[0])
    clocks.step(300)
    await first.store_run(runs[1])
    clocks.step(-300)
    clocks.pass_by(1)
    for number, run in enumerate(runs[2:]):
        await (second, first)[number % 2].store_run(run)
        clocks.pass_by(0.001)
    assert await listed(first) == [str(run.id) for run in runs]


def test_a_clock_follows_and_goes_on() -> None:
    local = [0]
    one = StoreClock(lambda: local[0] * 1000, lambda: 50_000_000_000)
    one.read(1_000_000, one.mark())
    assert one.now() == 1_000_001
    local[0] = 2_000_000
    one.read(3_000_100, one.mark())  # drift
    assert (one.corrections, one.now()) == (0, 3_000_101)
    one.read(9_000_000, one.mark())
    assert (one.corrections, one.now()) == (1, 9_000_001)
    one.read(5_000_000, one.mark())
    assert one.is_ahead
    assert one.now() == 9_000_002
    one.raise_to(9_500_000)
    assert one.now() == 9_500_001
    one.follow()
    assert (one.is_ahead, one.corrections, one.now()) == (False, 3, 5_000_001)
