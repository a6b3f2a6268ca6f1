"""The stored documents: redis-om models as schema and query language, key names, and records as JSON documents."""

from __future__ import annotations

from relay_models.documents.artifacts import Accumulators, Observations, Plan, Stability, Trie
from relay_models.documents.base import Document, column
from relay_models.documents.codec import encode_artifact, encode_run, merge_run
from relay_models.documents.extractors import metadata
from relay_models.documents.find import Find
from relay_models.documents.item_codec import EncodedItem, ItemCodec, codec_of
from relay_models.documents.keys import LAYOUT_VERSION, Keys, Layout, layout_of
from relay_models.documents.kinds import ARTIFACT_KINDS, DOCUMENTS, KINDS, DocumentKind, decode_artifact, find_kind
from relay_models.documents.labels import Labels, Note, Origin, Score
from relay_models.documents.run import Run, record_of
from relay_models.documents.schema import create_index_command, index_columns

__all__ = [
    "ARTIFACT_KINDS",
    "DOCUMENTS",
    "KINDS",
    "LAYOUT_VERSION",
    "Accumulators",
    "Document",
    "DocumentKind",
    "EncodedItem",
    "Find",
    "ItemCodec",
    "Keys",
    "Labels",
    "Layout",
    "Note",
    "Observations",
    "Origin",
    "Plan",
    "Run",
    "Score",
    "Stability",
    "Trie",
    "codec_of",
    "column",
    "create_index_command",
    "decode_artifact",
    "encode_artifact",
    "encode_run",
    "find_kind",
    "index_columns",
    "layout_of",
    "merge_run",
    "metadata",
    "record_of",
]
