"""Costs from a price table of the user's."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from relay_models.errors import InvalidConfigurationError
from relay_models.records import CallRecord
from relay_models.records.prices import Price, PriceTable

TOML = """
[[price]]
model = "gpt-4.1*"
since = 2026-01-01
until = 2026-06-01
input = 2.0
cached_input = 0.5
output = 8.0

[[price]]
model = "gpt-4.1*"
since = 2026-06-01
input = 1.0
output = 4.0

[[price]]
model = "gpt-4.1-mini"
provider = "openai"
currency = "EUR"
input = 0.4
output = 1.6
"""


@pytest.fixture
def table(tmp_path: Path) -> PriceTable:
    path = tmp_path / "prices.toml"
    path.write_text(TOML)
    return PriceTable.load(path)


def call(model: str | None = "gpt-4.1", started: str = "2026-03-01T00:00:00Z", **usage: object) -> CallRecord:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000} | usage
    response = {"usage": usage, "api_specific": {"api": "openai_chat"}}
    return CallRecord(kind="llm", name="openai", model_name=model, started_at=started, annotated_response=response)


def test_an_estimate_says_what_it_is(table: PriceTable) -> None:
    cost = table.estimate(call(cache_read_tokens=400_000))
    assert cost is not None
    assert (cost.input, cost.cache_read, cost.output, cost.total) == (1.2, 0.2, 4.0, pytest.approx(5.4))
    assert (cost.source, cost.currency) == ("estimated", "USD")
    assert (cost.pricing_as_of, cost.pricing_source) == ("2026-01-01", "prices.toml")


@pytest.mark.parametrize(
    ("day", "expected"), [("2025-12-31", None), ("2026-01-01", 6.0), ("2026-05-31", 6.0), ("2026-06-01", 3.0)]
)
def test_prices_have_dates(table: PriceTable, day: str, expected: float | None) -> None:
    cost = table.estimate(call(started=f"{day}T23:59:59.999999999Z"))
    assert (cost and cost.total) == expected


def test_the_day_is_that_of_utc(table: PriceTable) -> None:
    cost = table.estimate(call(started="2026-06-01T01:00:00+02:00"))
    assert cost is not None
    assert cost.total == 6.0


def test_a_name_comes_before_a_pattern(table: PriceTable) -> None:
    cost = table.estimate(call("gpt-4.1-mini"))
    assert cost is not None
    assert (cost.currency, cost.total) == ("EUR", pytest.approx(1.2))
    assert table.find("gpt-4.1-mini", provider="azure", day=date(2026, 3, 1)) is not None


def test_what_the_runtime_told_comes_first(table: PriceTable) -> None:
    told = {"total": 0.25, "currency": "USD", "source": "provider_reported"}
    cost = table.cost(call(cost=told))
    assert cost is not None
    assert (cost.total, cost.source) == (0.25, "provider_reported")


@pytest.mark.parametrize("unknown", [call("other"), call(None), call(completion_tokens=None), call(prompt_tokens=None)])
def test_no_price_no_estimate(table: PriceTable, unknown: CallRecord) -> None:
    assert table.estimate(unknown) is None


def test_a_table_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"price": [{"model": "m", "since": "2026-01-01", "input": 1, "output": 2}]}))
    assert PriceTable.load(path).prices == [Price(model="m", since=date(2026, 1, 1), input=1, output=2)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price = 3", 'no list "price"'),
        ("[[price]]\nmodel = 'm'\noutput = 1", "price 1 .* input"),
        ("[[price]]\nmodel = 'm'\ninput = -1\noutput = 1", "input"),
        ("[[price]]\nmodel = 'm'\ninput = 1\noutput = 1\ninpt = 3", "inpt"),
        ("[[price]]\nmodel = 'm'\ninput = 1\noutput = 1\nsince = 2026-02-01\nuntil = 2026-01-01", "until"),
        ("[[price", "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(InvalidConfigurationError, match=said):
        PriceTable.load(path)
    with pytest.raises(InvalidConfigurationError, match="cannot be read"):
        PriceTable.load(tmp_path / "absent.toml")
