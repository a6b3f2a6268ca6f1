"""`read_aggregate`: the steps of FT.AGGREGATE, parsed from its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay_models.embedded.search.arguments import NO_ARGUMENT, OUT_OF_BOUNDS, Arguments, display, parse_integer
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.syntax.request import (
    Arrangement,
    QueryRequest,
    read_common,
    read_query_options,
)

__all__ = ["Apply", "Filter", "Group", "Load", "ReducerArguments", "Step", "read_aggregate"]


@dataclass(slots=True)
class Load:
    """(name, path) pairs; `everything` for LOAD *."""

    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    everything: bool = False


@dataclass(slots=True)
class ReducerArguments:
    name: bytes
    arguments: Arguments
    alias: bytes | None


@dataclass(slots=True)
class Group:
    by: list[bytes]
    reducers: list[ReducerArguments] = field(default_factory=list)


@dataclass(slots=True)
class Apply:
    expression: bytes
    alias: bytes


@dataclass(slots=True)
class Filter:
    expression: bytes


Step = Load | Group | Apply | Filter | Arrangement


def read_aggregate(arguments: Arguments, settings: Settings) -> tuple[QueryRequest, list[Step]]:
    """FT.AGGREGATE's arguments after the index's name. Raises `SearchError`."""
    request = QueryRequest(arguments.take(), settings.numbers["DEFAULT_DIALECT"])
    steps: list[Step] = []
    started = arguments.position
    in_query = True
    while arguments:
        word = arguments.peek().upper()
        if in_query and _read_query_option(request, arguments):
            continue
        if _read_common(request, steps, arguments, settings):
            continue
        if in_query:
            in_query = False
            request.settle_count()
        if word == b"GROUPBY":
            arguments.take()
            steps.append(_group(arguments))
        elif word == b"APPLY":
            arguments.take()
            steps.append(_apply(arguments))
        elif word == b"FILTER":
            arguments.take()
            steps.append(Filter(_expression(arguments)))
        elif word == b"LOAD":
            arguments.take()
            steps.append(_load(arguments))
        else:
            position = arguments.position - started + 1
            raise SearchError(f"Unknown argument `{display(arguments.peek())}` at position {position} for <main>")
    if in_query:
        request.settle_count()
    request.bare = not request.add_scores
    return request, steps


def _read_query_option(request: QueryRequest, arguments: Arguments) -> bool:
    word = arguments.peek().upper()
    if word in (b"HIGHLIGHT", b"SUMMARIZE"):
        raise SearchError(f"{display(word)} is not supported on FT.AGGREGATE")
    if word == b"RETURN":
        raise SearchError("RETURN is not supported on FT.AGGREGATE")
    if word in (b"WITHCOUNT", b"WITHOUTCOUNT"):
        arguments.take()
        request.with_count = word == b"WITHCOUNT"
        return True
    return read_query_options(request, arguments)


def _read_common(request: QueryRequest, steps: list[Step], arguments: Arguments, settings: Settings) -> bool:
    arrangement = steps[-1] if steps and isinstance(steps[-1], Arrangement) else Arrangement()
    found = read_common(request, arrangement, arguments, settings, search=False)
    if found and (arrangement.sorted or arrangement.limited) and (not steps or steps[-1] is not arrangement):
        steps.append(arrangement)
    return found


def _group(arguments: Arguments) -> Group:
    by = arguments.counted("GROUPBY").values
    for name in by:
        if not name.startswith(b"@"):
            text = display(name)
            raise SearchError(f"Bad arguments for GROUPBY: Unknown property `{text}`. Did you mean `@{text}`?")
    group = Group([name[1:] for name in by])
    while arguments.accept(b"REDUCE"):
        if not arguments:
            raise SearchError("Bad arguments for REDUCE: SUCCESS")
        name = arguments.take()
        part = arguments.counted(display(name))
        alias = None
        if arguments.accept(b"AS"):
            alias = arguments.text("AS")
        group.reducers.append(ReducerArguments(name, part, alias))
    return group


def _expression(arguments: Arguments) -> bytes:
    return arguments.text("APPLY/FILTER")


def _apply(arguments: Arguments) -> Apply:
    expression = _expression(arguments)
    alias = expression
    if arguments.accept(b"AS"):
        if not arguments:
            raise SearchError("AS needs argument")
        alias = arguments.take()
    return Apply(expression, alias)


def _load(arguments: Arguments) -> Load:
    if not arguments:
        raise SearchError(f"Bad arguments for LOAD: {NO_ARGUMENT}")
    word = arguments.take()
    count = parse_integer(word)
    if count is None:
        if word != b"*":
            raise SearchError("Bad arguments for LOAD: Expected number of fields or `*`")
        return Load(everything=True)
    if count < 0:
        raise SearchError(f"Bad arguments for LOAD: {OUT_OF_BOUNDS}")
    if count > arguments.remaining:
        raise SearchError(f"Bad arguments for LOAD: {NO_ARGUMENT}")
    part = Arguments(arguments.values[arguments.position : arguments.position + count])
    arguments.position += count
    load = Load()
    while part:
        path = part.take().removeprefix(b"@")
        name = path
        if part.accept(b"AS"):
            if not part:
                raise SearchError("LOAD path AS name - must be accompanied with NAME")
            name = part.take()
            if name.upper() == b"AS":
                raise SearchError("Alias for LOAD cannot be `AS`")
        load.fields.append((name, path))
    return load
