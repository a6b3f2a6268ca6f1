"""Asking about documents: expressions, the filter language, commands and replies; nothing here does I/O."""

from __future__ import annotations

from .columns import Column, Kind
from .expression import Expression, every_run
from .filters import as_expression

__all__ = ["Column", "Expression", "Kind", "as_expression", "every_run"]
