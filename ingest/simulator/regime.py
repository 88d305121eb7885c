"""One decision point with known truth as a frame: every knob that makes estimation hard, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import ConfigError
from . import regime_log

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]

TRUTH_ROWS: Final = 400_000
"""Decisions of the large draw that the population truth is read from."""
_TRUTH_CLUSTERS: Final = 40_000
_TRUTH_SEED: Final = 20_261_126
_SHARED_X: Final = 0.3
"""Share of the variance of x_difficulty that a cluster has in common."""
_LOGISTIC_VARIANCE: Final = np.pi**2 / 3
_HARDNESS: Final = -0.8
"""Log-odds of success per unit of difficulty."""
_NOISE: Final = 0.15
"""Standard deviation of a graded quality around its mean, before it is kept in [0, 1]."""

Class = Literal["R", "U", "O", "D"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """What a world is like. Arms are 'a0', 'a1', ... from cheap to dear; effects are log-odds of success.

    overlap: temperature of the softmax policy, 1 easy and 0.3 weak. cut: for class D, the rule takes the
    last arm where x_score exceeds it. event_rate: success of arm a0 at x = 0; graded: quality is a grade in
    [0, 1] and not an event. effect: log-odds that the dearest arm adds; spread: how much of it changes with
    x_length. shape 'interaction' is one that a spline ridge cannot fit. clusters None gives every decision
    its own; icc: intra-cluster correlation on the logit scale. hidden: odds ratio Lambda by which an
    unlogged binary cause moves both choice (exactly) and success (two arms only). corrupt: share of rows
    whose logged propensities are those of another policy. keep_share: successes are kept with this
    probability, failures always. label_share, label_by_judge, judge_bias: who is labelled, and by how much
    the judge favours the dearest arm. adaptive: the policy learns in batches from its own log. incident_rate
    and tail: incidents whose losses are Pareto(tail) in USD, from 1 USD.
    """

    n: int = 1000
    actions: int = 2
    identification: Class = "R"
    overlap: float = 1.0
    cut: float = 0.0
    event_rate: float = 0.5
    graded: bool = False
    effect: float = 0.4
    spread: float = 0.4
    shape: Literal["additive", "interaction"] = "additive"
    clusters: int | None = None
    icc: float = 0.0
    hidden: float = 1.0
    corrupt: float = 0.0
    keep_share: float = 1.0
    label_share: float = 1.0
    label_by_judge: bool = False
    judge_bias: float | None = None
    adaptive: bool = False
    incident_rate: float = 0.05
    tail: float | None = None

    def __post_init__(self) -> None:
        checks = (
            (self.n >= 2, f"n {self.n}", "at least 2"),
            (self.actions >= 2, f"actions {self.actions}", "at least 2"),
            (self.overlap > 0, f"overlap {self.overlap}", "a positive temperature"),
            (0 < self.event_rate < 1, f"event_rate {self.event_rate}", "a probability"),
            (0 <= self.icc < 1, f"icc {self.icc}", "a share below 1"),
            (self.hidden >= 1, f"hidden {self.hidden}", "an odds ratio of at least 1"),
            (self.hidden == 1 or self.actions == 2, f"hidden with {self.actions} actions", "two actions"),
            (0 < self.keep_share <= 1, f"keep_share {self.keep_share}", "a share in (0, 1]"),
            (0 < self.label_share <= 1, f"label_share {self.label_share}", "a share in (0, 1]"),
            (0 <= self.corrupt <= 1, f"corrupt {self.corrupt}", "a share"),
            (0 < self.incident_rate < 1, f"incident_rate {self.incident_rate}", "a probability"),
            (self.tail is None or self.tail > 1, f"tail {self.tail}", "above 1, so that losses have a mean"),
        )
        for fine, found, expected in checks:
            if not fine:
                raise ConfigError(found, where="Regime", expected=expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWorld:
    """A log and what only its maker knows. frame: decisions layout, rows that log sampling kept.

    e: (N, K) true probability of each arm given the logged context, for all N decisions made; mean: (N, K)
    probability of success of each arm given the logged context, the cluster and no hidden cause; potential:
    (N, K) the quality that each arm would have led to; risk: (N, K) incident probability; loss: (N,) USD.
    taken: (N,) index of the arm; kept: (N,) rows that are in the frame.
    """

    regime: Regime
    frame: pl.DataFrame
    e: Array
    mean: Array
    potential: Array
    risk: Array
    taken: Ints
    kept: NDArray[np.bool_]

    def contrast(self, a: int, b: int, *, overlap_weighted: bool) -> float:
        """The mean gain in quality of arm a over b in this world's decisions: ATO or ATE."""
        return contrast(self.e, self.mean, a, b, overlap_weighted=overlap_weighted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Population contrasts of the last arm against the first, in quality: what intervals must cover."""

    ato: float
    ate: float
    arms: tuple[float, ...]


@lru_cache(maxsize=256)
def truth(regime: Regime) -> Truth:
    """The population truth of `regime`, from a draw so large that its own error is below 0.0005.

    Sample size, label share, keep share, corruption and the judge do not move it. Adaptive policies have no
    fixed population weights; their truth is the ATE.
    """
    large = replace(
        regime,
        n=TRUTH_ROWS,
        clusters=None if regime.clusters is None else _TRUTH_CLUSTERS,
        keep_share=1.0,
        label_share=1.0,
        corrupt=0.0,
        judge_bias=None,
        adaptive=False,
        identification="R" if regime.identification == "D" else regime.identification,
    )
    made = _decisions(large, np.random.default_rng(_TRUTH_SEED))
    last = regime.actions - 1
    return Truth(
        ato=contrast(made.e, made.mean, last, 0, overlap_weighted=True),
        ate=contrast(made.e, made.mean, last, 0, overlap_weighted=False),
        arms=tuple(made.mean.mean(axis=0).tolist()),
    )


def contrast(e: Array, mean: Array, a: int, b: int, *, overlap_weighted: bool) -> float:
    """The mean gain of arm a over b: weighted by e_a e_b / (e_a + e_b), or plain."""
    total = e[:, a] + e[:, b]
    h = np.divide(e[:, a] * e[:, b], total, out=np.zeros_like(total), where=total > 0)
    return float(np.average(mean[:, a] - mean[:, b], weights=h if overlap_weighted else None))


def draw(regime: Regime, *, seed: int) -> KnownWorld:
    """The world of `regime` and `seed`; the same two give the same rows."""
    rng = np.random.default_rng([seed, regime.n])
    made = _decisions(regime, rng)
    frame, kept = regime_log.frame(regime, rng, made)
    return KnownWorld(
        regime=regime,
        frame=frame,
        e=made.e,
        mean=made.mean,
        potential=made.potential,
        risk=made.risk,
        taken=made.taken,
        kept=kept,
    )


def _decisions(regime: Regime, rng: np.random.Generator) -> regime_log.Decisions:
    n, k = regime.n, regime.actions
    cluster = np.arange(n) if regime.clusters is None else rng.integers(regime.clusters, size=n)
    shared = rng.normal(size=int(cluster.max()) + 1)[cluster]
    luck = rng.normal(size=int(cluster.max()) + 1)[cluster]
    x = rng.normal(size=(n, 3))
    if regime.clusters is not None:
        x[:, 0] = np.sqrt(_SHARED_X) * shared + np.sqrt(1 - _SHARED_X) * x[:, 0]
    u = rng.random(n)
    logit = _log_odds(regime, x) + np.sqrt(_LOGISTIC_VARIANCE * regime.icc / (1 - regime.icc)) * luck[:, None]
    e = regime_log.policy(regime, x)
    shift = np.zeros(n)
    chosen_by = e
    if regime.hidden > 1:
        chosen_by, present = regime_log.hidden_policy(e, regime.hidden, u)
        shift = np.where(present, 0.5, -0.5) * 2 * np.log(regime.hidden)
    success = _sigmoid(logit + shift[:, None])
    # Given the logged context the success probability averages over the hidden cause.
    mean = success if regime.hidden == 1 else _over_hidden(logit, e, regime.hidden)
    noise = rng.normal(size=n)
    potential = (
        np.clip(success + _NOISE * noise[:, None], 0, 1)
        if regime.graded
        else (rng.random(n)[:, None] < success).astype(float)
    )
    if regime.graded:
        mean = _clipped_mean(mean)
    risk = _sigmoid(
        np.log(regime.incident_rate / (1 - regime.incident_rate)) - 0.5 * np.arange(k) + 0.5 * x[:, :1]
    )
    draws = rng.random((n, 3))
    if regime.adaptive:
        e, taken = regime_log.adaptive(potential, draws[:, 0])
    else:
        taken = regime_log.choose(chosen_by, draws[:, 0])
    hurt = draws[:, 1] < risk[np.arange(n), taken]
    severity = (1 - rng.random(n)) ** (-1 / regime.tail) if regime.tail else np.full(n, 5.0)
    return regime_log.Decisions(
        x=x,
        e=e,
        mean=mean,
        potential=potential,
        risk=risk,
        taken=taken,
        cluster=cluster,
        hurt=hurt,
        loss=np.where(hurt, severity, 0.0),
    )


def _log_odds(regime: Regime, x: Array) -> Array:
    """(n, K) log-odds of success without cluster luck and hidden cause."""
    base = np.log(regime.event_rate / (1 - regime.event_rate))
    if regime.shape == "additive":
        common = _HARDNESS * x[:, 0] + 0.4 * np.tanh(x[:, 1])
    else:
        common = _HARDNESS * x[:, 0] + 1.2 * x[:, 0] * x[:, 1] * np.exp(-0.2 * (x[:, 0] ** 2 + x[:, 1] ** 2))
    step = np.arange(regime.actions) / (regime.actions - 1)
    return base + common[:, None] + (regime.effect + regime.spread * np.tanh(x[:, 1]))[:, None] * step


def _over_hidden(logit: Array, e: Array, ratio: float) -> Array:
    share = regime_log.hidden_share(e[:, -1], ratio)[:, None]
    strength = np.log(ratio)
    return share * _sigmoid(logit + strength) + (1 - share) * _sigmoid(logit - strength)


def _clipped_mean(p: Array) -> Array:
    """Mean of a normal around p kept in [0, 1], by quadrature over its noise."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    return sum(
        (w * np.clip(p + _NOISE * z, 0, 1) for z, w in zip(nodes, weights / weights.sum(), strict=True)),
        start=np.zeros_like(p),
    )


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(x / 2.0))
