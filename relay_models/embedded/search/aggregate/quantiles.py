"""`QuantileStream`: the estimate of the QUANTILE reducer from biased samples, as the real server takes them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["QuantileStream"]

_EPSILON = 0.01


class QuantileStream:
    """Cormode and others' targeted quantiles with an error of 1 percent, in chunks of `resolution` values."""

    def __init__(self, resolution: int = 500) -> None:
        self.resolution = resolution
        self._buffer: list[float] = []
        # value, how many ranks it represents, its maximum error
        self._samples: list[tuple[float, int, int]] = []
        self._count = 0

    def add(self, value: float) -> None:
        self._buffer.append(value)
        if len(self._buffer) == self.resolution:
            self._flush()
            self._compress()

    def extend(self, values: Sequence[float]) -> None:
        """Add values in their order."""
        start = 0
        while start < len(values):
            room = self.resolution - len(self._buffer)
            self._buffer += values[start : start + room]
            start += room
            if len(self._buffer) == self.resolution:
                self._flush()
                self._compress()

    def _flush(self) -> None:
        buffer = self._buffer
        buffer.sort()
        merged: list[tuple[float, int, int]] = []
        rank = start = 0
        # The new values before each sample at once: they have the same error.
        for sample in self._samples:
            end = bisect_left(buffer, sample[0], start)
            if end > start:
                error = math.floor(_EPSILON * 2.0 * rank) - 1
                merged += [(value, 1, error) for value in buffer[start:end]]
                start = end
            merged.append(sample)
            rank += sample[1]
        merged += [(value, 1, 0) for value in buffer[start:]]
        self._samples = merged
        self._count += len(buffer)
        buffer.clear()

    def _compress(self) -> None:
        samples = self._samples
        if len(samples) < 2:
            return
        # From the end to the beginning, each sample is merged with the one before it where the error allows.
        kept: list[tuple[float, int, int]] = []
        rank = float(self._count - 1 - samples[-1][1])
        value, width, error = samples[-1]
        for current in reversed(samples[:-1]):
            if width + current[1] + error <= _EPSILON * 2.0 * rank:
                width += current[1]
            else:
                kept.append((value, width, error))
                value, width, error = current
            rank -= current[1]
        kept.append((value, width, error))
        kept.reverse()
        self._samples = kept

    def query(self, quantile: float) -> float:
        """The value at a quantile (0 to 1); nan without values."""
        if self._buffer:
            self._flush()
        if not self._samples:
            return math.nan
        target = math.ceil(quantile * self._count)
        wanted = target + math.floor(_EPSILON * 2.0 * target / 2.0)
        rank, previous = 0, self._samples[0]
        for sample in self._samples[1:]:
            if rank + sample[1] + sample[2] >= wanted:
                break
            rank += sample[1]
            previous = sample
        return previous[0]
