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

__all__ = ["rewrite_columns", "rewrite_keys", "unreadable_keys"]

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


async def rewrite_columns(
    link: Transport,
    keys: Keys,
    dictionaries: Dictionaries,
    document_type: type[Document],
    *,
    text: bool,
    prices: PriceTable | None = None,
) -> None:
    """Recompute the columns of every document of a kind from its record; what cannot be read is left as it is."""
    cursor: bytes | int = 0
    while True:
        cursor, found = await link.execute(*scan_command(keys.root(document_type._kind), cursor))
        await rewrite_keys(link, keys, dictionaries, document_type, found, text=text, prices=prices)
        if int(cursor) == 0:
            return


async def rewrite_keys(
    link: Transport,
    keys: Keys,
    dictionaries: Dictionaries,
    document_type: type[Document],
    some: Sequence[bytes],
    *,
    text: bool,
    prices: PriceTable | None = None,
) -> tuple[set[bytes], set[bytes]]:
    """Compute the columns of documents from their records; the keys that were written, and those that are unreadable.

    A document that another process changes meanwhile is read again.
    """
    written, unreadable = set[bytes](), set[bytes]()
    for start in range(0, len(some), _AT_ONCE):
        left: Sequence[bytes] = some[start : start + _AT_ONCE]
        while left:
            left = await _rewrite(link, keys, dictionaries, document_type, left, text, prices, written, unreadable)
    return written, unreadable


async def unreadable_keys(
    link: Transport,
    keys: Keys,
    dictionaries: Dictionaries,
    document_type: type[Document],
    some: Sequence[bytes],
    *,
    text: bool,
) -> set[bytes]:
    """Those of the documents whose columns cannot be computed; nothing is written."""
    unreadable = set[bytes]()
    for start in range(0, len(some), _AT_ONCE):
        await _changes(link, keys, dictionaries, document_type, some[start : start + _AT_ONCE], text, None, unreadable)
    return unreadable


async def _rewrite(
    link: Transport,
    keys: Keys,
    dictionaries: Dictionaries,
    document_type: type[Document],
    some: Sequence[bytes],
    text: bool,
    prices: PriceTable | None,
    written: set[bytes],
    unreadable: set[bytes],
) -> list[bytes]:
    """Rewrite some documents; those that were changed meanwhile are given back, to be done again."""
    commands = await _changes(link, keys, dictionaries, document_type, some, text, prices, unreadable)
    if not commands:
        return []
    left = []
    for (key, command), reply in zip(commands.items(), await link.pipeline(list(commands.values())), strict=True):
        if isinstance(reply, Exception):
            raise translate(reply, link.target, command) from None
        if reply == 0:
            left.append(key)
        else:
            written.add(key)
    return left


async def _changes(
    link: Transport,
    keys: Keys,
    dictionaries: Dictionaries,
    document_type: type[Document],
    some: Sequence[bytes],
    text: bool,
    prices: PriceTable | None,
    unreadable: set[bytes],
) -> dict[bytes, Command]:
    """The commands that rewrite documents, by key; the keys of those that cannot be read are added to `unreadable`."""
    replies = await link.pipeline([("JSON.GET", key, "$") for key in some])
    commands: dict[bytes, Command] = {}
    for key, reply in zip(some, replies, strict=True):
        if reply is None:
            continue
        try:
            document = from_json(reply)[0]
            readable = {**document, "record": (await dictionaries.read(document["record"].encode())).decode()}
            changes = column_changes(document_type, keys, key, readable, text=text, prices=prices)
        except (TypeError, ValueError, AttributeError, KeyError):
            unreadable.add(key)
            continue
        if changes:
            digest = hashlib.sha1(reply, usedforsecurity=False).hexdigest()
            parts: list[str | bytes] = []
            for name, value in changes.items():
                parts += [f"$.{name}", "" if value is None else to_json(value)]
            commands[key] = ("EVAL", _CHANGE, 1, key, digest, *parts)
    return commands
