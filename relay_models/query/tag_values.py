"""`value_steps` and `count_steps`: the values of columns, and how many documents match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from relay_models.columns.expressions import Expression, Missing, Pattern, Words
from relay_models.columns.info import column_name
from relay_models.columns.kind import Kind
from relay_models.errors import QueryError
from relay_models.query.compiler import CompiledFilter, Values, compile_filter, needed_values
from relay_models.query.replies import check_complete, decode_index_info, decode_total, decode_values
from relay_models.query.server_cursor import cursor_steps
from relay_models.query.steps import Command, Steps, aggregate_command

__all__ = ["count_steps", "is_hexadecimal", "value_steps"]

# Maximum number of values that fit a pattern in one query; a server parses that many in a fifth of a second.
_MOST_VALUES = 100_000


def value_steps(alias: str, expression: Expression, limit_ms: int = 0) -> Steps[Values]:
    """Ask for the values that patterns of an expression are applied to."""
    searched = {node.column.index_name for node in expression.walk() if _about_words(node)}
    if searched:
        # A server takes a column that its index does not have as one that nothing matches.
        indexed = decode_index_info((yield ["FT.INFO", alias]).reply).columns
        if not searched <= indexed:
            shown = ", ".join(map(column_name, searched))
            raise QueryError(
                f"the words of runs are not indexed here, so {shown} cannot be searched: open the store with "
                "index_text=True"
            )
    values: dict[str, list[str]] = {}
    columns = {node.column.index_name: node.column for node in expression.walk() if isinstance(node, Pattern)}
    for name, starts in needed_values(expression).items():
        if not starts:
            values[name] = decode_values((yield ["FT.TAGVALS", alias, name]).reply)
            continue
        # There are as many UUIDs as documents: only those that begin so. What is not hexadecimal, none begins with.
        fits = " || ".join(
            f'(@{name} >= "{start}" && @{name} < "{start}~")' for start in starts if is_hexadecimal(start)
        )
        if not fits:
            values[name] = []
            continue
        column = columns[name]
        command = aggregate_command(alias, f"-ismissing(@{name})" if column.nullable else "*")
        command += [*column.sort_steps(), "FILTER", f"exists(@{name}) && ({fits})", "GROUPBY", 1, f"@{name}"]
        rows = yield from cursor_steps(command, CompiledFilter("*"), limit_ms)
        values[name] = [row[name.encode()].decode() for row in rows]
    for name, known in values.items():
        if len(known) > _MOST_VALUES and _too_many(expression, name, known):
            raise QueryError(f"more than {_MOST_VALUES:,} values of {name} fit the pattern: give more of it")
    return values


def _about_words(node: Expression) -> TypeGuard[Words | Missing]:
    return isinstance(node, Words | Missing) and node.column.kind is Kind.WORDS


def _too_many(expression: Expression, name: str, known: Sequence[str]) -> bool:
    """Whether a pattern on the column fits more values than one query may name."""
    return any(
        sum(map(node.fits, known)) > _MOST_VALUES
        for node in expression.walk()
        if isinstance(node, Pattern) and node.column.index_name == name
    )


def count_steps(alias: str, filter: Expression, *, limit_ms: int = 0, partial: bool = False) -> Steps[int]:
    """How many documents meet the filter, exactly."""
    compiled = compile_filter(filter, (yield from value_steps(alias, filter, limit_ms)))
    if compiled.nothing:
        return 0
    command: Command = ["FT.SEARCH", alias, compiled.query, "NOCONTENT", "LIMIT", 0, 0, *compiled.arguments()]
    answer = yield [*command, "TIMEOUT", limit_ms, "DIALECT", 2]
    total, warnings = decode_total(answer.reply)
    check_complete(warnings, answer, limit_ms, partial, total)
    return total


def is_hexadecimal(text: str) -> bool:
    """Whether a text may stand in a condition of a server as the beginning of a run id."""
    return len(text) <= 36 and all(character in "0123456789abcdef-" for character in text)
