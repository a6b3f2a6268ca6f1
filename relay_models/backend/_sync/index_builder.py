# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/index_builder.py by scripts/generate_sync.py: change that, not this.
"""`IndexBuilder`: makes an index beside the one in use, completes its documents, and moves the alias to it."""

from __future__ import annotations

import time
from collections.abc import Generator, Container, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from pydantic_core import from_json, to_json
from redis.exceptions import ResponseError

from relay_models.backend._sync.dictionaries import Dictionaries
from relay_models.backend._sync.rewrite import ColumnRewriter
from relay_models.backend.migration import MigrationProgress, ReportProgress
from relay_models.backend.scan import scan_command
from relay_models.columns.info import column_name
from relay_models.documents import DOCUMENTS, Document, Keys, layout_of
from relay_models.documents.layout import IndexField, LayoutChange, layout_change, layout_id, wanted_fields
from relay_models.documents.own_models import MODEL_SEGMENT
from relay_models.documents.schema import own_layout
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    IndexMissingError,
    PermissionDeniedError,
    RelayModelsError,
    StorageError,
    StoreTimeoutError,
)
from relay_models.query.replies import IndexInfo, Rows, check_complete, decode_cursor, decode_index_info, decode_total
from relay_models.query.steps import Answer, aggregate_command
from relay_models.transport.sync import Backoff, Command, Transport, sleep, translate, without_time_limit

__all__ = ["IndexBuilder"]

_FIRST_POLL, _LONGEST_POLL = 0.005, 0.25
# Stale documents that are looked up at once.
_KEYS_PER_READ = 500
# A pass that computes fewer columns than these is the last: what is stale then was written by another layout just now.
_FEW = 1000
# Which documents have columns to compute.
_STALE = "!exists(@made_at) || @made_at != @updated_at"


