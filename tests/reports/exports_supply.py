"""Hand-made supplies for the exporters: two models with prices, levels and effects chosen in the test."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.exports.list_prices import TokenPrices
from shadowprice.reports.exports.offer import Offer, Row, offer
from shadowprice.reports.exports.supply import Level, Model, Supply
from shadowprice.reports.view import RunView
from shadowprice.schemas.config import Config, parse_config

from tests.reports.factory import PRICED, Case, estimates

GOOD = Case(theta=(0.05, 0.085, 0.5, 0.0), sd=(0.004, 0.002, 0.05, 0.0001))
VALUED = parse_config({"prices": {"task_value": "12 USD/task"}})
"""A task value, and no latency or risk price."""
HOSTILE = "a\"b\\c${HOME}{{x}}: &y *z - #'% <b>|!!python/object:os.system, = @"
HIDDEN = ("a\nb", "a\x1b[2Jb", "safe\u202egnp", "x" * 10_000)
"""Names that hide something, or are 10 kB long."""


def token_prices(input_usd: str, output_usd: str, cached: str | None = None) -> TokenPrices:
    """Prices in USD per million tokens."""
    per_token = {
        name: Decimal(usd) / 1_000_000 for name, usd in (("input", input_usd), ("output", output_usd))
    }
    read = None if cached is None else Decimal(cached) / 1_000_000
    return TokenPrices(**per_token, cache_read=read, cache_write=None, source="the test")


def model(name: str, prices: TokenPrices | None, **times: float | None) -> Model:
    """A model of 100 decisions."""
    why = None if prices else "its costs are not one price per kind of token"
    return Model(name=name, decisions=100, prices=prices, why_not=why, **times)


MODELS = (
    model("cheap", token_prices("0.25", "2", "0.025"), ttft_s=0.4, tpot_s=0.01, tok_output=400.0),
    model("frontier", token_prices("2.5", "10"), ttft_s=1.2, tpot_s=0.03, tok_output=600.0),
)


def level(action: str, value: float, *, segment: str = "all", half: float = 0.02) -> Level:
    """A success with a symmetric interval."""
    ends: dict[str, Any] = {"value": value, "lower": value - half, "upper": value + half}
    return Level(action=action, segment=segment, n=1000, reason=None, **ends)


LEVELS = (level("cheap", 0.70), level("frontier", 0.75))


def offered(*cases: Case, config: Config = PRICED, max_rows: int = 2000) -> Offer:
    """What a run with these contrasts offers."""
    est = estimates(*cases, config=config)
    prices = fit_prices(est, config, run_id="7f3a")
    return offer(RunView(est=est, prices=prices, findings=()), max_rows=max_rows)


def supplied(*cases: Case, config: Config = VALUED, **parts: Any) -> Supply:
    """The supply of a run with these contrasts between a cheap and a frontier model."""
    made = offered(*(cases or (GOOD,)), config=config)
    return Supply(offer=made, **({"models": MODELS, "levels": LEVELS} | parts))


def with_price(supply: Supply, name: str, value: float, unit: str, **about: Any) -> Supply:
    """`supply` with one more fitted price in its offer."""
    blank = dict.fromkeys(Row.__dataclass_fields__)
    ends = {"lower": 0.5 * value, "upper": 1.5 * value, "level": 0.95, "grade": "B"}
    row = Row(**{**blank, **ends, "kind": "price", "name": name, "unit": unit, "value": value,
                 "segment": "all", "source": "fitted", "method": "replay", **about})  # fmt: skip
    return replace(supply, offer=replace(supply.offer, rows=(*supply.offer.rows, row)))
