"""The models between which a router chooses and what a router that sees one price can know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .list_prices import TokenPrices
from .offer import Row, Skipped
from .supply import Supply

LOG_PRICES: Final = "the tokens of every kind beside the cost, or export with --prices FILE"
LOG_CHOICES: Final = "a randomised share of the choices, with candidates and propensity"
MAX_RESIDUAL: Final = 0.05
"""Share of the largest extra cost that one input-equivalent request size may miss before it is said."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Models of one segment. prices: USD per input token; costs: (action, baseline) -> extra cost in USD."""

    segment: str
    prices: Mapping[str, float]
    costs: Mapping[Pair, Row]

    @property
    def names(self) -> list[str]:
        """The candidate set in a fixed order; another set needs other weights."""
        return sorted(self.prices)

    @property
    def grade(self) -> str:
        """The weakest grade among the extra costs."""
        return max(row.grade or "C" for row in self.costs.values())

    def means(self) -> dict[Pair, float]:
        """The extra costs as numbers."""
        return {pair: row.value for pair, row in self.costs.items()}

    def ends(self, *, dearer: bool) -> dict[Pair, float]:
        """The ends of the extra costs at which dearer input tokens cost most, or least, per request."""
        return {
            pair: _end(row, upper=(self.prices[pair[0]] > self.prices[pair[1]]) == dearer)
            for pair, row in self.costs.items()
        }

    def left_out(self, supply: Supply) -> list[str]:
        """Models of the log that are no candidates, since no extra cost of theirs is identified."""
        return sorted({m.name for m in supply.models} - set(self.prices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why there are no candidates, or no weights, and what to log."""

    reason: str
    log_next: str


def extra_costs(supply: Supply, segment: str) -> list[Row]:
    """The identified extra costs between two models of the router in one segment."""
    return [
        row
        for row in supply.offer.rows
        if row.name == "delta_cost"
        and row.segment == segment
        and (row.layer, row.decision_point) == ("router", "model")
    ]


def candidates(supply: Supply, segment: str) -> Candidates | Refused:
    """The models whose extra costs are identified in `segment`; refused when one has no list price."""
    costs = {
        (row.action, row.baseline): row
        for row in extra_costs(supply, segment)
        if row.action is not None and row.baseline is not None
    }
    if not costs:
        return Refused(reason="no extra cost between two models is identified here", log_next=LOG_CHOICES)
    known = {m.name: m for m in supply.models}
    names = sorted({name for pair in costs for name in pair})
    prices = {
        name: float(own.input) for name in names if name in known and (own := known[name].prices) is not None
    }
    for name in names:
        if name not in prices:
            why = (known[name].why_not if name in known else None) or "it did not run"
            reason = f"no list price for {name} ({why}), and a router takes a missing price for free"
            return Refused(reason=reason, log_next=LOG_PRICES)
    return Candidates(segment=segment, prices=prices, costs=costs)


def priced_models(supply: Supply) -> tuple[dict[str, TokenPrices], tuple[Skipped, ...]]:
    """The list prices of every model that has them, and why the others have none."""
    priced = {m.name: m.prices for m in supply.models if m.prices is not None}
    skipped = tuple(
        Skipped.of(name="list_price", about=m.name, reason=m.why_not or "unknown", log_next=LOG_PRICES)
        for m in supply.models
        if m.prices is None
    )
    return priced, skipped


def input_tokens(prices: Mapping[str, float], costs: Mapping[Pair, float]) -> tuple[float, float] | str:
    """Input tokens per request at which the input prices alone differ as the costs do, and what they miss.

    The least-squares T of costs = T (p_a - p_b), and the largest error as a share of the largest cost; or why
    no request size does it.
    """
    gaps = {pair: prices[pair[0]] - prices[pair[1]] for pair in costs}
    if not any(gaps.values()):
        return "every candidate has the same input price, so the router sees no cost"
    tokens = sum(gaps[pair] * cost for pair, cost in costs.items()) / sum(g * g for g in gaps.values())
    if tokens <= 0:
        return "the candidate with the dearer input token costs less per request, which one weight cannot say"
    missed = max(abs(cost - gaps[pair] * tokens) for pair, cost in costs.items())
    return tokens, missed / max(map(abs, costs.values()))


def residual_warning(where: str, residual: float) -> list[str]:
    """A warning when one price per model cannot stand for these costs."""
    if residual <= MAX_RESIDUAL:
        return []
    missed = f"{100 * residual:.0f} % of the largest extra cost is missed, at most 5 % is sound"
    return [f"{where}: one weight cannot represent these prices: {missed}"]


def price_of(supply: Supply, name: str) -> float:
    """The latency or risk price that is set, 0 when it is not: an unset term is priced out of the sum."""
    return next((row.value for row in _set_by_user(supply) if row.name == name), 0.0)


def task_values(supply: Supply) -> list[Row]:
    """The task values that are set, USD per task, one per segment; what behaviour reveals is not set."""
    return [row for row in _set_by_user(supply) if row.name == "task_value" and row.value > 0]


def _set_by_user(supply: Supply) -> list[Row]:
    return [row for row in supply.offer.rows if row.source == "user"]


def _end(row: Row, *, upper: bool) -> float:
    end = row.upper if upper else row.lower
    return row.value if end is None else end
