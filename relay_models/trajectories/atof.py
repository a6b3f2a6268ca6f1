"""`AtofReader`: run records from NeMo Relay's event files (ATOF, JSON Lines), by the rules of its own telemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay_models._checks import shown
from relay_models.records import RunRecord, Timestamp
from relay_models.trajectories.builder import AgentNaming, RunBuilder

__all__ = ["MAX_OPEN_BYTES", "AtofEvent", "AtofReader"]

# Events of open runs to hold; of larger runs what was read so far is given out [bytes of the file].
MAX_OPEN_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class AtofEvent:
    """One event of an ATOF file, checked."""

    kind: str
    category: str
    scope_category: str
    uuid: str
    parent_uuid: str | None
    name: str
    timestamp: str
    data: Any
    metadata: dict[str, Any] | None
    category_profile: dict[str, Any] | None
    propagation_root_uuid: str | None = None

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> AtofEvent:
        """Check a decoded line.

        Raises:
            ValueError: a required field is absent or wrong, or the version is none of 0.x.
        """
        version = value.get("atof_version", "0.1")
        if not isinstance(version, str) or not version.startswith("0."):
            raise ValueError(f"atof_version is {shown(version)}: only 0.x is understood")
        kind = value.get("kind")
        scope_category = value.get("scope_category")
        if kind == "scope" and scope_category not in ("start", "end"):
            raise ValueError(f"scope_category is {shown(scope_category)}, neither start nor end")
        for name, required in (("uuid", True), ("name", True), ("category", kind == "scope"), ("parent_uuid", False)):
            found = value.get(name)
            if not isinstance(found, str) and (required or found is not None):
                raise ValueError(f"{name} is {'absent' if found is None else f'{found!r}, which is no text'}")
        metadata, profile = value.get("metadata"), value.get("category_profile")
        if not isinstance(metadata, (dict, type(None))):
            metadata = {"metadata": metadata}
        if not isinstance(profile, (dict, type(None))):
            # What is not understood is kept: without its end a run would never be complete.
            metadata, profile = {**(metadata or {}), "category_profile": profile}, None
        root = value.get("propagation_root_uuid")
        return cls(
            kind=str(kind),
            category=value.get("category") or "unknown",
            scope_category=str(scope_category),
            uuid=value["uuid"],
            parent_uuid=value.get("parent_uuid"),
            name=value["name"],
            timestamp=_timestamp(value.get("timestamp")),
            data=value.get("data"),
            metadata=metadata,
            category_profile=profile,
            propagation_root_uuid=root if isinstance(root, str) else None,
        )


class AtofReader:
    """Builds runs from the events of one or more files, in the order in which they were written.

    Args:
        agent_id: the agent of all runs, or a function of the Agent scope's name; None takes that name.
        max_open_bytes: maximum size of the events of open runs to hold [bytes]. Beyond it the oldest open run is
            given out as far as it has been read.
    """

    def __init__(self, agent_id: AgentNaming = None, *, max_open_bytes: int = MAX_OPEN_BYTES) -> None:
        self._cut: list[RunRecord] = []
        self._builder = RunBuilder(agent_id, max_bytes=max_open_bytes, on_given_up=self._cut.append)

    @property
    def open_runs(self) -> int:
        """Runs that have begun and not ended."""
        return self._builder.open_runs

    def event(self, value: Mapping[str, Any], size: int = 0) -> Iterator[RunRecord]:
        """Process a decoded line.

        Args:
            value: the event as a JSON object.
            size: length of the line [bytes].

        Yields:
            The run that it ends; runs that were given up for their size.

        Raises:
            ValueError: it is no event, or the run that it ends cannot be made into a record.
        """
        event = AtofEvent.parse(value)
        if event.kind != "scope":
            return
        ended = self._builder.process(event, size)
        while self._cut:
            yield self._cut.pop(0)
        if ended is not None:
            yield ended

    def finish(self) -> Iterator[RunRecord]:
        """Yield the runs that have not ended, as running ones."""
        yield from self._builder.finish()


def _timestamp(value: Any) -> str:
    """An RFC 3339 text as it is, and microseconds since 1970 as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Timestamp.from_nanoseconds(value * 1000).text
    if not isinstance(value, str):
        raise ValueError(f"timestamp is {shown(value)}, neither RFC 3339 text nor microseconds")
    return Timestamp(value).text
