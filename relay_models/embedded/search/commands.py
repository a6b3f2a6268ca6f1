"""The FT.* commands, each declared beside its handler: `search_command`. `SEARCH_COMMANDS` is the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fakeredis._helpers import OK, SimpleString

from relay_models.embedded.search.aggregate.cursors import Cursor
from relay_models.embedded.search.aggregate.pipeline import Pipeline
from relay_models.embedded.search.arguments import Arguments, display, parse_integer
from relay_models.embedded.search.catalog import Catalog, Index
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.schema import FieldType, parse_fields, parse_index
from relay_models.embedded.search.index.tables import Tables, value_column
from relay_models.embedded.search.index.tokenizer import fold
from relay_models.embedded.search.reply.aggregate_results import shape
from relay_models.embedded.search.reply.explain import explain
from relay_models.embedded.search.reply.info import describe
from relay_models.embedded.search.reply.profile import Stopwatch, profile
from relay_models.embedded.search.reply.search_results import Search, search
from relay_models.embedded.search.syntax.aggregate_steps import read_aggregate
from relay_models.embedded.search.syntax.request import check_expand
from relay_models.embedded.search.syntax.search_options import read_search

__all__ = ["SEARCH_COMMANDS", "SearchCommand", "search_command"]

Handler = Callable[[Catalog, Arguments, int], Any]
"""Takes the catalog, the arguments and the version of RESP; returns the reply in the shape of that version."""


@dataclass(frozen=True, slots=True)
class SearchCommand:
    """What the server, ACLs and COMMAND INFO have to know of an FT.* command."""

    name: str
    run: Handler | None
    """None for a command that only the real server has."""
    least: int = 0
    """Minimum number of arguments after the name."""
    most: int | None = None
    """Maximum number of arguments; None for any number."""
    index: int | None = 0
    """Which argument names the index; None where none does."""
    writes: bool = False
    """Whether it may change an index, an alias, a dictionary or a document."""
    set_reply: bool = False
    """Whether RESP3 has the reply as a set."""

    @property
    def categories(self) -> str:
        """The ACL categories."""
        return f"@search {'@write' if self.writes else '@read'} @slow"

    @property
    def arity(self) -> int:
        """The number of words as COMMAND INFO gives it: negative where more may follow."""
        return self.least + 1 if self.least == self.most else -(self.least + 1)


SEARCH_COMMANDS: dict[str, SearchCommand] = {}
"""The commands by name (``FT.SEARCH``)."""


def search_command(
    name: str, least: int, most: int | None, *, index: int | None = 0, writes: bool = False, set_reply: bool = False
) -> Callable[[Handler], Handler]:
    """Declare the function below as the handler of an FT.* command; the parameters are those of `SearchCommand`.

    Nothing else has to know of a new command.
    """

    def declare(run: Handler) -> Handler:
        SEARCH_COMMANDS[name] = SearchCommand(name, run, least, most, index, writes, set_reply)
        return run

    return declare


def unsupported(name: str, *, index: int | None = 0, writes: bool = False) -> None:
    """Declare a command that only the real server has: it is known, and refused with a reason."""
    SEARCH_COMMANDS[name] = SearchCommand(name, None, index=index, writes=writes)


# Indexes


@search_command("FT.CREATE", 1, None, index=None, writes=True)
def _create(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    name = arguments.take()
    if arguments.remaining < 3:
        raise SearchError("wrong number of arguments for '_FT.CREATE' command")
    if catalog.has(name):
        raise SearchError("Index already exists")
    try:
        spec = parse_index(name, arguments)
    except UnsupportedError as error:
        catalog.refuse(name, str(error))
        raise
    index = catalog.create(spec)
    if "SKIPINITIALSCAN" not in spec.options:
        catalog.fill(index)
    return OK


@search_command("FT.ALTER", 1, None, writes=True)
def _alter(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    if arguments.remaining < 3:
        raise SearchError("wrong number of arguments for '_FT.ALTER' command")
    skip = arguments.accept(b"SKIPINITIALSCAN")
    if not arguments.accept(b"SCHEMA"):
        raise SearchError("ALTER must be followed by SCHEMA")
    if not arguments.accept(b"ADD"):
        raise SearchError("Unknown action passed to ALTER SCHEMA")
    if not arguments:
        raise SearchError("No fields provided")
    catalog.add_fields(index, parse_fields(index.spec, arguments))
    index.spec.filling = not skip
    catalog.save(index)
    return OK


@search_command("FT.DROPINDEX", 1, None, writes=True)
def _drop_index(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    if arguments.remaining > 1:
        raise SearchError("wrong number of arguments for '_FT.DROPINDEX' command")
    with_documents = False
    if arguments:
        word = arguments.take()
        if word.upper() not in (b"DD", b"KEEPDOCS", b"_FORCEKEEPDOCS"):
            raise SearchError("Unknown argument")
        with_documents = word.upper() == b"DD"
    catalog.drop(index, with_documents=with_documents)
    return OK


@search_command("FT.DROP", 1, 2, writes=True)
def _drop_with_documents(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    # The deprecated command: the documents are deleted too unless KEEPDOCS is given.
    index = catalog.index(arguments.take())
    catalog.drop(index, with_documents=not arguments.accept(b"KEEPDOCS"))
    return OK


# Deprecated commands, which read and delete documents


@search_command("FT.GET", 2, 2)
def _get(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    return _fields(catalog, index, arguments.take())


@search_command("FT.MGET", 2, None)
def _get_many(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    return [_fields(catalog, index, key) for key in arguments.rest()]


def _fields(catalog: Catalog, index: Index, key: bytes) -> list[bytes] | None:
    loaded = catalog.documents.load(key) if index.indexer.holds(key) else None
    if loaded is None:
        return None
    kind, document = loaded
    if kind == "json":
        return [b"$", catalog.documents.json_text(key) or b"null"]
    return [part for pair in document.items() for part in pair]


@search_command("FT.DEL", 2, 3, writes=True)
def _delete(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    key = arguments.take()
    if not index.indexer.holds(key):
        return 0
    catalog.documents.delete(key)
    return 1


@search_command("FT._LIST", 0, 1, index=None, set_reply=True)
def _list(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    return catalog.names


@search_command("FT.SEARCH", 2, None)
def _search(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take(), request=True)
    return search(catalog.connection, index.spec, catalog.documents, catalog.settings, arguments, protocol)


@search_command("FT.INFO", 1, 1)
def _info(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    return describe(catalog.connection, index.spec, index.indexer.last, catalog.cursors, protocol)


@search_command("FT.AGGREGATE", 2, None)
def _aggregate(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take(), request=True)
    request, steps = read_aggregate(arguments, catalog.settings)
    check_expand(request, protocol)
    spec = index.spec
    pipeline = Pipeline(catalog.connection, spec, catalog.documents, catalog.settings, request, steps)
    if request.cursor is None:
        reply, _ = shape(pipeline, None, protocol)
        return reply
    options = request.cursor
    reply, more = shape(pipeline, options.count, protocol)
    if not more:
        return [reply, 0]
    cursor = Cursor(spec.name, pipeline, options.count, options.max_idle)
    return [reply, catalog.cursors.add(cursor, catalog.settings.numbers["INDEX_CURSOR_LIMIT"])]


@search_command("FT.CURSOR", 3, None, index=1)
def _cursor(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    action = arguments.take().upper()
    catalog.index(arguments.take())
    text = arguments.take()
    number = parse_integer(text)
    if number is None:
        raise SearchError("Bad cursor ID")
    if action not in (b"READ", b"DEL", b"GC"):
        raise SearchError("Unknown subcommand")
    if action == b"GC":
        return 0
    cursor = catalog.cursors.take(number)
    if action == b"DEL":
        if cursor is None:
            raise SearchError("Cursor does not exist")
        return OK
    count = None
    if arguments:
        if not arguments.accept(b"COUNT"):
            raise SearchError(f"Unknown argument `{display(arguments.peek())}`")
        if arguments:
            count = parse_integer(arguments.peek())
            if count is None:
                raise SearchError(f"Bad value for COUNT: `{display(arguments.peek())}`")
    if cursor is None:
        raise SearchError(f"Cursor not found, id: {number}")
    reply, more = shape(cursor.pipeline, count if count and count > 0 else cursor.count, protocol)
    if not more:
        return [reply, 0]
    catalog.cursors.put_back(number, cursor)
    return [reply, number]


@search_command("FT.EXPLAIN", 2, None)
def _explain(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    return _explained(catalog, arguments).encode()


@search_command("FT.EXPLAINCLI", 2, None)
def _explain_lines(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    return [line.encode() for line in _explained(catalog, arguments).split("\n")]


def _explained(catalog: Catalog, arguments: Arguments) -> str:
    index = catalog.index(arguments.take())
    request, _ = read_search(arguments, catalog.settings)
    request.bare = True
    selection = Selection(catalog.connection, index.spec, catalog.settings, request)
    return explain(selection)


@search_command("FT.PROFILE", 4, None)
def _profile(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    watch = Stopwatch()
    name, kind = arguments.take(), arguments.take().upper()
    if kind not in (b"SEARCH", b"AGGREGATE"):
        raise SearchError("No `SEARCH` or `AGGREGATE` provided")
    limited = arguments.accept(b"LIMITED")
    if not arguments.accept(b"QUERY"):
        raise SearchError("The QUERY keyword is expected")
    if not arguments:
        raise SearchError("wrong number of arguments for 'FT.PROFILE' command")
    spec = catalog.index(name).spec
    connection, documents, settings = catalog.connection, catalog.documents, catalog.settings
    if kind == b"AGGREGATE":
        request, steps = read_aggregate(arguments, settings)
        watch.read = watch.now()
        if request.cursor is not None:
            raise SearchError("FT.PROFILE does not support cursor")
        check_expand(request, protocol)
        pipeline = Pipeline(connection, spec, documents, settings, request, steps, watch.trace)
        watch.planned = watch.now()
        reply, _ = shape(pipeline, None, protocol)
        return profile(pipeline.selection, reply, watch, protocol, limited=limited)
    request, arrangement = read_search(arguments, settings)
    watch.read = watch.now()
    search = Search(connection, spec, documents, settings, request, arrangement, protocol)
    watch.planned = watch.now()
    reply = search.reply()
    # One SQL statement does everything, so all of the time is that of the first step.
    spent = watch.now() - watch.planned
    watch.steps = [(step, spent, rows) for step, rows in search.steps(search.selection.count())]
    return profile(search.selection, reply, watch, protocol, limited=limited)


# Synonyms and dictionaries


@search_command("FT.SYNUPDATE", 3, None, writes=True)
def _synonyms_update(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.find(arguments.take())
    if index is None:
        raise SearchError("Unknown index name")
    group = arguments.take()
    skip = arguments.accept(b"SKIPINITIALSCAN")
    index.spec.add_synonyms(group, [fold(word) for word in arguments.rest()])
    catalog.rebuild_indexer(index)
    catalog.save(index)
    if not skip:
        catalog.fill(index)
    return OK


@search_command("FT.SYNDUMP", 1, 1)
def _synonyms(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    name = arguments.take()
    index = catalog.find(name)
    if index is None:
        raise SearchError(f"{display(name)}: no such index")
    if protocol >= 3:
        return dict(index.spec.synonyms)
    return [part for pair in index.spec.synonyms for part in pair]


@search_command("FT.DICTADD", 2, None, index=None, writes=True)
def _dictionary_add(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    return catalog.dictionaries.add(arguments.take(), arguments.rest())


@search_command("FT.DICTDEL", 2, None, index=None, writes=True)
def _dictionary_delete(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    return catalog.dictionaries.delete(arguments.take(), arguments.rest())


@search_command("FT.DICTDUMP", 1, 1, index=None, set_reply=True)
def _dictionary(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    return catalog.dictionaries.words(arguments.take())


@search_command("FT.TAGVALS", 2, 2, set_reply=True)
def _tag_values(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    index = catalog.index(arguments.take())
    field = index.spec.field(arguments.take())
    if field is None:
        raise SearchError("No such field")
    if field.type is not FieldType.TAG:
        raise SearchError("Not a tag field")
    tables = Tables(index.spec.number)
    tables.prepare(catalog.connection, index.spec, field)
    sql = (
        f"SELECT {value_column(field)} FROM {tables.docs} WHERE {value_column(field)} IS NOT NULL"
        f" UNION SELECT tag FROM {tables.tags} WHERE field = ? ORDER BY 1"
    )
    return [tag for (tag,) in catalog.connection.execute(sql, (field.number,))]


@search_command("FT.CONFIG", 1, None, index=None)
def _config(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    action = arguments.take().upper()
    if action == b"GET":
        if not arguments:
            raise SearchError("wrong number of arguments for 'FT.CONFIG' command")
        pairs = catalog.settings.get(arguments.take())
        return {pair[0]: pair[1] for pair in pairs} if protocol >= 3 else pairs
    if action == b"SET":
        if not arguments:
            raise SearchError("wrong number of arguments for 'FT.CONFIG' command")
        catalog.settings.set(arguments.take(), arguments)
        return SimpleString(b"EXCESSARGS") if arguments else OK
    if action == b"HELP":
        return []
    return SimpleString(b"No such configuration action")


# Aliases


@search_command("FT.ALIASADD", 2, 2, index=1, writes=True)
def _alias_add(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    alias, name = arguments.take(), arguments.take()
    index = _named(catalog, name)
    if catalog.has_alias(alias):
        raise SearchError("Alias already exists")
    if catalog.has(alias):
        raise SearchError("Alias conflicts with an existing index name")
    catalog.set_alias(alias, index)
    return OK


@search_command("FT.ALIASUPDATE", 2, 2, index=1, writes=True)
def _alias_update(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    alias, name = arguments.take(), arguments.take()
    index = _named(catalog, name)
    _require_no_index(catalog, alias)
    catalog.set_alias(alias, index)
    return OK


@search_command("FT.ALIASDEL", 1, 1, index=None, writes=True)
def _alias_delete(catalog: Catalog, arguments: Arguments, protocol: int) -> Any:
    alias = arguments.take()
    _require_no_index(catalog, alias)
    if not catalog.delete_alias(alias):
        raise SearchError("Alias does not exist")
    return OK


def _named(catalog: Catalog, name: bytes) -> Index:
    """The index of this name, which must not be an alias."""
    index = catalog.index(name)
    if not catalog.has(name):
        raise SearchError("Unknown index name (or name is an alias itself)")
    return index


def _require_no_index(catalog: Catalog, alias: bytes) -> None:
    if catalog.has(alias):
        raise SearchError("Alias does not belong to provided spec")


# Commands that only the real server has

unsupported("FT.SPELLCHECK")
unsupported("FT.HYBRID")
unsupported("FT.SUGADD", index=None, writes=True)
unsupported("FT.SUGGET", index=None)
unsupported("FT.SUGDEL", index=None, writes=True)
unsupported("FT.SUGLEN", index=None)
