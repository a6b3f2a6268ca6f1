"""`create_app`: the page as a Starlette application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay_models.errors import RelayModelsError
from relay_models.web.model_pages import ModelPages
from relay_models.web.overview_pages import OverviewPages
from relay_models.web.rendering import FILES, static_file
from relay_models.web.run_pages import RunPages
from relay_models.web.saved_pages import SavedPages
from relay_models.web.security import Guard
from relay_models.web.site import Site

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["create_app"]


def create_app(backend: RedisBackend, *, password: str | None = None, read_only: bool = False) -> Starlette:
    """Create the page over a store.

    Args:
        backend: The store, a sync backend of `relay_models.sync`; the application does not close it. Models of your
            own that it was opened with have tables.
        password: What the browser asks for; None for no password, in which case only loopback host names are served.
        read_only: Offer no form that writes, and refuse those that are sent.

    Returns:
        A Starlette application, for any ASGI server.
    """
    site = Site(backend, read_only)
    runs, models, overview, saved = RunPages(site), ModelPages(site), OverviewPages(site), SavedPages(site)
    routes = [
        Route("/", _home),
        Route("/runs", runs.runs),
        Route("/runs/export", runs.listing.export),
        Route("/runs/state.json", runs.listing.state),
        Route("/runs/complete.json", runs.listing.complete),
        Route("/runs/{run_id}", runs.run),
        Route("/runs/{run_id}/raw.json", runs.raw),
        Route("/sessions", overview.sessions),
        Route("/numbers", overview.numbers),
        Route("/agents", overview.agents),
        Route("/agents/agent", overview.agent),
        Route("/models", models.models),
        Route("/models/{model}", models.table),
        Route("/models/{model}/export", models.export),
        Route("/models/{model}/state.json", models.state),
        Route("/models/{model}/complete.json", models.complete),
        Route("/models/{model}/item", models.item),
        Route("/models/{model}/raw.json", models.raw),
        Route("/compare", overview.compare),
        Route("/saved", saved.saved),
        Route("/static/{name}", _static),
    ]
    if not read_only:
        routes += [Route("/saved/save", saved.save, methods=["POST"])]
        routes += [Route("/saved/delete", saved.delete, methods=["POST"])]
        routes += [Route("/runs/{run_id}/label", runs.label, methods=["POST"])]
    handlers: dict[Any, Any] = {RelayModelsError: site.on_error, 404: site.on_missing}
    return Starlette(
        routes=routes, middleware=[Middleware(Guard, password=password)], exception_handlers=handlers
    )  # fmt: skip


def _home(request: Request) -> Response:
    return RedirectResponse("/runs", 302)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        return Response("not found\n", 404)
    return Response(static_file(name), media_type=FILES[name])
