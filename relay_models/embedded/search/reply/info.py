"""`describe`: the reply of FT.INFO."""

from __future__ import annotations

import sqlite3
from typing import Any

from relay_models.embedded.search.aggregate.cursors import Cursors
from relay_models.embedded.search.index.schema import Errors, FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tables import Tables
from relay_models.embedded.search.numbers import format_number

__all__ = ["describe"]

INDEX_CAPACITY = 128


def describe(connection: sqlite3.Connection, spec: IndexSpec, last: int, cursors: Cursors, protocol: int) -> Any:
    """The reply, in the shape of `protocol`; `last` is the highest number of a document."""
    tables = Tables(spec.number)

    def number(sql: str) -> int:
        value: int = connection.execute(sql).fetchone()[0] or 0
        return value

    documents = number(f"SELECT count(*) FROM {tables.docs}")
    words = number(f"SELECT count(DISTINCT word) FROM {tables.words}")
    records = number(f"SELECT count(*) FROM {tables.words}") + documents
    size = number("SELECT count(*)") and 0.0
    error = _errors(spec.errors)
    total, here = cursors.counts(spec.name)
    info: dict[bytes, Any] = {
        b"index_name": spec.name,
        b"index_options": [option.encode() for option in spec.options if option in _SHOWN],
        b"index_definition": _definition(spec),
        b"attributes": [_attribute(field, protocol) for field in spec.fields],
        b"num_docs": documents,
        b"max_doc_id": last,
        b"num_terms": words,
        b"num_records": records,
        b"inverted_sz_mb": size,
        b"vector_index_sz_mb": 0.0,
        b"total_inverted_index_blocks": words,
        b"offset_vectors_sz_mb": 0.0,
        b"doc_table_size_mb": 0.0,
        b"sortable_values_size_mb": 0.0,
        b"key_table_size_mb": 0.0,
        b"tag_overhead_sz_mb": 0.0,
        b"text_overhead_sz_mb": 0.0,
        b"total_index_memory_sz_mb": 0.0,
        b"geoshapes_sz_mb": 0.0,
        b"records_per_doc_avg": records / documents if documents else float("nan"),
        b"bytes_per_record_avg": 0.0 if records else float("nan"),
        b"offsets_per_term_avg": 0.0 if records else float("nan"),
        b"offset_bits_per_record_avg": 0.0 if records else float("nan"),
        b"hash_indexing_failures": spec.errors.failures,
        b"total_indexing_time": 0.0,
        b"indexing": int(spec.filling),
        b"percent_indexed": 0.0 if spec.filling else 1.0,
        b"number_of_uses": 1,
        b"cleaning": 0,
        b"gc_stats": {
            b"bytes_collected": 0.0,
            b"total_ms_run": 0.0,
            b"total_cycles": 0.0,
            b"average_cycle_time_ms": float("nan"),
            b"last_run_time_ms": 0.0,
            b"gc_numeric_trees_missed": 0.0,
            b"gc_blocks_denied": 0.0,
        },
        b"cursor_stats": {
            b"global_idle": total,
            b"global_total": total,
            b"index_capacity": INDEX_CAPACITY,
            b"index_total": here,
        },
    }
    if spec.stop_words is not None:
        info[b"stopwords_list"] = spec.stop_words
    info[b"dialect_stats"] = {b"dialect_%d" % dialect: 0 for dialect in (1, 2, 3, 4)}
    info[b"Index Errors"] = {**error, b"background indexing status": b"OK"}
    info[b"field statistics"] = [
        {
            b"identifier": field.path,
            b"attribute": field.name,
            b"Index Errors": _errors(field.errors),
        }
        for field in spec.fields
    ]
    return info if protocol >= 3 else _flat(info)


_SHOWN = ("NOFREQS", "NOFIELDS", "NOOFFSETS", "NOHL", "MAXTEXTFIELDS")


def _errors(errors: Errors) -> dict[bytes, Any]:
    return {
        b"indexing failures": errors.failures,
        b"last indexing error": errors.message.encode() or b"N/A",
        b"last indexing error key": errors.key or b"N/A",
    }


def _definition(spec: IndexSpec) -> dict[bytes, Any]:
    definition: dict[bytes, Any] = {b"key_type": spec.kind.upper().encode(), b"prefixes": spec.prefixes}
    if spec.filter is not None:
        definition[b"filter"] = spec.filter
    if spec.language_given:
        definition[b"default_language"] = spec.language.encode()
    if spec.language_field is not None:
        definition[b"language_field"] = spec.language_field
    definition[b"default_score"] = spec.score
    if spec.score_field is not None:
        definition[b"score_field"] = spec.score_field
    if spec.payload_field is not None:
        definition[b"payload_field"] = spec.payload_field
    definition[b"indexes_all"] = b"true" if spec.index_all else b"false"
    return definition


def _attribute(field: FieldSpec, protocol: int) -> Any:
    parts: dict[bytes, Any] = {
        b"identifier": field.path,
        b"attribute": field.name,
        b"type": field.type.value.encode(),
    }
    flags: list[bytes] = []
    if field.type is FieldType.TEXT:
        parts[b"WEIGHT"] = field.weight
    if field.type is FieldType.TAG:
        parts[b"SEPARATOR"] = b"" if field.separator is None else field.separator.encode("latin-1")
        if field.case_sensitive:
            flags.append(b"CASESENSITIVE")
    if field.sortable:
        flags.append(b"SORTABLE")
    if field.sortable and field.unf:
        flags.append(b"UNF")
    if field.nostem:
        flags.append(b"NOSTEM")
    if field.noindex:
        flags.append(b"NOINDEX")
    if field.suffix_trie:
        flags.append(b"WITHSUFFIXTRIE")
    if field.index_empty:
        flags.append(b"INDEXEMPTY")
    if field.index_missing:
        flags.append(b"INDEXMISSING")
    if protocol >= 3:
        return {**parts, b"flags": flags}
    return [*(x for pair in parts.items() for x in (pair[0], _plain(pair[1]))), *flags]


def _plain(value: Any) -> Any:
    return format_number(value) if type(value) is float else value


def _flat(value: Any) -> Any:
    """Maps as lists of names and values, numbers as RESP2 prints them."""
    if type(value) is dict:
        return [x for name, part in value.items() for x in (name, _flat(part))]
    if type(value) is list:
        return [_flat(part) for part in value]
    return _plain(value)
