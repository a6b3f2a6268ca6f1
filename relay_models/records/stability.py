"""Stability results: which blocks of an agent's prompts stay the same, so that a provider can cache them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay_models.records.record import U32, U64, OpenEnum, Record

__all__ = ["BlockStabilityScore", "StabilityAnalysisResult", "StabilityClass"]

Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]


class StabilityClass(OpenEnum):
    """How much a block changes from prompt to prompt."""

    STABLE = "stable"
    SEMI_STABLE = "semi_stable"
    VARIABLE = "variable"


class BlockStabilityScore(Record):
    """How stable one block is."""

    span_id: str = Field(description="Identifier of the block's position in the prompt.")
    classification: StabilityClass = Field(description="stable, semi_stable or variable.")
    score: Share = Field(description="Share of the observations that agree, 0 to 1.")
    confidence: Share = Field(description="How far the number of observations can be trusted, 0 to 1.")
    observation_count: U32 = Field(description="Observations that hold the block.")


class StabilityAnalysisResult(Record):
    """How stable an agent's prompts are, block by block."""

    scores: list[BlockStabilityScore] = Field(description="A score for each block, by its first position in a prompt.")
    stable_prefix_length: U64 = Field(description="Leading blocks that are stable (count).")
    stable_prefix_fingerprint: str | None = Field(default=None, description="Hash of the stable prefix.")
    total_observations: U32 = Field(description="Observations behind the result.")

    @property
    def stable_spans(self) -> list[str]:
        """The span ids of the blocks that are stable, in order."""
        return self.spans(StabilityClass.STABLE)

    @property
    def stable_prefix(self) -> list[str]:
        """The span ids of the leading stable blocks, `stable_prefix_length` of them at most."""
        return [score.span_id for score in self.scores[: self.stable_prefix_length]]

    def spans(self, classification: StabilityClass | str) -> list[str]:
        """List the blocks of one class.

        Args:
            classification: stable, semi_stable or variable.

        Returns:
            The span ids, in order.
        """
        return [score.span_id for score in self.scores if score.classification == classification]

    def score_of(self, span_id: str) -> BlockStabilityScore | None:
        """Look up the score of a block.

        Args:
            span_id: Identifier of the block.

        Returns:
            The score, or None if no such block was seen.
        """
        return next((score for score in self.scores if score.span_id == span_id), None)
