"""`SavedPages`: the saved questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay_models import SavedQuestion
from relay_models.web.site import timed

if TYPE_CHECKING:
    from relay_models.web.site import Site

__all__ = ["SavedPages"]


class SavedPages:
    """The list of saved questions, and the forms that change it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._saved = site.backend.saved

    @timed
    def saved(self, request: Request) -> Response:
        """The saved questions."""
        return self._site.page("saved.html", request, title="Saved questions", saved=self._saved.all(on_corrupt="skip"))

    async def save(self, request: Request) -> Response:
        """Save a question; POST."""

        def work(form: dict[str, str]) -> Response:
            names = tuple(name for name in form.get("columns", "").split(",") if name)
            question = SavedQuestion(
                form.get("name", "").strip(), form.get("filter", ""), names, form.get("order") or "-started_at"
            )
            self._saved.save(question)
            return RedirectResponse("/saved", 303)

        return await self._site.form(request, work)

    async def delete(self, request: Request) -> Response:
        """Delete a saved question; POST."""

        def work(form: dict[str, str]) -> Response:
            self._saved.delete(form.get("name", ""))
            return RedirectResponse("/saved", 303)

        return await self._site.form(request, work)
