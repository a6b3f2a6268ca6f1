"""Migrations: a store of an older layout gets this one's columns while old and new programs use it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_models.backend._async.backend import RedisBackend
from relay_models.backend.migration import MigrationProgress
from relay_models.columns.column import Column
from relay_models.documents import Document, Keys, Run, column, encode_artifact, encode_run
from relay_models.documents.layout import wanted_fields
from relay_models.errors import IndexMissingError, IndexOutdatedError, InvalidConfigurationError, NotFoundError
from relay_models.records import ExecutionPlan, MetadataEnvelope
from tests.backend.conformance._async.conftest import Place
from tests.backend.stores import make_run

# Columns that the older layout of these tests lacks.
LATER = ("calls", "prompt_tokens", "tags", "notes", "scores", "made_at")


def old_document(run: Any, now: int) -> bytes:
    """The document of a run as a program with fewer columns stores it."""
    document = json.loads(encode_run(run, now))
    for name in [*LATER, "made_v2"]:
        document.pop(name, None)
    return json.dumps(document).encode()


def old_name(place: Place, kind: str = "run") -> str:
    return f"{Keys(place.token).alias(kind)}:idx:v1"


async def old_store(place: Place, count: int, *, name: str | None = None) -> list[Any]:
    """A store as an older release left it: its indexes and `count` runs."""
    name = name or old_name(place)
    keys = Keys(place.token)
    fields = [f.declaration() for f in wanted_fields(Run, text=False).values() if f.name not in LATER]
    words = [word for field in fields for word in field]
    await place.raw.execute_command(
        "FT.CREATE", name, "ON", "JSON", "PREFIX", 1, keys.root("run"), "STOPWORDS", 0, "SCHEMA", *words
    )
    await place.raw.execute_command("FT.ALIASADD", keys.alias("run"), name)
    runs = [make_run("agent", number) for number in range(count)]
    for number, run in enumerate(runs):
        await old_write(place, run, 1_700_000_000_000_000 + number)
    return runs


async def old_write(place: Place, run: Any, now: int) -> None:
    """Store a run as an older release does: a first document, or a patch of its own columns."""
    key = Keys(place.token).run(run.agent_id, run.id)
    document = old_document(run, now)
    if await place.raw.execute_command("JSON.SET", key, "$", document, "NX") is None:
        await place.raw.execute_command("JSON.MERGE", key, "$", document)


async def names(place: Place) -> list[str]:
    return [name.decode() for name in await place.raw.execute_command("FT._LIST") if place.token.encode() in name]


async def plan_of(backend: RedisBackend, kind: str = "run") -> Any:
    (plan,) = [plan for plan in await backend.migrations.plan() if plan.kind == kind]
    return plan


async def test_a_migration_is_planned_made_and_finished(place: Place) -> None:
    await old_store(place, 30)
    backend = await place.open(migrate=False)
    plan = await plan_of(backend)
    assert (plan.state, plan.index, plan.documents, plan.stale) == ("needed", old_name(place), 30, 30)
    assert set(plan.added) == {*LATER} - {"made_at"}
    assert (plan.removed, plan.retyped) == ((), ())
    assert plan.bytes > 0
    assert plan.seconds > 0
    with pytest.raises(IndexOutdatedError, match=r"migrations\.apply"):
        await backend.count_runs()
    seen: list[MigrationProgress] = []
    results = {result.kind: result for result in await backend.migrations.apply(seen.append)}
    assert (results["run"].switched, results["run"].rewritten, results["run"].unreadable) == (True, 30, ())
    assert seen[-1] == MigrationProgress("run", "documents", 30, 30)
    assert await backend.count_runs("calls = 1 and prompt_tokens < 10") == 10
    assert (await plan_of(backend)).state == "unfinished"
    assert old_name(place) in await names(place)
    await backend.migrations.finish()
    assert (await plan_of(backend)).state == "current"
    assert old_name(place) not in await names(place)
    assert await backend.migrations.finish() == []
    with pytest.raises(NotFoundError, match="nothing to undo"):
        await backend.migrations.rollback()
    assert len(await backend.list_runs("agent")) == 30


async def test_an_index_that_keeps_other_values_is_replaced_and_no_document_is_written(place: Place) -> None:
    keys = Keys(place.token)
    name = f"{keys.alias('run')}:idx:v2"
    words: list[str] = []
    for field in wanted_fields(Run, text=False).values():
        words += field.declaration()
        if "NUMERIC" in field.words and "SORTABLE" not in field.words:
            words.append("SORTABLE")
    await place.raw.execute_command(
        "FT.CREATE", name, "ON", "JSON", "PREFIX", 1, keys.root("run"), "STOPWORDS", 0, "SCHEMA", *words
    )
    await place.raw.execute_command("FT.ALIASADD", keys.alias("run"), name)
    for number in range(5):
        run = make_run("agent", number)
        key, document = keys.run("agent", run.id), encode_run(run, 1_700_000_000_000_000 + number)
        await place.raw.execute_command("JSON.SET", key, "$", document)
    backend = await place.open(migrate=False)
    plan = await plan_of(backend)
    assert (plan.state, plan.index, plan.added, plan.documents) == ("needed", name, (), 5)
    (result,) = [result for result in await backend.migrations.apply() if result.kind == "run"]
    assert (result.switched, result.rewritten) == (True, 0)
    by_prompt = [run.prompt_tokens for run in await backend.find_runs(order_by="-prompt_tokens", columns=True)]
    assert by_prompt == sorted(by_prompt, reverse=True)
    assert len(by_prompt) == 5
    # Programs of the layout before go on with the new index, and may have the old one back.
    assert await backend.migrations.rollback() == ["run"]
    assert (await plan_of(backend)).index == name


async def test_what_old_writers_store_is_found_and_completed(place: Place) -> None:
    runs = await old_store(place, 10)
    backend = await place.open(migrate=False)
    await backend.migrations.apply()
    await backend.runs.label(runs[0].id, tags=["golden"])
    # A new run, and one whose columns were computed already: the old writer replaces what it knows of it.
    await old_write(place, make_run("agent", 99), 1_800_000_000_000_000)
    await old_write(place, make_run("agent", 77, run_id=runs[0].id), 1_800_000_000_000_001)
    assert (await plan_of(backend)).stale == 2
    assert await backend.count_runs() == 11
    (run,) = [result for result in await backend.migrations.apply() if result.kind == "run"]
    assert (run.switched, run.rewritten) == (False, 2)
    assert await backend.count_runs("prompt_tokens >= 77") == 2
    assert await backend.count_runs("prompt_tokens = 77 and tags has golden") == 1
    assert (await plan_of(backend)).stale == 0


async def test_a_rollback_goes_back_and_may_be_repeated(place: Place) -> None:
    await old_store(place, 5)
    backend = await place.open(migrate=False)
    await backend.migrations.apply()
    await backend.store_run(make_run("agent", 6))
    assert await backend.migrations.rollback() == ["run"]
    assert (await plan_of(backend)).index == old_name(place)
    alias = Keys(place.token).alias("run")
    reply = await place.raw.execute_command("FT.SEARCH", alias, "*", "LIMIT", 0, 0)
    assert (reply[0] if isinstance(reply, list) else reply[b"total_results"]) == 6
    await backend.migrations.apply()
    await backend.migrations.finish()
    assert await backend.count_runs("calls = 1") == 6


async def test_an_interrupted_migration_goes_on(place: Place) -> None:
    await old_store(place, 1200)

    class Killed(BaseException):
        pass

    def stop(progress: MigrationProgress) -> None:
        if progress.step == "documents":
            raise Killed

    first = await place.open(migrate=False)
    with pytest.raises(Killed):
        await first.migrations.apply(stop)
    alias = await place.raw.execute_command("FT.INFO", Keys(place.token).alias("run"))
    assert old_name(place).encode() in (alias.values() if isinstance(alias, dict) else alias), "still the old index"
    second = await place.open(migrate=False)
    (run,) = [result for result in await second.migrations.apply() if result.kind == "run"]
    assert 0 < run.rewritten < 1200
    assert await second.count_runs("calls = 1") == 1200


async def test_opening_makes_the_migration_unless_it_may_not(place: Place) -> None:
    await old_store(place, 5)
    with pytest.raises((IndexOutdatedError, IndexMissingError)):
        await place.open(create_index=False)
    backend = await place.open()
    assert await backend.count_runs("calls = 1") == 5
    assert old_name(place) not in await names(place)


async def test_fewer_columns_take_none_away(place: Place) -> None:
    backend = await place.open()
    await backend.store_runs([make_run("agent", number) for number in range(5)])
    # Another program's columns are added: this one does not know `tenant`.
    richer = f"{Keys(place.token).index('run')}.0a0a0a0a0a0a"
    fields = [*wanted_fields(Run, text=False).values()]
    words = [word for field in fields for word in field.declaration()]
    await place.raw.execute_command(
        "FT.CREATE", richer, "ON", "JSON", "PREFIX", 1, Keys(place.token).root("run"), "STOPWORDS", 0, "SCHEMA",
        *words, "$.tenant", "AS", "tenant", "TAG", "CASESENSITIVE",
    )  # fmt: skip
    await place.raw.execute_command("FT.ALIASUPDATE", Keys(place.token).alias("run"), richer)
    reader = await place.open()
    assert await reader.count_runs("calls = 1") == 5
    assert (await plan_of(reader)).kept == ("tenant",)
    for store in (lambda: reader.store_run(make_run("agent")), lambda: reader.store_runs([make_run("agent")])):
        with pytest.raises(IndexOutdatedError, match=r"tenant.*allow_missing"):
            await store()
    await reader.store_plan(
        ExecutionPlan(agent_id="a", parallel_groups=[], metadata_template=MetadataEnvelope(agent_id="a"))
    )
    allowed = await place.open(allow_missing=True)
    await allowed.store_run(make_run("agent", 9))
    assert await reader.count_runs() == 6
    assert richer in await names(place)


async def test_documents_that_cannot_be_read_are_named_and_kept(place: Place) -> None:
    await old_store(place, 3)
    key = Keys(place.token).run("agent", "00000000-0000-0000-0000-000000000000")
    await place.raw.execute_command("JSON.SET", key, "$", json.dumps({"agent_id": "agent", "record": "{"}))
    backend = await place.open(migrate=False)
    (run,) = [result for result in await backend.migrations.apply() if result.kind == "run"]
    assert (run.rewritten, run.unreadable) == (3, (key.decode(),))
    assert await place.raw.execute_command("JSON.GET", key, "$.record") == b'["{"]'


async def test_artifacts_are_stamped(place: Place) -> None:
    backend = await place.open()
    plan = ExecutionPlan(agent_id="a", parallel_groups=[], metadata_template=MetadataEnvelope(agent_id="a"))
    await backend.store_plan(plan)
    assert (await plan_of(backend, "plan")).stale == 0
    old = json.loads(encode_artifact("plan", "a", plan, 5))
    del old["made_v2"], old["groups"]
    await place.raw.execute_command("JSON.SET", Keys(place.token).document("plan", "a"), "$", json.dumps(old))
    assert (await plan_of(backend, "plan")).stale == 1
    await backend.migrations.apply()
    assert await backend.plans.count("groups = 0") == 1


class WithTenant(Run):
    """A program's own columns."""

    tenant: Column[str | None] = column(lambda run: f"t-{len(run.calls)}")


