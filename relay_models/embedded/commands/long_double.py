"""`increment`: sums as Redis computes and writes them, in 80-bit floating point, which Python has no type for."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from fakeredis import _msgs as msgs
from fakeredis._helpers import SimpleError

__all__ = ["increment"]

# Bits of a number's significand, and digits that are written after the point at most.
SIGNIFICAND: Final = 64
DIGITS: Final = 17
# Decimal exponents that 80 bits have no room for.
EXPONENTS: Final = range(-4932, 4933)
LARGEST: Final = Fraction(2) ** 16384

_NUMBER = re.compile(rb"([+-]?)(?=[0-9]|\.[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?\Z")
# What C reads, and Redis with it.
_HEXADECIMAL = re.compile(
    rb"([+-]?)0[xX](?=[0-9a-fA-F]|\.[0-9a-fA-F])([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?[0-9]{1,4}))?\Z"
)


def increment(value: bytes, amount: bytes) -> bytes:
    """The text of a sum. Raises `SimpleError` where one of the numbers is none, or the sum is too large."""
    numbers = [_read(value), _read(amount)]
    total = _rounded(sum((number for number in numbers if number is not None), Fraction(0)))
    if None in numbers or abs(total) >= LARGEST:
        raise SimpleError(msgs.NONFINITE_MSG)
    scaled = round(abs(total) * 10**DIGITS)
    whole, rest = divmod(scaled, 10**DIGITS)
    text = f"{whole}.{rest:0{DIGITS}d}".rstrip("0").rstrip(".")
    return (f"-{text}" if total < 0 and text != "0" else text).encode()


def _read(text: bytes) -> Fraction | None:
    """The number in a text; None for an infinite one."""
    if text.lower().lstrip(b"+-") in (b"inf", b"infinity"):
        return None
    found = _HEXADECIMAL.match(text)
    if found is not None and len(text) <= 200:
        sign, whole, rest, exponent = found.groups()
        number = Fraction(int(whole + (rest or b"") or b"0", 16)) * Fraction(2) ** (
            int(exponent or 0) - 4 * len(rest or b"")
        )
        return _rounded(-number if sign == b"-" else number)
    found = _NUMBER.match(text)
    if found is None or len(text) > 5 * 1024:
        raise SimpleError(msgs.INVALID_FLOAT_MSG)
    sign, whole, rest, exponent = found.groups()
    digits, shift = int(whole + (rest or b"") or b"0"), int(exponent or 0) - len(rest or b"")
    if digits and len(str(digits)) + shift not in EXPONENTS:
        raise SimpleError(msgs.INVALID_FLOAT_MSG)
    number = Fraction(digits) * Fraction(10) ** (shift if digits else 0)
    return _rounded(-number if sign == b"-" else number)


def _rounded(number: Fraction) -> Fraction:
    """The nearest number of 80 bits; of two, the one whose last bit is 0."""
    if not number:
        return number
    shift = SIGNIFICAND - (abs(number.numerator).bit_length() - number.denominator.bit_length())
    scaled = number * Fraction(2) ** shift
    while abs(scaled) >= 2**SIGNIFICAND:
        scaled, shift = scaled / 2, shift - 1
    while abs(scaled) < 2 ** (SIGNIFICAND - 1):
        scaled, shift = scaled * 2, shift + 1
    return Fraction(round(scaled)) / Fraction(2) ** shift
