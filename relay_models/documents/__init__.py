"""The stored documents: redis-om models as schema and query language, key names, and records as JSON documents."""

from __future__ import annotations

from .artifacts import Accumulators, Observations, Plan, Stability, Trie, artifact_columns, decode_artifact
from .base import Document
from .codec import encode_artifact, encode_run, merge_run
from .keys import ARTIFACT_KINDS, KINDS, LAYOUT_VERSION, Keys, Layout, layout_of
from .run import Run
from .run_columns import run_columns, run_text, run_words
from .schema import DOCUMENTS, create_index_command, index_columns

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
    "run_columns",
    "run_text",
    "run_words",
]