class WithTeam(Run):
    """Another program's."""

    team: Column[str | None] = column(lambda run: "red")


async def test_own_columns_are_added_beside_those_of_another_program(place: Place) -> None:
    plain = await place.open()
    await plain.store_runs([make_run("agent", number) for number in range(10)])
    tenants = await place.open(models=[WithTenant])
    assert await tenants.count_runs(WithTenant.tenant == "t-1") == 10
    # The program without it goes on; what it stores is completed later.
    allowed = await place.open(allow_missing=True)
    await allowed.store_run(make_run("agent", 11))
    assert await tenants.count_runs(WithTenant.tenant == "t-1") == 10
    await tenants.migrations.apply()
    assert await tenants.count_runs(WithTenant.tenant == "t-1") == 11
    # Merely opening mixes no two programs' columns; a migration does, and keeps both.
    with pytest.raises(IndexOutdatedError, match="tenant"):
        await place.open(models=[WithTeam])
    teams = await place.open(models=[WithTeam], migrate=False, allow_missing=True)
    plan = await plan_of(teams)
    assert (plan.state, plan.added, plan.kept) == ("needed", ("team",), ("tenant",))
    await teams.migrations.apply()
    await teams.migrations.finish()
    assert await teams.count_runs(WithTeam.team == "red") == 11
    again = await place.open(models=[WithTenant])
    assert await again.count_runs(WithTenant.tenant == "t-1") == 11


