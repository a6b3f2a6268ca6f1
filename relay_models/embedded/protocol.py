"""The Redis protocol as bytes: requests read incrementally within fixed bounds, replies written for RESP2 and RESP3."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from fakeredis._helpers import SimpleError, SimpleString

__all__ = [
    "BigNumber",
    "PlainReply",
    "ProtocolError",
    "PushReply",
    "Request",
    "RequestReader",
    "SetReply",
    "Verbatim",
    "encode_reply",
]

MAX_INLINE: Final = 64 * 1024
MAX_FIELDS: Final = 1024 * 1024
MAX_BULK: Final = 512 * 1024 * 1024
MAX_REQUEST: Final = 768 * 1024 * 1024
# What somebody who has not logged in may make the server hold, as in Redis.
MAX_FIELDS_UNKNOWN: Final = 10
MAX_BULK_UNKNOWN: Final = 16 * 1024
# A number's line is never longer than this, so a longer one without an end is refused rather than kept.
MAX_NUMBER_LINE: Final = 32


# Most fields are shorter than this. Putting together what is ready costs a third of formatting it.
SHORT: Final = 512
_HEADS: Final = [b"$%d" % length for length in range(SHORT)]
_LENGTHS: Final = [head + b"\r\n" for head in _HEADS]


class ProtocolError(ValueError):
    """What was sent is not the Redis protocol, or is beyond the bounds. The connection cannot go on after it."""


class Request(list[bytes]):
    """One command as the list of its arguments."""


class RequestReader:
    """Cuts the bytes of one connection into requests.

    Holds no more than one incomplete request and what came after it in the same read. Raises `ProtocolError`; the
    requests before the broken one have been returned by then.
    """

    def __init__(self) -> None:
        self.trusted = True
        """Whether the peer has logged in, or needs not; others get tight bounds."""
        self._buffer = bytearray()
        self._position = 0
        self._fields: list[bytes] = []
        self._missing = 0  # fields of the current request still to come
        self._length = -1  # bytes of the current field, or -1 while its length is not known
        self._held = 0  # bytes in the fields of the current request

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete request are held."""
        return len(self._buffer) + self._held

    def feed(self, data: bytes) -> Iterator[Request]:
        """Take in `data`, and give the requests that are complete by now."""
        if self.trusted and not self._buffer and not self._missing and data[:1] == b"*":
            requests, used = _whole_requests(data)
            yield from requests
            data = data[used:]
        self._buffer += data
        try:
            while (request := self._next()) is not None:
                if request:
                    yield request
        finally:
            if self._position:
                del self._buffer[: self._position]
                self._position = 0

    def _next(self) -> Request | None:
        while True:
            if not self._missing:
                line = self._line(MAX_INLINE, "too big inline request" if not self._starts_array() else None)
                if line is None:
                    return None
                if not line.startswith(b"*"):
                    return Request(split_inline(line))
                count = self._number(line, "invalid multibulk length")
                if count > (MAX_FIELDS if self.trusted else MAX_FIELDS_UNKNOWN):
                    raise ProtocolError(
                        "invalid multibulk length" if self.trusted else "unauthenticated multibulk length"
                    )
                if count <= 0:
                    return Request()
                self._missing, self._fields, self._held = count, [], 0
            if not self._read_fields():
                return None
            fields, self._fields, self._held = self._fields, [], 0
            return Request(fields)

    def _starts_array(self) -> bool:
        return self._buffer[self._position : self._position + 1] == b"*"

    def _read_fields(self) -> bool:
        """Read the fields of the current request; False when more bytes are needed."""
        buffer = self._buffer
        while self._missing:
            if self._length < 0:
                line = self._line(MAX_NUMBER_LINE, "too big bulk count string")
                if line is None:
                    return False
                if line[:1] != b"$":
                    got = line[:1].decode("ascii", "backslashreplace")
                    raise ProtocolError(f"expected '$', got '{got}'")
                length = self._number(line, "invalid bulk length")
                if not 0 <= length <= MAX_BULK:
                    raise ProtocolError("invalid bulk length")
                if not self.trusted and length > MAX_BULK_UNKNOWN:
                    raise ProtocolError("unauthenticated bulk length")
                self._held += length
                if self._held > MAX_REQUEST:
                    raise ProtocolError("too big request")
                self._length = length
            end = self._position + self._length
            if len(buffer) < end + 2:
                return False
            with memoryview(buffer) as view:
                self._fields.append(bytes(view[self._position : end]))
            self._position = end + 2
            self._length = -1
            self._missing -= 1
        return True

    def _line(self, limit: int, too_long: str | None) -> bytes | None:
        """The next line without its end, or None while it is incomplete."""
        if too_long is None:
            limit, too_long = MAX_NUMBER_LINE, "too big mbulk count string"
        end = self._buffer.find(b"\n", self._position, self._position + limit + 2)
        if end < 0:
            if len(self._buffer) - self._position > limit:
                raise ProtocolError(too_long)
            return None
        line = bytes(self._buffer[self._position : end])
        self._position = end + 1
        return line.removesuffix(b"\r")

    @staticmethod
    def _number(line: bytes, otherwise: str) -> int:
        digits = line[1:]
        if digits.isdigit():
            return int(digits)
        if not digits.lstrip(b"-").isdigit() or digits.count(b"-") > digits.startswith(b"-"):
            raise ProtocolError(otherwise)
        return int(digits)


