# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/index.py by scripts/generate_sync.py: change that, not this.
"""`Indexes`: the search indexes of a store, complete before anything is asked of them."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from relay_models.backend._sync.dictionaries import Dictionaries
from relay_models.backend._sync.index_builder import IndexBuilder
from relay_models.backend.migration import MigrationResult, ReportProgress
from relay_models.columns.info import column_name
from relay_models.documents import Document, Keys, layout_of
from relay_models.documents.compression import check_compression
from relay_models.documents.layout import LayoutChange
from relay_models.documents.schema import own_layout
from relay_models.errors import (
    ConnectionFailedError,
    IndexMissingError,
    IndexOutdatedError,
    InvalidConfigurationError,
)
from relay_models.query.replies import IndexInfo, decode_index_info
from relay_models.transport.sync import Command, Transport, time_limit, translate

__all__ = ["Indexes"]

# How long a search is sent again because servers change, where there is no timeout (seconds).
_ASK_SECONDS = 60.0


class Indexes:
    """Keeps the alias of each kind pointing at a complete index that has this program's columns.

    Queries go through the alias, and the alias moves only when the index behind it is filled: a query gets the
    old index, the new one, or an error, never a part.

    Args:
        transport: sends the commands.
        keys: the names of keys and indexes.
        dictionaries: reads compressed records.
        create: indexes that are missing or lack columns may be made.
        text: whether words are indexed; None does what the store does.
        timeout: maximum wait for an index to be filled (seconds).
        documents: document classes by kind, beside or in place of the built-in ones.
        migrate: indexes that lack columns are replaced when the store is opened; otherwise by `migrate` only.
        allow_missing: documents may be stored that lack columns of the store.
        compressed: records are compressed; otherwise as the store does.
    """

    def __init__(
        self,
        transport: Transport,
        keys: Keys,
        dictionaries: Dictionaries,
        *,
        create: bool,
        text: bool | None,
        timeout: float,
        documents: Mapping[str, type[Document]] = MappingProxyType({}),
        migrate: bool = True,
        allow_missing: bool = False,
        compressed: bool = False,
    ) -> None:
        self._transport = transport
        self._keys = keys
        self._create = create
        self._migrate = migrate
        self._allow_missing = allow_missing
        self._seen = -1
        self._wanted_text = text
        self._pending: list[str] = []
        self.builder = IndexBuilder(transport, keys, dictionaries, timeout, documents)
        self._dictionaries = dictionaries
        self._wants_compression = self.compressed = compressed
        """Whether the records of runs are compressed when they are stored."""
        self.unknown: dict[str, tuple[str, ...]] = {}
        """Columns of the store that this program does not know, by kind."""
        self.text = bool(text)

    def add(self, document: type[Document]) -> None:
        """Keep the index of one more document type; it is made before the next query.

        Raises:
            InvalidConfigurationError: another class has that name.
        """
        known = self.builder.documents.get(document._kind)
        if known is None:
            self.builder.documents[document._kind] = document
            self._seen = -1
        elif known is not document:
            raise InvalidConfigurationError(
                f"two classes have the name {document._kind.rpartition(':')[2]!r} in this store: {known!r} and "
                f"{document!r}; give one of them another, as in class {document.__name__}(Document, name='…')"
            )

    def ready(self) -> None:
        """Make sure of every index, if a connection was lost since: the server may have been restarted."""
        if self._seen == self._transport.reconnects:
            return
        try:
            self._complete()
        except IndexMissingError:
            if not self._create:
                raise
            # A server was emptied, or indexes were dropped, while they were made: they are recreated, once.
            self._complete()

    def _complete(self) -> None:
        """Make the indexes that are missing or outdated, and wait until all have what is stored."""
        seen = self._transport.reconnects
        found = self.infos()
        outdated = [kind for kind, info in found.items() if self._is_outdated(kind, info)]
        self._pending = []
        if not self._migrate:
            self._pending = [kind for kind in outdated if found[kind] is not None]
        make = [kind for kind in outdated if kind not in self._pending]
        if make:
            self._make(make, found)
        for kind in found:
            if kind not in outdated:
                self.builder.filled(kind, self._keys.alias(kind), found[kind])
        self._seen = seen

    def ask(self, *command: bytes | str | int, anywhere: bool = False) -> Any:
        """The reply to a search command, from indexes that are known to be complete; `anywhere`: also a replica's.

        Where they were dropped, or the server was emptied, they are rebuilt, once. All of it ends within the timeout,
        but for waiting until an index is filled.

        Raises:
            ConnectionFailedError: servers were lost or changed for as long as a search may take.
        """
        with time_limit(self._transport.timeout):
            return self._ask_in_time(command, anywhere)

    def _ask_in_time(self, command: Command, anywhere: bool) -> Any:
        made = not self._create
        deadline = time.monotonic() + (self._transport.timeout or _ASK_SECONDS)
        while True:
            self.ready()
            if self._pending:
                raise IndexOutdatedError(
                    f"the index {self._keys.alias(self._pending[0])!r} lacks columns of this program, and the store "
                    "was opened with migrate=False: run backend.migrations.apply() first"
                )
            try:
                reply = (self._transport.read if anywhere else self._transport.execute)(*command)
            except IndexMissingError:
                if made:
                    raise
                made, self._seen = True, -1
                continue
            if self._seen == self._transport.reconnects:
                return reply
            if time.monotonic() > deadline:
                raise ConnectionFailedError(
                    f"{self._transport.target.label} has changed each time that it was asked: slots are being moved, "
                    "or connections are lost. Try again later"
                )

    def infos(self) -> dict[str, IndexInfo | None]:
        """The index in use of each kind; None where there is none."""
        kinds = list(self.builder.documents)
        commands = [("FT.INFO", self._keys.alias(kind)) for kind in kinds]
        *replies, settings = self._transport.pipeline([*commands, self._dictionaries.settings_command])
        found = {kind: self._info(reply) for kind, reply in zip(kinds, replies, strict=True)}
        run = found["run"]
        layout = None if run is None else layout_of(run.name)
        # The key says it where the index is gone, as after a restore; the index tells releases that know no such key.
        is_on = self._dictionaries.receive_settings(settings) or (layout is not None and layout.compressed)
        if is_on:
            check_compression("zstd")
        self.compressed = is_on or self._wants_compression
        return found

    def recheck(self) -> None:
        """Look at the indexes again before the next query."""
        self._seen = -1

    def needs_migration(self, kind: str, info: IndexInfo | None, remove: Container[str] = ()) -> bool:
        """Whether an index has to be made; columns that this program does not know are kept, but for those to `remove`.

        Raises:
            IndexOutdatedError: this program must not touch what is there.
            InvalidConfigurationError: the store indexes words and is opened with `index_text` False.
        """
        return self._is_outdated(kind, info, remove)

    def change(self, kind: str, info: IndexInfo | None, remove: Container[str] = ()) -> LayoutChange:
        """What an index would have to be changed in."""
        return self.builder.change(kind, info, text=self._is_text(kind), remove=remove)

    def target(self, kind: str, info: IndexInfo | None, remove: Container[str] = ()) -> str:
        """The name of the index that would be made."""
        change = self.change(kind, info, remove)
        return self.builder.target(kind, info, change, text=self.text, compressed=self.compressed)

    def check_writable(self, kind: str) -> None:
        """Refuse to store documents whose columns this program cannot all compute.

        Raises:
            IndexOutdatedError: the store has columns that it does not know.
        """
        unknown = self.unknown.get(kind)
        if unknown and not self._allow_missing:
            where = f"{self._keys.alias(kind)!r} on {self._transport.target.label}"
            names = list(map(column_name, unknown))
            raise IndexOutdatedError(
                f"the index {where} has the columns {', '.join(names)}, which this program does "
                "not know and would leave out: open the store with the models that declare them, or with the release "
                "that has them; or with allow_missing=True (`migrate apply --allow-missing`), and run `relay-models "
                "migrate apply` with those models afterwards; or, where no program needs them any more, take them "
                f"away: `relay-models migrate apply --remove {','.join(names)}`"
            )

    def compress(self, is_on: bool) -> None:
        """Make the store one that compresses its records, or one that does not."""
        self.ready()
        if is_on:
            self._dictionaries.turn_on()
        else:
            self._dictionaries.turn_off()
        info = (self.infos())["run"]
        self.compressed = is_on
        layout = None if info is None else layout_of(info.name)
        if layout is None or layout.compressed is not is_on:
            self.migrate("run", info, finish=True)
        self.recheck()

    def check_undo(self) -> None:
        """Refuse to make plain what this backend was opened to compress.

        Raises:
            InvalidConfigurationError: it was opened with `compression`.
        """
        if self._wants_compression:
            raise InvalidConfigurationError(
                "this backend was opened with compression='zstd', which makes the store compress: open it without, "
                "then undo"
            )

    def migrate(
        self,
        kind: str,
        info: IndexInfo | None,
        *,
        finish: bool,
        report: ReportProgress | None = None,
        remove: Container[str] = (),
    ) -> MigrationResult:
        """Make the index of a kind, complete it, and use it; `finish` also drops the old one."""
        self.check_writable(kind)
        builder, text = self.builder, self._is_text(kind)
        name = self.target(kind, info, remove)
        if kind == "run" and self.compressed:
            self._dictionaries.turn_on()
        change = self.change(kind, info, remove)
        builder.create([(kind, name, change.target)])
        old = None if info is None else builder.own_name(kind, info)
        if not finish and old is not None:
            builder.note(kind, old, name)
        builder.filled(kind, name, report=report)
        if old is not None and change.moved:
            # First, so that all documents stay as they are where some do not fit.
            builder.check_fitting(old, change.moved, builder.unreadable(kind, text=text))
        done, unreadable = builder.backfill(kind, name, text=text, report=report)
        if old is not None:
            builder.check_fitting(old, change.moved, unreadable)
        builder.switch(kind, name)
        if old is not None:
            # What others stored between the last look and the switch.
            more, unread = builder.backfill(kind, name, text=text)
            done, unreadable = done + more, unreadable | unread
            if finish:
                builder.drop(old)
        keys = tuple(sorted(key.decode("utf-8", "backslashreplace") for key in unreadable))
        return MigrationResult(kind, True, done, keys)

    def _is_text(self, kind: str) -> bool:
        return self.text and kind == "run"

    def _info(self, reply: Any) -> IndexInfo | None:
        if isinstance(reply, Exception):
            error = translate(reply, self._transport.target, ("FT.INFO",))
            if isinstance(error, IndexMissingError):
                return None
            raise error from None
        return decode_index_info(reply)

    def _is_outdated(self, kind: str, info: IndexInfo | None, remove: Container[str] = ()) -> bool:
        """Whether an index has to be made; raises where this program must not touch what is there."""
        if info is None:
            return True
        where = self._transport.target.label
        layout = layout_of(info.name)
        if layout is not None and layout.text and kind == "run":
            if self._wanted_text is False:
                raise InvalidConfigurationError(
                    f"the store on {where} indexes the words of prompts and answers, which index_text=False rules out: "
                    "open it with index_text=None (the default), which does what the store does; or, to do without "
                    f"words from now on, drop the index {info.name!r} (FT.DROPINDEX, without DD) and open it again"
                )
            self.text = True
        document = self.builder.documents[kind]
        current = layout_of(self._keys.index(kind, text=self.text, own=own_layout(document)))
        change = self.change(kind, info, remove)
        if layout is None or current is None or (layout[:2] > current[:2] and change):
            raise IndexOutdatedError(
                f"the index {info.name!r} on {where} is not one that this release of relay_models makes: "
                "a newer release made it (upgrade), or another program uses this key_prefix (choose another)"
            )
        self.unknown[kind] = change.unknown
        if self._migrate and layout[:2] == current[:2]:
            self._check_own(document, info, change)
        needs_mark = kind == "run" and self.compressed and not layout.compressed
        return bool(change) or layout[:2] < current[:2] or needs_mark

    def _check_own(self, document: type[Document], info: IndexInfo, change: LayoutChange) -> None:
        """Refuse to change, by merely opening a store, what another program's columns are."""
        retyped, others = (", ".join(map(column_name, names)) for names in (change.retyped, change.unknown))
        if retyped:
            problem = f"has {retyped} as another type, or with another sortable=…"
        elif change.added and others and not self._allow_missing:
            problem = f"has the columns {others}, and lacks {', '.join(map(column_name, change.added))}"
        else:
            return
        raise IndexOutdatedError(
            f"the index {info.name!r} on {self._transport.target.label} {problem}, compared with "
            f"{document.__name__}: open the store with a class that has all of its columns, or change it by "
            "`relay-models migrate apply --allow-missing`"
        )

    def _make(self, kinds: Sequence[str], found: Mapping[str, IndexInfo | None]) -> None:
        """Make indexes and use them once they are complete; drop the old ones, never documents."""
        if not self._create:
            raise self._may_not_make(kinds[0], found[kinds[0]])
        # All at once: the server looks at every key it has for each of them.
        self.builder.create(
            [(kind, self.target(kind, found[kind]), self.change(kind, found[kind]).target) for kind in kinds]
        )
        for kind in kinds:
            self.migrate(kind, found[kind], finish=True)

    def _may_not_make(self, kind: str, old: IndexInfo | None) -> Exception:
        where = self._transport.target.label
        if old is None:
            return IndexMissingError(
                f"{where} has no search index {self._keys.alias(kind)!r} and create_index is False: "
                "connect once with create_index=True (as a user who may run FT.CREATE), or check the key_prefix"
            )
        return IndexOutdatedError(
            f"the index {old.name!r} on {where} has the layout of an older release (or lacks the words that index_text "
            "asks for, the mark of compression, or columns of your own) and create_index is False: connect once with "
            "create_index=True, or run `relay-models migrate apply`, which makes the new one beside it and then moves "
            "over"
        )
