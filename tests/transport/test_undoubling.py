"""Searches as they are put to servers that ask a shard several times."""

from __future__ import annotations

from relay_models.transport.undoubling import Undoubling


def test_conditions_on_missing_values_come_before_the_group_by_key() -> None:
    count = ("REDUCE", "SUM", 1, "@has", "AS", "n")
    has = ("APPLY", "exists(@duration)", "AS", "has")
    command = ("FT.AGGREGATE", "runs", "*", *has, "GROUPBY", 1, "@agent", *count, "DIALECT", 2)
    sent = Undoubling(command, 2).command
    assert sent == [
        *("FT.AGGREGATE", "runs", "*", "LOAD", 1, "@__key", *has),
        *("GROUPBY", 3, "@__key", "@agent", "@has", "GROUPBY", 1, "@agent", *count, "DIALECT", 2),
    ]
