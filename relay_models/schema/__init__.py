"""What is stored, described from the models themselves: field tables, columns, keys, JSON Schemas, Markdown pages.

Pure: nothing here opens a store. The documentation site and ``relay-models schema`` are made with it.
"""

from __future__ import annotations

from relay_models.schema.columns import ColumnRow, column_rows, document_rows, index_command_text
from relay_models.schema.diagrams import entity_diagram, nesting_diagram
from relay_models.schema.fields import FieldRow, field_rows, nested
from relay_models.schema.json_schema import json_schema
from relay_models.schema.markdown import kind_page, models_page, overview_page, types_page

__all__ = [
    "ColumnRow",
    "FieldRow",
    "column_rows",
    "document_rows",
    "entity_diagram",
    "field_rows",
    "index_command_text",
    "json_schema",
    "kind_page",
    "models_page",
    "nested",
    "nesting_diagram",
    "overview_page",
    "types_page",
]
