"""`python -m relay_models.cli`: the same command."""

from __future__ import annotations

from relay_models.cli.app import main

main()
