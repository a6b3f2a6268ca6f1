"""The search engine: which indexes there are, what they follow, and which command does what."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Literal

from fakeredis._helpers import OK, SimpleString

from relay_models.embedded.search.aggregate.cursors import Cursor, Cursors
from relay_models.embedded.search.aggregate.expressions import parse_expression
from relay_models.embedded.search.aggregate.pipeline import Pipeline, shape
from relay_models.embedded.search.arguments import Arguments, display, parse_integer
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.execute.planner import wildcard_regex
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.dictionaries import Dictionaries
from relay_models.embedded.search.index.document_indexer import Indexer, Unfit
from relay_models.embedded.search.index.documents import Documents
from relay_models.embedded.search.index.schema import FieldType, IndexSpec, parse_fields, parse_index
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import Tables, value_column
from relay_models.embedded.search.index.tokenizer import fold
from relay_models.embedded.search.index_filter import passes
from relay_models.embedded.search.reply.explain import explain
from relay_models.embedded.search.reply.info import describe
from relay_models.embedded.search.reply.profile import Stopwatch, profile
from relay_models.embedded.search.reply.search_results import Search, read_search, search
from relay_models.embedded.search.syntax.aggregate_steps import read_aggregate
from relay_models.embedded.search.syntax.request import check_expand

__all__ = ["SearchEngine", "SearchError"]

Command = Callable[["SearchEngine", Arguments, int], Any]

MAXIMUM_REFUSED = 1000
"""Of so many indexes that could not be made the reason is remembered."""

_FORMAT = 1
"""The number of this layout of tables; kept with the indexes."""


class _Index:
    """An index in use: its specification, and what writes its rows."""

    def __init__(self, connection: sqlite3.Connection, spec: IndexSpec) -> None:
        self.spec = spec
        self.prefixes = tuple(spec.prefixes)
        self.indexer = Indexer(connection, spec)


class SearchEngine:
    """The FT.* commands over one SQLite connection.

    Nothing but the indexes' specifications is held in memory. The caller serialises all calls, begins and commits
    transactions, and reports every key that was written or went with `changed` before the next command.
    """

    def __init__(self, connection: sqlite3.Connection, documents: Documents) -> None:
        self._connection = connection
        self._documents = documents
        self.settings = Settings()
        self.cursors = Cursors()
        connection.execute("CREATE TABLE IF NOT EXISTS ft_indexes (number INTEGER PRIMARY KEY, spec TEXT NOT NULL)")
        connection.execute("CREATE TABLE IF NOT EXISTS ft_aliases (name BLOB PRIMARY KEY, number INTEGER NOT NULL)")
        self._dictionaries = Dictionaries(connection)
        connection.create_function("ft_fits", 2, _fits, deterministic=True)
        connection.create_function("ft_bytes", 1, bytes.fromhex, deterministic=True)
        self._indexes: dict[bytes, _Index] = {}
        for number, text in connection.execute("SELECT number, spec FROM ft_indexes ORDER BY number").fetchall():
            spec = IndexSpec.load(text)
            spec.number = number
            self._indexes[spec.name] = _Index(connection, spec)
        names = {index.spec.number: name for name, index in self._indexes.items()}
        aliases = connection.execute("SELECT name, number FROM ft_aliases").fetchall()
        self._used: dict[bytes, float] = {}
        """When each TEMPORARY index was last used (monotonic)."""
        self._refused: dict[bytes, str] = {}
        """Why the latest indexes that are not there were not made, where that is something the engine lacks."""
        self._aliases: dict[bytes, bytes] = {name: names[number] for name, number in aliases if number in names}

    # Following the keyspace

    def changed(self, key: bytes, kind: Literal["json", "hash"] | None, value: Any, *, new: bool = False) -> None:
        """A key of database 0 was written, with this value, or is gone or of another type (`kind` None).

        `new` is told of a key that did not exist before, which then needs no looking for.
        """
        for index in self._indexes.values():
            if not key.startswith(index.prefixes):
                continue
            if kind == index.spec.kind:
                self._put(index, key, value, new)
            else:
                index.indexer.remove(key)

    def _put(self, index: _Index, key: bytes, value: Any, new: bool = False) -> None:
        spec = index.spec
        if spec.filter is not None and not passes(spec, key, value):
            index.indexer.remove(key)
            return
        try:
            index.indexer.put(key, spec.kind, value, new=new)
        except Unfit as reason:
            spec.errors.add(str(reason), key)
            if reason.field is not None:
                reason.field.errors.add(str(reason), key)
            self._save(index)
            return
        if index.indexer.saw_many:
            index.indexer.saw_many = False
            self._save(index)

    def flushed(self) -> None:
        """Database 0 was emptied: no index and no dictionary is left, as on the real server."""
        self._dictionaries.clear()
        self._refused.clear()
        for index in list(self._indexes.values()):
            self._drop(index)

    def _save(self, index: _Index) -> None:
        Tables(index.spec.number).save(self._connection, index.spec)

    def _drop(self, index: _Index) -> None:
        spec = index.spec
        self.cursors.drop_index(spec.name)
        self._used.pop(spec.name, None)
        Tables(spec.number).drop(self._connection)
        self._connection.execute("DELETE FROM ft_indexes WHERE number = ?", (spec.number,))
        self._connection.execute("DELETE FROM ft_aliases WHERE number = ?", (spec.number,))
        del self._indexes[spec.name]
        self._aliases = {alias: name for alias, name in self._aliases.items() if name != spec.name}

    def _fill(self, index: _Index) -> None:
        """Read in the documents that are there already."""
        spec = index.spec
        seen: set[bytes] = set()
        for prefix in spec.prefixes:
            for key in self._documents.keys(prefix):
                if key in seen:
                    continue
                if len(spec.prefixes) > 1:
                    seen.add(key)
                loaded = self._documents.load(key)
                if loaded is not None and loaded[0] == spec.kind:
                    self._put(index, key, loaded[1])
        if spec.filling:
            spec.filling = False
            self._save(index)

    @property
    def names(self) -> list[bytes]:
        """The names of all indexes."""
        return list(self._indexes)

    def prefixes(self, name: bytes) -> list[bytes] | None:
        """How the keys begin that the index of this name or alias is of; None where there is none."""
        index = self.find(name)
        return None if index is None else index.spec.prefixes

    def find(self, name: bytes) -> _Index | None:
        """The index of this name or alias."""
        return self._indexes.get(name) or self._indexes.get(self._aliases.get(name, b""))

    def index(self, name: bytes, *, request: bool = False) -> _Index:
        """The index of this name or alias; requests for rows report its absence in other words."""
        index = self.find(name)
        if index is None:
            reason = self._refused.get(name)
            text = f"No such index {display(name)}" if request else f"{display(name)}: no such index"
            raise SearchError(text + (f" ({reason})" if reason else ""))
        if index.spec.temporary is not None:
            self._used[index.spec.name] = time.monotonic()
        return index

    def _expire(self) -> None:
        """Drop the TEMPORARY indexes that nobody used for their time. Their documents stay."""
        now = time.monotonic()
        for index in list(self._indexes.values()):
            seconds = index.spec.temporary
            if seconds is not None and now - self._used.setdefault(index.spec.name, now) > seconds:
                self._drop(index)

    # Commands

    def execute(self, command: str, args: list[bytes], protocol: int) -> Any:
        """Run one command and give its reply in the shape of RESP `protocol`. Raises `SearchError`."""
        run = COMMANDS.get(command)
        if run is None:
            raise UnsupportedError(f"{command} is")
        least, most, function = run
        if len(args) < least or (most is not None and len(args) > most):
            raise SearchError(f"wrong number of arguments for '{command}' command")
        self._expire()
        # What FT.ALTER added is read in behind the next command's back, as the real server does it in the background.
        late = [index for index in self._indexes.values() if index.spec.filling]
        try:
            return function(self, Arguments(args), protocol)
        finally:
            for index in late:
                if index.spec.filling and self._indexes.get(index.spec.name) is index:
                    self._fill(index)

    def _create(self, arguments: Arguments, protocol: int) -> Any:
        name = arguments.take()
        if arguments.remaining < 3:
            raise SearchError("wrong number of arguments for '_FT.CREATE' command")
        if name in self._indexes:
            raise SearchError("Index already exists")
        try:
            spec = parse_index(name, arguments)
        except UnsupportedError as error:
            self._refused.pop(name, None)
            self._refused[name] = str(error)
            if len(self._refused) > MAXIMUM_REFUSED:
                del self._refused[next(iter(self._refused))]
            raise
        if spec.filter is not None:
            parse_expression(spec.filter)
        cursor = self._connection.execute("INSERT INTO ft_indexes (spec) VALUES ('')")
        assert cursor.lastrowid is not None
        spec.number = cursor.lastrowid
        Tables(spec.number).create(self._connection, spec)
        index = self._indexes[name] = _Index(self._connection, spec)
        self._refused.pop(name, None)
        self._save(index)
        if "SKIPINITIALSCAN" not in spec.options:
            self._fill(index)
        return OK

    def _alter(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        if arguments.remaining < 3:
            raise SearchError("wrong number of arguments for '_FT.ALTER' command")
        skip = arguments.accept(b"SKIPINITIALSCAN")
        if not arguments.accept(b"SCHEMA"):
            raise SearchError("ALTER must be followed by SCHEMA")
        if not arguments.accept(b"ADD"):
            raise SearchError("Unknown action passed to ALTER SCHEMA")
        if not arguments:
            raise SearchError("No fields provided")
        spec = index.spec
        new = parse_fields(spec, arguments)
        Tables(spec.number).add_columns(self._connection, new)
        index.indexer = Indexer(self._connection, spec, index.indexer.last)
        spec.filling = not skip
        self._save(index)
        return OK

    def _drop_index(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        if arguments.remaining > 1:
            raise SearchError("wrong number of arguments for '_FT.DROPINDEX' command")
        delete = False
        if arguments:
            word = arguments.take()
            if word.upper() not in (b"DD", b"KEEPDOCS", b"_FORCEKEEPDOCS"):
                raise SearchError("Unknown argument")
            delete = word.upper() == b"DD"
        self._remove_index(index, delete)
        return OK

    def _drop_with_documents(self, arguments: Arguments, protocol: int) -> Any:
        """FT.DROP, the command of old: the documents go too unless KEEPDOCS is given."""
        index = self.index(arguments.take())
        self._remove_index(index, not arguments.accept(b"KEEPDOCS"))
        return OK

    def _remove_index(self, index: _Index, delete: bool) -> None:
        keys: list[bytes] = []
        if delete:
            keys = [key for (key,) in self._connection.execute(f"SELECT key FROM {Tables(index.spec.number).docs}")]
        self._drop(index)
        for key in keys:
            self._documents.delete(key)

    # Commands of old, which read and delete documents

    def _get(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        return self._fields(index, arguments.take())

    def _get_many(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        return [self._fields(index, key) for key in arguments.rest()]

    def _fields(self, index: _Index, key: bytes) -> list[bytes] | None:
        loaded = self._documents.load(key) if index.indexer.holds(key) else None
        if loaded is None:
            return None
        kind, document = loaded
        if kind == "json":
            return [b"$", self._documents.json_text(key) or b"null"]
        return [part for pair in document.items() for part in pair]

    def _delete(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        key = arguments.take()
        if not index.indexer.holds(key):
            return 0
        self._documents.delete(key)
        return 1

    def _list(self, arguments: Arguments, protocol: int) -> Any:
        return self.names

    def _search(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take(), request=True)
        return search(self._connection, index.spec, self._documents, self.settings, arguments, protocol)

    def _info(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        return describe(self._connection, index.spec, index.indexer.last, self.cursors, protocol)

    def _aggregate(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take(), request=True)
        request, steps = read_aggregate(arguments, self.settings)
        check_expand(request, protocol)
        spec = index.spec
        pipeline = Pipeline(self._connection, spec, self._documents, self.settings, request, steps)
        if request.cursor is None:
            reply, _ = shape(pipeline, None, protocol)
            return reply
        options = request.cursor
        reply, more = shape(pipeline, options.count, protocol)
        if not more:
            return [reply, 0]
        cursor = Cursor(spec.name, pipeline, options.count, options.max_idle)
        return [reply, self.cursors.add(cursor, self.settings.numbers["INDEX_CURSOR_LIMIT"])]

    def _cursor(self, arguments: Arguments, protocol: int) -> Any:
        action = arguments.take().upper()
        self.index(arguments.take())
        text = arguments.take()
        number = parse_integer(text)
        if number is None:
            raise SearchError("Bad cursor ID")
        if action not in (b"READ", b"DEL", b"GC"):
            raise SearchError("Unknown subcommand")
        if action == b"GC":
            return 0
        cursor = self.cursors.take(number)
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
        self.cursors.put_back(number, cursor)
        return [reply, number]

    def _explain(self, arguments: Arguments, protocol: int) -> Any:
        return self._explained(arguments).encode()

    def _explain_lines(self, arguments: Arguments, protocol: int) -> Any:
        return [line.encode() for line in self._explained(arguments).split("\n")]

    def _explained(self, arguments: Arguments) -> str:
        index = self.index(arguments.take())
        request, _ = read_search(arguments, self.settings)
        request.bare = True
        selection = Selection(self._connection, index.spec, self.settings, request)
        if selection.node is not None:
            selection.planner.settle(selection.node)
        return explain(selection.node, index.spec)

    def _profile(self, arguments: Arguments, protocol: int) -> Any:
        watch = Stopwatch()
        name, kind = arguments.take(), arguments.take().upper()
        if kind not in (b"SEARCH", b"AGGREGATE"):
            raise SearchError("No `SEARCH` or `AGGREGATE` provided")
        limited = arguments.accept(b"LIMITED")
        if not arguments.accept(b"QUERY"):
            raise SearchError("The QUERY keyword is expected")
        if not arguments:
            raise SearchError("wrong number of arguments for 'FT.PROFILE' command")
        spec = self.index(name).spec
        connection, documents, settings = self._connection, self._documents, self.settings
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
        # One SQL statement does it all, so all of the time stands at the first step.
        spent = watch.now() - watch.planned
        watch.steps = [(step, spent, rows) for step, rows in search.steps(search.selection.count())]
        return profile(search.selection, reply, watch, protocol, limited=limited)

    # Synonyms and dictionaries

    def _synonyms_update(self, arguments: Arguments, protocol: int) -> Any:
        index = self.find(arguments.take())
        if index is None:
            raise SearchError("Unknown index name")
        group = arguments.take()
        skip = arguments.accept(b"SKIPINITIALSCAN")
        index.spec.add_synonyms(group, [fold(word) for word in arguments.rest()])
        index.indexer = Indexer(self._connection, index.spec)
        self._save(index)
        if not skip:
            self._fill(index)
        return OK

    def _synonyms(self, arguments: Arguments, protocol: int) -> Any:
        name = arguments.take()
        index = self.find(name)
        if index is None:
            raise SearchError(f"{display(name)}: no such index")
        if protocol >= 3:
            return dict(index.spec.synonyms)
        return [part for pair in index.spec.synonyms for part in pair]

    def _dictionary_add(self, arguments: Arguments, protocol: int) -> Any:
        return self._dictionaries.add(arguments.take(), arguments.rest())

    def _dictionary_delete(self, arguments: Arguments, protocol: int) -> Any:
        return self._dictionaries.delete(arguments.take(), arguments.rest())

    def _dictionary(self, arguments: Arguments, protocol: int) -> Any:
        return self._dictionaries.words(arguments.take())

    def _tag_values(self, arguments: Arguments, protocol: int) -> Any:
        index = self.index(arguments.take())
        field = index.spec.field(arguments.take())
        if field is None:
            raise SearchError("No such field")
        if field.type is not FieldType.TAG:
            raise SearchError("Not a tag field")
        tables = Tables(index.spec.number)
        tables.prepare(self._connection, index.spec, field)
        sql = (
            f"SELECT {value_column(field)} FROM {tables.docs} WHERE {value_column(field)} IS NOT NULL"
            f" UNION SELECT tag FROM {tables.tags} WHERE field = ? ORDER BY 1"
        )
        return [tag for (tag,) in self._connection.execute(sql, (field.number,))]

    def _config(self, arguments: Arguments, protocol: int) -> Any:
        action = arguments.take().upper()
        if action == b"GET":
            if not arguments:
                raise SearchError("wrong number of arguments for 'FT.CONFIG' command")
            pairs = self.settings.get(arguments.take())
            return {pair[0]: pair[1] for pair in pairs} if protocol >= 3 else pairs
        if action == b"SET":
            if not arguments:
                raise SearchError("wrong number of arguments for 'FT.CONFIG' command")
            self.settings.set(arguments.take(), arguments)
            return SimpleString(b"EXCESSARGS") if arguments else OK
        if action == b"HELP":
            return []
        return SimpleString(b"No such configuration action")

    # Aliases

    def _alias_add(self, arguments: Arguments, protocol: int) -> Any:
        alias, name = arguments.take(), arguments.take()
        index = self._named(name)
        if alias in self._aliases:
            raise SearchError("Alias already exists")
        if alias in self._indexes:
            raise SearchError("Alias conflicts with an existing index name")
        self._set_alias(alias, index)
        return OK

    def _alias_update(self, arguments: Arguments, protocol: int) -> Any:
        alias, name = arguments.take(), arguments.take()
        index = self._named(name)
        self._no_index(alias)
        self._set_alias(alias, index)
        return OK

    def _named(self, name: bytes) -> _Index:
        """The index of this very name."""
        self.index(name)
        index = self._indexes.get(name)
        if index is None:
            raise SearchError("Unknown index name (or name is an alias itself)")
        return index

    def _no_index(self, alias: bytes) -> None:
        if alias in self._indexes:
            raise SearchError("Alias does not belong to provided spec")

    def _set_alias(self, alias: bytes, index: _Index) -> None:
        self._aliases[alias] = index.spec.name
        sql = "INSERT OR REPLACE INTO ft_aliases VALUES (?, ?)"
        self._connection.execute(sql, (alias, index.spec.number))

    def _alias_delete(self, arguments: Arguments, protocol: int) -> Any:
        alias = arguments.take()
        self._no_index(alias)
        if self._aliases.pop(alias, None) is None:
            raise SearchError("Alias does not exist")
        self._connection.execute("DELETE FROM ft_aliases WHERE name = ?", (alias,))
        return OK


def _fits(text: bytes | None, pattern: bytes) -> bool:
    return text is not None and wildcard_regex(pattern).match(text) is not None


COMMANDS: dict[str, tuple[int, int | None, Command]] = {
    "FT.CREATE": (1, None, SearchEngine._create),
    "FT.ALTER": (1, None, SearchEngine._alter),
    "FT.DROPINDEX": (1, None, SearchEngine._drop_index),
    "FT.DROP": (1, 2, SearchEngine._drop_with_documents),
    "FT.GET": (2, 2, SearchEngine._get),
    "FT.MGET": (2, None, SearchEngine._get_many),
    "FT.DEL": (2, 3, SearchEngine._delete),
    "FT._LIST": (0, 1, SearchEngine._list),
    "FT.INFO": (1, 1, SearchEngine._info),
    "FT.SEARCH": (2, None, SearchEngine._search),
    "FT.AGGREGATE": (2, None, SearchEngine._aggregate),
    "FT.CURSOR": (3, None, SearchEngine._cursor),
    "FT.EXPLAIN": (2, None, SearchEngine._explain),
    "FT.EXPLAINCLI": (2, None, SearchEngine._explain_lines),
    "FT.PROFILE": (4, None, SearchEngine._profile),
    "FT.SYNUPDATE": (3, None, SearchEngine._synonyms_update),
    "FT.SYNDUMP": (1, 1, SearchEngine._synonyms),
    "FT.DICTADD": (2, None, SearchEngine._dictionary_add),
    "FT.DICTDEL": (2, None, SearchEngine._dictionary_delete),
    "FT.DICTDUMP": (1, 1, SearchEngine._dictionary),
    "FT.TAGVALS": (2, 2, SearchEngine._tag_values),
    "FT.CONFIG": (1, None, SearchEngine._config),
    "FT.ALIASADD": (2, 2, SearchEngine._alias_add),
    "FT.ALIASUPDATE": (2, 2, SearchEngine._alias_update),
    "FT.ALIASDEL": (1, 1, SearchEngine._alias_delete),
}
