"""What scripts pack and unpack: the formats of `struct`, and MessagePack as `cmsgpack` has it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from fakeredis._helpers import SimpleError

__all__ = ["pack_number", "struct_pack", "struct_size", "struct_unpack", "unpack_messages"]

SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "i": 4, "I": 4, "f": 4, "d": 8}
# Larger ones would be beyond what the protocol carries.
MAX_SIZE: Final = 512 * 1024 * 1024
MAX_DEPTH: Final = 100


def _items(text: bytes, name: str) -> Iterator[tuple[str, int, bool, int]]:
    """The items of a format: letter, size (-1 where the data tells), whether little-endian, alignment."""
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
    position = int(start) - 1
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
            size = int(found.pop())
        if size < 0 or position + size > len(data):
            raise SimpleError("bad argument #2 to 'unpack' (data string too short)")
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


class Messages:
    """Reads one message after the other."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    def take(self, size: int) -> bytes:
        part = self.data[self.position : self.position + size]
        if len(part) < size:
            raise SimpleError("Missing bytes in input.")
        self.position += size
        return part

    def whole(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "big", signed=signed)

    def read(self, depth: int = 0) -> Any:
        """One value: bytes, numbers, booleans, None, and dictionaries for tables."""
        if depth > MAX_DEPTH:
            raise SimpleError("Bad data format in input.")
        mark = self.whole(1)
        if mark < 0x80:
            return mark
        if mark >= 0xE0:
            return mark - 256
        if mark < 0x90:
            return self.table(2 * (mark & 15), depth)
        if mark < 0xA0:
            return self.array(mark & 15, depth)
        if mark < 0xC0:
            return self.take(mark & 31)
        if mark in (0xC0, 0xC2, 0xC3):
            return None if mark == 0xC0 else mark == 0xC3
        if mark in (0xCA, 0xCB):
            return struct.unpack(">f" if mark == 0xCA else ">d", self.take(4 if mark == 0xCA else 8))[0]
        if 0xCC <= mark <= 0xD3:
            return float(self.whole(1 << (mark & 3), signed=mark >= 0xD0))
        if mark in (0xC4, 0xC5, 0xC6):
            return self.take(self.whole(1 << mark - 0xC4))
        if mark in (0xD9, 0xDA, 0xDB):
            return self.take(self.whole(1 << mark - 0xD9))
        if mark in (0xDC, 0xDD):
            return self.array(self.whole(2 if mark == 0xDC else 4), depth)
        if mark in (0xDE, 0xDF):
            return self.table(2 * self.whole(2 if mark == 0xDE else 4), depth)
        raise SimpleError("Bad data format in input.")

    def array(self, count: int, depth: int) -> dict[Any, Any]:
        found = ((place, self.read(depth + 1)) for place in range(1, count + 1))
        return {place: value for place, value in found if value is not None}

    def table(self, count: int, depth: int) -> dict[Any, Any]:
        values = iter([self.read(depth + 1) for _ in range(count)])
        found = {}
        for key in values:
            value = next(values)
            if key is None or isinstance(key, dict) or key != key:
                raise SimpleError("Bad data format in input.")
            if value is not None:
                found[key] = value
        return found


def unpack_messages(data: bytes, limit: float, offset: float) -> tuple[list[Any], int]:
    """Up to `limit` values (all for 0), and where the next one begins: -1 at the end."""
    messages = Messages(data, int(offset))
    found: list[Any] = []
    while messages.position < len(data) and not (limit and len(found) >= limit):
        found.append(messages.read())
    return found, messages.position if messages.position < len(data) else -1
