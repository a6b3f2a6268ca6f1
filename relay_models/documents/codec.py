"""`encode_run`: records as the JSON documents that are stored: columns, times of storing, the record as JSON text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from pydantic_core import PydanticSerializationError, to_json

from relay_models.columns.column import Origin
from relay_models.columns.info import OWN
from relay_models.columns.tags import escape_tag, is_escaped
from relay_models.columns.types import GREATEST_INTEGER, LEAST_INTEGER, rounded
from relay_models.documents.base import Document
from relay_models.documents.kinds import KINDS, checked_record
from relay_models.documents.run import Run
from relay_models.documents.schema import stamp_name
from relay_models.errors import InvalidRecordError
from relay_models.records import RunRecord, to_json as record_json

__all__ = ["dump_document", "encode_artifact", "encode_columns", "encode_run", "merge_run", "own_members"]

# Most of a document is the text of its record, which this encoder quotes in half the time of pydantic's.
_encode = msgspec.json.Encoder().encode


@functools.lru_cache(maxsize=64)
def _absent(document: type[Document]) -> dict[str, Any]:
    """What takes the columns without a value out of a document that it is merged with."""
    computed = [column for column in document.columns().values() if column.origin is not Origin.STORE]
    absent: dict[str, Any] = {column.name: None for column in computed if column.nullable and not column.own}
    if document.own_columns:
        absent[OWN] = {column.own_name: None for column in computed if column.nullable and column.own}
    return absent


def encode_run(
    record: RunRecord,
    now_us: int,
    *,
    text: bool = False,
    body: bytes | None = None,
    document_type: type[Run] = Run,
    estimated_cost: float | None = None,
    pack: Callable[[bytes], str] | None = None,
) -> bytes:
    """The JSON document of a run that is stored for the first time at `now_us` (epoch microseconds).

    Args:
        record: the run.
        now_us: time of storing.
        text: also keep the words of its prompts and answers, for the text column.
        body: the JSON text that `record` has just been read from, so that it need not be written again.
        document_type: the class whose columns it gets.
        estimated_cost: estimated cost of the calls that tell none.
        pack: compresses the record's text, where the store compresses.

    Raises:
        InvalidRecordError: it is no run, or cannot be written as JSON.
    """
    document = _run(record, text, document_type, body, estimated_cost, pack)
    document["stored_at"] = document["updated_at"] = document[stamp_name(document_type, text=text)] = now_us
    return dump_document(document)


def merge_run(
    record: RunRecord,
    now_us: int,
    *,
    text: bool = False,
    document_type: type[Run] = Run,
    estimated_cost: float | None = None,
    pack: Callable[[bytes], str] | None = None,
) -> bytes:
    """The patch for JSON.MERGE that makes a stored document that of `record`, but keeps its ``stored_at``.

    Columns without a value are null, which takes them out of the document. Raises as `encode_run`.
    """
    document = _merging(document_type, _run(record, text, document_type, None, estimated_cost, pack))
    document["updated_at"] = document[stamp_name(document_type, text=text)] = now_us
    return dump_document(document)


def _merging(document_type: type[Document], document: dict[str, Any]) -> dict[str, Any]:
    absent = _absent(document_type)
    merged = absent | document
    if OWN in absent:
        merged[OWN] = absent[OWN] | document.get(OWN, {})
    return merged


def encode_artifact(kind: str, agent_id: str, record: Any, now_us: int) -> bytes:
    """The JSON document of an artifact stored at `now_us`.

    Raises:
        InvalidRecordError: the record is not of the kind's type, or cannot be written as JSON.
    """
    checked_record(kind, record)
    if not isinstance(agent_id, str):
        raise InvalidRecordError(f"an agent id is text, not {type(agent_id).__name__}", "agent_id")
    document_type = KINDS[kind].document
    columns = encode_columns(document_type, document_type.column_values(record, agent_id=agent_id))
    times = {"updated_at": now_us, stamp_name(document_type): now_us}
    return dump_document({"pk": agent_id, **columns, **times, "record": record_json(record).decode()})


def encode_columns(document: type[Document], values: dict[str, Any]) -> dict[str, Any]:
    """The members of a stored document that its columns are: each as the index reads it, and all of them as ``row``.

    Columns that a user declared are apart: in ``own`` as the index reads them, and as JSON text in ``own_row``.

    Args:
        document: the document class.
        values: what its `column_values` gave; changed in place.

    Raises:
        InvalidRecordError: a value cannot be written as JSON.
    """
    own = {name: values.pop(name) for name in document.own_columns if name in values}
    members: dict[str, Any] = {}
    if document.row_columns:
        kept = [values.get(name) for name in document.row_columns]
        # What a row lacks at its end has no value, for every release.
        while kept and kept[-1] is None:
            kept.pop()
        row = _text(kept)
        members = {**_escaped(values, row), "row": row}
    return members | own_members(document, own) if document.own_columns else members


def own_members(document: type[Document], own: dict[str, Any]) -> dict[str, Any]:
    """The members of a stored document that the columns are that a user declared, by their values as stored.

    Raises:
        InvalidRecordError: a value cannot be written as JSON.
    """
    members = {document._columns[name].own_name: value for name, value in own.items()}
    row = _text(members)
    return {OWN: _escaped(members, row), "own_row": row}


def _run(
    record: RunRecord,
    text: bool,
    document_type: type[Run],
    body: bytes | None,
    estimated_cost: float | None,
    pack: Callable[[bytes], str] | None,
) -> dict[str, Any]:
    if not isinstance(record, RunRecord):
        checked_record("run", record)
    if body is None:
        body = record_json(record)
    given = {} if estimated_cost is None else {"estimated_cost": rounded(estimated_cost)}
    document = encode_columns(document_type, document_type.column_values(record, **given))
    if text:
        for name, words in document_type.indexed_words(record).items():
            column = document_type.columns()[name]
            if column.own:
                document.setdefault(OWN, {})[column.own_name] = words
            else:
                document[column.index_name] = words
    document["record"] = body.decode() if pack is None else pack(body)
    return document


def _text(values: Any) -> str:
    """The values of the columns as JSON text: one field to read, and numbers to the last digit.

    A search gives numbers with twelve digits, and each field of an answer costs time.
    """
    try:
        return to_json(values).decode()
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InvalidRecordError(f"the record cannot be stored as JSON: {error}") from None


def _escaped(columns: dict[str, Any], row: str) -> dict[str, Any]:
    """The columns as the document has them; `row`, all of them as JSON text, shows if there is anything to do."""
    if is_escaped(row):
        for name, value in columns.items():
            if isinstance(value, str):
                columns[name] = escape_tag(value)
            elif isinstance(value, list):
                columns[name] = [escape_tag(text) for text in value]
    for name, value in columns.items():
        if type(value) is int and not LEAST_INTEGER <= value <= GREATEST_INTEGER:
            columns[name] = float(value)
    return columns


def dump_document(document: Any) -> bytes:
    """A document, or a part of it, as JSON.

    Raises:
        InvalidRecordError: JSON has no such text.
    """
    try:
        return _encode(document)
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError) as error:
        raise InvalidRecordError(f"the record cannot be stored as JSON: {error}") from None
