"""Importing a deployment: everything, only what is new, again after an interruption, and around what is broken."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import redis

from relay_models import RedisBackend
from relay_models.documents import Keys
from relay_models.errors import ConnectionFailedError, CorruptDocumentsError, InvalidConfigurationError
from relay_models.native import ImportReport, NativeKeys, NativeSource, export_native, import_native
from relay_models.native._async import importer
from relay_models.native.checkpoints import Checkpoint
from relay_models.records import (
    CallExtensions,
    CallRecord,
    RunExtensions,
    RunRecord,
    Timestamp,
    strip_extensions,
    to_json,
)
from relay_models.sync import RedisBackend as SyncBackend
from tests.native.conftest import fill

KEYS = NativeKeys()
ARTIFACTS = ("trie", "accumulators", "observations", "stability", "plan")


def store_natively(client: redis.Redis, run: RunRecord, keys: NativeKeys = KEYS) -> None:
    """As NeMo Relay does it."""
    with client.pipeline() as pipeline:
        pipeline.set(keys.run(run.agent_id, run.id), to_json(run))
        pipeline.rpush(keys.run_index(run.agent_id), str(run.id))
        pipeline.execute()


def made_runs(count: int, agent_id: str = "a: b::c|{d}*") -> list[RunRecord]:
    return [RunRecord(agent_id=agent_id, ended_at=Timestamp.now(), number=number) for number in range(count)]


async def assert_same(source: redis.Redis, store: RedisBackend, keys: NativeKeys = KEYS) -> None:
    """The store holds what the deployment holds, and in its order."""
    for key in sorted(source.scan_iter(count=1000)):
        parsed = keys.parse(key)
        if parsed is None or parsed.kind == "run":
            continue
        if parsed.kind == "run_index":
            listed = [entry.decode() for entry in dict.fromkeys(source.lrange(key, 0, -1))]
            runs = await store.list_runs(parsed.agent_id)
            assert [str(run.id) for run in runs] == listed
            for run in runs:
                assert json.loads(to_json(run)) == json.loads(source.get(keys.run(parsed.agent_id, run.id)))
        else:
            loaded = await getattr(store, f"load_{parsed.kind}")(parsed.agent_id)
            assert json.loads(to_json(loaded)) == json.loads(source.get(key))


async def test_everything_is_imported_and_nothing_twice(
    deployment: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    before = {key: deployment.dump(key) for key in deployment.scan_iter()}
    seen: list[int] = []
    report = await import_native(source_url, store, on_progress=lambda report: seen.append(report.done))
    assert (report.created, report.replaced, report.missing, report.bad) == (180, 0, 0, [])
    assert report.artifacts == {"plan": 5, "trie": 5, "accumulators": 5, "observations": 35, "stability": 35}
    assert report.agents == 5
    assert report.done == report.entries == 265
    assert seen == sorted(seen)
    await assert_same(deployment, store)

    again = await import_native(source_url, store)
    assert (again.runs, again.artifacts, again.unchanged) == (0, {}, 85)
    full = await import_native(source_url, store, full=True)
    assert (full.created, full.replaced) == (0, 180)
    await assert_same(deployment, store)
    assert {key: deployment.dump(key) for key in deployment.scan_iter()} == before  # nothing was written to the source


async def test_only_what_is_new_or_changed_is_read_again(
    deployment: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    await import_native(source_url, store)
    agent = "support::tier-1"
    runs = await store.list_runs(agent)
    changed = runs[3].model_copy(update={"later_field": {"x": 1}})
    new = RunRecord(agent_id=agent)
    store_natively(deployment, new)
    store_natively(deployment, changed)
    plan = json.loads(deployment.get(KEYS.artifact("plan", agent)))
    plan["parallel_groups"] = []
    deployment.set(KEYS.artifact("plan", agent), json.dumps(plan))
    report = await import_native(source_url, store)
    assert (report.created, report.replaced, report.artifacts, report.unchanged) == (1, 1, {"plan": 1}, 84)
    assert [run.id for run in await store.list_runs(agent)] == [run.id for run in [*runs, new]]
    await assert_same(deployment, store)


@pytest.mark.parametrize("prefix", ["", "x", "a:b::", "runs:", "we*rd [1]? \\ {x}\n", "数据:"])
async def test_any_prefix_is_kept_apart(source: redis.Redis, source_url: str, store: RedisBackend, prefix: str) -> None:
    keys = NativeKeys(prefix)
    for run in made_runs(3):
        store_natively(source, run, keys)
    for other in ("wrong:", f"{prefix}y", "x2:"):
        store_natively(source, RunRecord(agent_id="other"), NativeKeys(other))
    report = await import_native(source_url, store, native_prefix=prefix)
    assert report.bad == []
    assert [agent.agent_id for agent in await store.agents()] == ["a: b::c|{d}*"]
    await assert_same(source, store, keys)


async def test_what_cannot_be_read_is_named_and_stops_nothing(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    runs = made_runs(6, "a")
    for run in runs:
        store_natively(source, run)
    source.set(KEYS.run("a", runs[1].id), "{no json")
    source.set(KEYS.run("a", runs[2].id), to_json(runs[2]).replace(b'"started_at":"', b'"started_at":"x'))
    source.set(KEYS.run("a", runs[3].id), to_json(runs[4]))
    source.delete(KEYS.run("a", runs[5].id))
    source.rpush(KEYS.run_index("a"), "no-uuid")
    source.hset(KEYS.run("a", "no-uuid"), "x", "y")
    source.set(KEYS.artifact("trie", "a"), "[]")
    source.hset(KEYS.artifact("stability", "a"), "x", "y")
    source.set(
        KEYS.artifact("plan", "b"),
        '{"agent_id":"c","parallel_groups":[],"metadata_template":'
        '{"run_id":"01a20a40-32e8-77a0-89d5-d5001f7713b4","agent_id":"c","parallel_hints":[],"extensions":null}}',
    )
    source.set(KEYS.run_index("broken"), "no list")  # fmt: skip
    report = await import_native(source_url, store)
    reasons = {bad.key: bad.reason for bad in report.bad}
    assert report.created == 2
    assert report.missing == 1
    assert set(reasons) == {
        *(KEYS.run("a", run_id).decode() for run_id in (runs[1].id, runs[2].id, runs[3].id, "no-uuid")),
        KEYS.artifact("trie", "a").decode(),
        KEYS.artifact("stability", "a").decode(),
        KEYS.artifact("plan", "b").decode(),
        KEYS.run_index("broken").decode(),
    }
    assert "JSON" in reasons[KEYS.run("a", runs[1].id).decode()]
    assert "started_at" in reasons[KEYS.run("a", runs[2].id).decode()]
    assert str(runs[4].id) in reasons[KEYS.run("a", runs[3].id).decode()]
    assert "hash" in reasons[KEYS.run("a", "no-uuid").decode()]
    assert "hash" in reasons[KEYS.artifact("stability", "a").decode()]
    assert "'c'" in reasons[KEYS.artifact("plan", "b").decode()]

    # They are tried again, until they can be read.
    source.set(KEYS.run("a", runs[1].id), to_json(runs[1]))
    again = await import_native(source_url, store)
    assert again.created == 1
    assert {bad.key for bad in again.bad} == set(reasons) - {KEYS.run("a", runs[1].id).decode()}
    assert {run.id for run in await store.list_runs("a")} == {runs[0].id, runs[1].id, runs[4].id}


async def test_an_interrupted_import_goes_on_where_it_was(
    source: redis.Redis, source_url: str, store: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_models.native._async.importer.IDS_PER_PAGE", 50)
    runs = made_runs(400)
    for run in runs:
        store_natively(source, run)

    class Interrupted(Exception):
        pass

    def interrupt(report: ImportReport) -> None:
        if report.done >= 210:
            raise Interrupted

    with pytest.raises(Interrupted):
        await import_native(source_url, store, on_progress=interrupt)
    report = await import_native(source_url, store)
    assert report.entries <= 250
    assert report.created + report.replaced <= 250
    await assert_same(source, store)
    assert len(await store.list_runs(runs[0].agent_id)) == 400


async def test_a_list_that_was_trimmed_or_made_anew_is_noticed(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    runs = made_runs(30, "a")
    for run in runs[:20]:
        store_natively(source, run)
    await import_native(source_url, store)
    source.ltrim(KEYS.run_index("a"), 5, -1)  # somebody keeps the lists short
    for run in runs[20:25]:
        store_natively(source, run)
    trimmed = await import_native(source_url, store)
    assert (trimmed.created, trimmed.replaced) == (5, 0)
    source.flushdb()  # another server under the same address, with a list that is as long or longer
    others = made_runs(40, "a")
    for run in others:
        store_natively(source, run)
    anew = await import_native(source_url, store)
    assert (anew.created, anew.replaced) == (40, 0)
    assert len(await store.list_runs("a")) == 65


def test_a_checkpoint_survives_what_is_no_checkpoint() -> None:
    checkpoint = Checkpoint()
    checkpoint.advance(["a", "b"])
    checkpoint.mark_bad(["b"])
    assert Checkpoint.from_json(checkpoint.to_json()) == checkpoint
    for text in (None, b"", b"x", b"[]", b"5", b'{"position": "x"}'):
        assert Checkpoint.from_json(text) == Checkpoint()
    assert checkpoint.find_in(["x", "a", "b", "c"]) == 3
    assert checkpoint.find_in(["a", "b", "a", "b"]) == 0  # not clear which: everything is read again
    assert checkpoint.find_in(["b", "c"]) == 1
    assert checkpoint.find_in(["x", "b", "c"]) == 0
    assert checkpoint.find_in([]) == Checkpoint().find_in(["a"]) == 0


async def test_a_source_that_is_written_to_meanwhile_misses_nothing(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    runs = made_runs(1500)
    for run in runs[:500]:
        store_natively(source, run)
    writing = threading.Thread(target=lambda: [store_natively(source, run) for run in runs[500:]])
    writing.start()
    created = (await import_native(source_url, store)).created
    writing.join()
    created += (await import_native(source_url, store)).created
    assert created == 1500
    await assert_same(source, store)


async def test_the_reader_gives_each_run_once_in_its_first_place(source: redis.Redis, source_url: str) -> None:
    runs = made_runs(5, "a")
    for run in [*runs, runs[1]]:
        store_natively(source, run)
    newest = runs[1].model_copy(update={"ended_at": Timestamp("2030-01-01T00:00:00Z")})
    source.set(KEYS.run("a", runs[1].id), to_json(newest))
    source.delete(KEYS.run("a", runs[2].id))
    async with NativeSource(source_url) as reader:
        assert await reader.agents() == ["a"]
        assert await reader.list_runs("a") == [runs[0], newest, runs[3], runs[4]]
        assert await reader.list_runs("nobody") == []
        assert await reader.load("plan", "a") is None
        assert "127.0.0.1" in repr(reader)
    async with redis.asyncio.Redis.from_url(source_url) as client:
        reader = NativeSource(client)
        assert await reader.agents() == ["a"]
        await reader.close()
        assert await client.ping()  # a client that was given stays open


async def test_export_writes_back_the_same_values_and_is_idempotent(
    deployment: redis.Redis, source_url: str, store: RedisBackend, plain_redis: Any
) -> None:
    await import_native(source_url, store)
    with plain_redis.client(db=4) as target:
        target.flushdb()
        for _ in range(2):
            report = await export_native(store, f"{plain_redis.url}/4", native_prefix="warm: ")
            assert report.runs == 180
        assert report.new_runs == 0
        moved = {b"warm: " + key.removeprefix(b"nemo_relay:"): key for key in deployment.scan_iter()}
        assert set(target.keys()) == set(moved)
        for there, here in moved.items():
            if deployment.type(here) == b"list":
                assert target.lrange(there, 0, -1) == deployment.lrange(here, 0, -1)
            else:
                assert json.loads(target.get(there)) == json.loads(deployment.get(here))
        target.flushdb()
        report = await export_native(store, f"{plain_redis.url}/4", agents=["support::tier-1"], runs=False)
        assert report.runs == 0
        assert report.artifacts["plan"] == 1
        agents = {NativeKeys().parse(key).agent_id for key in target.scan_iter()}  # type: ignore[union-attr]
        assert all(agent == "support::tier-1" or agent.startswith("support::tier-1::model=") for agent in agents)
        assert len(agents) > 1


def test_the_synchronous_twin_does_the_same(
    deployment: redis.Redis, source_url: str, plain_redis: Any, capture: list[dict[str, Any]]
) -> None:
    from relay_models.native import sync

    with SyncBackend.embedded() as store:
        assert sync.import_native(source_url, store).created == 180
        with sync.NativeSource(source_url) as reader:
            for agent_id in reader.agents():
                assert reader.list_runs(agent_id) == store.list_runs(agent_id)
        follower = sync.Follower(source_url, store)
        fill(deployment, [line for line in capture if "trie" in line["key"]])
        follower.look()
        follower.close()
        with plain_redis.client(db=4) as target:
            target.flushdb()
            assert sync.export_native(store, f"{plain_redis.url}/4").runs == 180
            assert len(target.keys()) == len(deployment.keys())


async def test_errors_say_what_is_wrong_without_the_password(store: RedisBackend) -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        await import_native("redis://me:s3cret@127.0.0.1:1/2", store, retries=0)
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1/2" in str(caught.value)
    with pytest.raises(InvalidConfigurationError):
        await import_native("http://127.0.0.1", store)
    with pytest.raises(InvalidConfigurationError, match="no_such"):
        await import_native("redis://127.0.0.1", store, no_such_option=1)
    with pytest.raises(InvalidConfigurationError, match="not int"):
        await import_native(5, store)  # type: ignore[arg-type]


async def test_an_export_leaves_out_only_what_cannot_be_written(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    runs = {agent_id: made_runs(3, agent_id) for agent_id in ("a", "b")}
    for agent_id, records in runs.items():
        for record in records:
            source.set(KEYS.run(agent_id, record.id), to_json(record))
            source.rpush(KEYS.run_index(agent_id), str(record.id))
        source.set(KEYS.artifact("accumulators", agent_id), b'{"nodes":{}}')
    assert (await import_native(source_url, store)).created == 6
    keys = Keys(store.key_prefix)
    too_great = to_json(runs["a"][0]).replace(b'"number":0', b'"number":1e999').decode()
    await store.client.execute_command("JSON.SET", keys.run("a", runs["a"][0].id), "$.record", json.dumps(too_great))
    broken = [keys.run("a", runs["a"][1].id), keys.document("accumulators", "a")]
    for key in broken:
        await store.client.execute_command("JSON.SET", key, "$.record", json.dumps("{broken"))
    with pytest.raises(CorruptDocumentsError) as caught:
        await export_native(store, source_url, native_prefix="out:")
    named = {error.key for error in caught.value.errors}
    assert named == {key.decode() for key in (*broken, keys.run("a", runs["a"][0].id))}
    out = NativeKeys("out:")
    for agent_id, kept in (("a", runs["a"][2:]), ("b", runs["b"])):
        listed = [entry.decode() for entry in source.lrange(out.run_index(agent_id), 0, -1)]
        assert listed == [str(run.id) for run in kept]
    assert source.get(out.artifact("accumulators", "b")) == b'{"nodes":{}}'


async def test_a_run_stored_again_after_it_was_read_is_read_again(
    source: redis.Redis, source_url: str, store: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "IDS_PER_PAGE", 4)
    runs = made_runs(6)
    for run in runs:
        store_natively(source, run)
    changed = runs[0].model_copy(update={"again": True})

    def change(report: ImportReport) -> None:
        if report.done == 4:  # the first page has been read
            store_natively(source, changed)

    report = await import_native(source_url, store, on_progress=change)
    assert (report.created, report.replaced) == (6, 1)
    await assert_same(source, store)


async def test_cache_entries_are_skipped_and_counted(source: redis.Redis, source_url: str, store: RedisBackend) -> None:
    for number in range(3):
        source.set(f"nemo_relay:sha256:{number:064x}", "{}", ex=60)
    source.set("nemo_relay:sha256:short", "{}")
    (run,) = made_runs(1)
    store_natively(source, run)
    report = await import_native(source_url, store)
    assert (report.runs, report.cache_entries, report.bad) == (1, 3, [])


async def test_what_is_imported_can_be_redacted(source: redis.Redis, source_url: str, store: RedisBackend) -> None:
    def redact(run: RunRecord) -> RunRecord | None:
        number = run.model_extra["number"]  # type: ignore[index]
        if number == 1:
            raise ValueError("no")
        return None if number == 2 else run.model_copy(update={"number": "hidden"})

    for run in made_runs(3):
        store_natively(source, run)
    report = await import_native(source_url, store, redact=redact)
    assert (report.runs, report.withheld, len(report.bad)) == (1, 1, 1)
    assert "redaction failed" in report.bad[0].reason
    (stored,) = await store.list_runs("a: b::c|{d}*")
    assert stored.model_extra == {"number": "hidden"}


@pytest.mark.parametrize("strip", [True, False])
async def test_extensions_are_left_out_of_an_export(
    source: redis.Redis, source_url: str, store: RedisBackend, strip: bool
) -> None:
    run = RunRecord(agent_id="a", calls=[CallRecord(kind="tool", name="t", ext=CallExtensions(status="failed"))])
    run.ext = RunExtensions(status="failed")
    await store.store_run(run)
    await export_native(store, source_url, strip=strip)
    text = source.get(KEYS.run("a", run.id))
    assert (b"relay_models" in text) is not strip
    if strip:
        await store.delete_run("a", run.id)
        await import_native(source_url, store)
        assert await store.load_run("a", run.id) == strip_extensions(run)


async def test_what_is_not_understood_is_imported_and_named(
    source: redis.Redis, source_url: str, store: RedisBackend
) -> None:
    (run,) = made_runs(1, "a")
    store_natively(source, run)
    key = KEYS.run("a", run.id)
    call = {"kind": "llm", "name": "openai", "started_at": "2026-11-23T21:11:49Z"}
    value = json.loads(source.get(key)) | {
        "calls": [{**call, "annotated_response": "later"}, {**call, "cost": float("nan")}]
    }
    source.set(key, json.dumps(value))
    report = await import_native(source_url, store)
    assert (report.runs, report.bad, report.noted) == (1, [], 2)
    assert [note.reason.split()[0] for note in report.notes] == ["calls.1.cost", "calls.0.annotated_response"]
    (stored,) = await store.list_runs("a")
    value["calls"][1]["cost"] = "NaN"
    assert json.loads(to_json(stored)) == value
    await export_native(store, source_url, native_prefix="copy:")
    copied = json.loads(source.get(NativeKeys("copy:").run("a", run.id)))
    assert copied == value
