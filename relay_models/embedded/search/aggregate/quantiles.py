"""`QuantileStream`: the estimate of the QUANTILE reducer from biased samples, as the real server takes them."""

from __future__ import annotations

import math

__all__ = ["QuantileStream"]

_EPSILON = 0.01


class QuantileStream:
    """Cormode and others' targeted quantiles with an error of 1 percent, in chunks of `resolution` values."""

    def __init__(self, resolution: int = 500) -> None:
        self._resolution = resolution
        self._buffer: list[float] = []
        # value, how many ranks it represents, its maximum error
        self._samples: list[tuple[float, int, int]] = []
        self._count = 0

    def add(self, value: float) -> None:
        self._buffer.append(value)
        if len(self._buffer) == self._resolution:
            self._flush()
            self._compress()

    def _flush(self) -> None:
        self._buffer.sort()
        merged: list[tuple[float, int, int]] = []
        rank, place, samples = 0, 0, self._samples
        for value in self._buffer:
            while place < len(samples) and not samples[place][0] > value:
                rank += samples[place][1]
                merged.append(samples[place])
                place += 1
            error = math.floor(_EPSILON * 2.0 * rank) - 1 if place < len(samples) else 0
            merged.append((value, 1, error))
        merged += samples[place:]
        self._samples = merged
        self._count += len(self._buffer)
        self._buffer.clear()

    def _compress(self) -> None:
        samples = self._samples
        if len(samples) < 2:
            return
        # From the end to the beginning, each sample is merged with the one before it where the error allows.
        kept: list[tuple[float, int, int]] = []
        rank = float(self._count - 1 - samples[-1][1])
        last = samples[-1]
        for place in range(len(samples) - 2, -1, -1):
            current = samples[place]
            if last[1] + current[1] + last[2] <= _EPSILON * 2.0 * rank:
                last = (last[0], last[1] + current[1], last[2])
            else:
                kept.append(last)
                last = current
            rank -= current[1]
        kept.append(last)
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
