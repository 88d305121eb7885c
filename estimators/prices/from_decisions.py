"""The prices that need the decisions themselves: implied, revealed, of risk, of congestion and of capital."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import polars as pl
from threadpoolctl import threadpool_limits

from ...schemas.columns import FEATURE_PREFIX
from ...schemas.config import Config
from ...schemas.records import SAVINGS, VALUE_CURVE, Estimates, Price
from ...schemas.store import Store
from ...schemas.units import Amount
from ..capital.capital import capital_prices
from ..capital.stale_savings import stale_savings
from ..congestion.congestion import congestion
from ..identification import NO_ALTERNATIVE
from ..problem import Problem
from ..scores import MIN_ARM, score
from .implied import implied_prices, no_market
from .market import PointMarket, point_market
from .revealed import revealed_prices
from .risk_prices import risk_prices
from .risk_ratios import risk_price_ratios
from .sampled import sampled_frame, sampled_problems
from .values import task_values

Decisions: TypeAlias = pl.DataFrame | pl.LazyFrame | Store

MOST_ROWS: Final = 200_000
"""Decisions read for risk, congestion and capital: rare incidents and rare cells need more than a market."""
_WHOLE: Final = "all"
_ADMIT: Final = "admit"
_PROMPT: Final = "prompt_tok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """prices: fitted or refused. value_curve: rows of VALUE_CURVE, empty where no point has a market.
    savings: rows of SAVINGS."""

    prices: tuple[Price, ...]
    value_curve: pl.DataFrame
    savings: pl.DataFrame


NOTHING: Final = Fitted(
    prices=(), value_curve=pl.DataFrame(schema=VALUE_CURVE), savings=pl.DataFrame(schema=SAVINGS)
)


def prices_from(decisions: Decisions, est: Estimates, config: Config, *, seed: int) -> Fitted:
    """Every price that is fitted to `decisions`; what cannot be is there without a value, with the reason.

    Large logs are sampled by whole sessions. Prices of congestion per load, and of what no layer of the log
    has, are left out where the price for all of it is refused: they would repeat its reason.

    Raises: SchemaError for a frame that is not in the layout.
    """
    with threadpool_limits(limits=1):  # small problems: threads inside one wait longer than they work
        points, choices = _of_choices(decisions, config, seed)
        implied = implied_prices(points, est, config, seed=seed)
        rows = sampled_frame(decisions, seed=seed, most=MOST_ROWS)
        books = risk_prices(rows, config=config, seed=seed)
        steps, outcomes = _table(decisions, "engine_steps"), _table(decisions, "outcomes")
        shown, imposed = _congestion(rows, steps, config, seed)
        prices = (
            *implied.prices,
            *choices,
            *books,
            *risk_price_ratios((*choices, *books)),
            *shown,
            *capital_prices(
                rows,
                config=config,
                seed=seed,
                outcomes=outcomes,
                steps=steps,
                contrasts=est.contrasts,
                signal_usd=_usd(config.prices.learning_signal),
                keep_usd=_usd(config.prices.rollout),
            ),
        )
        savings = pl.concat([imposed, _stale(rows, outcomes, config)])
    return Fitted(prices=prices, value_curve=implied.value_curve, savings=savings)


def savings_from(decisions: Decisions, config: Config, *, seed: int) -> pl.DataFrame:
    """The savings of `prices_from` alone, without the prices that take longer.

    Raises: SchemaError for a frame that is not in the layout.
    """
    with threadpool_limits(limits=1):
        rows = sampled_frame(decisions, seed=seed, most=MOST_ROWS)
        _, imposed = _congestion(rows, _table(decisions, "engine_steps"), config, seed)
        return pl.concat([imposed, _stale(rows, _table(decisions, "outcomes"), config)])


def _stale(rows: pl.DataFrame, outcomes: pl.DataFrame | None, config: Config) -> pl.DataFrame:
    prices = config.prices
    return stale_savings(
        rows, outcomes=outcomes, signal_usd=_usd(prices.learning_signal), keep_usd=_usd(prices.rollout)
    )


def _usd(amount: Amount | None) -> float | None:
    return None if amount is None else amount.value


def _of_choices(decisions: Decisions, config: Config, seed: int) -> tuple[list[PointMarket], list[Price]]:
    """The points that have a market, and what the choices of every point reveal."""
    points: list[PointMarket] = []
    prices: list[Price] = []
    for problem in sampled_problems(decisions, config, seed=seed):
        if problem.frame["value_usd"].is_not_null().any():
            prices += task_values(problem, config, seed=seed).prices
        refused = no_choice(problem)
        if refused is not None:
            prices.append(no_market(problem, refused))
            continue
        scores = score(problem, seed=seed)
        found = point_market(scores, config, seed=seed)
        if isinstance(found, PointMarket):
            points.append(found)
        else:
            prices.append(no_market(problem, found))
        prices += revealed_prices(scores, config=config, seed=seed)
    return points, prices


def no_choice(problem: Problem) -> str | None:
    """Why there was nothing to choose at a point, or None."""
    if problem.decision_point in NO_ALTERNATIVE:
        return NO_ALTERNATIVE[problem.decision_point]
    often = [name for k, name in enumerate(problem.arms) if (problem.arm == k).sum() >= MIN_ARM]
    if len(often) < 2:
        return f"fewer than two actions were taken {MIN_ARM} times"
    return None


def _congestion(
    rows: pl.DataFrame, steps: pl.DataFrame | None, config: Config, seed: int
) -> tuple[list[Price], pl.DataFrame]:
    """The prices of congestion, those of loads where the whole is known, and what long contexts impose."""
    serving = rows.filter(pl.col("layer") == "serving")
    if serving.is_empty():
        return [], pl.DataFrame(schema=SAVINGS)
    found = congestion(
        serving,
        steps,
        latency_price=_usd(config.prices.latency),
        seed=seed,
        long_by=_slicing(serving, config),
    )
    whole = {p.name for p in found.prices if p.segment == _WHOLE and p.value is not None}
    return [p for p in found.prices if p.segment == _WHOLE or p.name in whole], found.savings


def _slicing(serving: pl.DataFrame, config: Config) -> str:
    """The feature of the configured segments that most admitted requests have, else their prompt."""
    asked = config.segments if config.segments is not None else (config.task_class,)
    admitted = serving.filter(pl.col("decision_point") == _ADMIT)
    features = [k for k in asked if k.startswith(FEATURE_PREFIX) and k in admitted.columns]
    known = [k for k in features if admitted[k].drop_nulls().n_unique() > 1]
    return min(known, key=lambda k: admitted[k].null_count(), default=_PROMPT)


def _table(decisions: Decisions, name: str) -> pl.DataFrame | None:
    """The table `name` of a store, None where there is none or it has no rows."""
    if not isinstance(decisions, Store) or not decisions.files(name):
        return None
    return decisions.scan(name).collect()
