"""NeMo Relay's own keys: their names, what each holds, and taking them apart again."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from relay_models._glob import escape_glob
from relay_models.documents.kinds import ARTIFACT_KINDS, KINDS
from relay_models.errors import InvalidConfigurationError

__all__ = ["ARTIFACT_KINDS", "DEFAULT_PREFIX", "RECORD_TYPES", "NativeKey", "NativeKeys"]

DEFAULT_PREFIX = "nemo_relay:"

_SEGMENTS = MappingProxyType({"run_index": "runs_index", **{name: kind.native_segment for name, kind in KINDS.items()}})
_KINDS = {segment: kind for kind, segment in _SEGMENTS.items()}

# What the value of a key of each kind is. A run index is a list of run ids instead.
RECORD_TYPES: MappingProxyType[str, Any] = MappingProxyType({name: kind.shape for name, kind in KINDS.items()})

_RUN_ID_LENGTH = 36


class NativeKey(NamedTuple):
    """What a key names: a kind, an agent (or a profile key derived from one), and the run for a run."""

    kind: str
    agent_id: str
    run_id: str | None = None


class NativeKeys:
    """The names of the keys that a NeMo Relay deployment with this prefix uses.

    Args:
        prefix: any text, also an empty one, or one with colons.

    Raises:
        InvalidConfigurationError: the prefix cannot be written as UTF-8.
    """

    __slots__ = ("_encoded", "prefix")

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        try:
            self._encoded = prefix.encode()
        except (UnicodeEncodeError, AttributeError):
            raise InvalidConfigurationError(f"the native prefix {prefix!r} is no text that can be a key") from None
        self.prefix = prefix

    def run(self, agent_id: str, run_id: UUID | str) -> bytes:
        """The key of a run (a string: the RunRecord)."""
        return f"{self.prefix}runs:{agent_id}:{run_id}".encode()

    def run_index(self, agent_id: str) -> bytes:
        """The key of an agent's list of run ids, in the order in which they were stored."""
        return f"{self.prefix}runs_index:{agent_id}".encode()

    def artifact(self, kind: str, agent_id: str) -> bytes:
        """The key of a plan, trie, accumulators, observations or stability (a string: the value)."""
        return f"{self.prefix}{_SEGMENTS[kind]}:{agent_id}".encode()

    def of(self, key: NativeKey) -> bytes:
        """The key that `parse` took apart."""
        if key.run_id is not None:
            return self.run(key.agent_id, key.run_id)
        return f"{self.prefix}{_SEGMENTS[key.kind]}:{key.agent_id}".encode()

    def parse(self, key: bytes) -> NativeKey | None:
        """What a key names; None for a key that is not this deployment's, or not UTF-8.

        Agent ids hold colons: a run's key is taken apart from the right, where the run id is 36 characters.
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

    def patterns(self) -> tuple[bytes, ...]:
        """SCAN patterns that together match every key but those of single runs."""
        prefix = escape_glob(self._encoded)
        return prefix + b"runs_index:*", prefix + b"[apt]*"

    def __repr__(self) -> str:
        return f"NativeKeys({self.prefix!r})"
