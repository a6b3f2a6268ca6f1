"""Async reading, importing, following and exporting of native keys; `_sync` is generated from it."""
