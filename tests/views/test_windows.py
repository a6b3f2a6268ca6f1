"""How sure differences between two sets of runs are."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from relay_models import CallRecord, RunRecord
from relay_models.records import RunExtensions, Status, Timestamp
from relay_models.sync import RedisBackend
from relay_models.views import Fact, compare_windows
from relay_models.views.comparing import difference_text


@pytest.fixture
def empty() -> Iterator[RedisBackend]:
    with RedisBackend.embedded() as backend:
        yield backend


BEGIN = datetime(2026, 11, 23, tzinfo=UTC)


def store_runs(backend: RedisBackend, agent: str, durations: Iterable[float], failed: int = 0) -> None:
    runs = []
    for number, seconds in enumerate(durations):
        began = BEGIN + timedelta(seconds=number)
        run = RunRecord(
            agent_id=agent, started_at=Timestamp(began), ended_at=Timestamp(began + timedelta(seconds=seconds))
        )
        if number < failed:
            run.relay_models = RunExtensions(status=Status("failed"))
        runs.append(run)
    backend.store_runs(runs)


def compared(backend: RedisBackend) -> dict[str, Fact]:
    return {fact.name: fact for fact in compare_windows(backend, "agent = one", "agent = two")}


def test_a_difference_of_shares_has_newcombes_interval(empty: RedisBackend) -> None:
    """The example (a) of Newcombe 1998: 56 of 70 and 48 of 80; by his method 10 from 5.24 % to 33.39 %."""
    store_runs(empty, "one", [1.0] * 80, failed=48)
    store_runs(empty, "two", [1.0] * 70, failed=56)
    fact = compared(empty)["failed runs"]
    assert (fact.left, fact.right, fact.difference) == ("48 (60.0%)", "56 (80.0%)", "+20.0 points")
    assert fact.sure == "clear: +5.2 points to +33.4 points"


def test_a_difference_of_means_has_welchs_interval(empty: RedisBackend) -> None:
    one, two = [float(1 + number % 7) for number in range(70)], [float(2 + number % 7) for number in range(70)]
    store_runs(empty, "one", one)
    store_runs(empty, "two", two)
    margin = 1.96 * (statistics.stdev(one) ** 2 / 70 + statistics.stdev(two) ** 2 / 70) ** 0.5
    expected = f"clear: +{(1 - margin) * 1000:.0f} ms to +{1 + margin:.2f} s"
    assert compared(empty)["duration, mean"].sure == expected


def test_percentiles_that_differ_by_chance_are_not_clear(empty: RedisBackend) -> None:
    store_runs(empty, "one", [float(1 + number % 10) for number in range(200)])
    store_runs(empty, "two", [float(1 + number * 3 % 10) for number in range(200)])
    facts = compared(empty)
    assert facts["duration, median"].sure.startswith("may be chance: -")
    assert facts["duration, p95"].sure.startswith("may be chance: ")


def test_percentiles_that_differ_are_clear(empty: RedisBackend) -> None:
    store_runs(empty, "one", [float(1 + number % 10) for number in range(200)])
    store_runs(empty, "two", [float(9 + number % 10) for number in range(200)])
    assert compared(empty)["duration, p95"].sure.startswith("clear: +")


@pytest.mark.parametrize(("count", "said"), [(1, "too few runs to say"), (72, "too few runs to say"), (73, "may be")])
def test_a_percentile_needs_values_on_both_sides_of_it(empty: RedisBackend, count: int, said: str) -> None:
    for agent in ("one", "two"):
        store_runs(empty, agent, [float(1 + number) for number in range(count)])
    assert compared(empty)["duration, p95"].sure.startswith(said)


@pytest.mark.parametrize("others", [20, 300])
def test_runs_without_a_value_have_no_part_in_its_numbers(empty: RedisBackend, others: int) -> None:
    """Whether most runs have a value or few do."""
    for agent in ("one", "two"):
        runs = [
            RunRecord(agent_id=agent, calls=[CallRecord(kind="llm", name="openai", total_tokens=tokens)])
            for tokens in range(100 if agent == "one" else 300, 400)
        ]
        empty.store_runs(runs)
    alone = compared(empty)
    for agent in ("one", "two"):
        empty.store_runs([RunRecord(agent_id=agent) for _ in range(others)])
    facts = compared(empty)
    assert facts["runs"] != alone["runs"]
    for metric in ("sum", "mean", "median", "p95"):
        assert facts[f"total tokens, {metric}"] == alone[f"total tokens, {metric}"]
    assert facts["total tokens, median"].sure.startswith("clear: +")


def test_a_manifold_difference_is_a_factor() -> None:
    assert difference_text(100, 350) == "+250 (+250%)"
    assert difference_text(3, 3_000) == "+2,997 (×1,000)"
    assert difference_text(timedelta(seconds=2), timedelta(seconds=1)) == "-1.00 s (-50%)"


def test_nothing_is_compared_with_nothing(empty: RedisBackend) -> None:
    facts = compared(empty)
    assert facts["runs"].difference == "same"
    assert facts["failed runs"].sure == ""
