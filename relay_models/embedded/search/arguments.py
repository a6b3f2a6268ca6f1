"""`Arguments`: a command's arguments read one by one, with RediSearch's error messages."""

from __future__ import annotations

import math
import re

from relay_models.embedded.search.errors import SearchError

__all__ = [
    "BLANKS",
    "NO_ARGUMENT",
    "OUT_OF_BOUNDS",
    "UNPARSABLE",
    "Arguments",
    "display",
    "parse_bound",
    "parse_double",
    "parse_hash_number",
    "parse_integer",
    "parse_strictly",
]

UNPARSABLE = "Could not convert argument to expected type"
NO_ARGUMENT = "Expected an argument, but none provided"
OUT_OF_BOUNDS = "Value is outside acceptable bounds"

BLANKS = b" \t\n\v\f\r"
_INTEGER = re.compile(rb"[ \t\n\v\f\r]*[+-]?[0-9]+\Z")
_DOUBLE = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_HEXADECIMAL = re.compile(rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?\Z")
_SPECIAL = re.compile(rb"([+-]?)(inf(?:inity)?|nan)\Z", re.IGNORECASE)
_INT64 = 1 << 63


def display(value: bytes) -> str:
    """Bytes as text for a message."""
    return value.decode("utf-8", "replace")


def parse_integer(text: bytes) -> int | None:
    """A signed 64-bit decimal integer, or None."""
    if not _INTEGER.match(text):
        return None
    number = int(text)
    return number if -_INT64 <= number < _INT64 else None


def parse_double(text: bytes) -> float | None:
    """A double as C's strtod reads it when it must use all of `text` (without hexadecimal), or None."""
    if _DOUBLE.match(text):
        return float(text)
    special = _SPECIAL.match(text)
    if special is None:
        return None
    if special[2][:1] in b"nN":
        return math.nan
    return -math.inf if special[1] == b"-" else math.inf


def parse_strictly(text: bytes) -> float | None:
    """A double within range, or None where it overflows or underflows."""
    number = parse_double(text)
    if number is not None and (math.isinf(number) or not number) and _DOUBLE.match(text):
        digits = text.lower().split(b"e")[0]
        return None if number or digits.strip(b"+-.0") else number
    return number


def parse_hash_number(text: bytes) -> float | None:
    """A double as Redis reads it from a hash: hexadecimal too, but nothing that overflows or underflows."""
    if _HEXADECIMAL.match(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            return None
    number = parse_strictly(text)
    return None if number is None or math.isnan(number) else number


def parse_bound(text: bytes, *, lower: bool, sign: int = 1) -> float:
    """One end of a range of numbers, as FILTER and parameters give it. Raises `SearchError`.

    Only a lower end may be minus infinity, only an upper one infinity.
    """
    bare = text.removeprefix(b"(")
    word = bare.lower()
    # A sign in the query negates the text.
    if word in ((b"-inf",) if (sign == 1) == lower else (b"inf", b"+inf")):
        return -math.inf if lower else math.inf
    number = parse_double(bare.lstrip(BLANKS)) if bare else 0.0
    if number is None or math.isinf(number):
        raise SearchError(f"Bad {'lower' if lower else 'upper'} range: {display(bare)}")
    return sign * number if number == number else math.copysign(number, sign)


class Arguments:
    """A cursor over arguments."""

    __slots__ = ("position", "values")

    def __init__(self, values: list[bytes], position: int = 0) -> None:
        self.values = values
        self.position = position

    def __bool__(self) -> bool:
        return self.position < len(self.values)

    @property
    def remaining(self) -> int:
        return len(self.values) - self.position

    def peek(self) -> bytes:
        return self.values[self.position]

    def take(self) -> bytes:
        """The next argument; there must be one."""
        value = self.values[self.position]
        self.position += 1
        return value

    def rest(self) -> list[bytes]:
        """All remaining arguments."""
        rest = self.values[self.position :]
        self.position = len(self.values)
        return rest

    def accept(self, word: bytes) -> bool:
        """Take the next argument if it is this upper-case word, in any case."""
        if self.position < len(self.values) and self.values[self.position].upper() == word:
            self.position += 1
            return True
        return False

    def text(self, name: str) -> bytes:
        """The next argument, which belongs to the option `name`."""
        if not self:
            raise SearchError(f"Bad arguments for {name}: {NO_ARGUMENT}")
        return self.take()

    def integer(self, name: str, low: int | None = None, high: int | None = None) -> int:
        """The next argument as an integer in [low, high]."""
        number = parse_integer(self.text(name))
        if number is None:
            raise SearchError(f"Bad arguments for {name}: {UNPARSABLE}")
        if (low is not None and number < low) or (high is not None and number > high):
            raise SearchError(f"Bad arguments for {name}: {OUT_OF_BOUNDS}")
        return number

    def double(self, name: str) -> float:
        """The next argument as a finite number; a missing one counts as invalid."""
        text = self.take() if self else b""
        number = parse_hash_number(text) if _HEXADECIMAL.match(text) else parse_double(text)
        if number is None or math.isinf(number):
            raise SearchError(f"Bad arguments for {name}: {UNPARSABLE}")
        return number

    def counted(self, name: str) -> Arguments:
        """The arguments after a count, as a cursor of their own."""
        count = self.integer(name)
        if count < 0:
            raise SearchError(f"Bad arguments for {name}: {OUT_OF_BOUNDS}")
        if count > self.remaining:
            raise SearchError(f"Bad arguments for {name}: {NO_ARGUMENT}")
        part = Arguments(self.values[self.position : self.position + count])
        self.position += count
        return part
