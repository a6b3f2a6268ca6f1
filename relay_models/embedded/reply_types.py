"""The kinds of replies that the protocol distinguishes from plain values, and how Redis writes a double."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

__all__ = ["BigNumber", "DoubleText", "NullArray", "PlainReply", "PushReply", "SetReply", "Verbatim", "encode_double"]


class SetReply(list[Any]):
    """A reply that RESP3 has as a set."""


class BigNumber(bytes):
    """A number of any size, in its digits, for RESP3."""


class Verbatim(bytes):
    """A text with three letters and a colon before it that say how to show it, for RESP3."""


class DoubleText(bytes):
    """A double in more digits than read it back: a text in RESP2."""


class PlainReply:
    """A reply of bytes, numbers, lists and maps alone, which needs no look at each of its parts."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class NullArray:
    """Nothing, in place of an array: null in RESP3."""


class PushReply(list[Any]):
    """A message that answers no request: RESP3 marks it, RESP2 sends an array."""


def encode_double(value: float) -> bytes:
    """A double as Redis writes it: the shortest text that reads back, whole numbers without a point.

    Where others write an exponent differs: Redis does for many digits behind the point, too (``1.2345e-5``).
    """
    if value != value:
        return b"nan"
    if value in (float("inf"), float("-inf")):
        return b"inf" if value > 0 else b"-inf"
    if value.is_integer() and abs(value) <= 2.0**62:
        return b"%d" % int(value) if value or math.copysign(1, value) > 0 else b"-0"
    sign = "-" if value < 0 else ""
    _, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    exponent = int(exponent) + len(digit_tuple) - len(digits)
    scale = exponent + len(digits) - 1
    if exponent >= 0 and scale < len(digits) + 7:
        return f"{sign}{digits}{'0' * exponent}".encode()
    if exponent < 0 and (exponent > -7 or abs(scale) < 4):
        if scale < 0:
            return f"{sign}0.{'0' * (-scale - 1)}{digits}".encode()
        return f"{sign}{digits[: scale + 1]}.{digits[scale + 1 :]}".encode()
    point = "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}e{'+' if scale > 0 else ''}{scale}".encode()
