"""`format_number`: numbers as replies print them."""

from __future__ import annotations

import math

__all__ = ["INVALID", "format_number", "format_sort_key"]

INVALID = -math.nan
"""The result of an undefined operation such as 0 / 0; it is printed with its sign."""


def format_number(value: float) -> bytes:
    """A double as RediSearch prints it: whole numbers in full, others with 12 significant digits."""
    if value.is_integer() and -9223372036854775808.0 <= value < 9223372036854775808.0:
        return b"%d" % value
    if value != value:
        return b"-nan" if math.copysign(1, value) < 0 else b"nan"
    if math.isinf(value):
        return b"inf" if value > 0 else b"-inf"
    return b"%.12g" % value


def format_sort_key(value: float) -> bytes:
    """A double as WITHSORTKEYS prints it."""
    return f"{value:.17g}".encode()
