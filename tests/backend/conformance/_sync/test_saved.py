# ruff: noqa
# fmt: off
# Generated from tests/backend/conformance/_async/test_saved.py by scripts/generate_sync.py: change that, not this.
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


def test_questions_are_saved_replaced_and_deleted(place: Place) -> None:
    backend = place.open()
    assert backend.saved.all() == []
    assert not backend.saved.delete("slow")
    slow = SavedQuestion("slow", 'duration > 2s and tool has "a \\"b\\""', ("agent_id", "duration"), "-duration")
    backend.saved.save(SavedQuestion("slow", "all"))
    backend.saved.save(slow)
    backend.saved.save(SavedQuestion("every.thing-1"))
    assert backend.saved.all() == [SavedQuestion("every.thing-1"), slow]
    assert backend.saved.get("slow") == slow
    assert backend.saved.delete("slow")
    with pytest.raises(NotFoundError, match="saved are: every"):
        backend.saved.get("slow")


def test_a_question_finds_runs(place: Place) -> None:
    backend = place.open()
    for name in ("one", "two", "three"):
        backend.store_run(RunRecord(agent_id=name))
    backend.saved.save(SavedQuestion("some", "agent in (one, two)", order="-agent_id"))
    page = backend.find_runs((backend.saved.get("some")).find())
    assert [run.agent_id for run in page] == ["two", "one"]


def test_questions_are_no_runs_and_no_agents(place: Place) -> None:
    backend = place.open()
    backend.saved.save(SavedQuestion("slow"))
    assert backend.count_runs() == 0
    assert backend.agents() == []


def test_a_document_that_holds_something_else_is_an_error(place: Place) -> None:
    backend = place.open()
    backend.saved.save(SavedQuestion("slow"))
    backend.transport.execute("JSON.SET", f"{backend.key_prefix}@saved:questions", "$", '{"slow":1}')
    with pytest.raises(CorruptDocumentsError, match="saved"):
        backend.saved.all()


@pytest.mark.parametrize("text", ['{"filter":null,"columns":[],"order":"x"}', '{"text":"all"}', "[1]", "{}"])
def test_a_question_that_a_later_release_saved_hides_no_other(place: Place, text: str) -> None:
    backend = place.open()
    slow = SavedQuestion("slow")
    backend.saved.save(slow)
    backend.transport.execute("JSON.SET", f"{backend.key_prefix}@saved:questions", "$.later", text)
    assert backend.saved.all(on_corrupt="skip") == [slow]
    assert backend.saved.get("slow") == slow
    with pytest.raises(CorruptDocumentsError, match="'later'") as caught:
        backend.saved.all()
    assert caught.value.good == [slow]
    with pytest.raises(CorruptDocumentError, match="'later'"):
        backend.saved.get("later")
    assert backend.saved.delete("later")
    assert backend.saved.all() == [slow]


@pytest.mark.parametrize("name", ["", "a b", '"]', "a" * 65, "-x", "ä", None])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(QueryError, match="name of a saved question"):
        SavedQuestion(name)


def test_a_question_that_means_nothing_is_refused(place: Place) -> None:
    backend = place.open()
    with pytest.raises(QueryError):
        backend.saved.save(SavedQuestion("x", "duration >"))
    with pytest.raises(UnknownColumnError):
        backend.saved.save(SavedQuestion("x", columns=("nonsense",)))
    with pytest.raises(QueryError):
        backend.saved.save(SavedQuestion("x", order="models"))
    assert backend.saved.all() == []


class TenantRun(Run):
    """Runs with a column of the application's own."""

    tenant: Column[str | None] = column("Whose run it is.", value=metadata("tenant"))


def test_a_question_may_be_about_columns_of_ones_own(place: Place) -> None:
    backend = place.open(models=[TenantRun])
    backend.store_run(RunRecord(agent_id="one", ext={"metadata": {"tenant": "acme"}}))
    backend.store_run(RunRecord(agent_id="two"))
    backend.saved.save(SavedQuestion("acme", "tenant = acme", ("tenant",), "-tenant"))
    page = backend.find_runs((backend.saved.get("acme")).find())
    assert [run.agent_id for run in page] == ["one"]
