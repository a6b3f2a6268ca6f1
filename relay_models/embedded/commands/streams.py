"""`StreamCommands`: what the engine corrects in fakeredis' commands on streams."""

from __future__ import annotations

from typing import Any

__all__ = ["StreamCommands"]


class StreamCommands:
    """Mixed into the engine's sockets; fakeredis' XREAD and XREADGROUP call these methods."""

    def _xread(self, *args: Any, **options: Any) -> Any:
        # No news is null, for a blocking command and in RESP3 too.
        return super()._xread(*args, **options) or None  # type: ignore[misc]

    def _xreadgroup(
        self,
        consumer: bytes,
        groups: list[Any],
        count: int | None,
        no_ack: bool,
        min_idle_time: int | None,
        first_pass: bool,
    ) -> Any:
        # At its first pass fakeredis takes the entries that are there and then waits for others, and the first change
        # of any key ends the waiting.
        return super()._xreadgroup(consumer, groups, count, no_ack, min_idle_time, False) or None  # type: ignore[misc]
