"""`SchemaPlugin`: a plugin of MkDocs that adds the schema reference of a user's models to the user's site."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mkdocs.config import config_options
from mkdocs.config.base import Config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import BasePlugin
from mkdocs.structure.files import File, Files

from relay_models.documents import DocumentKind
from relay_models.documents.kinds import KINDS, kinds_with
from relay_models.documents.model_modules import load_models
from relay_models.errors import RelayModelsError
from relay_models.schema.json_schema import json_schema
from relay_models.schema.markdown import kind_page, models_page

__all__ = ["SchemaOptions", "SchemaPlugin"]


class SchemaOptions(Config):  # type: ignore[no-untyped-call]
    """The options in ``mkdocs.yml``.

    Attributes:
        models: modules with models, as ``--models`` of the command line takes them; by default those that the
            environment or the project's pyproject.toml names.
        title: the heading of the overview, and of the section in the navigation.
        folder: where the pages are in the site.
        built_in: whether the built-in document types are shown, too.
        json_schema: whether each page has a JSON Schema beside it.
        diagrams: whether types inside types are drawn; the site has to render Mermaid.
    """

    models = config_options.ListOfItems(config_options.Type(str), default=[])
    title = config_options.Type(str, default="Schema")
    folder = config_options.Type(str, default="schema")
    built_in = config_options.Type(bool, default=False)
    json_schema = config_options.Type(bool, default=True)
    diagrams = config_options.Type(bool, default=False)


class SchemaPlugin(BasePlugin[SchemaOptions]):  # type: ignore[no-untyped-call]
    """Adds an overview and a page for each model; a site with a `nav` of its own gets a section at its end."""

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Load the models, and name their pages in the navigation."""
        root = str(Path(config.config_file_path or ".").resolve().parent)
        if root not in sys.path:
            sys.path.insert(0, root)
        self._kinds = self._load()
        pages = {name: f"{self._folder}/{name}.md" for name in ("index", *self._kinds)}
        if config.nav is not None and not any(page in _paths(config.nav) for page in pages.values()):
            titles = {name: kind.title for name, kind in self._kinds.items()}
            section: list[Any] = [pages["index"], *({titles[name]: pages[name]} for name in self._kinds)]
            config.nav.append({self.config.title: section})
        return config

    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        """Add the pages."""
        for address, content in self._pages().items():
            files.append(File.generated(config, f"{self._folder}/{address}", content=content))
        return files

    @property
    def _folder(self) -> str:
        return self.config.folder.strip("/")

    def _load(self) -> dict[str, DocumentKind]:
        try:
            models = load_models(",".join(self.config.models) or None)
        except RelayModelsError as error:
            raise PluginError(f"relay-models: {error}") from None
        if not models and not self.config.built_in:
            raise PluginError("relay-models: no models: name their modules, as in models: [package.module]")
        kinds = kinds_with(models)
        own = {name for name, kind in kinds.items() if kind.document in models}
        return {name: kind for name, kind in kinds.items() if name in own or (self.config.built_in and name in KINDS)}

    def _pages(self) -> dict[str, str]:
        pages = {"index.md": models_page(self.config.title, self._kinds)}
        for name, kind in self._kinds.items():
            schema = f"{name}.schema.json" if self.config.json_schema else ""
            page = kind_page(kind, schema_link=schema, site=True, diagrams=self.config.diagrams)
            pages[f"{name}.md"] = page
            if schema:
                pages[schema] = json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"
        return pages


def _paths(nav: Any) -> set[str]:
    """All pages that a navigation names."""
    if isinstance(nav, str):
        return {nav}
    inner = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ()
    return {path for part in inner for path in _paths(part)}
