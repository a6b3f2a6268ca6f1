"""`BitmapCommands`: commands on the bits of strings, which copy a string once at most, however long it is.

fakeredis turns strings into one character for each bit, and copies them for each bit that BITFIELD sets; on strings of
hundreds of megabytes, which one SETBIT makes, that takes minutes and gigabytes.
"""

from __future__ import annotations

import operator
from typing import Any, Final

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, casematch, fix_range_string
from fakeredis.commands_mixins.bitmap_mixin import BitfieldEncoding, BitOffset

__all__ = ["BitmapCommands", "bitfield_steps"]

# Bytes of a string that are turned into a number at once.
PIECE: Final = 1 << 20


class BitmapCommands:
    """Mixed into the engine's sockets; fakeredis' declarations of these commands stand."""

    def bitcount(self, key: CommandItem, *args: bytes) -> int:
        if not args:
            return _count(key.value or b"", 0, 8 * len(key.value or b""))
        start, end, bits = _range(args)
        value: bytes = key.value or b""
        start, end = fix_range_string(start, end, len(value) * 8 if bits else len(value))
        if start < 0:
            return 0
        return _count(value, start, end) if bits else _count(value, 8 * start, 8 * end)

    def bitpos(self, key: CommandItem, bit: int, *args: bytes) -> int:
        if bit not in (0, 1):
            raise SimpleError(msgs.BIT_ARG_MUST_BE_ZERO_OR_ONE)
        if len(args) > 3:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        bits = len(args) == 3 and _unit(args[2])
        limits = [Int.decode(arg) for arg in args[:2]]
        if key.value is None:
            return -bit
        value: bytes = key.value
        size = 8 * len(value) if bits else len(value)
        start, end = fix_range_string(limits[0] if limits else 0, limits[1] if len(limits) > 1 else size, size)
        if not 0 <= start < end:
            return -1
        found = _find(value, bit, *((start, end) if bits else (8 * start, 8 * end)))
        return 8 * len(value) if found < 0 and bit == 0 and len(args) < 2 else found

    def setbit(self, key: CommandItem, offset: int, bit: int) -> int:
        value: bytes = key.value or b""
        before = value[offset // 8] >> (7 - offset % 8) & 1 if offset // 8 < len(value) else 0
        if before == bit and offset // 8 < len(value):
            return before
        data = _grown(value, offset // 8 + 1)
        if before != bit:
            data[offset // 8] ^= 128 >> offset % 8
        key.update(bytes(data))
        return before

    def bitop(self, name: bytes, target: CommandItem, *keys: CommandItem) -> int:
        if not keys:
            raise SimpleError(msgs.WRONG_ARGS_MSG6.format("bitop"))
        operation = {b"and": operator.and_, b"or": operator.or_, b"xor": operator.xor, b"not": None}.get(
            name.lower(), ...
        )
        if operation is ...:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if operation is None and len(keys) != 1:
            raise SimpleError(msgs.BITOP_NOT_ONE_KEY_ONLY)
        values: list[bytes] = [key.value or b"" for key in keys]
        size = max(map(len, values))
        number = int.from_bytes(values[0].ljust(size, b"\0"), "big")
        if operation is None:
            number ^= (1 << 8 * size) - 1
        for value in values[1:]:
            number = operation(number, int.from_bytes(value.ljust(size, b"\0"), "big"))  # type: ignore[misc]
        target.value = number.to_bytes(size, "big") or None
        return size

    def bitfield(self, key: CommandItem, *args: bytes) -> list[int | None]:
        steps, length = bitfield_steps(args)
        value: bytes = key.value or b""
        results: list[int | None] = []
        if not length:
            return [_get(value, encoding, offset) for _, encoding, offset, _, _ in steps]
        data = _grown(value, length)
        for kind, encoding, offset, number, overflow in steps:
            before = _get(data, encoding, offset)
            if kind == b"get":
                results.append(before)
                continue
            wanted = number if kind == b"set" else before + number
            fitting = _fitted(wanted, encoding, overflow, unsigned_set=kind == b"set")
            if fitting is None:
                results.append(None)
                continue
            _put(data, encoding, offset, fitting)
            results.append(before if kind == b"set" else fitting)
        if len(data) != len(value) or data != value:
            key.update(bytes(data))
        return results


def _unit(word: bytes) -> bool:
    if casematch(word, b"bit"):
        return True
    if not casematch(word, b"byte"):
        raise SimpleError(msgs.SYNTAX_ERROR_MSG)
    return False


def _range(args: tuple[bytes, ...]) -> tuple[int, int, bool]:
    if not 2 <= len(args) <= 3:
        raise SimpleError(msgs.SYNTAX_ERROR_MSG)
    start, end = Int.decode(args[0]), Int.decode(args[1])
    return start, end, len(args) == 3 and _unit(args[2])


def _count(value: bytes, start: int, end: int) -> int:
    """The bits set from one bit to before another."""
    if end <= start:
        return 0
    first, last = start // 8, (end - 1) // 8
    total = sum(
        int.from_bytes(value[at : min(at + PIECE, last + 1)], "big").bit_count() for at in range(first, last + 1, PIECE)
    )
    total -= (value[first] >> (8 - start % 8)).bit_count()
    return total - (value[last] & ((1 << (7 - (end - 1) % 8)) - 1)).bit_count()


def _find(value: bytes, bit: int, start: int, end: int) -> int:
    """The first bit of this kind from one bit to before another; -1 where there is none."""
    skipped = b"\0" if bit else b"\xff"
    at, last = start, end
    while at < last:
        byte = value[at // 8] if bit else 255 - value[at // 8]
        byte &= 255 >> at % 8
        if byte:
            found = at // 8 * 8 + 8 - byte.bit_length()
            return found if found < end else -1
        at = at // 8 * 8 + 8
        while at < last and value[at // 8 : at // 8 + PIECE].count(skipped) == len(value[at // 8 : at // 8 + PIECE]):
            at += 8 * PIECE
        if at < last:
            piece = value[at // 8 : at // 8 + PIECE]
            at += 8 * (len(piece) - len(piece.lstrip(skipped)))
    return -1


def _grown(value: bytes, length: int) -> bytearray:
    data = bytearray(max(length, len(value)))
    data[: len(value)] = value
    return data


def bitfield_steps(args: tuple[bytes, ...]) -> tuple[list[tuple[bytes, BitfieldEncoding, int, int, bytes]], int]:
    """The steps of BITFIELD, and how many bytes those that write need."""
    steps: list[tuple[bytes, BitfieldEncoding, int, int, bytes]] = []
    overflow, length, at = b"WRAP", 0, 0
    while at < len(args):
        kind, left = args[at].lower(), len(args) - at - 1
        if kind == b"overflow" and left >= 1:
            overflow = args[at + 1].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise SimpleError(msgs.INVALID_OVERFLOW_TYPE)
            at += 2
        elif kind == b"get" and left >= 2:
            encoding = BitfieldEncoding(args[at + 1])
            steps.append((kind, encoding, _offset(args[at + 2], encoding), 0, overflow))
            at += 3
        elif kind in (b"set", b"incrby") and left >= 3:
            encoding = BitfieldEncoding(args[at + 1])
            offset = _offset(args[at + 2], encoding)
            steps.append((kind, encoding, offset, Int.decode(args[at + 3]), overflow))
            length = max(length, (offset + encoding.size + 7) // 8)
            at += 4
        else:
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
    return steps, length


def _offset(text: bytes, encoding: BitfieldEncoding) -> int:
    offset: int = BitOffset.decode_offset(text, encoding.size)
    if offset < 0 or offset + encoding.size > BitOffset.MAX_VALUE + 1:
        raise SimpleError(msgs.INVALID_BIT_OFFSET_MSG)
    return offset


def _window(encoding: BitfieldEncoding, offset: int) -> tuple[int, int, int]:
    """The first byte and the end of those that hold an integer, and how far it is from their end in bits."""
    end = (offset + encoding.size + 7) // 8
    return offset // 8, end, 8 * end - offset - encoding.size


def _get(data: Any, encoding: BitfieldEncoding, offset: int) -> int:
    first, end, shift = _window(encoding, offset)
    number = int.from_bytes(bytes(data[first:end]).ljust(end - first, b"\0"), "big") >> shift & (1 << encoding.size) - 1
    return number - (1 << encoding.size) if encoding.signed and number >> (encoding.size - 1) else number


def _put(data: bytearray, encoding: BitfieldEncoding, offset: int, number: int) -> None:
    first, end, shift = _window(encoding, offset)
    mask = (1 << encoding.size) - 1
    kept = int.from_bytes(data[first:end], "big") & ~(mask << shift)
    data[first:end] = (kept | (number & mask) << shift).to_bytes(end - first, "big")


def _fitted(number: int, encoding: BitfieldEncoding, overflow: bytes, *, unsigned_set: bool) -> int | None:
    """A number as it is stored; None where it does not fit and must not be stored."""
    low = -(1 << (encoding.size - 1)) if encoding.signed else 0
    high = (1 << (encoding.size - encoding.signed)) - 1
    if not encoding.signed and unsigned_set:
        number &= (1 << 64) - 1  # as C reads it
    if low <= number <= high:
        return number
    if overflow == b"FAIL":
        return None
    if overflow == b"SAT":
        return high if number > high else low
    number &= (1 << encoding.size) - 1
    return number - (1 << encoding.size) if encoding.signed and number > high else number
