"""Replies as the transcripts write them, and replies whose order does not count put in one order."""

from __future__ import annotations

import base64
from typing import Any


def encode(value: Any) -> Any:
    """A reply as the transcript writes it."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, float):
        return {"double": repr(value)}
    if isinstance(value, (list, tuple)):
        return [encode(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((encode(part) for part in value), key=str)}
    if isinstance(value, dict):
        return {"map": [[encode(key), encode(part)] for key, part in value.items()]}
    if isinstance(value, Exception):
        return {"error": str(value)}
    return value


def canonical(reply: Any) -> Any:
    """A reply whose hits may come in any order, put in one order."""
    if isinstance(reply, dict) and "map" in reply:
        parts = dict(reply["map"])
        if "results" in parts:
            parts["results"] = sorted(map(canonical, parts["results"]), key=str)
        return {name: canonical(part) if name != "results" else part for name, part in parts.items()}
    if isinstance(reply, list):
        if reply and isinstance(reply[0], int):
            return [reply[0], sorted(map(canonical, reply[1:]), key=str)]
        return sorted(map(canonical, reply), key=str)
    return reply
