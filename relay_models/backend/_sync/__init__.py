# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/__init__.py by scripts/generate_sync.py: change that, not this.
"""The backend's I/O, written once in async; `relay_models.backend._sync` is generated from it."""
