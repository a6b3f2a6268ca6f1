"""`SavedQuestions`: the named questions that a store keeps."""

from __future__ import annotations

from typing import Any

from relay_models._checks import shown
from relay_models.backend._async.store import Store
from relay_models.columns.column import Column
from relay_models.errors import CorruptDocumentError, CorruptDocumentsError, NotFoundError
from relay_models.query.options import OnCorrupt, check_outcomes
from relay_models.query.saved import SavedQuestion, check_name, decode_questions, encode_question

__all__ = ["SavedQuestions"]


class SavedQuestions:
    """Named filters with columns and an order, kept in the store; reached as ``backend.saved``.

    Example:
        ```python
        await backend.saved.save(SavedQuestion("slow", "duration > 2s", order="-duration"))
        question = await backend.saved.get("slow")
        page = await backend.find_runs(question.find())
        ```
    """

    def __init__(self, store: Store, columns: dict[str, Column[Any]]) -> None:
        self._store = store
        self._columns = columns
        self._key = f"{store.keys.prefix}@saved:questions".encode()

    async def save(self, question: SavedQuestion) -> None:
        """Save a question; one with the same name is replaced.

        Raises:
            QueryError: the filter, a column or the order means nothing in this store.
        """
        question.check(self._columns)
        execute = self._store.transport.execute
        await execute("JSON.SET", self._key, "$", "{}", "NX")
        await execute("JSON.SET", self._key, f'$["{question.name}"]', encode_question(question))

    async def all(self, *, on_corrupt: OnCorrupt = "raise") -> list[SavedQuestion]:
        """List the questions, sorted by name.

        Args:
            on_corrupt: whether questions that cannot be read, such as those of a later release, are an error or left
                out.

        Raises:
            CorruptDocumentsError: some cannot be read; the others are in its ``good``.
        """
        check_outcomes(on_corrupt=on_corrupt)
        questions, errors = await self._read()
        if errors and on_corrupt == "raise":
            raise CorruptDocumentsError(list(errors.values()), questions)
        return questions

    async def get(self, name: str) -> SavedQuestion:
        """Get a question by its name.

        Raises:
            NotFoundError: there is none with that name; the message lists those there are.
            CorruptDocumentError: it cannot be read.
        """
        questions, errors = await self._read()
        for question in questions:
            if question.name == name:
                return question
        if name in errors or "" in errors:
            raise errors.get(name) or errors[""]
        known = ", ".join(question.name for question in questions) or "none"
        raise NotFoundError(f"there is no saved question {shown(name)}; saved are: {known}")

    async def _read(self) -> tuple[list[SavedQuestion], dict[str, CorruptDocumentError]]:
        return decode_questions(await self._store.transport.execute("JSON.GET", self._key, "$"), self._key)

    async def delete(self, name: str) -> bool:
        """Delete a question and return whether there was one."""
        check_name(name)
        return bool(await self._store.transport.execute("JSON.DEL", self._key, f'$["{name}"]'))
