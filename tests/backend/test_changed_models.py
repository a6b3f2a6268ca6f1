"""Two versions of one's own model beside each other: what the newer one changes leaves the older one its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import field_validator

from relay_models import Column, Document, column
from relay_models.embedded import EmbeddedServer
from relay_models.errors import CorruptDocumentsError, IndexOutdatedError, NotFoundError
from relay_models.sync import RedisBackend


def older() -> type[Any]:
    class Ticket(Document):
        """A ticket, as the older program knows it."""

        title: Column[str] = column()
        votes: Column[int] = column()

    return Ticket


def retyped() -> type[Any]:
    class Ticket(Document):
        """A ticket whose votes are text."""

        title: Column[str] = column()
        votes: Column[str] = column()

    return Ticket


def renamed() -> type[Any]:
    class Ticket(Document):
        """A ticket whose votes are called points."""

        title: Column[str] = column()
        points: Column[int] = column(default=0)

    return Ticket


def optional() -> type[Any]:
    class Ticket(Document):
        """A ticket that may be without a title."""

        title: Column[str | None] = column()
        votes: Column[int] = column()

    return Ticket


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def connect(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens stores with one prefix."""
    prefix, opened = f"test-{uuid4().hex[:12]}:", []
    with EmbeddedServer() as server, server.client() as client:

        def open_store(model: type[Any], **options: Any) -> RedisBackend:
            if request.param == "server":
                url = request.getfixturevalue("real_store_url")
                backend: RedisBackend = RedisBackend.connect(url, prefix, models=[model], **options)
            else:
                backend = RedisBackend.from_client(client, prefix, models=[model], **options)
            opened.append(backend)
            return backend

        yield open_store
        for backend in opened:
            backend.close()


def filled(connect: Any) -> tuple[type[Any], Any]:
    """The older model and its collection, with 25 tickets."""
    model = older()
    tickets = connect(model).collection(model)
    tickets.save_many([model(title=f"ticket {number}", votes=number) for number in range(25)])
    return model, tickets


def test_a_type_that_stored_values_do_not_fit(connect: Any) -> None:
    _, tickets = filled(connect)
    model = retyped()
    backend = connect(model, migrate=False, allow_missing=True)
    with pytest.raises(CorruptDocumentsError, match="25 documents would be missing from answers by votes") as caught:
        backend.migrations.apply()
    assert len(caught.value.errors) == 25
    assert tickets.count("votes >= 10") == 15
    with pytest.raises(IndexOutdatedError):
        backend.collection(model).count()
    with pytest.raises(NotFoundError):
        backend.migrations.finish()
    assert backend.migrations.rollback() == [model._kind]
    assert tickets.count("votes >= 10") == 15
    tickets.delete("all")


def test_some_documents_that_do_not_fit_leave_all_as_they_were(connect: Any) -> None:
    model, tickets = filled(connect)
    tickets.delete("votes >= 3")

    class Ticket(Document, coerce_numbers_to_str=True):
        title: Column[str] = column()
        votes: Column[str] = column()

    backend = connect(Ticket, migrate=False)
    backend.migrations.apply()
    backend.migrations.finish()
    words = backend.collection(Ticket)
    words.save(Ticket(title="none", votes="many"))
    again = connect(model, migrate=False)
    with pytest.raises(CorruptDocumentsError, match="1 documents would be missing") as caught:
        again.migrations.apply()
    assert len(caught.value.errors) == 1
    assert sorted(ticket.votes for ticket in words.find("votes != x")) == ["0", "1", "2", "many"]
    assert [words.count(f"votes = {each}") for each in (0, 2, "many")] == [1, 1, 1]
    plan = backend.migrations.plan()[-1]
    assert (plan.state, plan.index == plan.target) == ("unfinished", False)
    assert again.migrations.rollback() == [model._kind]
    words.delete("votes = many")
    again.migrations.apply()
    assert again.collection(model).count("votes >= 0") == 3
    assert again.migrations.plan()[-1].target == again.migrations.plan()[-1].index
    again.migrations.finish()
    again.collection(model).delete("all")


