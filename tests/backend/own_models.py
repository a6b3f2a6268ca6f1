"""Models of a user's, as the tests of own columns and own models have them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from relay_models import Column, Document, Run, RunRecord, column, metadata


def slowest(run: RunRecord) -> timedelta | None:
    """The longest call of a run."""
    return max((call.duration for call in run.calls if call.duration is not None), default=None)


def checked_region(run: RunRecord) -> str:
    """A function of a user's that fails for some runs."""
    if run.agent_id == "nowhere":
        raise LookupError("no region")
    return "eu"


class AcmeRun(Run):
    """Runs with the columns of a user."""

    tenant: Column[str | None] = column("Whose run it is.", value=metadata("tenant"))
    slowest_call: Column[timedelta | None] = column(slowest)
    regions: Column[list[str]] = column(lambda run: [f"r{len(run.calls)}", run.agent_id])
    score: Column[int | None] = column(lambda run: -len(run.calls) if run.calls else None)
    region: Column[str] = column(checked_region)


class Mood(Enum):
    """How a user feels."""

    GOOD = "good"
    BAD = "bad"


class Part(BaseModel):
    """A nested value."""

    name: str
    at: datetime | None = None
    more: dict[str, int] = {}


class Feedback(Document):
    """What a user said of a run."""

    run_id: Column[UUID] = column(links=Run)
    rating: Column[int] = column(ge=1, le=5)
    comment: Column[str] = column("What was said.", text=True)
    mood: Column[Mood | None] = column("How.")
    author: Column[str] = column(default="")
    price: Column[Decimal | None] = column("Paid.")
    day: Column[date | None] = column("When.")
    labels: Column[set[str]] = column("Which.")
    length: Column[int] = column("Of the comment.", value=lambda item: len(item.comment))
    parts: list[Part] = Field(default_factory=list)
    raw: dict[str, Any] = Field(default_factory=dict)
    blob: bytes = b""
    exact: Decimal = Decimal(0)
    naive: datetime | None = None


class Slot(Document, key=("room", "number"), ttl=timedelta(hours=1)):
    """A document with a natural key of two fields."""

    room: Column[str] = column("Where.")
    number: Column[int] = column("Which.")
    guest: str | None = None
    feedback: Column[str | None] = column("Of which.", links=Feedback)
