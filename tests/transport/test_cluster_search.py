"""Searches on a cluster: every trap that real clusters were seen to set, switched on in a simulated one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from relay_models import Column, Document, column, errors
from relay_models.query.replies import decode_index_info
from relay_models.sync import RedisBackend
from relay_models.transport._sync import cluster_search, cluster_watch, patience
from relay_models.transport.topology import slot_of
from tests.backend.stores import make_run
from tests.servers.simulated_cluster import SimulatedCluster, SimulatedNode

RUNS = [make_run("agent", number) for number in range(90)]


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    with SimulatedCluster() as cluster:
        yield cluster


@pytest.fixture
def backend(cluster: SimulatedCluster) -> Iterator[RedisBackend]:
    with RedisBackend.connect(cluster.url, timeout=8) as backend:
        backend.store_runs(RUNS)
        yield backend


def victim(cluster: SimulatedCluster) -> SimulatedNode:
    """A node that holds runs, and is not the first that a client knows."""
    return cluster.nodes[1]


def later(step: object, seconds: float, *arguments: object) -> threading.Timer:
    """Do something after a while, in another thread."""
    timer = threading.Timer(seconds, step, arguments)  # type: ignore[arg-type]
    timer.start()
    return timer


def test_an_answer_without_a_dead_shard_is_never_given(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    assert backend.count_runs() == len(RUNS)
    node = victim(cluster)
    cluster.kill(node, partial_answers=10_000)
    promoted = later(cluster.promote, 1.0, node)
    assert backend.count_runs() == len(RUNS)
    assert len(backend.list_runs("agent")) == len(RUNS)
    assert backend.aggregate_runs(by="agent_id")[0]["count"] == len(RUNS)
    promoted.join()


def test_a_shard_that_stays_dead_is_named(cluster: SimulatedCluster) -> None:
    with RedisBackend.connect(cluster.url, timeout=1) as backend:
        backend.store_runs(RUNS)
        node = victim(cluster)
        cluster.kill(node, partial_answers=10_000)
        for ask in (backend.count_runs, lambda: backend.list_runs("agent"), lambda: backend.find_runs("agent = agent")):
            with pytest.raises(errors.StorageError, match=f"shard 127.0.0.1:{node.port}"):
                ask()


def test_a_shard_that_was_restarted_between_two_checks_is_noticed(
    cluster: SimulatedCluster, backend: RedisBackend
) -> None:
    assert backend.count_runs() == len(RUNS)
    before = backend.transport.reconnects
    cluster.kill(victim(cluster), partial_answers=0)
    cluster.restart(victim(cluster))
    assert backend.count_runs() == len(RUNS)
    assert backend.transport.reconnects > before


def test_slots_that_were_elsewhere_between_two_checks_are_noticed(
    cluster: SimulatedCluster, backend: RedisBackend
) -> None:
    assert backend.count_runs() == len(RUNS)
    before = backend.transport.reconnects
    owner, other = victim(cluster), cluster.nodes[2]
    slots = set(sorted(owner.slots)[-100:])
    cluster.move(slots, other)
    cluster.move(slots, owner)
    assert backend.count_runs() == len(RUNS)
    assert backend.transport.reconnects > before


def test_a_node_that_was_forgotten_and_met_again_is_asked(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    for _ in cluster.nodes:  # each of them is asked
        assert backend.count_runs() == len(RUNS)
    forgotten = victim(cluster)
    others = [node for node in cluster.nodes if node is not forgotten]
    ranges = {node.id: node.ranges for node in cluster.nodes}
    lines = others[0].lines

    async def meet() -> None:
        for node in others:
            node.lines = lines

    async def refresh() -> None:
        for node in others:
            node.know(cluster.nodes, ranges)

    for node in others:
        node.lines = {id: line for id, line in lines.items() if id != forgotten.id}
        node.know(others, ranges)
    cluster.after(12, meet)
    cluster.after(24, refresh)  # coordinators learn of it later
    for _ in cluster.nodes:
        assert backend.count_runs() == len(RUNS)


def test_a_node_that_does_not_know_its_own_address_is_asked(cluster: SimulatedCluster) -> None:
    node = cluster.nodes[0]
    flags, rest = node.lines[node.id]
    node.lines = {**node.lines, node.id: (flags, rest.replace("127.0.0.1", "", 1))}
    with RedisBackend.connect(f"redis+cluster://localhost:{node.port}", timeout=5) as backend:
        backend.store_runs(RUNS)
        assert backend.count_runs() == len(RUNS)


def test_a_shard_that_hangs_ends_in_a_timeout_that_names_it(cluster: SimulatedCluster) -> None:
    with RedisBackend.connect(cluster.url, timeout=3) as backend:
        backend.store_runs(RUNS)
        node = victim(cluster)
        node.is_paused = True
        try:
            with pytest.raises(errors.StorageError, match=f"127.0.0.1:{node.port}"):
                backend.count_runs()
        finally:
            node.is_paused = False
        assert backend.count_runs() == len(RUNS)


def test_looking_at_the_index_first_takes_time_of_the_call(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    with RedisBackend.connect(cluster.url, timeout=1.5) as impatient:
        cluster.promote(victim(cluster))  # so that every index is looked at again, by a search each
        cluster.busy_seconds, began = 0.7, time.monotonic()
        try:
            with pytest.raises(errors.RelayModelsError, match=r"127\.0\.0\.1"):
                impatient.count_runs()
        finally:
            cluster.busy_seconds = 0.0
        assert time.monotonic() - began < 1.5 + cluster_watch._ANSWER_SECONDS + 1
    assert backend.count_runs() == len(RUNS)


def test_questions_do_not_wait_for_replicas(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    """Replicas that are away let writes fail, and nothing else, also after a change of the cluster."""
    with RedisBackend.connect(cluster.url, timeout=8, replicas=1, replica_timeout=0.1) as other:
        with pytest.raises(errors.NotReplicatedError):
            other.store_run(make_run("agent", len(RUNS)))
        cluster.promote(victim(cluster))
        assert other.count_runs() == len(RUNS) + 1
        assert len(other.list_runs("agent")) == len(RUNS) + 1


def test_a_search_that_keeps_all_shards_busy_is_waited_for(
    cluster: SimulatedCluster, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also another one that comes meanwhile, and the reads of a cursor."""
    monkeypatch.setattr(cluster_watch, "_ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(patience, "_LOOK_INTERVAL", 0.05)
    with RedisBackend.connect(cluster.url, timeout=20) as other:
        stream = other.stream_runs(page_size=10)
        next(stream)
        cluster.busy_seconds, searches = 0.4, cluster.searches
        try:
            with ThreadPoolExecutor() as pool:
                counts = [pool.submit(other.count_runs) for _ in range(2)]
                assert [count.result() for count in counts] == [len(RUNS)] * 2
                assert len(list(stream)) == len(RUNS) - 1
        finally:
            cluster.busy_seconds = 0.0
        assert cluster.searches - searches <= 4, "searches were given up"


def test_a_read_of_a_cursor_ends_where_a_shard_hangs(
    cluster: SimulatedCluster, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_search, "_SEARCH_SECONDS", 1.0)
    monkeypatch.setattr(cluster_watch, "_ANSWER_SECONDS", 0.3)
    node = victim(cluster)
    with RedisBackend.connect(cluster.url, timeout=None) as other:
        stream = other.stream_runs(page_size=10)
        next(stream)
        node.is_paused = True
        try:
            with pytest.raises(errors.StorageError, match=f"127.0.0.1:{node.port}"):
                list(stream)
        finally:
            node.is_paused = False
        assert len(list(other.stream_runs(page_size=10))) == len(RUNS)


def test_a_cluster_that_is_away_as_a_whole_is_waited_for(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    for node in cluster.nodes:
        cluster.kill(node)
    back = [later(cluster.restart, 0.5, node) for node in cluster.nodes]
    assert backend.count_runs() == len(RUNS)
    for each in back:
        each.join()


def test_a_search_that_waits_for_a_dead_node_says_what_to_do(cluster: SimulatedCluster) -> None:
    with RedisBackend.connect(cluster.url, timeout=3) as backend:
        backend.store_runs(RUNS)
        node = victim(cluster)
        cluster.kill(node)
        cluster.promote(node)
        cluster.hangs = True
        with pytest.raises(errors.StoreTimeoutError, match="CLUSTER FORGET"):
            backend.count_runs()
        cluster.hangs = False


@pytest.mark.parametrize(("version", "module"), [("8.0.6", "8.0.2"), ("8.6.3", "8.0.2"), ("8.6.3", "8.6.1")])
def test_documents_of_a_shard_that_is_asked_twice_count_once(version: str, module: str) -> None:
    slots = {slot_of(b"elsewhere")}
    with SimulatedCluster(version=version, module=module) as cluster, RedisBackend.connect(cluster.url) as backend:
        backend.store_runs(RUNS)
        backend.runs.label(RUNS[5], scores={"s": 0.5})
        cluster.move(slots, next(node for node in cluster.nodes if not slots & node.slots))
        assert backend.count_runs() == len(RUNS)
        assert len(backend.list_runs("agent")) == len(RUNS)
        assert [run.run_id for run in backend.stream_runs(page_size=7)] == [str(run.id) for run in reversed(RUNS)]
        page = backend.find_runs("calls = 1", limit=20)
        assert len(page.records) == len({run.id for run in page.records}) == 20
        assert len(backend.find_runs("calls = 1", limit=80, after=page.next).records) == len(RUNS) - 20
        (row,) = backend.aggregate_runs(by="agent_id", metrics=("count", "sum(prompt_tokens)", "p50(prompt_tokens)"))
        assert (row["count"], row["sum(prompt_tokens)"]) == (len(RUNS), sum(range(len(RUNS))))
        assert sum(row["count"] for row in backend.aggregate_runs(by="models")) == len(RUNS)
        (agent,) = backend.agents()
        assert (agent.runs, agent.running) == (len(RUNS), 0)
        assert backend.runs.count("score.s = 0.5") == 1
        if module == "8.0.2":
            with pytest.raises(errors.StorageError, match=r"Upgrade to Redis 8\.4"):
                backend.transport.execute("FT.SEARCH", f"{backend.key_prefix}@run", "*")


class Price(Document):
    """A model with floats that twelve digits do not tell apart."""

    amount: Column[float] = column("The amount.")
    discount: Column[float | None] = column("What is taken off.")


@pytest.mark.parametrize("order", ["amount", "-amount", "discount", "-discount"])
def test_floats_are_sorted_by_all_their_digits(backend: RedisBackend, order: str) -> None:
    prices = backend.collection(Price)
    numbers = [round(100_000 + place * 37 % 90 * 1e-9, 9) for place in range(90)]
    prices.save_many(
        Price(amount=number, discount=number if place % 3 else None) for place, number in enumerate(numbers)
    )
    name = order.removeprefix("-")
    found = [getattr(item, name) for item in prices.stream(order_by=order, page_size=7)]
    values = [value for value in found if value is not None]
    assert values == sorted(values, reverse=order[0] == "-")
    assert len(set(values)) == (90 if name == "amount" else 60)
    assert len(found) == 90
    pages, page = [], prices.find(order_by=order, limit=7)
    while True:
        pages += [getattr(item, name) for item in page.records]
        if page.next is None:
            break
        page = prices.find(order_by=order, limit=7, after=page.next)
    assert pages == found


def test_slots_that_are_being_moved_are_waited_for(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    source, target = cluster.nodes[:2]
    slots = {slot_of(key) for key in source.keys}
    cluster.partial_answers = 10_000
    for slot in slots:
        cluster.begin_move(slot, target)
    done = later(cluster.move, 0.5, slots, target)
    assert backend.count_runs() == len(RUNS)
    assert not source.keys
    done.join()


def test_a_move_that_was_interrupted_ends_in_an_error_that_says_what_to_do(
    cluster: SimulatedCluster, backend: RedisBackend
) -> None:
    source, target = cluster.nodes[:2]
    slots = {slot_of(key) for key in source.keys}
    both = rf"{source.port} and 127\.0\.0\.1:{target.port} .*redis-cli --cluster fix 127\.0\.0\.1:{source.port}"
    with RedisBackend.connect(cluster.url, timeout=3) as other:
        for slot in slots:
            cluster.begin_move(slot, target)
        for ask in (other.count_runs, lambda: list(other.stream_runs())):
            with pytest.raises(errors.RelayModelsError, match=both):
                ask()
    runs = [make_run("agent", len(RUNS)), make_run("agent", len(RUNS) + 1)]
    backend.store_run(runs[0])  # a command with a key waits for nothing
    with RedisBackend.connect(cluster.url) as other:  # and so does a program that has just been started
        other.store_run(runs[1])
        assert other.load_run("agent", runs[0].id) == runs[0]
    cluster.move(slots, target)
    assert backend.list_runs("agent") == [*RUNS, *runs]


def test_an_index_that_a_shard_lacks_is_made_there(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    alias = f"{backend.key_prefix}@run".encode()
    cluster.flush(victim(cluster), keep_documents=True)
    assert backend.count_runs() == len(RUNS)
    assert victim(cluster).indexes.has(alias)
    cluster.flush(victim(cluster), keep_documents=True)
    with RedisBackend.connect(cluster.url) as other:
        assert len(other.list_runs("agent")) == len(RUNS)


def test_a_new_primary_gets_the_index_and_is_asked(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    new = cluster.add()
    cluster.move(set(range(5000)), new)
    assert new.keys
    assert backend.count_runs() == len(RUNS)
    assert new.indexes.has(f"{backend.key_prefix}@run".encode())


def test_a_stream_goes_on_where_its_node_or_its_cursor_is_lost(
    cluster: SimulatedCluster, backend: RedisBackend
) -> None:
    seen: list[str] = []
    for number, run in enumerate(backend.stream_runs(order_by="started_at", page_size=10)):
        seen.append(str(run.record.id))
        if number == 25:
            node = victim(cluster)
            cluster.kill(node, partial_answers=10_000)
            cluster.promote(node)
        if number == 55:
            for node in cluster.nodes:
                node.cursors.clear()
    assert seen == [str(run.id) for run in RUNS]


def test_that_a_document_was_replaced_on_any_shard_can_be_told(backend: RedisBackend) -> None:
    def replaced() -> int:
        return decode_index_info(backend.transport.execute("FT.INFO", f"{backend.key_prefix}@run")).replaced

    before = replaced()
    assert replaced() == before
    backend.store_run(RUNS[0].model_copy(update={"metadata": {"more": 1}}))
    assert replaced() != before


@pytest.mark.parametrize("version", ["8.0.6", "8.6.3"])
def test_a_cluster_of_one_primary_answers(version: str) -> None:
    with SimulatedCluster(1, version=version) as cluster, RedisBackend.connect(cluster.url, timeout=2) as backend:
        backend.store_runs(RUNS)
        assert backend.count_runs() == len(RUNS)


def test_offsets_are_refused(backend: RedisBackend) -> None:
    with pytest.raises(errors.StorageError, match="offset"):
        backend.transport.execute("FT.SEARCH", "any", "*", "LIMIT", 5, 5)
    with pytest.raises(errors.StorageError, match="MULTI"):
        backend.transport.execute("MULTI")


def test_a_cluster_without_a_coordinator_is_refused() -> None:
    with (
        SimulatedCluster(coordinator=False) as cluster,
        pytest.raises(errors.MissingModuleError, match=r"no coordinator.*Redis 8"),
    ):
        RedisBackend.connect(cluster.url)


def test_the_plain_url_of_a_node_opens_the_cluster(cluster: SimulatedCluster, backend: RedisBackend) -> None:
    with RedisBackend.connect(f"redis://127.0.0.1:{cluster.nodes[2].port}") as other:
        assert "redis+cluster://" in repr(other)
        assert other.count_runs() == len(RUNS)
        assert {run.id for run in other.list_runs("agent")} == {run.id for run in RUNS}


def test_a_shard_that_loses_its_indexes_while_a_store_is_opened_gets_them_again(cluster: SimulatedCluster) -> None:
    runs = [make_run("a", number) for number in range(6)]
    with RedisBackend.connect(cluster.url) as backend:
        backend.store_runs(runs)
    emptied: list[int] = []
    for commands in range(1, 60, 4):
        for node in cluster.nodes:
            cluster.flush(node, keep_documents=True)

        async def empty(commands: int = commands) -> None:
            emptied.append(commands)
            await cluster.flushing(cluster.nodes[0], keep_documents=True)

        cluster.after(commands, empty)
        with RedisBackend.connect(cluster.url) as backend:
            assert backend.count_runs() == len(runs)
        cluster.do(cluster.run_scheduled())
    assert len(emptied) == 15
