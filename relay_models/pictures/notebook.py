"""`register_notebook_formatters`: show records as pictures in IPython and Jupyter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from relay_models.pictures.run import Timeline
from relay_models.pictures.stability import StabilityBar
from relay_models.pictures.trie import TrieTree

__all__ = ["HtmlFormatter", "register_notebook_formatters"]


class HtmlFormatter(Protocol):
    """What is used of IPython's formatter for ``text/html``."""

    def for_type_by_name(self, type_module: str, type_name: str, func: Callable[[Any], str | None]) -> Any:
        """Register a function that shows the values of a type, by the type's name."""


def register_notebook_formatters(formatter: HtmlFormatter | None = None) -> bool:
    """Show runs as timelines, tries as trees and stability results as bars in a notebook.

    Importing `relay_models.pictures` in IPython or Jupyter calls this. The types are registered by name, so that
    none of them is imported for it.

    Args:
        formatter: Where to register them; IPython's own by default.

    Returns:
        Whether they were registered; False outside of IPython.
    """
    target = _running_formatter() if formatter is None else formatter
    if target is None:
        return False
    records = "relay_models.records"
    target.for_type_by_name(f"{records}.run", "RunRecord", lambda run: Timeline(run)._repr_html_())
    target.for_type_by_name(f"{records}.trie", "TrieEnvelope", lambda trie: TrieTree(trie)._repr_html_())
    target.for_type_by_name(
        f"{records}.stability", "StabilityAnalysisResult", lambda result: StabilityBar(result)._repr_html_()
    )
    target.for_type_by_name("relay_models.documents.run", "Run", _show_run)
    return True


def _show_run(run: Any) -> str | None:
    """The timeline of a `Run` that was read with its record; None, which means plain text, for any other."""
    return None if run.record is None else Timeline(run)._repr_html_()


def _running_formatter() -> HtmlFormatter | None:
    # Only IPython itself can be what runs this process, and then it is imported already.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    found: HtmlFormatter | None = None if shell is None else shell.display_formatter.formatters["text/html"]
    return found
