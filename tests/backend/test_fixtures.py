"""Tests of a user's get a backend with the user's models in one line."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from relay_models.testing import async_backend_fixture, backend_fixture
from tests.backend.own_models import AcmeRun, Feedback
from tests.backend.stores import make_run

backend = backend_fixture(AcmeRun, Feedback)
async_backend = async_backend_fixture(AcmeRun, Feedback, index_text=True)


def test_sync(backend: Any) -> None:
    backend.store_run(make_run("a"))
    assert backend.runs.count(AcmeRun.region == "eu") == 1
    feedback = backend.collection(Feedback)
    feedback.save(Feedback(run_id=uuid4(), rating=5, comment="fine"))
    assert [item.rating for item in feedback.find()] == [5]


async def test_async(async_backend: Any) -> None:
    assert async_backend.index_text
    assert await async_backend.collection(Feedback).count() == 0
