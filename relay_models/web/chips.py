"""`chips`: links that put a condition into the filter, or take it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_models.pictures.text import plain
from relay_models.web.numbers import sure_state

if TYPE_CHECKING:
    from relay_models.web.question import Question

__all__ = ["PERIODS", "STORED_PERIODS", "Chip", "chips", "failures", "order_chips"]

PERIODS = (
    ("Last hour", "started_at >= -1h"),
    ("Today", "started_at = today"),
    ("Yesterday", "started_at = yesterday"),
    ("7 days", "started_at >= -7d"),
)
"""Filters that are offered beside the box."""
STORED_PERIODS = tuple((name, text.replace("started_at", "stored_at")) for name, text in PERIODS)
_ORDERS = (("Slowest first", "-duration"), ("Most tokens first", "-total_tokens"))


def failures() -> list[tuple[str, str]]:
    """The condition of runs that failed; of those without an end where no run says whether it failed."""
    state = sure_state()
    return [("Failed" if state == "failed" else "Unfinished", f"status = {state}")]


@dataclass(frozen=True, slots=True)
class Chip:
    """A link beside the filter box."""

    name: str
    url: str
    title: str
    is_chosen: bool


def chips(
    question: Question, conditions: Iterable[tuple[str, str]], link: Callable[[str], str], *, everything: str = "All"
) -> list[Chip]:
    """A chip that empties the filter, and one for each condition: a click puts it in, the next one takes it out.

    Args:
        question: what is shown.
        conditions: names and conditions. Of conditions on the same column only one holds.
        link: makes the URL of a filter.
        everything: the name of the first chip.
    """
    made = [Chip(everything, link(""), "no filter", question.filter.lower() in ("", "all"))]
    for name, condition in conditions:
        is_chosen = question.has(condition)
        title = f"without {condition}" if is_chosen else condition
        made.append(Chip(name, link(question.toggled(condition)), plain(title), is_chosen))
    return made


def order_chips(question: Question) -> list[Chip]:
    """Chips of the orders that runs are looked at most."""
    return [
        Chip(name, question.url(order="" if question.order == order else order), f"order: {order}",
             question.order == order)
        for name, order in _ORDERS
    ]  # fmt: skip
