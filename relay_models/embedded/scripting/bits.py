"""The functions of `bit`, the 32-bit operations of scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final

__all__ = ["bit_operation"]

MASK: Final = 0xFFFFFFFF


def signed(number: int) -> int:
    """The lower 32 bits as a signed number."""
    number &= MASK
    return number - 2**32 if number & 0x80000000 else number


def _whole(number: float) -> int:
    """A number of Lua's as an integer, rounded to even; what none is counts as 0."""
    return round(number) if math.isfinite(number) else 0


def _rotate(number: int, by: int) -> int:
    by &= 31
    return (number & MASK) << by | (number & MASK) >> (32 - by)


BINARY: Final[dict[str, Callable[[int, int], int]]] = {
    "band": lambda one, other: one & other,
    "bor": lambda one, other: one | other,
    "bxor": lambda one, other: one ^ other,
}
SHIFTS: Final[dict[str, Callable[[int, int], int]]] = {
    "lshift": lambda number, by: number << (by & 31),
    "rshift": lambda number, by: (number & MASK) >> (by & 31),
    "arshift": lambda number, by: signed(number) >> (by & 31),
    "rol": _rotate,
    "ror": lambda number, by: _rotate(number, -by),
}


def bit_operation(name: str, numbers: Sequence[float]) -> int | bytes:
    """The outcome of ``bit.<name>(*numbers)``; digits for ``tohex``."""
    whole = [_whole(number) for number in numbers]
    if name in BINARY:
        return signed(reduce(BINARY[name], whole))
    if name in SHIFTS:
        return signed(SHIFTS[name](whole[0], whole[1] if len(whole) > 1 else 0))
    number = whole[0]
    if name == "bnot":
        return signed(~number)
    if name == "bswap":
        return signed(int.from_bytes((number & MASK).to_bytes(4, "little"), "big"))
    if name == "tohex":
        digits = max(-8, min(8, whole[1])) if len(whole) > 1 else 8
        text = f"{number & MASK:08x}"[8 - abs(digits) :]
        return (text.upper() if digits < 0 else text).encode()
    return signed(number)
