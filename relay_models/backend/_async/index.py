"""The search indexes of a store: made beside what is there, filled, and only then put behind the alias."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from relay_models.backend._async.rewrite import rewrite_columns
from relay_models.documents import KINDS, Keys, create_index_command, index_columns, layout_of
from relay_models.errors import IndexMissingError, IndexOutdatedError, InvalidConfigurationError, StoreTimeoutError
from relay_models.query.replies import IndexInfo, decode_index_info
from relay_models.transport import Backoff, Command, Transport, sleep, translate

__all__ = ["Indexes"]

_FIRST_POLL, _LONGEST_POLL = 0.005, 0.25


class Indexes:
    """Keeps the alias of each kind pointing at a complete index of this release's layout.

    Queries go through the alias, and the alias moves only when the index behind it is filled: whoever asks gets the
    old index, the new one, or an error, never a part.
    """

    def __init__(self, transport: Transport, keys: Keys, *, create: bool, text: bool | None, timeout: float) -> None:
        self._transport = transport
        self._keys = keys
        self._create = create
        self._timeout = timeout
        self._seen = -1
        self._wanted_text = text
        self.text = bool(text)

    async def ready(self) -> None:
        """Make sure of every index, if a connection was lost since: the server may have been restarted."""
        if self._seen == self._transport.reconnects:
            return
        seen = self._transport.reconnects
        replies = await self._transport.pipeline([("FT.INFO", self._keys.alias(kind)) for kind in KINDS])
        found = {kind: self._info(reply) for kind, reply in zip(KINDS, replies, strict=True)}
        outdated = [kind for kind, info in found.items() if self._is_outdated(kind, info)]
        if outdated:
            await self._make(outdated, found)
        for kind in KINDS:
            if kind not in outdated:
                await self._filled(self._keys.alias(kind), found[kind])
        self._seen = seen

    async def ask(self, *command: bytes | str | int) -> Any:
        """The reply to a search command, from indexes that are known to be complete.

        Where they were dropped, or the server was emptied, they are rebuilt, once.
        """
        made = not self._create
        while True:
            await self.ready()
            try:
                reply = await self._transport.execute(*command)
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
        current = layout_of(self._keys.index(kind, text=self.text))
        if layout is None or current is None or layout > current:
            raise IndexOutdatedError(
                f"the index {info.name!r} on {where} is not one that this release of relay_models makes: "
                "a newer release made it (upgrade), or another program uses this key_prefix (choose another)"
            )
        missing = index_columns(kind, text=self.text) - info.columns
        if layout == current and missing:
            raise IndexOutdatedError(
                f"the index {info.name!r} on {where} lacks the columns {', '.join(sorted(missing))}: "
                "another program made it; drop it (FT.DROPINDEX, without DD) and connect again"
            )
        return layout < current

    async def _make(self, kinds: Sequence[str], found: Mapping[str, IndexInfo | None]) -> None:
        """Make indexes, wait until they are filled, move the aliases to them, drop the old ones (never documents).

        Documents that an older release wrote get this release's columns before the alias moves.
        """
        if not self._create:
            raise self._may_not_make(kinds[0], found[kinds[0]])
        # All at once: the server looks at every key it has for each of them.
        names = {kind: self._keys.index(kind, text=self.text) for kind in kinds}
        await self._tolerate(
            [create_index_command(kind, self._keys, text=self.text) for kind in kinds], "already exists"
        )
        for kind, name in names.items():
            old = found[kind]
            if old is not None or (kind == "run" and self.text):
                await rewrite_columns(self._transport, self._keys, kind, text=self.text)
            await self._filled(name)
            await self._transport.execute("FT.ALIASUPDATE", self._keys.alias(kind), name)
            if old is not None:
                # The name is put together again: the server's reply has line breaks written as \n.
                dropped = self._keys.alias(kind) + old.name[old.name.rindex(":idx:v") :]
                await self._tolerate([("FT.DROPINDEX", dropped)], "index")

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

    async def _filled(self, name: str, info: IndexInfo | None = None) -> None:
        """Wait until the documents that exist are in the index."""
        backoff, deadline = Backoff(_FIRST_POLL, _LONGEST_POLL), time.monotonic() + self._timeout
        while info is None or info.indexing:
            if info is not None:
                if time.monotonic() > deadline:
                    raise StoreTimeoutError(
                        f"{self._transport.target.label} has filled the index {name!r} to {info.filled:.0%} only after "
                        f"{self._timeout:g} s: connect again later, or with a larger index_timeout"
                    )
                await sleep(backoff.next())
            info = decode_index_info(await self._transport.execute("FT.INFO", name))

    async def _tolerate(self, commands: Sequence[Command], words: str) -> None:
        """Run commands that another process may have run just before."""
        for command, reply in zip(commands, await self._transport.pipeline(commands), strict=True):
            if isinstance(reply, ResponseError) and words in str(reply).lower():
                continue
            if isinstance(reply, Exception):
                raise translate(reply, self._transport.target, command) from None