async def test_a_column_that_no_class_has_any_more_is_removed_when_it_is_named(place: Place) -> None:
    tenants = await place.open(models=[WithTenant])
    await tenants.store_runs([make_run("agent", number) for number in range(5)])
    backend = await place.open(migrate=False)
    with pytest.raises(IndexOutdatedError, match="tenant"):
        await backend.store_run(make_run("agent", 9))
    with pytest.raises(InvalidConfigurationError, match="Run declares the column 'duration'"):
        await backend.migrations.apply(remove=["duration"])
    with pytest.raises(NotFoundError, match=r"no column 'tenat'.*tenant"):
        await backend.migrations.plan(remove=["tenat"])
    wrong: Any = "tenant"
    with pytest.raises(InvalidConfigurationError, match="list of names"):
        await backend.migrations.plan(remove=wrong)
    (plan,) = [plan for plan in await backend.migrations.plan(remove=["tenant"]) if plan.kind == "run"]
    assert (plan.state, plan.removed, plan.kept, plan.added) == ("needed", ("tenant",), (), ())
    assert [result.kind for result in await backend.migrations.apply(remove=["tenant"]) if result.switched] == ["run"]
    await backend.store_run(make_run("agent", 9))
    assert await backend.count_runs("calls = 1") == 6
    with pytest.raises(NotFoundError, match="there are none"):
        await backend.migrations.apply(remove=["tenant"])
    # A rollback brings it back; what was stored without it meanwhile is computed by a program that has it.
    assert await backend.migrations.rollback() == ["run"]
    await tenants.migrations.apply()
    assert await tenants.count_runs(WithTenant.tenant == "t-1") == 6
    await backend.migrations.apply(remove=["tenant"])
    await backend.migrations.finish()
    assert (await plan_of(backend)).kept == ()
    assert len(await backend.list_runs("agent")) == 6


async def test_an_index_stops_keeping_the_values_of_a_column_when_it_is_migrated(place: Place) -> None:
    def a_ticket(sortable: bool) -> Any:
        class Ticket(Document):
            votes: Column[int] = column(sortable=sortable)

        return Ticket

    before, after = a_ticket(True), a_ticket(False)
    tickets = (await place.open(models=[before])).collection(before)
    await tickets.save_many(before(votes=number) for number in (2, 3, 1))
    with pytest.raises(IndexOutdatedError, match="votes as another type, or with another sortable"):
        await (await place.open(models=[after])).collection(after).count()
    backend = await place.open(models=[after], migrate=False)
    assert (await plan_of(backend, after.kind)).retyped == ("votes",)
    await backend.migrations.apply()
    await backend.migrations.finish()
    found = (await place.open(models=[after])).collection(after)
    assert [ticket.votes for ticket in await found.find(order_by="-votes")] == [3, 2, 1]
    assert [ticket.votes async for ticket in found.stream(order_by="votes")] == [1, 2, 3]
    (row,) = await found.aggregate(metrics=["sum(votes)", "p50(votes)"])
    assert list(row.values()) == [6, 2]
