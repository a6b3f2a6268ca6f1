"""Execution plans: which tools of an agent may run at the same time, as NeMo Relay has learned it."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from relay_models.records.record import Bool, Factories, Record, uuid7

__all__ = ["ExecutionPlan", "MetadataEnvelope", "ParallelGroup", "ParallelHint"]


class ParallelHint(Record):
    """One tool's membership in a group of tools that may run in parallel."""

    tool_name: str = Field(description="Name of the tool that belongs to the group.")
    group_id: str = Field(description="Identifier shared by all tools of the group.")
    explicit: Bool = Field(description="True when a person wrote the hint, false when it was learned.")


class MetadataEnvelope(Record):
    """The metadata that NeMo Relay attaches to a run's calls."""

    run_id: UUID = Field(default=..., description="Run that the metadata was last derived from.")
    agent_id: str = Field(description="Agent that the metadata applies to.")
    parallel_hints: list[ParallelHint] = Field(default=..., description="Hints on tools that may run in parallel.")
    extensions: Any = Field(default=..., description="Any JSON value of the caller; null when there is none.")

    _fresh: ClassVar[Factories] = {"run_id": uuid7, "parallel_hints": list, "extensions": lambda: None}
    _nullable: ClassVar[frozenset[str]] = frozenset({"extensions"})


class ParallelGroup(Record):
    """A group of tools that were seen to run in parallel."""

    group_id: str = Field(description="Stable identifier of the group.")
    tool_names: list[str] = Field(description="Names of the tools in the group.")


class ExecutionPlan(Record):
    """What NeMo Relay learned about the order of an agent's tools."""

    agent_id: str = Field(description="Agent that the plan applies to.")
    parallel_groups: list[ParallelGroup] = Field(description="Groups of tools that may run in parallel.")
    metadata_template: MetadataEnvelope = Field(description="Metadata for the agent's next runs.")

    @property
    def tools(self) -> list[str]:
        """Names of the tools that are in any group, each once, sorted."""
        return sorted({name for group in self.parallel_groups for name in group.tool_names})

    def groups_of(self, tool_name: str) -> list[ParallelGroup]:
        """List the groups that a tool belongs to.

        Args:
            tool_name: Name of the tool.

        Returns:
            The groups, in the plan's order.
        """
        return [group for group in self.parallel_groups if tool_name in group.tool_names]

    def may_run_together(self, *tool_names: str) -> bool:
        """Check whether one group holds all of these tools.

        Args:
            *tool_names: Names of the tools.

        Returns:
            Whether there is such a group.

        Example:
            ```python
            plan.may_run_together("search", "fetch")
            ```
        """
        wanted = set(tool_names)
        return any(wanted <= set(group.tool_names) for group in self.parallel_groups)
