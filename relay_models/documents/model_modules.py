"""`load_models`: a user's document classes, by the modules that declare them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay_models._checks import shown
from relay_models._project import project_setting
from relay_models.errors import InvalidConfigurationError

if TYPE_CHECKING:
    from relay_models.documents import Document

__all__ = ["VARIABLE", "load_models"]

VARIABLE = "RELAY_MODELS_MODELS"
"""The environment variable that names models where nothing else does."""


def load_models(given: str | None) -> list[type[Document]]:
    """Import the models that are named here, else by the environment, else by the project's pyproject.toml.

    A module gives its subclass of `Run` and its subclasses of `Document`; ``module:Class`` only that class.

    Args:
        given: modules with commas between.

    Raises:
        InvalidConfigurationError: a module cannot be imported, or has no model.
    """
    if given is None:
        given = os.environ.get(VARIABLE) or None
    names = _configured() if given is None else [name.strip() for name in given.split(",") if name.strip()]
    found: dict[type[Document], None] = {}
    for name in names:
        found.update(dict.fromkeys(_models_of(name)))
    return list(found)


def _configured() -> list[str]:
    """``models`` of ``[tool.relay-models]`` in the nearest pyproject.toml."""
    path, names = project_setting("models")
    if path is None or names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidConfigurationError(f"{path}: [tool.relay-models] models is a list of modules, not {shown(names)}")
    if names and str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    return names


def _models_of(name: str) -> Iterable[type[Document]]:
    from relay_models.documents import Document, Run  # lazy: start-up time

    module_name, _, class_name = name.partition(":")
    if module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("/", ".").lstrip(".")
        raise InvalidConfigurationError(f"models: name the module as it is imported, {dotted!r}, not {module_name!r}")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as for `python -m`
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever the module raises
        said = f"{error}" if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise InvalidConfigurationError(f"models: {module_name!r} cannot be imported: {said}") from error

    def is_model(value: Any) -> bool:
        if not isinstance(value, type) or not issubclass(value, Document) or value in (Document, Run):
            return False
        return issubclass(value, Run) or value.is_own_model()

    if class_name:
        wanted = getattr(module, class_name, None)
        if not is_model(wanted):
            raise InvalidConfigurationError(f"models: {module_name} has no model {class_name!r}")
        assert wanted is not None
        return [wanted]
    own = [value for value in vars(module).values() if is_model(value)]
    # Of classes that extend each other, the last one is meant.
    own = [model for model in own if not any(other is not model and issubclass(other, model) for other in own)]
    if not own:
        raise InvalidConfigurationError(f"models: {module_name} has no subclass of Run or Document")
    return own
