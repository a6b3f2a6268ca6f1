"""Saved questions: kept in the store, checked when they are made, found by name."""

from __future__ import annotations

import pytest

from relay_models import Column, Run, column, metadata
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    NotFoundError,
    QueryError,
    UnknownColumnError,
)
from relay_models.query.saved import SavedQuestion
from relay_models.records import RunRecord

from .conftest import Place


async def test_questions_are_saved_replaced_and_deleted(place: Place) -> None:
    backend = await place.open()
    assert await backend.saved.all() == []
    assert not await backend.saved.delete("slow")
    slow = SavedQuestion("slow", 'duration > 2s and tool has "a \\"b\\""', ("agent_id", "duration"), "-duration")
    await backend.saved.save(SavedQuestion("slow", "all"))
    await backend.saved.save(slow)
    await backend.saved.save(SavedQuestion("every.thing-1"))
    assert await backend.saved.all() == [SavedQuestion("every.thing-1"), slow]
    assert await backend.saved.get("slow") == slow
    assert await backend.saved.delete("slow")
    with pytest.raises(NotFoundError, match="saved are: every"):
        await backend.saved.get("slow")


async def test_a_question_finds_runs(place: Place) -> None:
    backend = await place.open()
    for name in ("one", "two", "three"):
        await backend.store_run(RunRecord(agent_id=name))
    await backend.saved.save(SavedQuestion("some", "agent in (one, two)", order="-agent_id"))
    page = await backend.find_runs((await backend.saved.get("some")).find())
    assert [run.agent_id for run in page] == ["two", "one"]


async def test_questions_are_no_runs_and_no_agents(place: Place) -> None:
    backend = await place.open()
    await backend.saved.save(SavedQuestion("slow"))
    assert await backend.count_runs() == 0
    assert await backend.agents() == []


async def test_a_document_that_holds_something_else_is_an_error(place: Place) -> None:
    backend = await place.open()
    await backend.saved.save(SavedQuestion("slow"))
    await backend.transport.execute("JSON.SET", f"{backend.key_prefix}@saved:questions", "$", '{"slow":1}')
    with pytest.raises(CorruptDocumentsError, match="saved"):
        await backend.saved.all()


@pytest.mark.parametrize("text", ['{"filter":null,"columns":[],"order":"x"}', '{"text":"all"}', "[1]", "{}"])
async def test_a_question_that_a_later_release_saved_hides_no_other(place: Place, text: str) -> None:
    backend = await place.open()
    slow = SavedQuestion("slow")
    await backend.saved.save(slow)
    await backend.transport.execute("JSON.SET", f"{backend.key_prefix}@saved:questions", "$.later", text)
    assert await backend.saved.all(on_corrupt="skip") == [slow]
    assert await backend.saved.get("slow") == slow
    with pytest.raises(CorruptDocumentsError, match="'later'") as caught:
        await backend.saved.all()
    assert caught.value.good == [slow]
    with pytest.raises(CorruptDocumentError, match="'later'"):
        await backend.saved.get("later")
    assert await backend.saved.delete("later")
    assert await backend.saved.all() == [slow]


@pytest.mark.parametrize("name", ["", "a b", '"]', "a" * 65, "-x", "ä", None])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(QueryError, match="name of a saved question"):
        SavedQuestion(name)


async def test_a_question_that_means_nothing_is_refused(place: Place) -> None:
    backend = await place.open()
    with pytest.raises(QueryError):
        await backend.saved.save(SavedQuestion("x", "duration >"))
    with pytest.raises(UnknownColumnError):
        await backend.saved.save(SavedQuestion("x", columns=("nonsense",)))
    with pytest.raises(QueryError):
        await backend.saved.save(SavedQuestion("x", order="models"))
    assert await backend.saved.all() == []


class TenantRun(Run):
    """Runs with a column of the application's own."""

    tenant: Column[str | None] = column("Whose run it is.", value=metadata("tenant"))


async def test_a_question_may_be_about_columns_of_ones_own(place: Place) -> None:
    backend = await place.open(models=[TenantRun])
    await backend.store_run(RunRecord(agent_id="one", ext={"metadata": {"tenant": "acme"}}))
    await backend.store_run(RunRecord(agent_id="two"))
    await backend.saved.save(SavedQuestion("acme", "tenant = acme", ("tenant",), "-tenant"))
    page = await backend.find_runs((await backend.saved.get("acme")).find())
    assert [run.agent_id for run in page] == ["one"]
