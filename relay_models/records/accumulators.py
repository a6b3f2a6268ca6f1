"""Accumulators: the running statistics that NeMo Relay learns its predictions from."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from relay_models.records.record import F64, U64, CallIndex, Factories, Record
from relay_models.records.trie import PredictionMetrics

__all__ = ["AccumulatorState", "Centroid", "NodeAccumulators", "RunningStats", "TDigest"]


class Centroid(Record):
    """A cluster of samples in a t-digest."""

    mean: F64 | None = Field(description="Mean of the samples (null is read as 0).")
    weight: F64 | None = Field(description="Number of samples (null is read as 0).")

    _nullable: ClassVar[frozenset[str]] = frozenset({"mean", "weight"})


class TDigest(Record):
    """A sketch of a distribution that answers quantiles; in the unit of its samples."""

    centroids: list[Centroid] = Field(default=..., description="Clusters of samples, by ascending mean.")
    sum: F64 | None = Field(default=..., description="Sum of the samples (null is read as 0).")
    count: F64 | None = Field(default=..., description="Number of samples, a float in this format (null is read as 0).")
    max: F64 | None = Field(default=..., description="Greatest sample; 0 or null when there is none.")
    min: F64 | None = Field(default=..., description="Least sample; 0 or null when there is none.")
    max_size: U64 | None = Field(default=..., description="Most centroids to keep.")

    _fresh: ClassVar[Factories] = {
        "centroids": list,
        "sum": float,
        "count": float,
        "max": float,
        "min": float,
        "max_size": lambda: 100,
    }
    _nullable: ClassVar[frozenset[str]] = frozenset({"sum", "count", "max", "min", "max_size"})

    def quantile(self, q: float) -> float:
        """Estimate a quantile, as NeMo Relay does.

        Args:
            q: 0 to 1; 0.5 is the median.

        Returns:
            The estimate, in the unit of the samples; 0.0 for an empty digest.

        Raises:
            ValueError: q is not within 0 to 1.

        Example:
            ```python
            stats.digest.quantile(0.95)
            ```
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies within 0 to 1, not {q}")
        means = [centroid.mean or 0.0 for centroid in self.centroids]
        weights = [centroid.weight or 0.0 for centroid in self.centroids]
        low, high = self.min or 0.0, self.max or 0.0
        last = len(means) - 1
        if last < 0:
            return 0.0
        if q == 1.0:
            return high
        if q == 0.0:
            return low
        # The search for the centroid that holds the rank starts at the nearer end; `before` is the weight before it.
        count = self.count or 0.0
        rank = q * count
        if q > 0.5:
            position, before = 0, count
            for index in range(last, -1, -1):
                before -= weights[index]
                if rank >= before:
                    position = index
                    break
        else:
            position, before = last, 0.0
            for index, weight in enumerate(weights):
                if rank < before + weight:
                    position = index
                    break
                before += weight
        # Between the neighbours' means the samples are taken to be spread evenly.
        slope = 0.0
        if last > 0:
            if position == 0:
                high = means[1]
                slope = high - means[0]
            elif position == last:
                low = means[last - 1]
                slope = means[last] - low
            else:
                low, high = means[position - 1], means[position + 1]
                slope = (high - low) / 2.0
        weight = weights[position]
        if weight == 0.0:
            return means[position]
        value = means[position] + ((rank - before) / weight - 0.5) * slope
        return min(max(value, low), high)


class RunningStats(Record):
    """Count, mean, variance (Welford) and quantiles (t-digest) of one quantity, in the unit of its samples."""

    count: U64 = Field(default=..., description="Samples added.")
    mean: F64 = Field(default=..., description="Mean of the samples.")
    m2: F64 = Field(default=..., description="Sum of squared differences from the mean.")
    digest: TDigest = Field(default=..., description="Sketch of the distribution.")

    _fresh: ClassVar[Factories] = {"count": int, "mean": float, "m2": float, "digest": TDigest}

    @property
    def variance(self) -> float | None:
        """The sample variance, m2 / (count - 1); None with fewer than two samples."""
        return self.m2 / (self.count - 1) if self.count > 1 else None

    @property
    def stddev(self) -> float | None:
        """The standard deviation of the samples; None with fewer than two."""
        variance = self.variance
        return None if variance is None else math.sqrt(max(variance, 0.0))

    def quantile(self, q: float) -> float:
        """Estimate a quantile; see `TDigest.quantile`.

        Args:
            q: 0 to 1; 0.5 is the median.

        Returns:
            The estimate, in the unit of the samples; 0.0 when there are none.

        Raises:
            ValueError: q is not within 0 to 1.
        """
        return self.digest.quantile(q)

    def metrics(self) -> PredictionMetrics:
        """Make the prediction that NeMo Relay makes from these samples.

        Returns:
            The distribution; all zero when there are no samples.
        """
        if self.count == 0:
            return PredictionMetrics()
        return PredictionMetrics(
            sample_count=min(self.count, 2**32 - 1),
            mean=self.mean,
            p50=self.quantile(0.50),
            p90=self.quantile(0.90),
            p95=self.quantile(0.95),
        )


class NodeAccumulators(Record):
    """The statistics of one path of scopes: by call index (counted from 1), and over all calls."""

    remaining_calls: dict[CallIndex, RunningStats] = Field(
        default=..., description="LLM calls that followed (count), by call index."
    )
    interarrival_ms: dict[CallIndex, RunningStats] = Field(
        default=..., description="Time to the next LLM call in milliseconds, by call index."
    )
    output_tokens: dict[CallIndex, RunningStats] = Field(default=..., description="Output in tokens, by call index.")
    sensitivity: dict[CallIndex, RunningStats] = Field(
        default=..., description="Latency sensitivity score, by call index."
    )
    all_remaining_calls: RunningStats = Field(default=..., description="LLM calls that followed (count), of all calls.")
    all_interarrival_ms: RunningStats = Field(
        default=..., description="Time to the next LLM call in milliseconds, of all calls."
    )
    all_output_tokens: RunningStats = Field(default=..., description="Output in tokens, of all calls.")
    all_sensitivity: RunningStats = Field(default=..., description="Latency sensitivity score, of all calls.")

    _fresh: ClassVar[Factories] = {
        "remaining_calls": dict,
        "interarrival_ms": dict,
        "output_tokens": dict,
        "sensitivity": dict,
        "all_remaining_calls": RunningStats,
        "all_interarrival_ms": RunningStats,
        "all_output_tokens": RunningStats,
        "all_sensitivity": RunningStats,
    }


class AccumulatorState(Record):
    """All statistics of an agent."""

    nodes: dict[str, NodeAccumulators] = Field(
        default=..., description='Statistics by path: names of scopes joined with "/", the root is "".'
    )

    _fresh: ClassVar[Factories] = {"nodes": dict}

    @property
    def paths(self) -> list[str]:
        """The paths that have statistics, sorted."""
        return sorted(self.nodes)

    def at(self, *path: str) -> NodeAccumulators | None:
        """Look up the statistics of a path.

        Args:
            *path: Names of the scopes, outermost first, or one "a/b" text; without any, the root.

        Returns:
            The statistics, or None if the path has none.
        """
        return self.nodes.get("/".join(path))
