"""The stored documents: redis-om models as schema and query language, key names, and records as JSON documents."""

from __future__ import annotations

from relay_models.documents.artifacts import (
    Accumulators,
    Observations,
    Plan,
    Stability,
    Trie,
    artifact_columns,
    decode_artifact,
)
from relay_models.documents.base import Document
from relay_models.documents.codec import encode_artifact, encode_run, merge_run
from relay_models.documents.keys import ARTIFACT_KINDS, KINDS, LAYOUT_VERSION, Keys, Layout, layout_of
from relay_models.documents.run import Run, record_of
from relay_models.documents.run_columns import run_columns, run_text, run_words
from relay_models.documents.schema import DOCUMENTS, create_index_command, index_columns

__all__ = [
    "ARTIFACT_KINDS",
    "DOCUMENTS",
    "KINDS",
    "LAYOUT_VERSION",
    "Accumulators",
    "Document",
    "Keys",
    "Layout",
    "Observations",
    "Plan",
    "Run",
    "Stability",
    "Trie",
    "artifact_columns",
    "create_index_command",
    "decode_artifact",
    "encode_artifact",
    "encode_run",
    "index_columns",
    "layout_of",
    "merge_run",
    "record_of",
    "run_columns",
    "run_text",
    "run_words",
]
