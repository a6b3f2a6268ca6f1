"""Connections that come and go: dropped, refused, shared by threads and tasks, cancelled, of another event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any
from uuid import uuid4

import pytest
import redis

from relay_models import errors
from relay_models.backend import RedisBackend
from relay_models.documents import KINDS, Keys
from relay_models.embedded import EmbeddedServer, serving_in_thread
from relay_models.sync import RedisBackend as SyncRedisBackend
from relay_models.transport import ConnectionOptions, sync
from tests.backend.stores import as_value, make_run
from tests.servers.sentinels import wait_until


class Proxy:
    """A TCP proxy that can drop what passes through it."""

    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepted = 0
        # Drop each connection after so many bytes from the client, so many times.
        self.drop_after: int | None = None
        self.drops_left = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.create_connection(self.upstream)
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        passed = 0
        try:
            while data := source.recv(16384):
                passed += len(data)
                if from_client and self.drop_after is not None and self.drops_left and passed > self.drop_after:
                    self.drops_left -= 1
                    break
                target.sendall(data)
        except OSError:
            pass
        self._shut(source, target)

    @staticmethod
    def _shut(*sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def drop(self) -> None:
        """Drop every connection there is."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._shut(*pair)

    def close(self) -> None:
        """Drop everything and refuse what comes."""
        self._shut(self.listener)
        self.drop()


