"""`StrictTool`: a tool that refuses arguments that it does not have, and says what is wrong with those that it has."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from relay_models._checks import shown

__all__ = ["StrictTool"]


class StrictTool(Tool):
    """A tool that refuses what it has no argument for, which the SDK ignores: ``where`` would find all runs."""

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """Check the arguments and run the tool. A list of names may be one text, separated by commas.

        Raises:
            ToolError: an argument is unknown or of another type, or the tool failed.
        """
        known: dict[str, Any] = self.parameters.get("properties", {})
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise ToolError(f"{self.name} has no argument {shown(unknown[0])}; it has {', '.join(known) or 'none'}")
        given = {
            name: _names(value) if isinstance(value, str) and _is_list(known[name]) else value
            for name, value in arguments.items()
            if value is not None  # as if it were not given
        }
        try:
            return await super().run(given, context, convert_result)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.__cause__.errors()]
            raise ToolError(f"{self.name}: {'; '.join(faults)}") from error


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _is_list(schema: dict[str, Any]) -> bool:
    return any(each.get("type") == "array" for each in schema.get("anyOf", [schema]))
