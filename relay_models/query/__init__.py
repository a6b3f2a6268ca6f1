"""Asking about documents: expressions, the filter language, commands and replies; nothing here does I/O."""

from __future__ import annotations

from relay_models.columns.column import Column
from relay_models.columns.expressions import Expression, every_run
from relay_models.columns.kind import Kind
from relay_models.query.language.filters import as_expression

__all__ = ["Column", "Expression", "Kind", "as_expression", "every_run"]
