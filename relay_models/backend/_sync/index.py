# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/index.py by scripts/generate_sync.py: change that, not this.
"""The search indexes of a store: made beside what is there, filled, and only then put behind the alias."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from redis.exceptions import ResponseError

from relay_models.backend._sync.rewrite import rewrite_columns
from relay_models.columns.kind import NUMERIC, Kind
from relay_models.documents import DOCUMENTS, Document, Keys, create_index_command, index_columns, layout_of
from relay_models.documents.schema import own_layout
from relay_models.errors import IndexMissingError, IndexOutdatedError, InvalidConfigurationError, StoreTimeoutError
from relay_models.query.replies import IndexInfo, decode_index_info
from relay_models.transport.sync import Backoff, Command, Transport, sleep, translate

__all__ = ["Indexes"]

_TYPE_OF = {kind: "NUMERIC" if kind in NUMERIC else "TEXT" if kind is Kind.WORDS else "TAG" for kind in Kind}
_FIRST_POLL, _LONGEST_POLL = 0.005, 0.25


class Indexes:
    """Keeps the alias of each kind pointing at a complete index of this release's layout.

    Queries go through the alias, and the alias moves only when the index behind it is filled: whoever asks gets the
    old index, the new one, or an error, never a part.
    """

    def __init__(
        self,
        transport: Transport,
        keys: Keys,
        *,
        create: bool,
        text: bool | None,
        timeout: float,
        documents: Mapping[str, type[Document]] = MappingProxyType({}),
    ) -> None:
        self._transport = transport
        self._keys = keys
        self._create = create
        self._timeout = timeout
        self._seen = -1
        self._wanted_text = text
        self.text = bool(text)
        self._documents: dict[str, type[Document]] = {**DOCUMENTS, **documents}

    def add(self, document: type[Document]) -> None:
        """Keep the index of one more document type; it is made before the next query.

        Raises:
            InvalidConfigurationError: another class has that name.
        """
        known = self._documents.get(document.kind)
        if known is None:
            self._documents = {**self._documents, document.kind: document}
            self._seen = -1
        elif known is not document:
            raise InvalidConfigurationError(
                f"two classes have the name {document.kind.rpartition(':')[2]!r} in this store: {known!r} and "
                f"{document!r}; give one of them another, as in class {document.__name__}(Document, name='…')"
            )

    def ready(self) -> None:
        """Make sure of every index, if a connection was lost since: the server may have been restarted."""
        if self._seen == self._transport.reconnects:
            return
        seen = self._transport.reconnects
        kinds = list(self._documents)
        replies = self._transport.pipeline([("FT.INFO", self._keys.alias(kind)) for kind in kinds])
        found = {kind: self._info(reply) for kind, reply in zip(kinds, replies, strict=True)}
        outdated = [kind for kind, info in found.items() if self._is_outdated(kind, info)]
        if outdated:
            self._make(outdated, found)
        for kind in kinds:
            if kind not in outdated:
                self._filled(self._keys.alias(kind), found[kind])
        self._seen = seen

    def ask(self, *command: bytes | str | int) -> Any:
        """The reply to a search command, from indexes that are known to be complete.

        Where they were dropped, or the server was emptied, they are rebuilt, once.
        """
        made = not self._create
        while True:
            self.ready()
            try:
                reply = self._transport.execute(*command)
            except IndexMissingError:
                if made:
                    raise
                made, self._seen = True, -1
                continue
            if self._seen == self._transport.reconnects:
                return reply

    def _info(self, reply: Any) -> IndexInfo | None:
        if isinstance(reply, Exception):
            error = translate(reply, self._transport.target, ("FT.INFO",))
            if isinstance(error, IndexMissingError):
                return None
            raise error from None
        return decode_index_info(reply)

    def _is_outdated(self, kind: str, info: IndexInfo | None) -> bool:
        """Whether an index has to be made; raises where this release must not touch what is there."""
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
        document = self._documents[kind]
        own = own_layout(document)
        current = layout_of(self._keys.index(kind, text=self.text, own=own))
        if layout is None or current is None or layout[:2] > current[:2]:
            raise IndexOutdatedError(
                f"the index {info.name!r} on {where} is not one that this release of relay_models makes: "
                "a newer release made it (upgrade), or another program uses this key_prefix (choose another)"
            )
        missing = index_columns(kind, text=self.text, document=document) - info.columns
        if layout.own != own and layout[:2] == current[:2]:
            # A store that has more columns keeps them: a client that knows fewer of them asks by those.
            self._check_own(document, info, missing)
            return bool(missing)
        if layout == current and missing:
            raise IndexOutdatedError(
                f"the index {info.name!r} on {where} lacks the columns {', '.join(sorted(missing))}: "
                "another program made it; drop it (FT.DROPINDEX, without DD) and connect again"
            )
        return layout[:2] < current[:2]

    def _check_own(self, document: type[Document], info: IndexInfo, missing: frozenset[str]) -> None:
        """Refuse to take columns that a user declared away from an index, or to ask by one of another type."""
        retyped = [
            made.name
            for made in document.columns().values()
            if made.own and info.types.get(made.name, _TYPE_OF[made.kind]).upper() != _TYPE_OF[made.kind]
        ]
        others = info.columns - index_columns(document.kind, text=True, document=document)
        if retyped or (missing and others):
            problem = (
                f"has {', '.join(sorted(retyped))} as another type"
                if retyped
                else f"has the columns {', '.join(sorted(others))}, and lacks {', '.join(sorted(missing))}"
            )
            raise IndexOutdatedError(
                f"the index {info.name!r} on {self._transport.target.label} {problem}, compared with "
                f"{document.__name__}: open the store with a class that has all of its columns, or drop the index "
                "(FT.DROPINDEX, without DD) and open the store again"
            )

    def _make(self, kinds: Sequence[str], found: Mapping[str, IndexInfo | None]) -> None:
        """Make indexes, wait until they are filled, move the aliases to them, drop the old ones (never documents).

        Documents that an older release wrote get this release's columns before the alias moves.
        """
        if not self._create:
            raise self._may_not_make(kinds[0], found[kinds[0]])
        # All at once: the server looks at every key it has for each of them.
        documents = {kind: self._documents[kind] for kind in kinds}
        names = {
            kind: self._keys.index(kind, text=self.text, own=own_layout(document))
            for kind, document in documents.items()
        }
        self._tolerate(
            [
                create_index_command(kind, self._keys, text=self.text, document=document)
                for kind, document in documents.items()
            ],
            "already exists",
        )
        for kind, name in names.items():
            old = found[kind]
            if old is not None or (kind == "run" and self.text):
                rewrite_columns(self._transport, self._keys, documents[kind], text=self.text)
            self._filled(name)
            self._transport.execute("FT.ALIASUPDATE", self._keys.alias(kind), name)
            if old is not None:
                # The name is put together again: the server's reply has line breaks written as \n.
                dropped = self._keys.alias(kind) + old.name[old.name.rindex(":idx:v") :]
                self._tolerate([("FT.DROPINDEX", dropped)], "index")

    def _may_not_make(self, kind: str, old: IndexInfo | None) -> Exception:
        where = self._transport.target.label
        if old is None:
            return IndexMissingError(
                f"{where} has no search index {self._keys.alias(kind)!r} and create_index is False: "
                "connect once with create_index=True (as a user who may run FT.CREATE), or check the key_prefix"
            )
        return IndexOutdatedError(
            f"the index {old.name!r} on {where} has the layout of an older release (or lacks the words that index_text "
            "asks for) and create_index is False: connect once with create_index=True, which makes the new one beside "
            "it and then moves over"
        )

    def _filled(self, name: str, info: IndexInfo | None = None) -> None:
        """Wait until the documents that exist are in the index."""
        backoff, deadline = Backoff(_FIRST_POLL, _LONGEST_POLL), time.monotonic() + self._timeout
        while info is None or info.indexing:
            if info is not None:
                if time.monotonic() > deadline:
                    raise StoreTimeoutError(
                        f"{self._transport.target.label} has filled the index {name!r} to {info.filled:.0%} only after "
                        f"{self._timeout:g} s: connect again later, or with a larger index_timeout"
                    )
                sleep(backoff.next())
            info = decode_index_info(self._transport.execute("FT.INFO", name))

    def _tolerate(self, commands: Sequence[Command], words: str) -> None:
        """Run commands that another process may have run just before."""
        for command, reply in zip(commands, self._transport.pipeline(commands), strict=True):
            if isinstance(reply, ResponseError) and words in str(reply).lower():
                continue
            if isinstance(reply, Exception):
                raise translate(reply, self._transport.target, command) from None
