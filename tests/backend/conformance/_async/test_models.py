"""A user's own columns and own models, wherever they are stored."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from relay_models import Column, Document, Run, RunRecord, column
from relay_models.backend._async.backend import RedisBackend
from relay_models.backend._async.model_collection import ModelCollection
from relay_models.errors import (
    ConflictError,
    CorruptDocumentsError,
    IndexOutdatedError,
    InvalidConfigurationError,
    InvalidRecordError,
    NotFoundError,
    QueryError,
    RefusedRecordsError,
    UnsupportedMethodError,
)
from relay_models.export import to_dicts, to_pandas
from tests.backend.own_models import AcmeRun, Feedback, Mood, Part, Slot
from tests.backend.stores import HOSTILE, make_run

from .conftest import Place


@pytest.fixture
async def acme(place: Place) -> RedisBackend:
    return await place.open(models=[AcmeRun])


@pytest.fixture
async def feedback(backend: RedisBackend) -> ModelCollection[Feedback]:
    return backend.collection(Feedback)


def say(rating: int = 3, comment: str = "fine", **more: Any) -> Feedback:
    return Feedback(**{"run_id": uuid4(), "rating": rating, "comment": comment, **more})


def tenant_run(tenant: Any, number: int = 1, **more: Any) -> RunRecord:
    return make_run("agent", number, relay_models={"metadata": {"tenant": tenant}}, **more)


@pytest.mark.parametrize("sign", ["", "-"])
async def test_pages_by_a_column_of_ids_have_every_row_once(backend: RedisBackend, sign: str) -> None:
    notes, parents = backend.collection(Feedback), [str(UUID(int=number << 64)) for number in range(4)]
    await notes.save_many(say(run_id=UUID(parents[number % 4]), rating=number % 5 + 1) for number in range(18))
    more = [{"parent_run_id": parents[number % 4]} if number % 5 else {} for number in range(18)]
    await backend.store_runs(make_run("a", number, relay_models=each) for number, each in enumerate(more))
    asked: list[tuple[Any, str, str]] = [(notes, "run_id", "pk"), (backend.runs, "parent_run_id", "run_id")]
    for collection, name, id in asked:
        found: list[Any] = []
        after = None
        for _ in range(6):
            page = await collection.find(order_by=sign + name, limit=3, after=after)
            found += page
            after = page.next
        assert after is None
        assert len({getattr(item, id) for item in found}) == 18
        values = [str(getattr(item, name)) for item in found if getattr(item, name) is not None]
        assert values == sorted(values, reverse=bool(sign))
        assert all(getattr(item, name) is None for item in found[len(values) :])
    await notes.delete("all")


class Seat(Document, key="name"):
    name: Column[str] = column()
    level: Column[int] = column()
    price: Column[int | None] = column(sortable=False)


@pytest.mark.parametrize("order", ["level", "-level", "price", "-price", "name", "-name"])
async def test_pages_have_every_row_once_where_ids_look_like_numbers(backend: RedisBackend, order: str) -> None:
    seats = backend.collection(Seat)
    names = [
        "1",
        "-1",
        "10",
        "9",
        "01",
        "1.0",
        "1e0",
        "+1",
        "0",
        "-0",
        "inf",
        "nan",
        "0x1",
        ".5",
        "ß",
        "SS",
        "é",
        "a",
        "",
    ]
    await seats.save_many(
        Seat(name=name, level=number % 2, price=number % 2 if number % 5 else None) for number, name in enumerate(names)
    )
    found: list[str] = []
    after = None
    for _ in range(7):
        page = await seats.find(order_by=order, limit=3, after=after)
        found += [seat.name for seat in page]
        after = page.next
    assert after is None
    assert sorted(found) == sorted(names)
    assert found == [seat.name for seat in await seats.find(order_by=order, limit=None)]
    assert await seats.count(Seat.name.like("*")) == len(names)
    await seats.delete("all")


class Weighed(Document):
    grams: Column[float] = column(sortable=False)
    price: Column[Decimal | None] = column(sortable=False)


async def test_numbers_that_an_index_does_not_keep_are_sorted(backend: RedisBackend) -> None:
    weighed = backend.collection(Weighed)
    numbers = [0.1 + number % 7 / 1e13 for number in range(15)]
    await weighed.save_many(
        Weighed(grams=each, price=Decimal(n) / 4 if n % 3 else None) for n, each in enumerate(numbers)
    )
    for sign in ("", "-"):
        found = await weighed.find(order_by=f"{sign}grams", limit=None)
        assert [item.grams for item in found] == sorted(numbers, reverse=bool(sign))
        known = [item.price for item in await weighed.find(order_by=f"{sign}price", limit=None)][:10]
        assert known == sorted((Decimal(n) / 4 for n in range(15) if n % 3), reverse=bool(sign))
    await weighed.delete("all")


async def test_own_columns_answer_as_built_in_ones_do(acme: RedisBackend) -> None:
    runs = [tenant_run(name, number) for number, name in enumerate(HOSTILE)]
    await acme.store_runs(runs)
    await acme.store_run(runs[3])
    for name, run in zip(HOSTILE, runs, strict=True):
        page = await acme.runs.find(AcmeRun.tenant == name)
        assert [(row.run_id, row.tenant, row.record) for row in page] == [(str(run.id), name, run)]
        assert type(page[0]) is AcmeRun
    slow = [run for run in runs if run.calls[0].name == "openai" and len(run.calls) == 1]
    assert await acme.runs.count("regions has agent and regions has r1 and score = -1") == len(slow)
    assert await acme.runs.count("slowest_call is present or region != eu") == 0
    rows = await acme.aggregate_runs(["tenant"], metrics=["count", "min(score)"])
    assert {row["tenant"]: row["count"] for row in rows} == dict.fromkeys(HOSTILE, 1)
    assert {row["min(score)"] for row in rows} == {-1}
    assert (await acme.aggregate_runs("regions", metrics="count"))[0]["regions"] == "agent"
    found = await acme.runs.find(order_by="-tenant", limit=3)
    assert [row.tenant for row in found] == ["🦜", "数据-агент", "␀0"]
    assert [row["tenant"] for row in to_dicts(found)] == [row.tenant for row in found]
    assert list(to_pandas(found)["score"]) == [-1, -1, -1]


async def test_a_replaced_run_loses_own_values_that_it_has_no_more(acme: RedisBackend) -> None:
    run = tenant_run("acme")
    await acme.store_run(run)
    await acme.store_run(run.model_copy(update={"relay_models": None}))
    assert await acme.runs.count(AcmeRun.tenant.missing()) == 1
    assert (await acme.runs.find())[0].tenant is None


async def test_a_column_that_cannot_be_computed_stores_nothing(acme: RedisBackend) -> None:
    run = make_run("nowhere")
    with pytest.raises(InvalidRecordError, match=rf"AcmeRun\.region .*run {run.id} of agent 'nowhere'.*no region"):
        await acme.store_run(run)
    report = await acme.store_runs([make_run("a"), run, make_run("b")], on_refused="skip")
    assert (report.created, [refused.position for refused in report.refused]) == (2, [1])
    with pytest.raises(InvalidRecordError, match=r"AcmeRun\.tenant .*5: Input should be a valid string"):
        await acme.store_run(tenant_run(5))
    assert await acme.load_run("nowhere", run.id) is None


async def test_a_store_gets_columns_and_keeps_those_that_others_need(place: Place) -> None:
    plain = await place.open("same:")
    await plain.store_runs([tenant_run("acme"), tenant_run("other", 2)])
    acme = await place.open("same:", models=[AcmeRun])
    assert await acme.runs.count(AcmeRun.tenant == "acme") == 1
    again = await place.open("same:")
    assert await again.count_runs() == 2
    assert await acme.runs.count(AcmeRun.tenant == "other") == 1

    class OtherRun(Run):
        tenant: Column[int | None] = column(lambda run: 1)

    class MoreRun(Run):
        more: Column[int | None] = column(lambda run: 1)

    with pytest.raises(IndexOutdatedError, match="tenant as another type"):
        await place.open("same:", models=[OtherRun])
    with pytest.raises(IndexOutdatedError, match="lacks more"):
        await place.open("same:", models=[MoreRun])


async def test_models_that_cannot_be_opened(place: Place) -> None:
    class Other(Run):
        pass

    for models in ([RunRecord], [AcmeRun, Other], AcmeRun, ["acme"]):
        with pytest.raises(InvalidConfigurationError, match="model"):
            await place.open(models=models)
    backend = await place.open()
    with pytest.raises(InvalidConfigurationError, match=r"models=\[AcmeRun\]"):
        backend.collection(AcmeRun)


async def test_what_is_read_is_what_was_saved(feedback: ModelCollection[Feedback]) -> None:
    item = say(
        2, "Disk full", mood=Mood.BAD, author="nul\0␀", price=Decimal("1.10"), day=date(2026, 1, 2), labels={"b", "a"},
        parts=[Part(name="x", at=datetime.fromisoformat("2026-01-01T01:02:03.456789"), more={"big": 2**80})],
        raw={"": [1, 2.5, None, True, {"deep": "\u2028"}], "not": math.inf}, blob=bytes(range(256)),
        exact=Decimal("1.2345678901234567890123"), naive=datetime.fromisoformat("2026-01-01"),
    )  # fmt: skip
    assert UUID(item.pk).version == 7
    assert item.stored_at is None
    assert await feedback.save(item)
    found = await feedback.get(item.pk)
    assert found == item
    assert found is not None
    assert (found.stored_at, found.length, type(found.price)) == (item.stored_at, 9, Decimal)
    assert (await feedback.find(Feedback.author == "nul\0␀"))[0] == item
    assert (await feedback.find('comment matches "disk full" and labels has a'))[0] == item
    assert [one async for one in feedback.stream()] == [item]


@pytest.mark.parametrize(
    "raw", [{"at": date(2026, 1, 1)}, {"t": (1, 2)}, {"d": Decimal(1)}, {"b": b"\xff"}, {"s": "\ud800"}]
)
async def test_a_value_that_would_be_read_as_another_is_refused(feedback: ModelCollection[Feedback], raw: Any) -> None:
    item = say(raw=raw)
    with pytest.raises(InvalidRecordError):
        await feedback.save(item)
    assert await feedback.count() == 0


async def test_saving_new_replacing_and_if_absent(feedback: ModelCollection[Feedback]) -> None:
    item = say(4)
    assert await feedback.save(item, if_absent=True)
    first = item.stored_at
    other = Feedback(pk=item.pk, run_id=item.run_id, rating=1, comment="no")
    assert not await feedback.save(other, if_absent=True)
    assert await feedback.get(item.pk) == item
    assert await feedback.save(other)
    assert other.stored_at == first
    assert other.updated_at is not None
    assert first is not None
    assert other.updated_at > first
    item.rating = 9
    with pytest.raises(InvalidRecordError, match="rating"):
        await feedback.save(item)
    assert await feedback.get(item.pk) == other


async def test_many(feedback: ModelCollection[Feedback]) -> None:
    items = [say(number % 5 + 1, f"number {number}") for number in range(450)]
    report = await feedback.save_many(items)
    assert (report.created, report.replaced) == (450, 0)
    items[7].rating = 17
    with pytest.raises(RefusedRecordsError) as refused:
        await feedback.save_many([items[0], items[7], say()])
    assert (refused.value.report.created, refused.value.report.replaced) == (1, 1)
    missing = say().pk
    assert await feedback.get_many([items[3].pk, missing, items[1]]) == [items[3], None, items[1]]
    assert await feedback.delete_many([items[3].pk, missing]) == 1
    assert await feedback.delete_one(items[1])
    assert not await feedback.delete_one(items[1].pk)
    assert await feedback.delete(Feedback.rating == 1) == 90
    rows = await feedback.aggregate("rating", metrics=["count", "avg(length)"])
    assert {row["rating"]: row["count"] for row in rows} == {2: 89, 3: 91, 4: 89, 5: 90}
    page = await feedback.find(order_by=-Feedback.rating, limit=100)
    rest = await feedback.find(order_by=-Feedback.rating, limit=None, after=page.next)
    assert len({row.pk for row in (*page, *rest)}) == 359


async def test_update_is_atomic_and_expects(feedback: ModelCollection[Feedback]) -> None:
    item = say(2)
    await feedback.save(item)
    read = await feedback.get(item.pk)
    new = await feedback.update(item.pk, rating=4, labels={"seen"})
    assert (new.rating, new.labels, new.stored_at) == (4, {"seen"}, item.stored_at)
    assert await feedback.get(item.pk) == new
    with pytest.raises(ConflictError, match="changed"):
        await feedback.update(item.pk, rating=5, expect=read)
    assert (await feedback.update(item.pk, comment="two words", expect=new)).length == 9
    assert await feedback.count("rating = 4 and length = 9 and comment ~ words and labels has seen") == 1
    for changes in ({"rating": 6}, {"nothing": 1}, {"pk": "x"}, {"length": 3}):
        with pytest.raises(InvalidRecordError):
            await feedback.update(item.pk, **changes)
    with pytest.raises(NotFoundError):
        await feedback.update("absent", rating=1)
    await feedback.delete_one(item)
    with pytest.raises(ConflictError, match="deleted"):
        await feedback.update(item.pk, rating=1, expect=new)


async def test_updates_that_nobody_disturbs_are_made_at_once(feedback: ModelCollection[Feedback]) -> None:
    """A server gives the members of a document in any order, which is no change by others."""
    item = say(1, comment='odd "quotes", \\ and "$.updated_at":[5]')
    await feedback.save(item)
    for number in range(200):
        await feedback.update(item.pk, rating=number % 5 + 1)
    found = await feedback.get(item.pk)
    assert (found.rating, found.comment) == (5, item.comment)


async def test_fields_of_a_later_version_survive(place: Place, backend: RedisBackend) -> None:
    class LaterPart(Part):
        color: str = "red"

    class Later(Document, name="feedback"):
        run_id: Column[UUID] = column()
        rating: Column[int] = column()
        comment: Column[str] = column(text=True)
        parts: list[LaterPart] = Field(default_factory=list)
        mystery: dict[str, Any] = Field(default_factory=dict)

    later = Later(run_id=uuid4(), rating=1, comment="x", parts=[LaterPart(name="a")], mystery={"big": 2**70})
    feedback = backend.collection(Feedback)
    with pytest.raises(InvalidConfigurationError, match="two classes"):
        backend.collection(Later)
    from relay_models.documents import codec_of

    key = f"{backend.key_prefix}@model:feedback:{later.pk}"
    await place.raw.execute_command("JSON.SET", key, "$", codec_of(Later).encode(later).creation(5))
    found = await feedback.get(later.pk)
    assert found is not None
    found.rating = 3
    await feedback.save(found)
    await feedback.update(later.pk, author="me")
    text = (await place.raw.execute_command("JSON.GET", key, "$.record")).decode()
    assert '\\"mystery\\":{\\"big\\":1180591620717411303424}' in text
    assert '\\"color\\":\\"red\\"' in text
    assert '\\"rating\\":3' in text
    assert '\\"author\\":\\"me\\"' in text


async def test_natural_keys_and_time_to_live(place: Place, backend: RedisBackend) -> None:
    slots = backend.collection(Slot)
    for room in HOSTILE:
        await slots.save(Slot(room=room, number=1, guest=room))
    await slots.save(Slot(room="a:1", number=1))
    await slots.save(Slot(room="a", number=11))
    for room in HOSTILE:
        found = await slots.get((room, 1))
        assert found is not None
        assert found.guest == room
    with pytest.raises(InvalidRecordError, match="part of the id"):
        await slots.update(("a", 1), number=2)
    key = f"{backend.key_prefix}@model:slot:a:11"
    assert 0 < await place.raw.pttl(key) <= 3_600_000
    assert await slots.expire(("a", 11), None)
    assert await place.raw.pttl(key) == -1
    await slots.update(("a", 11), guest="b", ttl=timedelta(minutes=1))
    assert 0 < await place.raw.pttl(key) <= 60_000
    assert not await slots.expire(("absent", 1), timedelta(1))


async def test_links_lead_both_ways(backend: RedisBackend, feedback: ModelCollection[Feedback]) -> None:
    runs = [make_run("agent", number) for number in range(5)]
    await backend.store_runs(runs)
    items = [say(number + 1, run_id=run.id) for number, run in enumerate(runs)]
    await feedback.save_many(items)
    linked = await feedback.linked(items[2], Feedback.run_id)
    assert linked.record == runs[2]
    disliked = await feedback.values(Feedback.run_id, Feedback.rating <= 2)
    assert set(disliked) == {runs[0].id, runs[1].id}
    assert {row.run_id for row in await backend.runs.find(Run.run_id.in_(disliked))} == set(map(str, disliked))
    slots = backend.collection(Slot)
    slot = Slot(room="a", number=1, feedback=items[0].pk)
    assert await slots.linked(slot, Slot.feedback, Feedback) == items[0]
    again = await feedback.linked(items[2], Feedback.run_id, Run)
    assert again is not None
    assert again.record == runs[2]
    with pytest.raises(QueryError, match="leads to Feedback, not to Slot"):
        await slots.linked(slot, Slot.feedback, Slot)
    with pytest.raises(QueryError, match="this store has Run, not AcmeRun"):
        await feedback.linked(items[2], Feedback.run_id, AcmeRun)
    assert await slots.linked(Slot(room="a", number=1), Slot.feedback) is None
    with pytest.raises(QueryError, match=r"no link of Slot: pass Slot\.feedback"):
        await slots.linked(slot, Slot.room)


async def test_a_model_bound_to_a_store(backend: RedisBackend) -> None:
    bound = backend.bind(Feedback)
    item = await bound.save(bound(run_id=uuid4(), rating=3, comment="fine"))
    assert (await bound.get(item.pk)) == item
    await bound.add([say(rating, "x" * rating) for rating in (1, 2, 3, 4, 5)])
    ordered = bound.find(Feedback.rating >= 2).sort_by("-rating").find("length < 5")
    assert [one.rating for one in await ordered.all()] == [4, 3, 3, 2]
    assert [one.rating for one in await ordered.page(1, 2)] == [3, 3]
    assert (await ordered.first()).rating == 4
    assert await ordered.count() == 4
    assert [one.rating async for one in bound.find("rating = 4")] == [4]
    assert (await bound.update(item, rating=5)).rating == 5
    assert await bound.find("rating = 5").update(author="me") == 2
    assert await bound.find("author = me").exists()
    assert await bound.expire(item, 60)
    assert await bound.delete(item.pk)
    assert await bound.find("rating < 3").delete() == 2
    with pytest.raises(QueryError, match="everything"):
        await bound.find().delete()
    with pytest.raises(NotFoundError):
        await bound.get(item.pk)
    with pytest.raises(NotFoundError):
        await bound.find("rating = 1").first()


async def test_an_item_of_a_bound_model_saves_itself(place: Place) -> None:
    one, two = await place.open("one:"), await place.open("two:")
    ours, theirs = one.bind(Feedback), two.bind(Feedback)
    item = ours(run_id=uuid4(), rating=3, comment="fine")
    assert await item.save() is item
    assert await theirs.find().count() == 0
    found = await ours.find("rating = 3").first()
    found.author = "me"
    await found.save(ttl=timedelta(hours=1))
    await item.update(rating=5)
    assert (item.rating, item.author) == (5, "me"), "what another one changed meanwhile is kept, and seen"
    assert (await ours.get(item.pk)) == item
    assert await item.expire(60)
    assert 0 < await place.raw.pttl(f"{one.key_prefix}@model:feedback:{item.pk}") <= 60_000
    for copied in (item.model_copy(), copy.deepcopy(item)):
        assert await copied.save() == item
    unbound = pickle.loads(pickle.dumps(item))
    assert unbound == item
    with pytest.raises(UnsupportedMethodError, match=r"collection\(Feedback\)\.save\(item\), or backend\.bind"):
        await unbound.save()
    with pytest.raises(UnsupportedMethodError, match="bind"):
        await say().update(rating=1)
    assert await item.delete()
    assert not await item.delete()


async def test_what_a_source_gave_before_it_failed_is_saved(feedback: ModelCollection[Feedback]) -> None:
    def items() -> Iterator[Feedback]:
        for number in range(250):
            yield say(number % 5 + 1)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await feedback.save_many(items())
    assert await feedback.count() == 250


async def test_a_time_to_live_is_written_with_the_document(place: Place, backend: RedisBackend) -> None:
    slots = backend.collection(Slot)
    key = f"{backend.key_prefix}@model:slot:a:".encode()
    hour = [Slot(room="a", number=number) for number in range(3)]
    assert (await slots.save_many([*hour, hour[0]])).replaced == 1
    minute = timedelta(minutes=1)
    assert await slots.save_many([hour[0], Slot(room="a", number=3)], ttl=minute, on_refused="skip")
    report = await slots.save_many([hour[1], Slot(room="a", number=4)], if_absent=True, ttl=minute)
    assert (report.created, report.replaced) == (1, 0)
    assert not await slots.save(hour[2], if_absent=True, ttl=minute)
    short = [await place.raw.pttl(key + str(number).encode()) <= 60_000 for number in range(5)]
    assert short == [True, False, False, True, True], "one that is left as it is keeps its time to live"
    assert min([await place.raw.pttl(key + str(number).encode()) for number in range(5)]) > 0


async def test_a_writer_that_lacks_a_column_is_refused(place: Place) -> None:
    class Later(Document, name="ticket"):
        title: Column[str] = column()
        team: Column[str] = column(default="")

    class Ticket(Document):
        title: Column[str] = column()

    later = (await place.open("same:")).collection(Later)
    await later.save(Later(title="a", team="red"))
    earlier = (await place.open("same:")).collection(Ticket)
    (known,) = await earlier.find()
    for save in (
        lambda: earlier.save(Ticket(title="b")),
        lambda: earlier.save_many([Ticket(title="b")]),
        lambda: earlier.update(known, title="b"),
    ):
        with pytest.raises(IndexOutdatedError, match=r"team.*allow_missing"):
            await save()
    assert [item.title for item in await earlier.find()] == ["a"]
    allowed = (await place.open("same:", allow_missing=True)).collection(Ticket)
    await allowed.save(Ticket(title="b"))
    assert await later.count() == 2


async def test_documents_that_are_none_are_named(
    place: Place, backend: RedisBackend, feedback: ModelCollection[Feedback]
) -> None:
    await feedback.save(say())
    await place.raw.execute_command(
        "JSON.SET", f"{backend.key_prefix}@model:feedback:odd", "$", '{"pk":"odd","record":"{}","stored_at":1}'
    )
    with pytest.raises(CorruptDocumentsError, match="odd") as found:
        await feedback.find()
    assert len(found.value.good) == 1


async def test_watching_a_model(feedback: ModelCollection[Feedback]) -> None:
    item = say(1)
    await feedback.save(item)
    seen: list[int] = []
    async with aclosing(feedback.watch(since=timedelta(hours=1), interval=0.01)) as watch:
        async for row in watch:
            seen.append(row.rating)
            if len(seen) == 3:
                break
            await feedback.update(item.pk, rating=len(seen) + 1)
    assert seen == [1, 2, 3]


async def test_two_stores_do_not_touch_each_other(place: Place) -> None:
    one, two = await place.open("one:"), await place.open("two:")
    await one.collection(Feedback).save(say(), ttl=timedelta(hours=1))
    assert await two.collection(Feedback).count() == 0
    assert (await one.collection(Feedback).find("stored_at > 2020-01-01"))[0].updated_at <= datetime.now(UTC) + timedelta(1)  # fmt: skip  # noqa: E501


class Paid(Document):
    """A model of money."""

    shop: Column[UUID] = column()
    plan: Column[Mood] = column()
    open: Column[bool] = column()
    amount: Column[Decimal] = column()
    due: Column[date] = column()


async def test_aggregates_give_values_of_their_columns(backend: RedisBackend) -> None:
    paid, shop = backend.collection(Paid), uuid4()
    await paid.save_many(
        Paid(shop=shop, plan=Mood.BAD if number else Mood.GOOD, open=number < 2, amount=Decimal("0.1"), due=day)
        for number, day in enumerate([date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)])
    )
    await paid.save(Paid(shop=shop, plan=Mood.BAD, open=True, amount=Decimal("2.35"), due=date(2025, 1, 1)))
    asked = ["sum(amount)", "avg(amount)", "max(due)", "p50(amount)", "min(amount)"]
    (row,) = await paid.aggregate("shop", metrics=asked)
    assert dict(row) == {
        "shop": shop, "sum(amount)": Decimal("2.65"), "avg(amount)": Decimal("0.6625"), "max(due)": date(2026, 1, 3),
        "p50(amount)": Decimal("0.1"), "min(amount)": Decimal("0.1"),
    }  # fmt: skip
    rows = await paid.aggregate(["plan", "open"], order_by="-plan")
    assert [(row["plan"], row["open"], row["count"]) for row in rows] == [
        (Mood.GOOD, True, 1), (Mood.BAD, False, 1), (Mood.BAD, True, 2),
    ]  # fmt: skip
    assert set(await paid.values("plan")) == {Mood.GOOD, Mood.BAD}
    assert list(to_pandas(rows)["plan"]) == ["good", "bad", "bad"]
    assert [row["sum(amount)"] for row in to_dicts(await paid.aggregate("plan", metrics="sum(amount)"))] == [2.55, 0.1]
