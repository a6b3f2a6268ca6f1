"""JSON text as RedisJSON parses and writes it: 64-bit integers, doubles beyond them, shortest doubles, no blanks."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, TypedDict

import msgspec
from pydantic_core import from_json

__all__ = ["JSONTextError", "dumps", "loads", "loads_members", "loads_written", "normalise"]

MAX_DEPTH: Final = 128
# Maximum members of a value that is checked in Python, which costs less than searching a long text.
FEW: Final = 200
SHALLOW: Final = 20
I64_MIN, U64_MAX = -(1 << 63), (1 << 64) - 1

# An integer beyond 64 bits has at least twenty digits, or nineteen after a minus. Searching for those in a copy where
# every digit is the same byte costs a fraction of a regular expression. Brackets and braces are one byte there too, to
# count what might be nested too deep.
_MARKS: Final = bytes(
    0x30 if chr(byte) in "0123456789" else 0x5B if chr(byte) in "[{" else byte if chr(byte) == "-" else 0
    for byte in range(256)
)
_LONG: Final = b"0" * 19
_LONG_POSITIVE: Final = b"0" * 20
_LONG_NEGATIVE: Final = b"-" + b"0" * 19
# An integer of more digits, or with a sign of as many, is no finite double.
_MOST_DIGITS: Final = 310
_IN_NUMBER: Final = frozenset(bytes((byte,)) for byte in b"0123456789.eE")
_BEFORE_NUMBER: Final = frozenset(b" \t\r\n:,[")
_encode: Final = msgspec.json.Encoder().encode
_TRAILING: Final = re.compile(r"trailing characters at line (\d+) column (\d+)")


class JSONTextError(ValueError):
    """Text that is not JSON. The message is the server's, with the position in the text."""


def loads(text: bytes, *, whole: bool = False) -> Any:
    """The value of one JSON text. Anything after a complete value is ignored, as RedisJSON does unless it is `whole`.

    Raises `JSONTextError`.
    """
    return normalise(text, whole=whole)[0]


def normalise(text: bytes, *, whole: bool = False) -> tuple[Any, bytes]:
    """The value of one JSON text, and the text that RedisJSON would write for it. Raises `JSONTextError`."""
    try:
        value = from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        message = str(error)
        trailing = _TRAILING.search(message)
        if trailing is not None and not whole:
            return normalise(_up_to(text, int(trailing[1]), int(trailing[2])))
        if not _is_utf8(text):
            message = "Couldn't parse as UTF-8 string"
        raise JSONTextError(message) from None
    if _is_plain(value):
        return value, _encode(value)
    # Numbers that need a closer look are rare; each test below costs a fraction of the parse.
    marks = text.translate(_MARKS)
    if (_LONG in marks and (_LONG_POSITIVE in marks or _LONG_NEGATIVE in marks)) or _has_negative_zero(text):
        value = json.loads(text, parse_int=_integer)
    written = dumps(value)
    if b"null" in written and not _finite(value):  # which is how infinity is written
        raise JSONTextError(f"number out of range at line 1 column {len(text)}")
    if marks.count(b"[") >= MAX_DEPTH and _depth(value) >= MAX_DEPTH:
        raise JSONTextError(f"recursion limit exceeded at line 1 column {MAX_DEPTH}")
    return value, written


def loads_written(text: bytes) -> Any:
    """The value of a text that `dumps` wrote, without any checks."""
    return from_json(text, cache_strings="keys")


def loads_members(text: bytes, names: tuple[str, ...]) -> Any:
    """The same, but of an object perhaps only the members of these names."""
    try:
        return _members(names)(text)
    except msgspec.MsgspecError:
        return loads_written(text)


@functools.lru_cache(maxsize=256)
def _members(names: tuple[str, ...]) -> Callable[[bytes], Any]:
    found = TypedDict("found", dict.fromkeys(names, Any), total=False)  # type: ignore[misc]
    return msgspec.json.Decoder(found).decode


def dumps(value: Any) -> bytes:
    """`value` as RedisJSON writes it: no blanks, the shortest doubles, exponents without a plus."""
    return _encode(value)


def _up_to(text: bytes, line: int, column: int) -> bytes:
    """The part of `text` before a position given as 1-based line and column."""
    start = 0
    for _ in range(line - 1):
        start = text.index(b"\n", start) + 1
    return text[: start + column - 1]


def _integer(digits: str) -> int | float:
    if len(digits) > _MOST_DIGITS:
        return math.inf
    number = int(digits)
    if I64_MIN <= number <= U64_MAX and digits != "-0":
        return number
    # As many digits as 64 bits hold, scaled afterwards: RedisJSON rounds twice here, so the last digit may differ from
    # the nearest double.
    significand, exponent = abs(number), 0
    while significand > U64_MAX:
        exponent += 1
        significand = abs(number) // 10**exponent
    double = float(significand) * 10.0**exponent
    return -double if digits.startswith("-") else double


def _has_negative_zero(text: bytes) -> bool:
    """Whether there may be a number ``-0``, judged by the characters around it, which a string may imitate."""
    at = text.find(b"-0")
    while at >= 0:
        if (at == 0 or text[at - 1] in _BEFORE_NUMBER) and text[at + 2 : at + 3] not in _IN_NUMBER:
            return True
        at = text.find(b"-0", at + 2)
    return False


def _is_plain(value: Any) -> bool:
    """Whether a value is small, shallow, and contains only numbers that need no further check.

    The others are integers beyond 64 bits, 0, which was perhaps -0, and doubles out of range.
    """
    level, most = [value], FEW
    for _ in range(SHALLOW):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                below += item.values()
            elif kind is list:
                below += item
            elif kind is int:
                if not (I64_MIN <= item <= U64_MAX and item):
                    return False
            elif kind is float and not -math.inf < item < math.inf:
                return False
        if not below:
            return True
        most -= len(below)
        if most < 0:
            return False
        level = below
    return False


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _depth(value: Any) -> int:
    """The maximum depth of nested arrays and objects."""
    level, depth = [value], 0
    while level := [item for item in level if type(item) in (list, dict)]:
        depth += 1
        level = [child for item in level for child in (item.values() if type(item) is dict else item)]
    return depth


def _finite(value: Any) -> bool:
    """Whether no number anywhere in `value` overflowed to infinity."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is float:
            if math.isinf(item):
                return False
        elif kind is list:
            waiting.extend(item)
        elif kind is dict:
            waiting.extend(item.values())
    return True
