"""A program with an older version of a user's model: it saves and reads tickets until it is killed.

``python old_models.py URL PREFIX`` prints the id of each ticket when it is saved, and fails where it finds fewer than
before.
"""

import sys

from relay_models import Column, Document, column
from relay_models.sync import RedisBackend


class Ticket(Document):
    """A ticket, as the older version knows it."""

    title: Column[str] = column()
    votes: Column[int] = column()


def main() -> None:
    """Save, change and count tickets."""
    _, url, prefix = sys.argv
    # Once the new version's columns are there, only a program that is told so may leave them out.
    with RedisBackend.connect(url, prefix, models=[Ticket], allow_missing=True) as backend:
        tickets = backend.collection(Ticket)
        before, number = 0, 0
        while True:
            number += 1
            ticket = Ticket(title=f"ticket {number}", votes=number)
            tickets.save(ticket)
            tickets.update(ticket, votes=-number)
            count = tickets.count(Ticket.votes < 0)
            assert count > before, f"{count} tickets, and before {before}"
            before = count
            assert tickets.find(Ticket.votes == -number, order_by="-stored_at", limit=1)[0].title == ticket.title
            print(ticket.pk, flush=True)


if __name__ == "__main__":
    main()
