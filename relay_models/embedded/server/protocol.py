"""The Redis protocol as bytes: requests read incrementally within fixed bounds, replies written for RESP2 and RESP3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fakeredis._helpers import SimpleError, SimpleString

from relay_models.embedded.reply_types import (
    BigNumber,
    DoubleText,
    NullArray,
    PlainReply,
    PushReply,
    SetReply,
    Verbatim,
    encode_double,
)

__all__ = ["ProtocolError", "Request", "RequestReader", "encode_reply"]

MAX_INLINE: Final = 64 * 1024
MAX_FIELDS: Final = 1024 * 1024
MAX_BULK: Final = 512 * 1024 * 1024
MAX_REQUEST: Final = 768 * 1024 * 1024
# The limits for clients that have not logged in, as in Redis.
MAX_FIELDS_UNKNOWN: Final = 10
MAX_BULK_UNKNOWN: Final = 16 * 1024
# Maximum bytes of the line of a number; a longer one without an end is refused.
MAX_NUMBER_LINE: Final = 32


# Most fields are shorter than this (bytes). Joining prepared heads costs a third of formatting them.
SHORT: Final = 512
_HEADS: Final = [b"$%d" % length for length in range(SHORT)]
_LENGTHS: Final = [head + b"\r\n" for head in _HEADS]


class ProtocolError(ValueError):
    """The client sent something that is not the Redis protocol, or beyond the limits. The connection must end."""


class Request(list[bytes]):
    """One command as the list of its arguments."""

    is_http = False
    """Whether it is the first line of an HTTP request."""


class RequestReader:
    """Cuts the bytes of one connection into requests.

    Holds no more than one incomplete request and what came after it in the same read. Raises `ProtocolError`; the
    requests before the broken one have been returned by then.
    """

    def __init__(self) -> None:
        self.trusted = True
        """Whether the client has logged in, or need not; others have low limits."""
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
                    request = Request(split_inline(line))
                    request.is_http = len(request) == 3 and request[2].startswith(b"HTTP/")
                    return request
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

    Most are: their fields hold no line ends, and cutting the data at these leaves only the lengths to be compared.
    Anything else is left for the full parser.
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
    """Cut an inline command into its arguments, with quotes as in redis-cli. Raises `ProtocolError`."""
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
    elif kind is DoubleText:
        out.append(b",%b\r\n" % value if protocol == 3 else b"$%d\r\n%b\r\n" % (len(value), value))
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
    elif kind is NullArray:
        out.append(b"_\r\n" if protocol == 3 else b"*-1\r\n")
    elif kind is BigNumber:
        out.append(b"(%b\r\n" % value.replace(b"\r", b" ").replace(b"\n", b" "))
    elif kind is Verbatim:
        out.append(b"=%d\r\n%b\r\n" % (len(value), value))
    elif isinstance(value, str):
        encode_reply(value.encode(), protocol, out)
    else:
        raise TypeError(f"a reply holds a {kind.__name__}")


def _big_number(value: int, protocol: int) -> bytes:
    text = b"%d" % value
    return b"(%b\r\n" % text if protocol == 3 else b"$%d\r\n%b\r\n" % (len(text), text)
