"""Asking about documents: expressions, the filter language, commands for the server, and its replies; nothing here does I/O."""

from __future__ import annotations