class IndexBuilder:
    """The steps of which migrations are made. Each may be repeated: what was done already is left as it is."""

    def __init__(
        self,
        transport: Transport,
        keys: Keys,
        dictionaries: Dictionaries,
        timeout: float,
        documents: Mapping[str, type[Document]],
    ) -> None:
        self.documents: dict[str, type[Document]] = {**DOCUMENTS, **documents}
        self._transport = transport
        self._keys = keys
        self._dictionaries = dictionaries
        self._timeout = timeout

    def change(self, kind: str, info: IndexInfo | None, *, text: bool, remove: Container[str] = ()) -> LayoutChange:
        """What an index would have to be changed in."""
        wanted = wanted_fields(self.documents[kind], text=text)
        stored = {} if info is None else {name: IndexField(name, path, words) for name, path, words in info.fields}
        return layout_change(wanted, stored, remove)

    def target(
        self, kind: str, info: IndexInfo | None, change: LayoutChange, *, text: bool, compressed: bool = False
    ) -> str:
        """The name of the index to make."""
        name = self._keys.index(kind, text=text, own=own_layout(self.documents[kind]), compressed=compressed)
        if info is not None and (change.unknown or self.own_name(kind, info) == name):
            # Another program's columns are in it, too.
            return self._keys.index(kind, text=text, own=layout_id(change.target), compressed=compressed)
        return name

    def alias(self, kind: str) -> str:
        """The name under which a kind is searched."""
        return self._keys.alias(kind)

    def own_name(self, kind: str, info: IndexInfo) -> str:
        """An index's name, put together again: in the server's replies line breaks are written as \\n."""
        return self._keys.alias(kind) + info.name[info.name.rindex(":idx:v") :]

    def info(self, name: str) -> IndexInfo | None:
        """What FT.INFO says of an index or an alias; None where there is none."""
        try:
            return decode_index_info(self._transport.execute("FT.INFO", name))
        except IndexMissingError:
            return None

    def model_kinds(self) -> set[str]:
        """The kinds of own models that the store has indexes of; none where the user may not list indexes."""
        try:
            names = self._transport.execute("FT._LIST")
        except PermissionDeniedError:
            return set()
        start = self._keys.alias(MODEL_SEGMENT).encode()
        kept = {bytes(name) for name in names if bytes(name).startswith(start) and layout_of(name) is not None}
        return {name[len(self._keys.alias("")) : name.rindex(b":idx:v")].decode() for name in kept}

    def create(self, indexes: Iterable[tuple[str, str, Sequence[IndexField]]]) -> None:
        """Make indexes, given by kind, name and columns; the server fills all of them at the same time."""
        commands: list[Command] = []
        for kind, name, fields in indexes:
            words = [word for field in fields for word in field.declaration()]
            head = ("FT.CREATE", name, "ON", "JSON", "PREFIX", 1, self._keys.root(kind), "STOPWORDS", 0, "SCHEMA")
            commands.append((*head, *words))
        self._tolerate(commands, "already exists")

    def filled(
        self, kind: str, name: str, info: IndexInfo | None = None, report: ReportProgress | None = None
    ) -> None:
        """Wait until the documents that exist are in the index."""
        backoff, deadline = Backoff(_FIRST_POLL, _LONGEST_POLL), time.monotonic() + self._timeout
        where = self._transport.target.label
        with without_time_limit():
            while info is None or info.indexing:
                if info is not None:
                    if time.monotonic() > deadline:
                        raise StoreTimeoutError(
                            f"{where} has filled the index {name!r} to {info.filled:.0%} only after {self._timeout:g} "
                            "s: connect again later, or with a larger index_timeout"
                        )
                    if report is not None:
                        total = max(1, round(info.documents / info.filled)) if info.filled else 1
                        report(MigrationProgress(kind, "index", info.documents, max(total, info.documents)))
                    sleep(backoff.next())
                info = decode_index_info(self._transport.execute("FT.INFO", name))
        if info.out_of_memory:
            raise StorageError(
                f"{where} had too little memory to fill the index {info.name!r}, which lacks "
                "documents and is not used: raise maxmemory (or search-_bg-index-mem-pct-thr) of the server, drop that "
                "index (FT.DROPINDEX, without DD), and do this again"
            )

    def stale(self, name: str) -> int:
        """How many documents of an index have columns to compute."""
        reply = self._transport.execute(
            *aggregate_command(name, "*"), "LOAD", 2, "@updated_at", "@made_at", "FILTER", _STALE, "GROUPBY", 0,
            "REDUCE", "COUNT", 0, "AS", "n", "WITHCURSOR", "TIMEOUT", 0,
        )  # fmt: skip
        rows = self._whole(reply)[0]
        return sum(int(row[b"n"]) for row in rows.present())

    def backfill(
        self, kind: str, name: str, *, text: bool, report: ReportProgress | None = None
    ) -> tuple[int, set[bytes]]:
        """Compute the columns of all documents that lack some; how many there were, and keys that cannot be read.

        What is done is written in the documents, so it may stop anywhere and go on later, in another process too.
        """
        rewriter, total = self._rewriter(kind, text=text), self.stale(name)
        done, unreadable = 0, set[bytes]()
        most = 3 * total + 10 * _FEW
        while True:
            before = done
            with closing(self._stale_keys(name)) as pages:
                for keys in pages:
                    wanted = [key for key in keys if key not in unreadable]
                    with without_time_limit():
                        written, unread = rewriter.rewrite(wanted)
                    done += len(written)
                    unreadable |= unread
                    if report is not None and total:
                        report(MigrationProgress(kind, "documents", min(done, total), total))
            if done == before or done > most or (done >= total and done - before < _FEW and before):
                return done, unreadable

    def _stale_keys(self, name: str) -> Generator[list[bytes], None]:
        """The keys of stale documents, page after page."""
        reply = self._transport.execute(
            *aggregate_command(name, "*"), "LOAD", 3, "@__key", "@updated_at", "@made_at", "FILTER", _STALE,
            "WITHCURSOR", "COUNT", _KEYS_PER_READ, "TIMEOUT", 0,
        )  # fmt: skip
        while True:
            rows, cursor = self._whole(reply)
            yield [row[b"__key"] for row in rows.present()]
            if not cursor:
                return
            try:
                reply = self._transport.execute_once("FT.CURSOR", "READ", name, cursor)
            except RelayModelsError as error:
                if "cursor" not in str(error).lower():
                    raise
                return

    def _whole(self, reply: Any) -> tuple[Rows, int]:
        """The rows of a reply and its cursor; a server may cut it short for a time limit of its own."""
        rows, cursor = decode_cursor(reply)
        check_complete(rows.warnings, Answer(reply), 0, partial=False)
        return rows, cursor

    def _all_keys(self, kind: str) -> Generator[list[bytes], None]:
        """All keys of a kind, page after page."""
        cursor: bytes | int = 0
        while True:
            cursor, found = self._transport.execute(*scan_command(self._keys.root(kind), cursor))
            yield found
            if int(cursor) == 0:
                return

    def unreadable(self, kind: str, *, text: bool) -> set[bytes]:
        """The keys of all documents that this program cannot read."""
        rewriter, found = self._rewriter(kind, text=text), set[bytes]()
        with closing(self._all_keys(kind)) as pages:
            for keys in pages:
                found |= rewriter.unreadable(keys)
        return found

    def _rewriter(self, kind: str, *, text: bool) -> ColumnRewriter:
        return ColumnRewriter(self._transport, self._keys, self._dictionaries, self.documents[kind], text=text)

    def check_fitting(self, old: str, columns: Sequence[str], unreadable: set[bytes]) -> None:
        """Refuse to change the types of columns where documents of the index in use would be without values of them.

        Args:
            old: the index in use.
            columns: the names that the columns have in an index.
            unreadable: the keys of the documents that this program cannot rewrite.

        Raises:
            CorruptDocumentsError: there are such documents.
        """
        if not unreadable or not columns or self.info(old) is None:
            return
        keys, lacking = sorted(unreadable), 0
        for start in range(0, len(keys), _KEYS_PER_READ):
            lacking += self._count(old, keys[start : start + _KEYS_PER_READ])
        if lacking > 0:
            names = [key.decode("utf-8", "backslashreplace") for key in keys]
            reason = (
                f"this program's class does not fit it, and {lacking} documents would be missing from answers by "
                f"{', '.join(map(column_name, columns))}, so the index is not used: change or delete them, or let the "
                "column keep its type"
            )
            raise CorruptDocumentsError([CorruptDocumentError(name, reason) for name in names], None)

    def _count(self, name: str, keys: Sequence[bytes]) -> int:
        """How many of the documents with these keys an index has."""
        command: Command = ["FT.SEARCH", name, "*", "INKEYS", len(keys), *keys, "LIMIT", 0, 0, "TIMEOUT", 0]
        reply = self._transport.execute(*command, "DIALECT", 2)
        count, warnings = decode_total(reply)
        check_complete(warnings, Answer(reply), 0, partial=False)
        return count

    def switch(self, kind: str, name: str) -> None:
        """Let all queries use another index from now on."""
        self._transport.execute("FT.ALIASUPDATE", self._keys.alias(kind), name)

    def drop(self, name: str) -> None:
        """Drop an index, never documents; one that is gone already is fine."""
        self._tolerate([("FT.DROPINDEX", name)], "index")

    def note(self, kind: str, old: str | None, new: str) -> None:
        """Write down which index a migration replaces by which."""
        self._transport.execute("SET", self._keys.migration(kind), to_json({"from": old, "to": new}))

    def noted(self, kind: str) -> tuple[str | None, str] | None:
        """The old and the new index of an unfinished migration; None where there is none."""
        found = self._transport.execute("GET", self._keys.migration(kind))
        if found is None:
            return None
        parts: dict[str, Any] = from_json(found)
        return parts["from"], parts["to"]

    def forget(self, kind: str) -> None:
        """A migration is at its end."""
        self._transport.execute("DEL", self._keys.migration(kind))

    def _tolerate(self, commands: Sequence[Command], words: str) -> None:
        """Run commands that another process may have run just before."""
        for command, reply in zip(commands, self._transport.pipeline(commands), strict=True):
            if isinstance(reply, ResponseError) and words in str(reply).lower():
                continue
            if isinstance(reply, Exception):
                raise translate(reply, self._transport.target, command) from None