@pytest.fixture(params=["served", pytest.param("server", marks=pytest.mark.real_server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server reached by TCP: the embedded engine, or the real one."""
    if request.param == "server":
        yield request.getfixturevalue("real_redis_url")
        return
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url


@pytest.fixture
def prefix(url: str) -> Iterator[str]:
    """A prefix of its own, with nothing left behind."""
    name = f"test-{uuid4().hex[:12]}:"
    yield name
    with redis.Redis.from_url(url) as client:
        for kind in KINDS:
            with suppress(redis.ResponseError):
                client.execute_command("FT.DROPINDEX", Keys(name).index(kind), "DD")


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    parts = redis.connection.parse_url(url)
    between = Proxy(str(parts.get("host", "127.0.0.1")), int(parts.get("port", 6379)))
    yield between
    between.close()


async def test_a_dropped_connection_is_regained(proxy: Proxy, prefix: str) -> None:
    runs = [make_run("agent", number) for number in range(4)]
    async with await RedisBackend.connect(proxy.url, prefix) as backend:
        for run in runs:
            await backend.store_run(run)
            proxy.drop()
        assert as_value(await backend.list_runs("agent")) == as_value(runs)
        proxy.drop()
        assert await backend.count_runs() == 4


def test_a_dropped_connection_is_regained_in_threads(proxy: Proxy, prefix: str) -> None:
    runs = [make_run("agent", number) for number in range(4)]
    with SyncRedisBackend.connect(proxy.url, prefix) as backend:
        for run in runs:
            backend.store_run(run)
            proxy.drop()
        assert as_value(backend.list_runs("agent")) == as_value(runs)


@pytest.mark.parametrize("drop_after", [30_000, 200_000])
async def test_a_bulk_store_survives_drops_in_its_middle(proxy: Proxy, prefix: str, drop_after: int) -> None:
    runs = [make_run("agent", number) for number in range(1500)]
    async with await RedisBackend.connect(proxy.url, prefix) as backend:
        proxy.drop_after, proxy.drops_left = drop_after, 3
        report = await backend.store_runs(runs, batch_size=100)
        assert proxy.drops_left == 0
        assert report.stored == 1500
        proxy.drop_after = None
        assert [run.id for run in await backend.list_runs("agent")] == [run.id for run in runs]


async def test_a_server_that_stays_away_is_given_up(proxy: Proxy, prefix: str) -> None:
    async with await RedisBackend.connect(proxy.url, prefix, retries=2) as backend:
        await backend.store_run(make_run("agent"))
        proxy.close()
        with pytest.raises(errors.ConnectionFailedError, match=r"127\.0\.0\.1"):
            await backend.store_run(make_run("agent"))
        with pytest.raises(errors.ConnectionFailedError):
            await backend.store_runs(make_run("agent", number) for number in range(1000))
        with pytest.raises(errors.ConnectionFailedError):
            await backend.list_runs("agent")


async def test_many_tasks_share_a_backend(url: str, prefix: str) -> None:
    async with await RedisBackend.connect(url, prefix, max_connections=8) as backend:
        runs = [make_run(f"agent-{number % 5}", number) for number in range(200)]
        await asyncio.gather(*map(backend.store_run, runs))
        loaded = await asyncio.gather(*(backend.load_run(run.agent_id, run.id) for run in runs))
        assert as_value(loaded) == as_value(runs)
        listed = await asyncio.gather(*(backend.list_runs(f"agent-{number}") for number in range(5)))
        assert sum(map(len, listed)) == 200


def test_many_threads_share_a_backend(url: str, prefix: str) -> None:
    with SyncRedisBackend.connect(url, prefix, max_connections=8) as backend, ThreadPoolExecutor(16) as threads:
        runs = [make_run(f"agent-{number % 5}", number) for number in range(200)]
        list(threads.map(backend.store_run, runs))
        loaded = list(threads.map(lambda run: backend.load_run(run.agent_id, run.id), runs))
        assert as_value(loaded) == as_value(runs)
        assert sum(map(len, threads.map(backend.list_runs, (f"agent-{number}" for number in range(5))))) == 200
        reports = threads.map(lambda agent: backend.store_runs(make_run(agent, n) for n in range(150)), "xyz")
        assert [report.created for report in reports] == [150, 150, 150]


@pytest.mark.parametrize("most", [1, 2])
def test_more_threads_than_connections(url: str, prefix: str, most: int) -> None:
    """The connection that is kept at hand between two operations is none that somebody waits for."""
    with SyncRedisBackend.connect(url, prefix, max_connections=most) as backend, ThreadPoolExecutor(8) as threads:
        runs = [make_run("agent", number) for number in range(100)]
        list(threads.map(backend.store_run, runs))
        counts = list(threads.map(lambda run: (backend.load_run("agent", run.id), backend.count_runs())[1], runs))
        assert counts == [100] * 100


async def test_more_tasks_than_connections(url: str, prefix: str) -> None:
    async with await RedisBackend.connect(url, prefix, max_connections=1) as backend:
        runs = [make_run("agent", number) for number in range(100)]
        await asyncio.gather(*map(backend.store_run, runs), backend.count_runs())
        assert await asyncio.gather(*(backend.count_runs() for _ in runs)) == [100] * 100


def test_a_client_that_is_lent_has_all_its_connections(url: str, prefix: str) -> None:
    pool = redis.ConnectionPool.from_url(url, max_connections=1)
    client = redis.Redis.from_pool(pool)
    with SyncRedisBackend.from_client(client, prefix) as backend:
        backend.store_run(make_run("agent"))
        assert client.ping()
        assert backend.count_runs() == 1
        assert client.ping()
    client.close()


def test_a_connection_that_was_not_used_for_a_while_is_looked_at(
    proxy: Proxy, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SyncRedisBackend.connect(proxy.url, prefix, retries=0) as backend:
        backend.store_run(make_run("agent", 1))
        monkeypatch.setattr("relay_models.transport._sync.single_server._CHECK_INTERVAL", 0.0)
        proxy.drop()
        backend.store_run(make_run("agent", 2))
        assert backend.count_runs() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_parent_and_child_have_connections_of_their_own(url: str, prefix: str) -> None:
    with SyncRedisBackend.connect(url, prefix) as backend:
        runs = [make_run("agent", number) for number in range(100)]
        backend.store_runs(runs)
        child = os.fork()
        if child == 0:
            right = False
            try:
                right = all(backend.load_run("agent", run.id) == run for run in reversed(runs))
            finally:
                os._exit(0 if right else 1)
        assert all(backend.load_run("agent", run.id) == run for run in runs)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_stores_of_one_server_do_not_touch_each_other(url: str, prefix: str) -> None:
    with SyncRedisBackend.connect(url, prefix) as one, SyncRedisBackend.connect(url, prefix + "x") as two:
        one.store_run(make_run("agent", 1))
        assert two.list_runs("agent") == []
        two.store_runs([make_run("agent", 2), make_run("agent", 3)])
        assert len(one.list_runs("agent")) == 1
        assert one.delete_agent("agent", what="runs") == 1
        assert len(two.list_runs("agent")) == 2
        two.delete_agent("agent", what="runs")
        for kind in KINDS:
            two.client.execute_command("FT.DROPINDEX", Keys(prefix + "x").index(kind))


async def test_cancelling_leaves_the_backend_in_order(url: str, prefix: str) -> None:
    runs = [make_run("agent", number) for number in range(600)]
    async with await RedisBackend.connect(url, prefix, max_connections=3) as backend:
        await backend.store_runs(runs)
        works: list[Callable[[], Any]] = [
            lambda: backend.list_runs("agent"),
            lambda: backend.load_run("agent", runs[3].id),
            lambda: backend.store_runs(runs),
            lambda: backend.store_run(runs[5]),
            lambda: backend.find_runs(limit=5),
            backend.agents,
        ]
        for turn in range(60):
            task = asyncio.ensure_future(works[turn % len(works)]())
            for _ in range(turn % 13):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert as_value(await backend.load_run("agent", runs[turn].id)) == as_value(runs[turn])
        assert as_value(await backend.list_runs("agent")) == as_value(runs)


def test_another_event_loop_is_told_so(url: str, prefix: str) -> None:
    async def use() -> RedisBackend:
        backend = await RedisBackend.connect(url, prefix)
        await backend.client.connection_pool.disconnect()
        return backend

    backend = asyncio.run(use())

    async def use_again() -> None:
        with pytest.raises(errors.InvalidConfigurationError, match="event loop"):
            await backend.agents()

    asyncio.run(use_again())


@pytest.mark.parametrize("options", [{"protocol": 2}, {"protocol": 3}, {"decode_responses": True}])
def test_clients_of_any_setting_serve(url: str, prefix: str, options: dict[str, Any]) -> None:
    with redis.Redis.from_url(url, **options) as client, SyncRedisBackend.from_client(client, prefix) as backend:
        runs = [make_run("a|gent", number) for number in range(300)]
        assert backend.store_runs(runs).created == 300
        assert backend.store_runs(runs[:5]).replaced == 5
        assert as_value(backend.list_runs("a|gent")) == as_value(runs)
        assert as_value(list(backend.iter_runs("a|gent"))) == as_value(runs)
        assert [(agent.agent_id, agent.runs) for agent in backend.agents()] == [("a|gent", 300)]
        assert as_value(backend.load_run("a|gent", runs[0].id)) == as_value(runs[0])
        assert as_value(backend.find_runs(limit=2).records) == as_value([runs[299], runs[298]])
        assert backend.count_runs() == 300
        assert backend.delete_agent("a|gent", what="runs") == 300


def test_documents_that_exist_are_indexed_when_connect_returns(url: str, prefix: str) -> None:
    with SyncRedisBackend.connect(url, prefix) as backend:
        backend.store_runs(make_run("agent", number) for number in range(5000))
        for kind in KINDS:
            backend.client.execute_command("FT.DROPINDEX", Keys(prefix).index(kind))
    with SyncRedisBackend.connect(url, prefix) as backend:
        assert backend.count_runs() == 5000
        assert len(backend.list_runs("agent")) == 5000


def test_an_index_of_a_later_release_is_left_alone(url: str, prefix: str) -> None:
    with redis.Redis.from_url(url) as client:
        later = f"{prefix}@run:idx:v9"
        client.execute_command("FT.CREATE", later, "ON", "JSON", "PREFIX", 1, prefix, "SCHEMA", "$.a", "AS", "a", "TAG")
        client.execute_command("FT.ALIASADD", f"{prefix}@run", later)
        with pytest.raises(errors.IndexOutdatedError, match="newer release"):
            SyncRedisBackend.connect(url, prefix)
        client.execute_command("FT.DROPINDEX", later)


def test_an_index_of_an_older_release_is_said_where_none_may_be_made(url: str, prefix: str) -> None:
    with redis.Redis.from_url(url) as client:
        SyncRedisBackend.connect(url, prefix).close()
        older = f"{prefix}@run:idx:v0"
        client.execute_command("FT.CREATE", older, "ON", "JSON", "PREFIX", 1, prefix, "SCHEMA", "$.a", "AS", "a", "TAG")
        client.execute_command("FT.ALIASUPDATE", f"{prefix}@run", older)
        with pytest.raises(errors.IndexOutdatedError, match="older release"):
            SyncRedisBackend.connect(url, prefix, create_index=False)
        client.execute_command("FT.DROPINDEX", older)


def test_users_with_few_rights(real_redis_url: str) -> None:
    prefix, user = f"test-{uuid4().hex[:12]}:", f"user-{uuid4().hex[:8]}"
    parts = redis.connection.parse_url(real_redis_url)
    url = f"redis://{user}:hidden-word@{parts.get('host', 'localhost')}:{parts.get('port', 6379)}"
    with redis.Redis.from_url(real_redis_url) as admin:
        rights = ("+ft.info", "+ft.search", "+ft.aggregate", "+json.get", "+ft._list", "+hello", "+client|setinfo")
        admin.execute_command("ACL SETUSER", user, "on", ">hidden-word", f"~{prefix}*", "-@all", *rights)
        try:
            with pytest.raises(errors.IndexMissingError):
                SyncRedisBackend.connect(url, prefix, create_index=False)
            with pytest.raises(errors.PermissionDeniedError) as caught:
                SyncRedisBackend.connect(url, prefix)
            assert "hidden-word" not in str(caught.value)
            with SyncRedisBackend.connect(real_redis_url, prefix) as writer:
                writer.store_run(make_run("agent"))
                with SyncRedisBackend.connect(url, prefix, create_index=False) as reader:
                    assert len(reader.list_runs("agent")) == 1
                    with pytest.raises(errors.PermissionDeniedError, match=r"(?i)json\.set"):
                        reader.store_run(make_run("agent"))
                writer.delete_agent("agent", what="runs")
        finally:
            admin.execute_command("ACL DELUSER", user)
            for kind in KINDS:
                with suppress(redis.ResponseError):
                    admin.execute_command("FT.DROPINDEX", Keys(prefix).index(kind))


def test_nothing_is_dialled_before_it_is_asked_for() -> None:
    assert os.environ.get("REDIS_OM_URL", "") == ""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        with SyncRedisBackend.embedded() as backend:
            backend.store_run(make_run("agent"))
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_server_that_runs_a_script_is_waited_for(start_plain_redis: Callable[..., Any]) -> None:
    server = start_plain_redis("--busy-reply-threshold", "1")
    script = """
    repeat
      local now = redis.call('TIME')
    until now[1] * 1000000 + now[2] > tonumber(ARGV[1])
    """

    def run_script() -> None:
        with redis.Redis(port=server.port) as other:
            seconds, microseconds = other.time()
            other.eval(script, 0, seconds * 1_000_000 + microseconds + 700_000)

    def is_busy() -> bool:
        with redis.Redis(port=server.port) as other:
            try:
                other.get("key")
            except redis.ResponseError:
                return True
        return False

    for retries in (5, 0):
        thread = threading.Thread(target=run_script)
        transport = sync.open_url(f"redis://127.0.0.1:{server.port}", ConnectionOptions(retries=retries))
        transport.execute("PING")
        thread.start()
        try:
            while not is_busy():
                assert thread.is_alive()
            if retries:
                assert transport.execute("SET", "key", "value") == b"OK"
            else:
                with pytest.raises(errors.ConnectionFailedError, match="SCRIPT KILL"):
                    transport.execute("SET", "key", "value")
        finally:
            thread.join()
            transport.close()


def test_what_a_server_gave_up_is_sent_again(start_plain_redis: Callable[..., Any]) -> None:
    server = start_plain_redis()
    url = f"redis://127.0.0.1:{server.port}"
    with (
        closing(sync.open_url(url, ConnectionOptions(timeout=20))) as transport,
        redis.Redis(port=server.port) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        popped = pool.submit(transport.execute, "BLPOP", "queue", 0)

        def waiting() -> list[str]:
            return [each["id"] for each in other.client_list() if each["cmd"] == "blpop"]

        wait_until(waiting)
        assert other.client_unblock(waiting()[0], error=True)
        other.rpush("queue", "value")
        assert popped.result() == [b"queue", b"value"]


def test_a_server_that_has_renamed_info_is_taken_as_a_single_one(start_plain_redis: Callable[..., Any]) -> None:
    server = start_plain_redis("--rename-command", "INFO", "")
    transport = sync.open_url(f"redis://127.0.0.1:{server.port}")
    try:
        assert sync.as_cluster(transport) is transport
    finally:
        transport.close()
