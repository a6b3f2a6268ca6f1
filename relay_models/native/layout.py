"""`NativeKeys`: NeMo Relay's own keys, their names, values and parsing."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from relay_models._checks import shown
from relay_models._glob import escape_glob
from relay_models.documents.kinds import ARTIFACT_KINDS, KINDS
from relay_models.errors import InvalidConfigurationError

__all__ = ["ARTIFACT_KINDS", "DEFAULT_PREFIX", "RECORD_TYPES", "NativeKey", "NativeKeys"]

DEFAULT_PREFIX = "nemo_relay:"

_SEGMENTS = MappingProxyType({"run_index": "runs_index", **{name: kind.native_segment for name, kind in KINDS.items()}})
_KINDS = {segment: kind for kind, segment in _SEGMENTS.items()}

# The type of each kind's value. The value of a run index is a list of run ids.
RECORD_TYPES: MappingProxyType[str, Any] = MappingProxyType({name: kind.shape for name, kind in KINDS.items()})

_RUN_ID_LENGTH = 36
_CACHE_ENTRY = re.compile(rb"sha256:[0-9a-f]{64}")


class NativeKey(NamedTuple):
    """A parsed key: a kind, an agent (or a profile key derived from one), and for a run its id."""

    kind: str
    agent_id: str
    run_id: str | None = None


class NativeKeys:
    """The keys of a NeMo Relay deployment with this prefix.

    Args:
        prefix: Any text, including an empty one and one with colons.

    Raises:
        InvalidConfigurationError: The prefix cannot be encoded as UTF-8.
    """

    __slots__ = ("_encoded", "prefix")

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        try:
            self._encoded = prefix.encode()
        except (UnicodeEncodeError, AttributeError):
            raise InvalidConfigurationError(f"the native prefix {shown(prefix)} cannot be part of a key") from None
        self.prefix = prefix

    def run(self, agent_id: str, run_id: UUID | str) -> bytes:
        """Return the key of a run; its value is the RunRecord as a string."""
        return f"{self.prefix}runs:{agent_id}:{run_id}".encode()

    def run_index(self, agent_id: str) -> bytes:
        """Return the key of an agent's list of run ids, in the order in which they were stored."""
        return f"{self.prefix}runs_index:{agent_id}".encode()

    def artifact(self, kind: str, agent_id: str) -> bytes:
        """Return the key of a plan, trie, accumulators, observations or stability result; its value is a string."""
        return f"{self.prefix}{_SEGMENTS[kind]}:{agent_id}".encode()

    def of(self, key: NativeKey) -> bytes:
        """Return the key that `parse` parsed."""
        if key.run_id is not None:
            return self.run(key.agent_id, key.run_id)
        return f"{self.prefix}{_SEGMENTS[key.kind]}:{key.agent_id}".encode()

    def parse(self, key: bytes) -> NativeKey | None:
        """Parse a key.

        Agent ids can contain colons, so a run's key is parsed from the right, where the run id has 36 characters.

        Args:
            key: The key.

        Returns:
            What it names; None if it is not a key of this deployment, or not UTF-8.
        """
        if not key.startswith(self._encoded):
            return None
        try:
            segment, colon, rest = key[len(self._encoded) :].decode().partition(":")
        except UnicodeDecodeError:
            return None
        kind = _KINDS.get(segment)
        if kind is None or not colon:
            return None
        if kind != "run":
            return NativeKey(kind, rest)
        agent_id, run_id = rest[: -_RUN_ID_LENGTH - 1], rest[-_RUN_ID_LENGTH:]
        if rest[-_RUN_ID_LENGTH - 1 : -_RUN_ID_LENGTH] != ":":
            return None
        try:
            UUID(run_id)
        except ValueError:
            return None
        return NativeKey(kind, agent_id, run_id)

    def is_cache_entry(self, key: bytes) -> bool:
        """Whether it is the key of an answer that NeMo Relay's response or tool cache keeps for a while.

        Such an entry is no state of an agent, and holds an unredacted response: it is neither imported nor exported.
        """
        return key.startswith(self._encoded) and _CACHE_ENTRY.fullmatch(key, len(self._encoded)) is not None

    def patterns(self) -> tuple[bytes, ...]:
        """Return SCAN patterns that together match all keys, also of cache entries, except those of single runs."""
        prefix = escape_glob(self._encoded)
        return prefix + b"runs_index:*", prefix + b"[apts]*"

    def __repr__(self) -> str:
        return f"NativeKeys({self.prefix!r})"
