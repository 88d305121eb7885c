"""The prices that caps imply: multipliers of mean cost, latency and risk, and what keeping them gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...schemas.config import Config
from ..confidence import LEVEL, critical_t, interval, percentiles
from ..jackknife import cluster_sums, weighted_mean
from .market import CAPPED, Market, PointMarket, redrawn, stacked, worth_of
from .multipliers import Multipliers, best_actions, multipliers
from .recalibrated import recalibrated

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS: Final = 200
"""Bootstrap draws: a standard error from 200 is known to 5 %."""
_OFTEN_SLACK: Final = 0.2
"""Share of draws with a multiplier of 0 from which a cap may be slack, so that the lower end is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dual:
    """One multiplier or price with its interval; value None with the reason why it is not known.

    reason beside a value says how to read it: slack, or perhaps so.
    """

    value: float | None
    lower: float | None
    upper: float | None
    reason: str | None = None


_MOST_KEPT: Final = 0.9
"""Share of draws in which the caps can be kept; with fewer their spread is not that of the price."""
_ZERO: Final = 1e-12
_FREE: Final = Dual(value=None, lower=None, upper=None, reason="no cap limits it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duals:
    """What the caps of a market imply.

    mu: multiplier of cost (USD per USD), latency (USD per s) and risk (USD per event). prices: p_C =
    1 + mu_C; lambda = mu_L / (1 + mu_C); rho = mu_R / (1 + mu_C), the load over the expected loss (METHODS
    0.1b).
    caps, used, reached: (3,) allowed mean, logged mean, and mean by the scores under the best policy. gain:
    USD per decision that this policy brings over the logged one at the caps. curve: see `value_curve`.
    """

    mu: tuple[Dual, Dual, Dual]
    prices: tuple[Dual, Dual, Dual]
    caps: Array
    used: Array
    reached: Array
    gain: Dual
    n: int
    clusters: int
    level: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stakes:
    """A market in the terms of the linear programme: worth (n, K), -inf where closed, and load (n, K, 3)."""

    worth: Array
    load: Array
    weight: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """Points that share caps. points: their positions. caps: (3,) mean cost, latency and risk per decision;
    NaN: as logged, infinite: free."""

    points: tuple[int, ...]
    caps: Array


def fit_duals(
    points: Sequence[PointMarket],
    programmes: Sequence[Programme],
    config: Config,
    *,
    seed: int,
    draws: int = DRAWS,
) -> list[Duals]:
    """The multipliers of each programme's caps, with cluster bootstrap intervals.

    Predictions are recalibrated on the scores before a programme is solved. A draw weighs each cluster by an
    exponential variate (Rubin 1981), fits the means again, recalibrates and solves; the spread of the draws
    gives a normal interval, or [0, upper] where the cap may be slack. Their bias is left alone: noise drawn
    on top of noise shows the winner's curse twice, while what predictions do not know pulls the other way.
    Refused in words where a capped quantity is not known, or no mixture of the open actions keeps the caps.

    Source: METHODS E1; Kelley 1960; Li & Ye 2022 (asymptotics of the duals of linear programmes).
    """
    solved = [_at_even_weights(points, p) for p in programmes]
    open_ones = [(p, s) for p, s in zip(programmes, solved, strict=True) if isinstance(s, _Solution)]
    samples = iter(_samples(points, open_ones, config, seed=seed, draws=draws))
    return [s if isinstance(s, Duals) else _duals(s, next(samples), draws) for s in solved]


def prices_of(mu: Array) -> Array:
    """(..., 3) p_C, lambda and rho in units of one dollar of net value from multipliers (..., 3)."""
    price = 1.0 + mu[..., :1]
    return np.concatenate([price, mu[..., 1:] / price], axis=-1)


def stakes_of(market: Market) -> Stakes:
    """What the linear programme sees: predicted worth of the open actions, and what they use."""
    worth = np.where(market.open, worth_of(market, market.predicted), -np.inf)
    load = np.where(market.known[1:], market.predicted[:, :, 1:], 0.0)
    return Stakes(worth=worth, load=load, weight=market.weight)


def logged_loads(market: Market, draw: Array | None = None) -> Array:
    """(3,) mean cost, latency and risk of the logged policy, from the scores weighted by its propensities."""
    weight = market.weight if draw is None else market.weight * draw
    loads = (market.share[:, :, None] * market.score[:, :, 1:]).sum(axis=1)
    return np.asarray(weight @ loads / weight.sum(), dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solution:
    """A programme solved at even weights. caps: with NaN for what follows the log; limits: their numbers."""

    market: Market
    caps: Array
    limits: Array
    used: Array
    mu: Array


def _at_even_weights(points: Sequence[PointMarket], programme: Programme) -> _Solution | Duals:
    whole, caps = stacked([points[i].market for i in programme.points]), programme.caps
    used = logged_loads(whole)
    limits = np.where(np.isnan(caps), used, caps)
    seen = zip(CAPPED, limits, whole.known[1:], strict=True)
    blind = [name for name, limit, known in seen if not known and not np.isinf(limit)]
    if blind:
        return _refused(whole, limits, used, f"{' and '.join(blind)} of the actions is not known")
    found = _solved(whole, limits)
    if isinstance(found, str):
        return _refused(whole, limits, used, found)
    return _Solution(market=whole, caps=caps, limits=limits, used=used, mu=found.mu)


def _duals(solution: _Solution, sample: Array, draws: int) -> Duals:
    whole, mu, limits = solution.market, solution.mu, solution.limits
    if len(sample) < _MOST_KEPT * draws:
        reason = f"at the edge of what the actions allow: {len(sample)} of {draws} draws can keep the caps"
        return _refused(whole, limits, solution.used, reason)
    stakes = stakes_of(recalibrated(whole))
    reached, gain = _by_scores(whole, best_actions(stakes.worth, stakes.load, mu), mu, limits)
    return Duals(
        mu=_each(mu, sample, 0.0, limits),
        prices=_each(prices_of(mu), prices_of(sample), 1.0, limits),
        caps=limits,
        used=solution.used,
        reached=reached,
        gain=gain,
        n=len(whole.weight),
        clusters=whole.clusters,
        level=LEVEL,
    )


def _solved(
    market: Market, limits: Array, start: Array | None = None, draw: Array | None = None
) -> Multipliers | str:
    stakes = stakes_of(recalibrated(market, draw))
    weight = stakes.weight if draw is None else stakes.weight * draw
    return multipliers(stakes.worth, stakes.load, weight, limits, names=CAPPED, start=start)


def _samples(
    points: Sequence[PointMarket],
    solved: Sequence[tuple[Programme, _Solution]],
    config: Config,
    *,
    seed: int,
    draws: int,
) -> list[Array]:
    """Per programme (at most draws, 3) multipliers of the draws in which its caps can be kept."""
    rng = np.random.default_rng(seed)
    names = [p.split.problem.cluster_ids for p in points]
    ids = {name: i for i, name in enumerate(sorted({name for own in names for name in own}))}
    places = [np.array([ids[name] for name in own]) for own in names]
    out: list[list[Array]] = [[] for _ in solved]
    for _ in range(draws if solved else 0):
        drawn = rng.exponential(size=len(ids))
        fresh = [redrawn(p, config, drawn[at]) for p, at in zip(points, places, strict=True)]
        for rows, (programme, solution) in zip(out, solved, strict=True):
            whole = stacked([fresh[i] for i in programme.points])
            draw = drawn[[ids[name] for name in whole.cluster_ids]][whole.cluster]
            follows = np.isnan(solution.caps)
            limits = np.where(follows, logged_loads(whole, draw), solution.limits)
            found = _solved(whole, limits, solution.mu, draw)
            if not isinstance(found, str):
                rows.append(found.mu)
    return [np.array(rows).reshape(-1, len(CAPPED)) for rows in out]


def _by_scores(market: Market, chosen: Ints, mu: Array, limits: Array) -> tuple[Array, Dual]:
    """(3,) mean loads of the policy by doubly robust scores, and its gain over the logged one at the caps.

    Worth less mu . load of both policies: what the best policy uses above or below the caps is charged or
    credited at the multipliers, so that small errors of mu do not move the gain.
    """
    rows = np.arange(len(market.weight))
    score = np.where(market.known, market.score, 0.0)
    load = score[:, :, 1:]
    reduced = worth_of(market, score) - load @ mu
    gain = reduced[rows, chosen] - (market.share * reduced).sum(axis=1)
    mean = weighted_mean(cluster_sums(gain[:, None], market.weight, market.cluster, market.clusters))
    bound = np.isfinite(limits)
    room = float(mu[bound] @ (limits - logged_loads(market))[bound])
    value = float(mean.theta[0]) + room
    lower, upper = interval(value, float(np.sqrt(mean.cov[0, 0])), mean.df)
    reached = market.weight @ load[rows, chosen] / market.weight.sum()
    return np.asarray(reached, dtype=float), Dual(value=value, lower=lower, upper=upper)


def _each(value: Array, sample: Array, first_floor: float, limits: Array) -> tuple[Dual, Dual, Dual]:
    floors = (first_floor, 0.0, 0.0)
    duals = [
        _dual(float(v), column, floor) if np.isfinite(limit) else _FREE
        for v, column, floor, limit in zip(value, sample.T, floors, limits, strict=True)
    ]
    return duals[0], duals[1], duals[2]


def _dual(value: float, draws: Array, floor: float) -> Dual:
    """The interval of one multiplier from its estimate and its draws."""
    slack = float((draws <= floor + _ZERO).mean())
    if value <= floor + _ZERO or slack > _OFTEN_SLACK:
        word = "slack" if value <= floor + _ZERO else "perhaps slack"
        upper = max(percentiles(draws)[1], value)
        return Dual(
            value=value,
            lower=floor,
            upper=upper,
            reason=f"{word}: at its best use the cap is not reached in {slack:.0%} of the draws",
        )
    half = critical_t(math.inf) * float(draws.std())
    return Dual(value=value, lower=max(value - half, floor), upper=value + half)


def _refused(market: Market, limits: Array, used: Array, reason: str) -> Duals:
    nothing = Dual(value=None, lower=None, upper=None, reason=reason)
    return Duals(
        mu=(nothing, nothing, nothing),
        prices=(nothing, nothing, nothing),
        caps=limits,
        used=used,
        reached=np.full(3, np.nan),
        gain=nothing,
        n=len(market.weight),
        clusters=market.clusters,
        level=LEVEL,
        reason=reason,
    )
