"""`ModelPages`: the documents of a user's own models, as tables and one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from relay_models.errors import NotFoundError
from relay_models.views import find_model, json_text, known_columns, model_name
from relay_models.views.formats import clip_text
from relay_models.web.chips import STORED_PERIODS, chips
from relay_models.web.listing import Listing
from relay_models.web.question import Question
from relay_models.web.rendering import cell_of
from relay_models.web.site import timed

if TYPE_CHECKING:
    from relay_models.web.site import Site

__all__ = ["ModelPages"]

MOST_CHARACTERS = 20_000
"""Maximum characters of one field on a page; the rest is in the raw JSON."""


class ModelPages:
    """The pages of own models."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._backend = site.backend
        self._listings: dict[str, Listing] = {}

    def _listing(self, request: Request) -> Listing:
        name = request.path_params["model"]
        model = find_model(self._backend, name)
        return self._listings.setdefault(name, Listing(self._site, self._backend.collection(model)))

    @timed
    def models(self, request: Request) -> Response:
        """The models, with how many documents each has."""
        models = self._backend.models

        def compute() -> Iterator[tuple[int, ...]]:
            counts: tuple[int, ...] = ()
            for model in models:
                counts = (*counts, self._backend.collection(model).count())
                yield counts

        answer = self._site.answer(request, "models", compute, is_shown_again=False)
        found = []
        for number, model in enumerate(models):
            about = (model.__doc__ or "").strip().partition("\n")[0]
            count = answer.value[number] if answer.value and number < len(answer.value) else None
            found.append((Question(document=model), model, about, count))
        return self._site.page("models.html", request, answer=answer, title="Models", models=found)

    @timed
    def table(self, request: Request) -> Response:
        """A page of documents."""
        listing = self._listing(request)
        rows = listing.rows(request)
        return self._site.page(
            "model.html", request, 400 if rows.error else 200, title=model_name(listing.document),
            chips=chips(rows.question, STORED_PERIODS, lambda text: rows.question.url(filter=text)), **rows.values,
        )  # fmt: skip

    def state(self, request: Request) -> Response:
        """How many documents are new."""
        return self._listing(request).state(request)

    def complete(self, request: Request) -> Response:
        """What can follow in the filter box."""
        return self._listing(request).complete(request)

    def export(self, request: Request) -> Response:
        """All documents that meet the filter, as a file."""
        return self._listing(request).export(request)

    def _item(self, request: Request) -> Any:
        listing = self._listing(request)
        key = request.query_params.get("id", "")
        collection: Any = self._backend.collection(listing.document)
        # The id is given as it is in the key, which says nothing of the fields that it is made of.
        page = collection.find(listing.document.columns()["pk"] == key, limit=1)
        if not page:
            raise NotFoundError(f"there is no {listing.document.__name__} {key!r}")
        return page[0]

    @timed
    def item(self, request: Request) -> Response:
        """A document: all of its fields."""
        item = self._item(request)
        document = type(item)
        columns = known_columns(document)
        fields = []
        for name, value in json.loads(item.model_dump_json(exclude={"pk"})).items():
            cell = cell_of(item, columns[name]) if name in columns else None
            shown = "" if value is None else value if isinstance(value, str) else json_text(value)
            fields.append((name, cell, *clip_text(shown, MOST_CHARACTERS)))
        return self._site.page(
            "item.html", request, title=f"{model_name(document)} {item.pk}", item=item, fields=fields,
            question=Question(document=document),
            python=f"backend.collection({document.__name__}).find({document.__name__}.pk == {item.pk!r})[0]",
        )  # fmt: skip

    def raw(self, request: Request) -> Response:
        """A document as JSON."""
        return Response(self._item(request).model_dump_json(), media_type="application/json")
