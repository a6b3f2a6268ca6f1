"""What scripts pack and unpack: the formats of `struct`, and the numbers of MessagePack for `cmsgpack`."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, Final

from fakeredis._helpers import SimpleError

__all__ = ["pack_number", "struct_pack", "struct_size", "struct_unpack"]

SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "i": 4, "I": 4, "f": 4, "d": 8}
# Bytes that a packed string may have: a script can hold no larger one.
MAX_SIZE: Final = 256 * 1024 * 1024
# Letters that a format may have: each takes a few microseconds, and nothing can interrupt that.
MAX_FORMAT: Final = 100_000
# Values that can be unpacked at once, as many as Lua can give.
MAX_VALUES: Final = 7990


def _items(text: bytes, name: str) -> Iterator[tuple[str, int, bool, int]]:
    """The items of a format: letter, size (-1 where the data tells), whether little-endian, alignment."""
    if len(text) > MAX_FORMAT:
        raise SimpleError(f"bad argument #1 to '{name}' (format is too long)")
    little, alignment, place = True, 1, 0
    fmt = text.decode("latin-1")
    while place < len(fmt):
        letter = fmt[place]
        place += 1
        end = place
        while end < len(fmt) and fmt[end].isdigit():
            end += 1
        counted = letter in "iIc!" and end > place
        number = int(fmt[place : min(end, place + 12)]) if counted else None
        if counted:
            place = end
        if letter in "<>=":
            little = letter != ">"
        elif letter == "!":
            alignment = number or 8
            if alignment & (alignment - 1):
                raise SimpleError("alignment is not a power of 2")
        elif letter == " ":
            continue
        elif letter == "x":
            yield letter, 1, little, 1
        elif letter == "c":
            size = 1 if number is None else number
            if size > MAX_SIZE:
                raise SimpleError("integral size overflow")
            yield letter, size or -1, little, 1
        elif letter == "s":
            yield letter, -1, little, 1
        elif letter in SIZES:
            size = SIZES[letter] if number is None else number
            if letter in "iI" and not 0 < size <= 32:
                raise SimpleError(f"integral size {size} is larger than limit of 32")
            yield letter, size, little, min(size, alignment) if letter in "bBhHlLTiI" or alignment > 1 else 1
        else:
            raise SimpleError(f"bad argument #1 to '{name}' (invalid format option '{letter}')")


def _padding(position: int, alignment: int) -> int:
    return -position % alignment if alignment > 1 else 0


def struct_size(text: bytes) -> int:
    """How many bytes a format takes."""
    total = 0
    for letter, size, _, alignment in _items(text, "size"):
        if size < 0:
            option = "s" if letter == "s" else "c0"
            raise SimpleError(f"bad argument #1 to 'size' (option '{option}' has no fixed size)")
        total += _padding(total, alignment) + size
        if total > MAX_SIZE:
            raise SimpleError("size of the format is too large")
    return total


def struct_pack(text: bytes, *values: Any) -> bytes:
    """The values in their format."""
    out = bytearray()
    rest = iter(enumerate(values, 2))

    def following(kind: str) -> Any:
        place, value = next(rest, (len(values) + 2, None))
        if value is None:
            raise SimpleError(f"bad argument #{place} to 'pack' ({kind} expected, got nil)")
        if kind == "string":
            return value if type(value) is bytes else b"%d" % value if type(value) is int else f"{value:.14g}".encode()
        try:
            return float(value) if type(value) is bytes else value
        except ValueError:
            raise SimpleError(f"bad argument #{place} to 'pack' (number expected, got string)") from None

    for letter, size, little, alignment in _items(text, "pack"):
        out += bytes(_padding(len(out), alignment))
        if letter == "x":
            out.append(0)
        elif letter == "s":
            out += following("string") + b"\0"
        elif letter == "c":
            value = following("string")
            if len(value) < size:
                raise SimpleError("bad argument #3 to 'pack' (string too short)")
            out += value if size < 0 else value[:size]
        elif letter in "fd":
            out += _float_bytes(following("number"), letter, little)
        else:
            number = following("number")
            whole = int(number) if abs(number) < 2**64 else -(2**63)
            out += (whole & (1 << 8 * size) - 1).to_bytes(size, "little" if little else "big")
        if len(out) > MAX_SIZE:
            raise SimpleError("the packed string is too large")
    return bytes(out)


def _float_bytes(number: float, letter: str, little: bool) -> bytes:
    try:
        return struct.pack(("<" if little else ">") + letter, number)
    except OverflowError:
        return struct.pack(("<" if little else ">") + letter, float("inf") if number > 0 else float("-inf"))


def struct_unpack(text: bytes, data: bytes, start: float) -> list[Any]:
    """The values of a format from a place on, and the place behind them."""
    position = int(start) - 1 if math.isfinite(start) else -1
    if position < 0:
        raise SimpleError("bad argument #3 to 'unpack' (offset must be 1 or greater)")
    found: list[Any] = []
    for letter, size, little, alignment in _items(text, "unpack"):
        position += _padding(position, alignment)
        if letter == "s":
            end = data.find(b"\0", position)
            if end < 0:
                raise SimpleError("unfinished string in data")
            found.append(data[position:end])
            position = end + 1
            continue
        if letter == "c" and size < 0:
            if not found or type(found[-1]) is bytes:
                raise SimpleError("format 'c0' needs a previous size")
            size = int(found.pop()) if math.isfinite(found[-1]) else -1
        if size < 0 or position + size > len(data):
            raise SimpleError("bad argument #2 to 'unpack' (data string too short)")
        if len(found) >= MAX_VALUES:
            raise SimpleError("too many results to unpack")
        part = data[position : position + size]
        position += size
        if letter == "c":
            found.append(part)
        elif letter in "fd":
            found.append(struct.unpack(("<" if little else ">") + letter, part)[0])
        elif letter != "x":
            signed = letter in "bhli"
            found.append(float(int.from_bytes(part, "little" if little else "big", signed=signed)))
    return [*found, position + 1]


# MessagePack


def pack_number(number: float) -> bytes:
    """A number in the shortest form of MessagePack that holds it."""
    if type(number) is float and (not number.is_integer() or abs(number) >= 2.0**63):
        try:
            single = struct.pack(">f", number)
        except OverflowError:
            return b"\xcb" + struct.pack(">d", number)
        return b"\xca" + single if struct.unpack(">f", single)[0] == number else b"\xcb" + struct.pack(">d", number)
    whole = int(number)
    if whole >= 0:
        if whole <= 127:
            return bytes((whole,))
        for mark, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4)):
            if whole < 1 << 8 * size:
                return bytes((mark,)) + whole.to_bytes(size, "big")
        return b"\xcf" + whole.to_bytes(8, "big")
    if whole >= -32:
        return bytes((whole & 0xFF,))
    for mark, size in ((0xD0, 1), (0xD1, 2), (0xD2, 4)):
        if whole >= -(1 << 8 * size - 1):
            return bytes((mark,)) + whole.to_bytes(size, "big", signed=True)
    return b"\xd3" + whole.to_bytes(8, "big", signed=True)
