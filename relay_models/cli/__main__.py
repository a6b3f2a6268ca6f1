"""`python -m relay_models.cli`: the same command."""

from __future__ import annotations

from .app import main

main()
