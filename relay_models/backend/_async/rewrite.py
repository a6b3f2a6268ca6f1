"""Documents brought to the columns of this program, while others read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json
from redis.exceptions import ResponseError

from relay_models.backend._async.dictionaries import Dictionaries
from relay_models.backend.column_changes import column_changes
from relay_models.backend.scan import scan_command
from relay_models.documents import Document, Keys
from relay_models.records.prices import PriceTable
from relay_models.transport import Command, Transport, translate

__all__ = ["rewrite_columns", "rewrite_keys"]

_AT_ONCE = 100


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

    A document that is stored by another process meanwhile keeps the columns of that, or is found stale again.
    """
    written, unreadable = set[bytes](), set[bytes]()
    for start in range(0, len(some), _AT_ONCE):
        left: Sequence[bytes] = some[start : start + _AT_ONCE]
        while left:
            left = await _rewrite(link, keys, dictionaries, document_type, left, text, prices, written, unreadable)
    return written, unreadable


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
    """Rewrite some documents; those whose record was replaced meanwhile are given back, to be done again.

    Columns are set one by one inside the document: a document that was deleted meanwhile does not come back, as it
    would by JSON.MERGE.
    """
    replies = await link.pipeline([("JSON.GET", key, "$") for key in some])
    records: dict[bytes, Any] = {}
    commands: list[Command] = []
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
            written.add(key)
            records[key] = document["record"]
            for name, value in changes.items():
                path = f"$.{name}"
                commands.append(("JSON.DEL", key, path) if value is None else ("JSON.SET", key, path, to_json(value)))
    if not records:
        return []
    for reply in (await link.pipeline(commands)) if commands else ():
        if isinstance(reply, Exception) and not (isinstance(reply, ResponseError) and "root" in str(reply)):
            raise translate(reply, link.target, ("JSON.SET",)) from None
    bodies = await link.pipeline([("JSON.GET", key, "$.record") for key in records])
    return [
        key
        for (key, record), body in zip(records.items(), bodies, strict=True)
        if isinstance(body, bytes) and from_json(body) != [record]
    ]
