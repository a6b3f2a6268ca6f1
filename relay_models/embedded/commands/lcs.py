"""`LcsCommand`: the longest common subsequence of two strings, with a row of bits for each letter."""

from __future__ import annotations

from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import extract_args
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError

__all__ = ["LcsCommand"]

# What Redis would need at most for its table, proto-max-bulk-len, and what it takes for each cell, in bytes.
TABLE_LIMIT: Final = 512 * 1024 * 1024
CELL: Final = 4


class LcsCommand:
    """Mixed into the engine's sockets; fakeredis' declaration of LCS stands."""

    def lcs(self, first: CommandItem, second: CommandItem, *args: bytes) -> Any:
        for item in (first, second):
            if item.value is not None and type(item.value) is not bytes:
                raise SimpleError("ERR The specified keys must contain string values")
        one, other = bytes(first.value or b""), bytes(second.value or b"")
        (positions, only_length, shortest, with_length), _ = extract_args(
            args, ("idx", "len", "+minmatchlen", "withmatchlen")
        )
        if positions and only_length:
            raise SimpleError(msgs.LCS_CANT_HAVE_BOTH_LEN_AND_IDX)
        if (len(one) + 1) * (len(other) + 1) * CELL > TABLE_LIMIT:
            raise SimpleError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
        rows = _rows(one, other)
        length = len(one) - rows[-1].bit_count()
        if only_length:
            return length
        text, ranges = _traced(one, other, rows)
        if not positions:
            return text
        matches = [
            [[start, start + size - 1], [at, at + size - 1], *([size] if with_length else [])]
            for start, at, size in ranges
            if size >= (shortest or 0)
        ]
        return {b"matches": matches, b"len": length}


def _rows(one: bytes, other: bytes) -> list[int]:
    """For each beginning of `other`, the letters of `one` with which the common subsequence does not grow, as bits."""
    places = dict.fromkeys(other, 0)
    for at, letter in enumerate(one):
        if letter in places:
            places[letter] |= 1 << at
    mask = (1 << len(one)) - 1
    row, rows = mask, [mask]
    for letter in other:
        found = row & places[letter]
        row = ((row + found) | (row - found)) & mask
        rows.append(row)
    return rows


def _traced(one: bytes, other: bytes, rows: list[int]) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The subsequence, and where its pieces are from the last to the first, chosen among several as Redis does."""
    text = bytearray()
    ranges: list[tuple[int, int, int]] = []
    size = 0
    at, place = len(one), len(other)
    while at and place:
        if one[at - 1] == other[place - 1]:
            text.append(one[at - 1])
            size, at, place = size + 1, at - 1, place - 1
            continue
        if size:
            ranges.append((at, place, size))
            size = 0
        # Up where that loses nothing and left would.
        if rows[place] >> (at - 1) & 1 and _length(rows[place], at) > _length(rows[place - 1], at):
            at -= 1
        else:
            place -= 1
    if size:
        ranges.append((at, place, size))
    return bytes(reversed(text)), ranges


def _length(row: int, at: int) -> int:
    return at - (row & ((1 << at) - 1)).bit_count()
