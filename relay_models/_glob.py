"""`glob_escape`: text in a pattern of Redis (KEYS, SCAN MATCH, PSUBSCRIBE)."""

from __future__ import annotations

import re
from typing import AnyStr

__all__ = ["glob_escape"]


def glob_escape(text: AnyStr) -> AnyStr:
    """Escape text for a glob pattern of Redis, so that it matches only itself."""
    if isinstance(text, str):
        return re.sub(r"([\\*?\[])", r"\\\1", text)
    return re.sub(rb"([\\*?\[])", rb"\\\1", text)
