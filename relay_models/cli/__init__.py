"""The `relay-models` command."""

from __future__ import annotations

from relay_models.cli.app import app, main

__all__ = ["app", "main"]
