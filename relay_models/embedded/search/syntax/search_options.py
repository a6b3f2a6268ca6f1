"""`read_search`: the options of FT.SEARCH, parsed from its arguments."""

from __future__ import annotations

from relay_models.embedded.search.arguments import Arguments, display
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.syntax.request import (
    Arrangement,
    QueryRequest,
    read_common,
    read_filter,
    read_markup,
    read_query_options,
)

__all__ = ["read_search"]


def read_search(arguments: Arguments, settings: Settings) -> tuple[QueryRequest, Arrangement]:
    """FT.SEARCH's arguments after the index's name. Raises `SearchError`."""
    request = QueryRequest(arguments.take(), settings.numbers["DEFAULT_DIALECT"])
    arrangement = Arrangement()
    started = arguments.position
    while arguments:
        if read_query_options(request, arguments) or read_common(
            request, arrangement, arguments, settings, search=True
        ):
            continue
        if read_markup(request, arguments):
            continue
        if arguments.accept(b"FILTER"):
            request.filters.append(read_filter(arguments))
        elif arguments.accept(b"GEOFILTER"):
            raise UnsupportedError("geo queries are")
        elif arguments.accept(b"WITHCOUNT"):
            request.with_count = True
        elif arguments.accept(b"WITHOUTCOUNT"):
            request.with_count = False
        else:
            word = arguments.peek()
            for name in (b"GROUPBY", b"APPLY", b"LOAD"):
                if word.upper() == name:
                    raise SearchError(f"{display(name)} is not supported on FT.SEARCH")
            position = arguments.position - started + 1
            raise SearchError(f"Unknown argument `{display(word)}` at position {position} for <main>")
    if request.explain_score and not request.with_scores:
        raise SearchError("EXPLAINSCORE must be accompanied with WITHSCORES")
    if request.explain_score:
        raise UnsupportedError("EXPLAINSCORE is")
    if request.add_scores:
        raise SearchError("ADDSCORES is not supported on FT.SEARCH")
    if request.cursor is not None:
        raise SearchError("Cursor is not supported on FT.SEARCH")
    marked = request.markup.highlight or request.markup.summarize
    request.bare = arrangement.sorted and not request.with_scores and not marked
    request.settle_count()
    return request, arrangement