def test_a_changed_type_leaves_the_older_program_all_its_answers(connect: Any) -> None:
    model, tickets = filled(connect)

    class Ticket(Document, coerce_numbers_to_str=True):
        title: Column[list[str]] = column()
        votes: Column[str] = column()

        @field_validator("title", mode="before")
        @classmethod
        def _split(cls, title: Any) -> Any:
            return title.split() if isinstance(title, str) else title

    words = connect(Ticket, migrate=False)
    words.migrations.apply()
    found = words.collection(Ticket)
    assert [found.count(each) for each in ("votes = 7", "title has ticket", "votes is present")] == [1, 25, 25]
    # The older program is asked through the new index until the rollback; then it has all documents as before.
    assert words.migrations.rollback() == [Ticket._kind]
    for each in (tickets, connect(model).collection(model)):
        assert [each.count(every) for every in ("votes >= 10", 'title = "ticket 7"', None)] == [15, 1, 25]
        assert [ticket.votes for ticket in each.find(order_by="-votes", limit=3)] == [24, 23, 22]
        assert each.aggregate(metrics=["sum(votes)"])[0]["sum(votes)"] == 300
        assert each.find(order_by="title", limit=2)[1].title == "ticket 1"
    tickets.save(model(pk="late", title="late", votes=7))
    words.migrations.apply()
    assert found.count("votes = 7") == 2
    words.migrations.finish()
    found.delete("all")


def test_running_text_is_added_and_removed_by_its_name(connect: Any) -> None:
    model, tickets = filled(connect)

    class Ticket(Document):
        title: Column[str] = column()
        votes: Column[int] = column()
        body: Column[str] = column(text=True, default="all is well")

    wordy = connect(Ticket, migrate=False)
    assert wordy.migrations.plan()[-1].added == ("body",)
    wordy.migrations.apply()
    assert wordy.collection(Ticket).count("body matches well") == 25
    wordy.migrations.finish()
    plain = connect(model, migrate=False)
    with pytest.raises(IndexOutdatedError, match=r"the columns body, which .* --remove body`"):
        plain.collection(model).save(model(title="new", votes=1))
    assert plain.migrations.plan(remove=["body"])[-1].removed == ("body",)
    plain.migrations.apply(remove=["body"])
    plain.migrations.finish()
    assert plain.migrations.plan()[-1].kept == ()
    plain.collection(model).save(model(title="new", votes=1))
    assert tickets.count() == 26
    tickets.delete("all")


def test_a_column_that_is_called_otherwise(connect: Any) -> None:
    _, tickets = filled(connect)
    model = renamed()
    backend = connect(model, migrate=False, allow_missing=True)
    backend.migrations.apply()
    assert [ticket.votes for ticket in tickets.find("votes >= 20", order_by="-votes", limit=3)] == [24, 23, 22]
    renamed_tickets = backend.collection(model)
    assert renamed_tickets.count("points = 0") == 25
    backend.migrations.finish()
    assert [ticket.votes for ticket in tickets.find(order_by="votes", limit=3)] == [0, 1, 2]
    assert len(renamed_tickets.find(order_by="-points", limit=None)) == 25
    tickets.delete("all")


def test_a_column_that_may_be_without_a_value(connect: Any) -> None:
    old_model, tickets = filled(connect)
    model = optional()
    newer = connect(model).collection(model)
    newer.save(model(title=None, votes=100))
    assert newer.count("title is missing") == 1
    assert [ticket.votes for ticket in newer.find(order_by="title", limit=None)][-1] == 100
    # The older program goes on, also where it is started again.
    assert tickets.count("title ~ 'ticket*'") == connect(old_model).collection(old_model).count("votes < 100") == 25
    newer.delete("all")
