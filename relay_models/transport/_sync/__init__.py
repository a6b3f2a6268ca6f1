# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/__init__.py by scripts/generate_sync.py: change that, not this.
"""The asynchronous half, from which the synchronous one is generated."""
