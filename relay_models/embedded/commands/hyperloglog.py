"""`HyperLogLogCommands`: estimates of how many different elements there were, in strings as Redis has them.

fakeredis keeps all elements, in a set. A string of Redis has 16,384 registers of six bits: in 12 KB, or, while most of
them are zero, as runs of equal registers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import OK, SimpleError, SimpleString
from fakeredis._msgs import WRONGTYPE_MSG

from relay_models.embedded.registry import command

__all__ = ["HyperLogLogCommands"]

# Bits of an element's hash that choose its register, and those that are looked at for it.
_INDEX_BITS: Final = 14
_REGISTERS: Final = 1 << _INDEX_BITS
_HASH_BITS: Final = 64 - _INDEX_BITS
_ALPHA: Final = 0.721347520444481703680
# The header: a mark, the encoding, three bytes, and the last count, whose highest bit says that it is outdated.
_MARK: Final = b"HYLL"
_HEADER: Final = 16
_DENSE, _SPARSE = 0, 1
_DENSE_SIZE: Final = _REGISTERS * 6 // 8
# Bytes of runs, over which registers are written out; and what one run holds.
_SPARSE_MAX: Final = 3000
_VALUE_MAX, _VALUES_MAX, _ZEROS_MAX = 32, 4, 64

_MASK: Final = (1 << 64) - 1
_MULTIPLIER: Final = 0xC6A4A7935BD1E995
_SEED: Final = 0xADC83B19


class HyperLogLogCommands:
    """Mixed into the engine's sockets, in place of fakeredis' commands."""

    _db: Any

    @command("pfadd", fixed=(Key(bytes),), repeat=(bytes,))
    def engine_pfadd(self, key: CommandItem, *elements: bytes) -> int:
        changed = key.value is None
        sketch = _Sketch(key.value)
        for element in elements:
            changed = sketch.add(*_register(element)) or changed
        if changed:
            key.update(sketch.encode())
        return int(changed)

    @command("pfcount", fixed=(Key(),), repeat=(Key(),))
    def engine_pfcount(self, *keys: CommandItem) -> int:
        if len(keys) > 1:
            return _estimate(_greatest(keys))
        (key,) = keys
        if key.value is None:
            return 0
        sketch = _Sketch(key.value)
        known = int.from_bytes(key.value[8:_HEADER], "little")
        if not known >> 63:
            return known
        count = _estimate(sketch.registers())
        key.update(key.value[:8] + count.to_bytes(8, "little") + key.value[_HEADER:])
        return count

    @command("pfmerge", fixed=(Key(),), repeat=(Key(),))
    def engine_pfmerge(self, target: CommandItem, *sources: CommandItem) -> SimpleString:
        # A key named twice has one value: what is merged into it is read before.
        greatest = _greatest((target, *sources))
        sketch = _Sketch(target.value)
        if any(key.value is not None and key.value[4] == _DENSE for key in sources):
            sketch.write_out()
        for index, count in enumerate(greatest):
            if count:
                sketch.add(index, count)
        target.update(sketch.encode())
        return OK


class _Sketch:
    """The registers of a string, as runs or written out."""

    def __init__(self, value: bytes | None) -> None:
        self._runs: bytearray | None = None
        self._dense = bytearray()  # six bits for each register
        if value is not None and type(value) is not bytes:
            raise SimpleError(WRONGTYPE_MSG)
        # The last count stays in place, and is said to be outdated.
        self._count = bytes(8) if value is None else value[8:_HEADER]
        self._unused = bytes(3) if value is None else value[5:8]
        if value is None:
            self._runs = bytearray(_zeros(_REGISTERS))
            return
        if len(value) < _HEADER or value[:4] != _MARK or value[4] > _SPARSE:
            raise _invalid()
        if value[4] == _SPARSE:
            self._runs = bytearray(value[_HEADER:])
            return
        if len(value) != _HEADER + _DENSE_SIZE:
            raise _invalid()
        self._dense = bytearray(value[_HEADER:])

    def registers(self) -> list[int]:
        """All registers."""
        found: list[int] = []
        if self._runs is None:
            for low, middle, high in zip(self._dense[::3], self._dense[1::3], self._dense[2::3], strict=True):
                found += (low & 63, low >> 6 | middle << 2 & 63, middle >> 4 | high << 4 & 63, high >> 2)
            return found
        for _, value, length in _decoded(self._runs):
            found += [value] * length
        if len(found) != _REGISTERS:
            raise SimpleError("INVALIDOBJ Corrupted HLL object detected")
        return found

    def write_out(self) -> None:
        """Give up the runs."""
        if self._runs is None:
            return
        registers, self._runs = self.registers(), None
        for a, b, c, d in zip(registers[::4], registers[1::4], registers[2::4], registers[3::4], strict=True):
            self._dense += (a | b << 6 | c << 12 | d << 18).to_bytes(3, "little")

    def add(self, index: int, count: int) -> bool:
        """Note a count; whether it was the greatest one of its register."""
        if self._runs is not None and (count > _VALUE_MAX or not self._fits(index, count)):
            self.write_out()
        if self._runs is not None:
            return self._set_run(index, count)
        octet, shift = divmod(index * 6, 8)
        pair = self._dense[octet : octet + 2]  # of the last register, one octet
        bits = int.from_bytes(pair, "little")
        if bits >> shift & 63 >= count:
            return False
        bits = bits & ~(63 << shift) | count << shift
        self._dense[octet : octet + 2] = bits.to_bytes(len(pair), "little")
        return True

    def encode(self) -> bytes:
        """The string, whose count is outdated."""
        encoding = _DENSE if self._runs is None else _SPARSE
        header = _MARK + bytes((encoding,)) + self._unused + self._count[:7] + bytes((self._count[7] | 0x80,))
        if self._runs is not None:
            return header + bytes(self._runs)
        return header + bytes(self._dense)

    def _find(self, index: int) -> tuple[int, int, int, int, int]:
        """Where the run of a register and the one before it are, its value, and its first and last register."""
        assert self._runs is not None
        first, before = 0, 0
        for at, value, length in _decoded(self._runs):
            if index < first + length:
                return at, before, value, first, first + length - 1
            first, before = first + length, at
        raise SimpleError("INVALIDOBJ Corrupted HLL object detected")

    def _replaced(self, index: int, count: int) -> tuple[int, int, int, bytes] | None:
        """The runs in place of one: where it is, where the one before it is, its length, the new ones."""
        assert self._runs is not None
        at, before, value, first, last = self._find(index)
        if value >= count:
            return None
        left, right = index - first, last - index
        fill = (lambda length: _values(value, length)) if value else _zeros
        new = (fill(left) if left else b"") + _values(count, 1) + (fill(right) if right else b"")
        return at, before, 2 if self._runs[at] & 0xC0 == 0x40 else 1, new

    def _fits(self, index: int, count: int) -> bool:
        """Whether the runs stay short enough."""
        assert self._runs is not None
        replaced = self._replaced(index, count)
        if replaced is None:
            return True
        more = len(replaced[3]) - replaced[2]
        return more <= 0 or len(self._runs) + more <= _SPARSE_MAX

    def _set_run(self, index: int, count: int) -> bool:
        runs = self._runs
        replaced = self._replaced(index, count)
        if runs is None or replaced is None:
            return False
        at, before, length, new = replaced
        runs[at : at + length] = new
        # Neighbors with equal values become one run, as far as Redis looks.
        at = before
        for _ in range(5):
            if at >= len(runs):
                break
            if not runs[at] & 0x80:
                at += 2 if runs[at] & 0x40 else 1
                continue
            if at + 1 < len(runs) and runs[at + 1] & 0x80 and (runs[at] ^ runs[at + 1]) & 0x7C == 0:
                length = (runs[at] & 3) + (runs[at + 1] & 3) + 2
                if length <= _VALUES_MAX:
                    runs[at : at + 2] = _values((runs[at] >> 2 & 31) + 1, length)
                    continue
            at += 1
        return True


def _decoded(runs: bytearray) -> Iterator[tuple[int, int, int]]:
    """Where each run is, its value, and how many registers it has."""
    at = 0
    while at < len(runs):
        byte = runs[at]
        if byte & 0x80:
            yield at, (byte >> 2 & 31) + 1, (byte & 3) + 1
        elif byte & 0x40:
            if at + 1 == len(runs):
                raise SimpleError("INVALIDOBJ Corrupted HLL object detected")
            yield at, 0, ((byte & 63) << 8 | runs[at + 1]) + 1
            at += 1
        else:
            yield at, 0, byte + 1
        at += 1


def _zeros(length: int) -> bytes:
    if length <= _ZEROS_MAX:
        return bytes((length - 1,))
    return bytes((0x40 | length - 1 >> 8, length - 1 & 255))


def _values(value: int, length: int) -> bytes:
    return bytes((0x80 | value - 1 << 2 | length - 1,))


def _invalid() -> SimpleError:
    return SimpleError("WRONGTYPE Key is not a valid HyperLogLog string value.")


def _greatest(keys: tuple[CommandItem, ...]) -> list[int]:
    """The greatest count of each register of several keys."""
    found = [0] * _REGISTERS
    for key in keys:
        if key.value is not None:
            found = list(map(max, found, _Sketch(key.value).registers()))
    return found


def _register(element: bytes) -> tuple[int, int]:
    """The register of an element, and its count: of the zeros that the rest of its hash ends with, and one more."""
    number = _murmur(element)
    rest = number >> _INDEX_BITS | 1 << _HASH_BITS
    return number & _REGISTERS - 1, (rest & -rest).bit_length()


def _murmur(data: bytes) -> int:
    """MurmurHash2 with 64 bits."""
    number = _SEED ^ len(data) * _MULTIPLIER & _MASK
    end = len(data) & ~7
    for at in range(0, end, 8):
        word = int.from_bytes(data[at : at + 8], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 47) * _MULTIPLIER & _MASK
        number = (number ^ word) * _MULTIPLIER & _MASK
    if end < len(data):
        number = (number ^ int.from_bytes(data[end:], "little")) * _MULTIPLIER & _MASK
    number = (number ^ number >> 47) * _MULTIPLIER & _MASK
    return number ^ number >> 47


def _estimate(registers: list[int]) -> int:
    """How many different elements there were."""
    histogram = [0] * 64
    for register in registers:
        histogram[register] += 1
    z = _REGISTERS * _tau((_REGISTERS - histogram[_HASH_BITS + 1]) / _REGISTERS)
    for count in reversed(histogram[1 : _HASH_BITS + 1]):
        z = (z + count) * 0.5
    z += _REGISTERS * _sigma(histogram[0] / _REGISTERS)
    return math.floor(_ALPHA * _REGISTERS * _REGISTERS / z + 0.5)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while before != z:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while before != z:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