def _whole_requests(data: bytes) -> tuple[list[Request], int]:
    """The requests at the start of `data` that are whole and plain, and how many bytes they take.

    Most are: their fields hold no line ends, and cutting the data at these leaves only the lengths to be compared. What
    is anything else is left to be read with care.
    """
    lines = data.split(b"\r\n")
    requests: list[Request] = []
    at, used, last = 0, 0, len(lines) - 1
    while at < last:
        head = lines[at]
        count = head[1:]
        if head[:1] != b"*" or len(count) > 4 or not count.isdigit():
            break
        end = at + 1 + 2 * int(count)
        if end > last or end == at + 1:
            break
        fields = lines[at + 2 : end : 2]
        sizes = list(map(len, fields))
        if [_HEADS[size] if size < SHORT else b"$%d" % size for size in sizes] != lines[at + 1 : end : 2]:
            break
        requests.append(Request(fields))
        used += len(head) + 2 + sum(sizes) + 4 * len(sizes) + sum(map(len, lines[at + 1 : end : 2]))
        at = end
    return requests, used


_ESCAPES: Final = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


def split_inline(line: bytes) -> list[bytes]:
    """Cut an inline command into its arguments, with quotes as redis-cli has them. Raises `ProtocolError`."""
    if not line.strip(b" \t\r\n\0\v\f"):
        return []
    if b'"' not in line and b"'" not in line:
        return line.split()
    words: list[bytes] = []
    position, end = 0, len(line)
    while True:
        while position < end and line[position : position + 1].isspace():
            position += 1
        if position >= end:
            return words
        word = bytearray()
        quote = 0
        while position < end:
            char = line[position]
            if quote:
                if char == quote:
                    position += 1
                    if position < end and not line[position : position + 1].isspace():
                        raise ProtocolError("unbalanced quotes in request")
                    quote = 0
                    break
                if char == 0x5C and position + 1 < end:
                    if quote == 0x27:
                        position += line[position + 1] == 0x27
                    elif (
                        line[position + 1] == 0x78
                        and set(line[position + 2 : position + 4]) <= _HEX
                        and position + 3 < end
                    ):
                        word.append(int(line[position + 2 : position + 4], 16))
                        position += 4
                        continue
                    else:
                        position += 1
                        word.append(_ESCAPES.get(line[position], line[position]))
                        position += 1
                        continue
                word.append(line[position])
            elif char in b"\"'":
                quote = char
            elif line[position : position + 1].isspace():
                break
            else:
                word.append(char)
            position += 1
        if quote:
            raise ProtocolError("unbalanced quotes in request")
        words.append(bytes(word))


class SetReply(list[Any]):
    """A reply that RESP3 has as a set."""


class BigNumber(bytes):
    """A number of any size, in its digits, for RESP3."""


class Verbatim(bytes):
    """A text with three letters and a colon before it that say how to show it, for RESP3."""


class PlainReply:
    """A reply of bytes, numbers, lists and maps alone, which needs no look at each of its parts."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class PushReply(list[Any]):
    """A message that answers no request: RESP3 marks it, RESP2 sends an array."""


def encode_reply(value: Any, protocol: int, out: list[bytes]) -> None:
    """Append the pieces of one reply, which already has the shape of `protocol`, to `out`."""
    kind = type(value)
    if kind is bytes:
        out.append(b"$%d\r\n%b\r\n" % (len(value), value))
    elif kind is int:
        out.append(b":%d\r\n" % value if -(2**63) <= value < 2**63 else _big_number(value, protocol))
    elif value is None:
        out.append(b"_\r\n" if protocol == 3 else b"$-1\r\n")
    elif kind is list or kind is tuple:
        out.append(b"*%d\r\n" % len(value))
        for item in value:
            if type(item) is bytes and len(item) < SHORT:
                out.append(_LENGTHS[len(item)] + item + b"\r\n")
            else:
                encode_reply(item, protocol, out)
    elif kind is dict:
        out.append(b"%%%d\r\n" % len(value) if protocol == 3 else b"*%d\r\n" % (2 * len(value)))
        for pair in value.items():
            for item in pair:
                if type(item) is bytes and len(item) < SHORT:
                    out.append(_LENGTHS[len(item)] + item + b"\r\n")
                else:
                    encode_reply(item, protocol, out)
    elif kind is bool:
        out.append((b"#t\r\n" if value else b"#f\r\n") if protocol == 3 else b":%d\r\n" % value)
    elif kind is float:
        text = encode_double(value)
        out.append(b",%b\r\n" % text if protocol == 3 else b"$%d\r\n%b\r\n" % (len(text), text))
    elif kind is PlainReply:
        encode_reply(value.value, protocol, out)
    elif kind is SimpleString:
        out.append(b"+%b\r\n" % value.value)
    elif isinstance(value, SimpleError):
        out.append(b"-%b\r\n" % value.value.replace("\r", " ").replace("\n", " ").encode())
    elif isinstance(value, (SetReply, PushReply, set, frozenset)):
        mark = b"*" if protocol == 2 else b">" if kind is PushReply else b"~"
        out.append(b"%b%d\r\n" % (mark, len(value)))
        for item in value:
            encode_reply(item, protocol, out)
    elif kind is BigNumber:
        out.append(b"(%b\r\n" % value.replace(b"\r", b" ").replace(b"\n", b" "))
    elif kind is Verbatim:
        out.append(b"=%d\r\n%b\r\n" % (len(value), value))
    elif isinstance(value, str):
        encode_reply(value.encode(), protocol, out)
    else:
        raise TypeError(f"a reply holds a {kind.__name__}")


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


def _big_number(value: int, protocol: int) -> bytes:
    text = b"%d" % value
    return b"(%b\r\n" % text if protocol == 3 else b"$%d\r\n%b\r\n" % (len(text), text)
