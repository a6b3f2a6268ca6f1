"""`scan_command`: SCAN for all keys with a prefix."""

from __future__ import annotations

import re

__all__ = ["scan_command"]

# Keys that one SCAN looks at.
_KEYS_PER_SCAN = 1000


def scan_command(root: bytes, cursor: bytes | int) -> list[bytes | str | int]:
    """SCAN for all keys that begin with `root`; characters that mean something in patterns are escaped."""
    pattern = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", root) + b"*"
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_PER_SCAN]
