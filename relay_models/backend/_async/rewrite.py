"""Documents brought to the columns of this program, while others read and write them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic_core import from_json, to_json

from relay_models.backend._async.dictionaries import Dictionaries
from relay_models.backend.column_changes import column_changes
from relay_models.backend.scan import scan_command
from relay_models.documents import Document, Keys
from relay_models.records.prices import PriceTable
from relay_models.transport import Command, Transport, translate

__all__ = ["ColumnRewriter"]

_AT_ONCE = 100

# Changes members of a document unless another one changed it since it was read: its columns are those of its record at
# any moment. One that was deleted does not come back.
_CHANGE = """
local found = redis.call('JSON.GET', KEYS[1], '$')
if not found then return -1 end
if redis.sha1hex(found) ~= ARGV[1] then return 0 end
for at = 2, #ARGV, 2 do
  if ARGV[at + 1] == '' then redis.call('JSON.DEL', KEYS[1], ARGV[at])
  else redis.call('JSON.SET', KEYS[1], ARGV[at], ARGV[at + 1]) end
end
return 1
"""


class ColumnRewriter:
    """Computes the columns of stored documents from their records again.

    Args:
        link: where they are.
        keys: the names of keys.
        dictionaries: reads compressed records.
        document: the class of the documents.
        text: whether words are indexed.
        prices: what calls cost that do not tell it.
    """

    def __init__(
        self,
        link: Transport,
        keys: Keys,
        dictionaries: Dictionaries,
        document: type[Document],
        *,
        text: bool,
        prices: PriceTable | None = None,
    ) -> None:
        self._link = link
        self._keys = keys
        self._dictionaries = dictionaries
        self._document = document
        self._text = text
        self._prices = prices

    async def rewrite_all(self) -> None:
        """Rewrite every document of the class; what cannot be read is left as it is."""
        cursor: bytes | int = 0
        while True:
            cursor, found = await self._link.execute(*scan_command(self._keys.root(self._document._kind), cursor))
            await self.rewrite(found)
            if int(cursor) == 0:
                return

    async def rewrite(self, some: Sequence[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Rewrite documents; the keys that were written, and those that are unreadable.

        A document that another process changes meanwhile is read again.
        """
        written, unreadable = set[bytes](), set[bytes]()
        for start in range(0, len(some), _AT_ONCE):
            left: Sequence[bytes] = some[start : start + _AT_ONCE]
            while left:
                commands, broken = await self._commands(left)
                unreadable |= broken
                left = await self._send(commands)
                written |= commands.keys() - set(left)
        return written, unreadable

    async def unreadable(self, some: Sequence[bytes]) -> set[bytes]:
        """The keys of those documents whose columns cannot be computed; nothing is written."""
        found = set[bytes]()
        for start in range(0, len(some), _AT_ONCE):
            _, broken = await self._commands(some[start : start + _AT_ONCE])
            found |= broken
        return found

    async def _send(self, commands: dict[bytes, Command]) -> list[bytes]:
        """Send what rewrites documents; those that were changed meanwhile are given back, to be done again."""
        replies = await self._link.pipeline(list(commands.values())) if commands else []
        for command, reply in zip(commands.values(), replies, strict=True):
            if isinstance(reply, Exception):
                raise translate(reply, self._link.target, command) from None
        return [key for key, reply in zip(commands, replies, strict=True) if reply == 0]

    async def _commands(self, some: Sequence[bytes]) -> tuple[dict[bytes, Command], set[bytes]]:
        """The commands that rewrite documents, by key, and the keys of those that cannot be read."""
        replies = await self._link.pipeline([("JSON.GET", key, "$") for key in some])
        commands, unreadable = dict[bytes, Command](), set[bytes]()
        for key, reply in zip(some, replies, strict=True):
            if reply is None:
                continue
            try:
                document = from_json(reply)[0]
                record = (await self._dictionaries.read(document["record"].encode())).decode()
                changes = column_changes(
                    self._document,
                    self._keys,
                    key,
                    {**document, "record": record},
                    text=self._text,
                    prices=self._prices,
                )
            except (TypeError, ValueError, AttributeError, KeyError):
                unreadable.add(key)
                continue
            if changes:
                digest = hashlib.sha1(reply, usedforsecurity=False).hexdigest()
                parts: list[str | bytes] = []
                for name, value in changes.items():
                    parts += [f"$.{name}", "" if value is None else to_json(value)]
                commands[key] = ("EVAL", _CHANGE, 1, key, digest, *parts)
        return commands, unreadable
