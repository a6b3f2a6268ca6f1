"""`PriceTable`: what tokens cost, from a file of the user's, for calls whose cost the runtime did not tell.

No prices are built in: they would grow stale without notice. A table is a TOML or JSON file:

```toml
[[price]]
model = "gpt-4.1*"          # name, or a pattern with * and ?
provider = "openai"         # optional: name of the LLM call
since = 2026-04-01          # first day of the price (UTC); optional
until = 2026-12-01          # first day on which it no longer holds; optional
currency = "USD"            # the default
input = 2.00                # per million tokens
cached_input = 0.50         # read from a cache; as input where it is absent
cache_write = 2.50          # written to a cache; as input where it is absent
output = 8.00               # reasoning included
```

In JSON it is ``{"price": [{...}]}``, with dates as text.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Sequence
from datetime import UTC, date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from relay_models._checks import check_list, check_path, check_type
from relay_models.errors import InvalidConfigurationError
from relay_models.records.call import CallRecord
from relay_models.records.llm import CostEstimate, CostSource
from relay_models.records.run import RunRecord, single_cost, sum_costs
from relay_models.records.tokens import count_tokens

__all__ = ["ESTIMATED", "Price", "PriceTable"]

# The source of costs that a price table gave. NeMo Relay does not know it: such a cost belongs in columns and reports,
# not into a record that a runtime may start from.
ESTIMATED = CostSource("estimated")

_MILLION = 1_000_000
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Price(BaseModel):
    """The price of one model's tokens for a while, per million tokens in `currency`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="Name of the model, or a pattern with * and ?.")
    provider: str | None = Field(default=None, description="Name of the LLM call, or a pattern; any when absent.")
    since: date | None = Field(default=None, description="First day of the price (UTC).")
    until: date | None = Field(default=None, description="First day on which the price no longer holds (UTC).")
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="ISO 4217 code.")
    input: _Amount = Field(description="Per million input tokens outside of any cache.")
    cached_input: _Amount | None = Field(default=None, description="Per million tokens read from a cache.")
    cache_write: _Amount | None = Field(default=None, description="Per million tokens written to a cache.")
    output: _Amount = Field(description="Per million output tokens, reasoning included.")

    @field_validator("until")
    @classmethod
    def _ordered(cls, until: date | None, info: object) -> date | None:
        since = getattr(info, "data", {}).get("since")
        if until is not None and since is not None and until <= since:
            raise ValueError("until is not after since")
        return until

    def applies(self, model: str, provider: str, day: date) -> bool:
        """Whether this is a price of the model, from that provider, on that day."""
        return (
            fnmatchcase(model.lower(), self.model.lower())
            and (self.provider is None or fnmatchcase(provider.lower(), self.provider.lower()))
            and (self.since is None or self.since <= day)
            and (self.until is None or day < self.until)
        )


class PriceTable:
    """Prices by model and date.

    Where several prices apply, a name without a pattern comes before a pattern, a longer pattern before a shorter
    one, and a later `since` before an earlier one.

    Args:
        prices: the prices, in any order.
        source: where they come from, such as a file name; named in each estimate.
    """

    def __init__(self, prices: Iterable[Price], source: str | None = None) -> None:
        prices = check_list("prices", prices, Price, "Price values")
        self.prices: Sequence[Price] = sorted(prices, key=_precedence, reverse=True)
        self.source = source

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a table from a TOML or JSON file.

        Raises:
            InvalidConfigurationError: the file cannot be read, or is no price table; says which entry is wrong.
        """
        check_path("path", path)
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
            content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        except (OSError, ValueError) as error:
            raise InvalidConfigurationError(f"the price table {path} cannot be read: {error}") from error
        entries = content.get("price") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise InvalidConfigurationError(f'the price table {path} has no list "price" ([[price]] in TOML)')
        prices = []
        for number, entry in enumerate(entries, 1):
            try:
                prices.append(Price.model_validate(entry))
            except ValidationError as error:
                detail = error.errors(include_url=False)[0]
                where = ".".join(map(str, detail["loc"])) or "the entry"
                raise InvalidConfigurationError(
                    f"price {number} of {path} is wrong: {where}: {detail['msg']}"
                ) from None
        return cls(prices, path.name)

    def find(self, model: str, *, provider: str = "", day: date) -> Price | None:
        """Return the price of a model on a day, or None where the table has none."""
        check_type("model", model, str, "the name of a model")
        check_type("provider", provider, str, "the name of a provider")
        check_type("day", day, date, "a date")
        return next((price for price in self.prices if price.applies(model, provider, day)), None)

    def estimate(self, call: CallRecord) -> CostEstimate | None:
        """Estimate what a call cost.

        Args:
            call: a finished LLM call.

        Returns:
            A cost with the source ``"estimated"``; None where the model, its price or its tokens are not known.
        """
        check_type("call", call, CallRecord, "a CallRecord")
        tokens = count_tokens(call)
        uncached, output = tokens.uncached_input_tokens, tokens.output_tokens
        if call.model_name is None or uncached is None or output is None:
            return None
        price = self.find(call.model_name, provider=call.name, day=call.started_at.datetime.astimezone(UTC).date())
        if price is None:
            return None
        parts = {
            "input": uncached * price.input / _MILLION,
            "output": output * price.output / _MILLION,
            "cache_read": _part(tokens.cached_input_tokens, price.cached_input, price.input),
            "cache_write": _part(tokens.cache_write_tokens, price.cache_write, price.input),
        }
        return CostEstimate(
            total=sum(part for part in parts.values() if part is not None),
            currency=price.currency,
            source=ESTIMATED,
            pricing_model=price.model,
            pricing_provider=price.provider,
            pricing_as_of=None if price.since is None else price.since.isoformat(),
            pricing_source=self.source,
            **parts,
        )

    def estimate_run(self, run: RunRecord) -> float | None:
        """Estimate what the calls of a run cost that do not tell it.

        Args:
            run: the run.

        Returns:
            The sum; None where no such call has a price, or the prices are in several currencies, also in comparison
            with the costs that are told.
        """
        check_type("run", run, RunRecord, "a RunRecord")
        estimates = [self.estimate(call) for call in run.calls if call.cost is None or call.cost.amount is None]
        sums = sum_costs(estimates)
        if len(sums) != 1 or len(sums.keys() | run.costs.keys()) != 1:
            return None
        return single_cost(sums)

    def cost(self, call: CallRecord) -> CostEstimate | None:
        """Return the cost that the runtime told, or else an estimate of it."""
        check_type("call", call, CallRecord, "a CallRecord")
        told = call.cost
        return told if told is not None and told.amount is not None else self.estimate(call)


def _precedence(price: Price) -> tuple[bool, int, bool, date]:
    exact = not any(sign in price.model for sign in "*?[")
    return exact, len(price.model), price.provider is not None, price.since or date.min


def _part(tokens: int | None, price: float | None, otherwise: float) -> float | None:
    return None if tokens is None else tokens * (otherwise if price is None else price) / _MILLION
