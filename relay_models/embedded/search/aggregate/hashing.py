"""`DistinctEstimate`: the hashes and the estimate of COUNT_DISTINCTISH, with the real server's results."""

from __future__ import annotations

import math
import struct

from relay_models.embedded.search.index.documents import Value, single

__all__ = ["DistinctEstimate", "value_hash"]

_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1
_SEED = 0x5F61767A
_BITS = 8


def value_hash(value: Value, start: int = 0) -> int:
    """FNV-1a over a value's bytes, continuing from `start`."""
    value = single(value)
    if value is None:
        return (start + 1) & _MASK
    if type(value) is list:
        for part in value:
            start = value_hash(part, start)
        return start
    for byte in struct.pack("<d", value) if type(value) is float else value:
        start = ((start ^ byte) * _PRIME) & _MASK
    return start


class DistinctEstimate:
    """A HyperLogLog of 256 registers."""

    def __init__(self) -> None:
        self.registers = bytearray(1 << _BITS)

    def add(self, value: Value) -> None:
        whole = value_hash(value, _SEED)
        short = (whole ^ whole >> 32) & 0xFFFFFFFF
        lowest = (short & -short).bit_length() - 1 if short else 32
        rank = min(lowest, 32 - _BITS) + 1
        place = short >> (32 - _BITS)
        self.registers[place] = max(self.registers[place], rank)

    def merge(self, registers: bytes) -> None:
        self.registers = bytearray(map(max, self.registers, registers))

    def count(self) -> int:
        size = 1 << _BITS
        estimate = 0.7213 / (1.0 + 1.079 / size) * size * size / sum(1.0 / (1 << rank) for rank in self.registers)
        if estimate <= 2.5 * size:
            empty = self.registers.count(0)
            if empty:
                estimate = size * math.log(size / empty)
        elif estimate > 4294967296.0 / 30.0:
            estimate = -4294967296.0 * math.log(1.0 - estimate / 4294967296.0)
        return int(estimate)
