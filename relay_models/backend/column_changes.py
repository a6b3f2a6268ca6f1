"""What has to change in a stored document for its columns to be those of this release."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic_core import from_json

from relay_models.columns.info import OWN
from relay_models.columns.tags import unescape_tag
from relay_models.documents import Document, Keys, Run, codec_of, decode_artifact, encode_artifact, merge_run
from relay_models.documents.schema import stamp_name
from relay_models.records import RunRecord, from_json as record_from_json
from relay_models.records.prices import PriceTable

__all__ = ["column_changes"]

# What is not computed from the record.
_KEPT = frozenset({"record", "stored_at", "updated_at"})


def column_changes(
    document_type: type[Document],
    keys: Keys,
    key: bytes,
    document: dict[str, Any],
    *,
    text: bool,
    prices: PriceTable | None = None,
) -> dict[str, Any]:
    """The columns of a stored document that differ from what its record gives; None for one to be taken out.

    An estimated cost stays, unless there are prices to estimate it by.

    Raises ValueError for a document that cannot be read.
    """
    body = document.get("record")
    if not isinstance(body, str):
        raise ValueError("it has no record text")
    if not isinstance(document.get("updated_at"), int):
        raise ValueError("it has no updated_at")
    kind = document_type._kind
    if issubclass(document_type, Run):
        record = record_from_json(RunRecord, body)
        estimate = document.get("estimated_cost") if prices is None else prices.estimate_run(record)
        encoded = merge_run(record, 0, text=text, document_type=document_type, estimated_cost=estimate)
    elif document_type.is_own_model():
        codec = codec_of(document_type)
        encoded = codec.encode(codec.decode(unescape_tag(document["pk"]), body, None, None)).patch(0)
    else:
        encoded = encode_artifact(kind, keys.split(kind, key), decode_artifact(kind, body), 0)
    wanted: dict[str, Any] = from_json(encoded)
    if OWN in wanted:
        # What another version of the class keeps there stays.
        kept = {**document.get(OWN, {}), **wanted[OWN]}
        wanted[OWN] = {name: value for name, value in kept.items() if value is not None}
        wanted["own_row"] = _joined(document.get("own_row"), wanted["own_row"])
    # Last: a document whose columns are half written is not taken as complete.
    stamp = stamp_name(document_type, text=text)
    wanted.pop(stamp, None)
    wanted[stamp] = document["updated_at"]
    return {name: value for name, value in wanted.items() if name not in _KEPT and document.get(name) != value}


_decode_row = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _joined(stored: Any, computed: str) -> str:
    """The columns that were computed, as JSON text by name, and those that another version of the class keeps there."""
    try:
        others = _decode_row(stored or "{}")
    except (msgspec.MsgspecError, TypeError):
        return computed
    ours = _decode_row(computed)
    if others.keys() <= ours.keys():
        return computed
    return msgspec.json.encode({**ours, **{name: value for name, value in others.items() if name not in ours}}).decode()
