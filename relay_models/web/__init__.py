"""A local web page over a store (the extra ``web``): runs, numbers, agents, comparisons, and a static report.

It uses only the public API of the package, so it works over every backend and shows every column that is declared.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from relay_models.errors import MissingExtraError

if TYPE_CHECKING:
    from relay_models.web.app import create_app
    from relay_models.web.report import write_report
    from relay_models.web.serving import serve_web

__all__ = ["create_app", "serve_web", "write_report"]

_HOMES = {"create_app": "app", "serve_web": "serving", "write_report": "report"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "jinja2", "markupsafe"):
            raise
        raise MissingExtraError(
            f"the web page needs {error.name}, which is not installed: pip install 'relay-models[web]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value
