"""Labels: tags, scores and notes that stay with a run and can be asked for, on every engine."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from relay_models.backend._async.backend import RedisBackend
from relay_models.documents import Labels, Run
from relay_models.errors import InvalidRecordError, NotFoundError, QueryError
from tests.backend.conformance._async.conftest import Place
from tests.backend.stores import HOSTILE, make_run


async def _stored(backend: RedisBackend, count: int, agent: str = "agent") -> list[Any]:
    runs = [make_run(agent, number) for number in range(count)]
    await backend.store_runs(runs)
    return runs


async def _only(backend: RedisBackend, run: Any) -> Run:
    (found,) = await backend.runs.find(Run.run_id == run.id)
    return found


async def test_labels_are_read_with_who_said_so_and_when(backend: RedisBackend) -> None:
    run, other = await _stored(backend, 2)
    await backend.runs.label(run.id, tags={"golden", "a|b"}, note="clear\nand short", by="ana")
    said = await backend.runs.label(
        run, scores={"helpfulness": 0.8, "tone": -1}, source="evaluator", by="judge", remove_tags=["a|b"]
    )
    found = await _only(backend, run)
    assert (found.tags, found.notes, found.scores) == (
        ["golden"],
        ["clear\nand short"],
        {"helpfulness": 0.8, "tone": -1.0},
    )
    labels = found.labels
    assert labels == said
    assert (labels.tags["golden"].source, labels.tags["golden"].by) == ("human", "ana")
    assert (labels.scores["tone"].value, labels.scores["tone"].origin.source) == (-1.0, "evaluator")
    assert labels.notes[0].text == "clear\nand short"
    assert abs(labels.notes[0].origin.at - datetime.now(UTC)) < timedelta(minutes=5)
    without = await _only(backend, other)
    assert (without.tags, without.notes, without.scores, without.labels) == ([], [], {}, Labels())


async def test_a_run_is_named_in_every_way(backend: RedisBackend) -> None:
    (run,) = await _stored(backend, 1, "a:b")
    for number, named in enumerate([run, run.id, str(run.id).upper(), ("a:b", run.id), await _only(backend, run)]):
        await backend.runs.label(named, tags=[str(number)])
    assert (await _only(backend, run)).tags == ["0", "1", "2", "3", "4"]
    await backend.store_run(make_run("another", run_id=run.id))
    with pytest.raises(QueryError, match="several agents"):
        await backend.runs.label(run.id, tags=["x"])
    for absent in (uuid4(), ("a:b", uuid4()), make_run("a:b")):
        with pytest.raises(NotFoundError):
            await backend.runs.label(absent, tags=["x"])


async def test_labels_stay_when_a_run_is_stored_again_and_go_with_it(backend: RedisBackend, place: Place) -> None:
    run, bulk = await _stored(backend, 2)
    await backend.runs.label_many([run, bulk], tags=["kept"], scores={"s": 1}, note="n")
    await backend.store_run(make_run("agent", 50, run_id=run.id))
    report = await backend.store_runs([make_run("agent", 60, run_id=bulk.id)])
    assert report.replaced == 1
    for each in (run, bulk):
        found = await _only(backend, each)
        assert (found.tags, found.scores, found.notes) == (["kept"], {"s": 1.0}, ["n"])
    assert await backend.count_runs("tags has kept and score.s = 1 and notes has n and calls = 1") == 2
    await backend.delete_run("agent", run.id)
    await backend.store_run(run)
    assert (await _only(backend, run)).labels == Labels()


async def test_labels_are_found(backend: RedisBackend) -> None:
    runs = await _stored(backend, 6)
    for number, run in enumerate(runs[:4]):
        await backend.runs.label(run, tags=["golden"] if number % 2 else ["plain"], scores={"helpfulness": number / 4})
    assert await backend.count_runs("tags has golden and score.helpfulness < 0.5") == 1
    assert await backend.count_runs((Run.tags == "golden") & (Run.scores["helpfulness"] <= 0.75)) == 2
    assert await backend.count_runs(Run.scores["helpfulness"].missing()) == 2
    assert await backend.count_runs("scores is missing") == 2
    assert await backend.count_runs("score.helpfulness between 0.25 and 0.5") == 2
    assert await backend.count_runs("not score.helpfulness >= 0.25") == 3
    assert await backend.count_runs("score.never > 0") == 0
    assert await backend.count_runs("tags startswith gol") == 2
    (row,) = await backend.runs.aggregate(metrics=["avg(score.helpfulness)", "count(score.helpfulness)", "count"])
    assert dict(row) == {"avg(score.helpfulness)": 0.375, "count(score.helpfulness)": 4, "count": 6}
    rows = await backend.runs.aggregate("tags", metrics=["max(score.helpfulness)", "min(score.helpfulness)"])
    assert [list(row.to_dict().values()) for row in rows] == [["golden", 0.75, 0.25], ["plain", 0.5, 0.0], [None] * 3]


async def test_any_name_and_any_number_is_exact(backend: RedisBackend) -> None:
    chance = random.Random(7)
    names = [name for name in HOSTILE if name]
    runs = await _stored(backend, 60)
    for run in runs:
        numbers = [
            chance.choice([0, 0.1, 0.5, 0.55, 1, -1, 1e-9, 1e300, chance.uniform(-2, 2), chance.uniform(-1e9, 1e9)])
            for _ in range(3)
        ]
        await backend.runs.label(run, scores=dict(zip(chance.sample(names, 3), numbers, strict=True)))
    found = await backend.runs.find(limit=None)
    for name in names:
        column = Run.scores[name]
        known = sorted(run.scores[name] for run in found if name in run.scores)
        for bound in [*known[:2], chance.choice([0, 0.3, -1e12])]:
            for expression in (column < bound, column <= bound, column == bound, column > bound, ~(column >= bound)):
                asked = chance.choice([expression, str(expression)])
                assert await backend.count_runs(asked) == sum(map(expression.matches, found))


async def test_labels_by_filter_and_in_bulk(backend: RedisBackend) -> None:
    runs = await _stored(backend, 450)
    assert await backend.runs.label_where(Run.prompt_tokens < 410, tags=["bulk"]) == 410
    assert await backend.count_runs("tags has bulk") == 410
    assert await backend.runs.label_where("tags has bulk", remove_tags=["bulk"]) == 410
    assert await backend.count_runs("tags has bulk or tags is present") == 0
    with pytest.raises(QueryError, match="everything"):
        await backend.runs.label_where(None, tags=["x"])
    assert await backend.runs.label_many([run.id for run in runs[:300]], scores={"s": 0.5}) == 300
    absent = uuid4()
    with pytest.raises(NotFoundError, match=str(absent)):
        await backend.runs.label_many([runs[0].id, absent], note="still written")
    assert (await _only(backend, runs[0])).notes == ["still written"]
    assert await backend.runs.label_many([absent], note="x", on_missing="skip") == 0


async def test_runs_that_are_none_and_labels_that_there_are_not_say_what_to_call(backend: RedisBackend) -> None:
    runs = await _stored(backend, 2)
    page: Any = await backend.runs.find()
    expression: Any = Run.agent_id == "a"
    for several in (page, list(page), expression, None):
        with pytest.raises(InvalidRecordError, match=r"label_many\(runs, …\) labels several"):
            await backend.runs.label(several, tags={"x"})
    for one in (page[0], runs[0], runs[0].id, str(runs[0].id), expression):
        with pytest.raises(InvalidRecordError, match=r"label\(run, …\) labels one"):
            await backend.runs.label_many(one, tags={"x"})
    for none in (("a", "b", "c"), [page], [None]):
        with pytest.raises(InvalidRecordError, match="a run id is a UUID, not") as refused:
            await backend.runs.label_many([none], tags={"x"})  # type: ignore[list-item]
        assert len(str(refused.value)) < 300
    with pytest.raises(InvalidRecordError, match="labels have no tag; there are tags, remove_tags, scores"):
        await backend.runs.label(page[0], tag={"x"})  # type: ignore[call-arg]
    assert await backend.count_runs("tags is present") == 0


async def test_two_clients_that_label_at_once_lose_nothing(place: Place) -> None:
    first = await place.open()
    second = await place.open()
    (run,) = await _stored(first, 1)
    # The second client labels between the first one's reading and writing.
    sent = first.transport.pipeline
    meddling = [True]

    async def pipeline(commands: Any, **options: Any) -> list[Any]:
        if commands[0][0] == "EVAL" and meddling.pop(0) is True:
            meddling.append(False)
            await second.runs.label(run, tags=["second"], scores={"both": 2})
        meddling.append(False)
        return await sent(commands, **options)

    first.transport.pipeline = pipeline  # type: ignore[method-assign]
    await first.runs.label(run, tags=["first"], scores={"both": 1}, note="once")
    found = await _only(second, run)
    assert (found.tags, found.scores, found.notes) == (["first", "second"], {"both": 1.0}, ["once"])


async def test_hostile_tags_and_notes_are_exact(backend: RedisBackend) -> None:
    (run,) = await _stored(backend, 1)
    await backend.runs.label(run, tags=HOSTILE)
    for text in HOSTILE:
        await backend.runs.label(run, note=text)
        assert await backend.count_runs(Run.tags.has(text) & Run.notes.has(text)) == 1
    found = await _only(backend, run)
    assert found.tags == sorted(HOSTILE)
    assert [note.text for note in found.labels.notes] == HOSTILE


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"tags": "golden"},
        {"tags": [1]},
        {"tags": ["x" * 4001]},
        {"note": "\ud800"},
        {"scores": {"": 1}},
        {"scores": {"s": float("nan")}},
        {"scores": {"s": True}},
        {"scores": {"s": "high"}},
        {"tags": ["a"], "remove_tags": ["a"]},
        {"colour": "red"},
    ],
)
async def test_what_cannot_be_kept_is_refused(backend: RedisBackend, labels: dict[str, Any]) -> None:
    (run,) = await _stored(backend, 1)
    with pytest.raises(InvalidRecordError):
        await backend.runs.label(run, **labels)
    assert (await _only(backend, run)).labels == Labels()


async def test_the_longest_texts_are_exact(backend: RedisBackend) -> None:
    run, other = await _stored(backend, 2)
    await backend.runs.label(run, tags=["x" * 4000], note="y" * 4000, scores={"n" * 1000: 0.123456789012345})
    await backend.runs.label(other, tags=["x" * 3999], note="y" * 3999, scores={"n" * 999: 0.123456789012345})
    assert await backend.count_runs(Run.tags.has("x" * 4000) & Run.notes.has("y" * 4000)) == 1
    assert await backend.count_runs(Run.scores["n" * 1000] == 0.123456789012345) == 1


async def test_runs_are_sorted_by_a_score(backend: RedisBackend) -> None:
    runs = await _stored(backend, 40)
    draw = random.Random(5)
    known = [0.1, 0.1, -0.0, 1e-22, -1.5, 0.123456789012345, 0.123456789012346, 1.7e308, -1e-9, 3]
    name = 'to the "point".* \\ é'
    scores = {run.id: draw.choice(known) for run in runs[:30]}
    for run_id, value in scores.items():
        await backend.runs.label(run_id, scores={name: value, "other": -value})
    by_id = sorted(str(run.id) for run in runs)
    for order, sign in ((Run.scores[name], 1), (-Run.scores[name], -1), (f"-{Run.scores[name].name}", -1)):
        wanted = sorted((key for key in by_id if UUID(key) in scores), key=lambda key: sign * scores[UUID(key)]) + [
            key for key in by_id if UUID(key) not in scores
        ]
        found = await backend.runs.find(order_by=order, limit=None)
        assert [run.run_id for run in found] == wanted
        paged, after = [], None
        while True:
            page = await backend.runs.find(order_by=order, limit=7, after=after, columns=True)
            paged += [run.run_id for run in page]
            after = page.next
            if after is None:
                break
        assert paged == wanted
        assert [run.run_id async for run in backend.runs.stream(order_by=order, page_size=3)] == wanted
    assert [run.run_id for run in await backend.runs.find("score.other > 1", order_by="score.other desc")] == sorted(
        key for key in by_id if scores.get(UUID(key)) == -1.5
    )
    first = (await backend.runs.find(order_by=f"-{Run.scores[name].name}", limit=1))[0]
    await backend.runs.label(first, remove_scores=[name])
    assert first.run_id not in [
        run.run_id for run in await backend.runs.find(Run.scores[name].present(), order_by=Run.scores[name], limit=None)
    ]
    await backend.runs.label(first, scores={name: -1e9})
    assert (await backend.runs.find(order_by=Run.scores[name], limit=1))[0].run_id == first.run_id
    with pytest.raises(QueryError, match=r"one score, such as score\.helpfulness"):
        await backend.runs.find(order_by="scores")
