"""A model of an application's own, and documents whose every text is an attempt to be more than data."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import Field

from relay_models import Column, Document, Run, column
from tests.web.hostile import ATTACKS

__all__ = ["Feedback", "hostile_feedback"]


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Feedback(Document):
    """What a user <b>said</b> of a run."""

    run_id: Column[str | None] = column("The run.", links=Run)
    author: Column[str] = column("Who said it.")
    topics: Column[list[str]] = column("What it is about.")
    stars: Column[int | None] = column("1 to 5.")
    mood: Column[Mood | None] = column()
    comment: Column[str] = column(text=True)
    raw: dict[str, Any] = Field(default_factory=dict)


def hostile_feedback() -> list[Feedback]:
    """A document for each attack."""
    return [
        Feedback(pk=text or "empty", run_id=text, author=text, topics=[text, "other"], comment=text, raw={text: [text]})
        for text in ATTACKS
    ]
