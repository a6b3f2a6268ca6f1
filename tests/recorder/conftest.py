"""The fixtures of the native layout serve the recorder, too."""

from __future__ import annotations

from tests.native.conftest import plain_redis, source, source_url, store

__all__ = ["plain_redis", "source", "source_url", "store"]
