# ruff: noqa
# fmt: off
# Generated from relay_models/native/_async/__init__.py by scripts/generate_sync.py: change that, not this.
"""Async reading, importing, following and exporting of native keys; `_sync` is generated from it."""
