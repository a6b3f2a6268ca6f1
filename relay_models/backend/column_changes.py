"""What has to change in a stored document for its columns to be those of this release."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from relay_models.documents import Document, Keys, decode_artifact, encode_artifact, merge_run
from relay_models.documents.schema import stamp_name
from relay_models.records import RunRecord, from_json as record_from_json

__all__ = ["column_changes"]

# What is not computed from the record.
_KEPT = frozenset({"record", "stored_at", "updated_at"})


def column_changes(
    kind: str, keys: Keys, key: bytes, document: dict[str, Any], *, text: bool, document_type: type[Document]
) -> dict[str, Any]:
    """The columns of a stored document that differ from what its record gives; None for one to be taken out.

    Raises ValueError for a document that cannot be read.
    """
    body = document.get("record")
    if not isinstance(body, str):
        raise ValueError("it has no record text")
    if not isinstance(document.get("updated_at"), int):
        raise ValueError("it has no updated_at")
    if kind == "run":
        encoded = merge_run(record_from_json(RunRecord, body), 0, text=text)
    else:
        encoded = encode_artifact(kind, keys.split(kind, key), decode_artifact(kind, body), 0)
    wanted: dict[str, Any] = from_json(encoded)
    # Last: a document whose columns are half written is not taken as complete.
    stamp = stamp_name(document_type, text=text)
    wanted.pop(stamp, None)
    wanted[stamp] = document.get("updated_at")
    return {name: value for name, value in wanted.items() if name not in _KEPT and document.get(name) != value}
