"""A certificate for an interval: how often it holds the truth in simulated logs made from this very log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from . import gates
from .confidence import LEVEL
from .design import make_design
from .folds import cluster_folds
from .learners import ridge
from .pairs import Pair
from .plasmode_refit import Ground, miss_ratios

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_COVERAGE: Final = 0.93
"""Coverage in simulated logs from which a 95 % interval is taken as it is (METHODS A4)."""
_BATCH: Final = 100
_MAX_BATCHES: Final = 4
_SURE: Final = 0.95
"""Coverage at which the first batch is enough: at a true coverage of .90 it is seen once in twenty logs."""
_DOUBT: Final = 0.05
"""Chance of so few hits, were the coverage MIN_COVERAGE, below which more simulated logs change nothing."""
MAX_ROWS: Final = 3000
"""Rows simulated; of longer logs a random part of every cluster."""
_MAX_COLUMNS: Final = 20
"""Context columns of the refits; of wider contexts the first principal components."""
_CLOSE_ESS: Final = 100.0
_CLOSE_CLUSTERS: Final = 40.0
_CLOSE_EVENTS: Final = 25
_CLOSE_ROWS: Final = 500
"""Rows below which estimated propensities are noisy enough to look."""
_EDGE: Final = 0.002
"""The simulated truth of a rate is kept this far from 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """coverage: share of `logs` simulated logs whose interval held the truth. widen: factor on the interval,
    1 if it was taken as it is. fault: why no interval can be had, or None."""

    coverage: float
    logs: int
    widen: float
    fault: str | None

    @property
    def note(self) -> str:
        """What a reader is told of it."""
        held = f"{self.coverage:.0%} of {self.logs} refitted simulations of this log"
        if self.widen > 1.0:
            return f"interval widened by {self.widen - 1:.0%}: as computed it held the truth in {held}"
        return f"the interval held the truth in {held}"


def is_close(pair: Pair, rows: Mask, ess: float) -> bool:
    """Whether an interval passed its gates so narrowly that it is checked.

    Below an effective sample size of 100, 40 effective clusters or 25 events or non-events in an arm; with
    estimated propensities also below 500 rows.
    """
    arms = (pair.took_a & rows, pair.took_b & rows)
    if ess < _CLOSE_ESS or ("estimated" in pair.method and rows.sum() < _CLOSE_ROWS):
        return True
    if min(gates.effective_clusters(pair.problem.cluster, took) for took in arms) < _CLOSE_CLUSTERS:
        return True
    if not pair.problem.events[0]:
        return False
    y = pair.problem.outcomes[:, 0]
    return min(int(side[took].sum()) for took in arms for side in (y > 0, y == 0)) < _CLOSE_EVENTS


def certificate(pair: Pair, rows: Mask, *, seed: int) -> Certificate | None:
    """The certificate of the overlap-weighted interval of quality over `rows`.

    Simulated logs keep contexts, clusters and propensities; outcomes have the fitted means as truth, with
    the fitted correlation within clusters; choices are drawn anew; nuisances are refitted in each (with
    fixed ones the check is blind: it would predict 95 % everywhere). Coverage below .93 is tried again with
    the interval widened to the 95 % quantile of the simulated errors; if fresh logs stay below, there is no
    interval. None where logs like this one cannot be simulated: labels missing or sampled logs.

    Source: Franklin et al. 2014 (plasmodes); Beran 1988 (prepivoting).
    """
    rng = np.random.default_rng([seed, 4])
    ground = _ground(pair, rows, rng, seed)
    if ground is None:
        return None
    ratios, held = np.empty(0), 0
    for _ in range(_MAX_BATCHES):
        ratios = np.concatenate([ratios, miss_ratios(ground, _BATCH, rng)])
        held = int((ratios <= 1.0).sum())
        doubtful = stats.binom.cdf(held, ratios.size, MIN_COVERAGE) < _DOUBT
        if held >= _SURE * ratios.size or doubtful:
            break
    coverage = held / ratios.size
    if coverage >= MIN_COVERAGE:
        return Certificate(coverage=coverage, logs=ratios.size, widen=1.0, fault=None)
    widen = max(float(np.quantile(ratios, LEVEL)), 1.0)
    fresh = miss_ratios(ground, 2 * _BATCH, rng) <= widen
    fault = None
    if stats.binom.cdf(int(fresh.sum()), fresh.size, MIN_COVERAGE) < _DOUBT:
        fault = (
            f"intervals made this way held the truth in {coverage:.0%} of {ratios.size} refitted simulations "
            f"of this log, and in {fresh.mean():.0%} once widened"
        )
    return Certificate(coverage=coverage, logs=ratios.size, widen=widen, fault=fault)


def _ground(pair: Pair, rows: Mask, rng: np.random.Generator, seed: int) -> Ground | None:
    problem = pair.problem
    y, used = problem.outcomes[:, 0], np.flatnonzero(rows & pair.feasible)
    observed = not np.isnan(y[used][(pair.took_a | pair.took_b)[used]]).any()
    if not observed or np.ptp(problem.weight[used]) > 0 or pair.method.startswith("within"):
        return None
    if used.size > MAX_ROWS:
        used = np.sort(rng.choice(used, size=MAX_ROWS, replace=False))
    used = used[np.argsort(problem.cluster[used], kind="stable")]
    names, cluster = np.unique(problem.cluster[used], return_inverse=True)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster[used]]
    x = _columns(make_design(problem.frame, problem.features).linear[used])
    taken = [pair.took_a[used], pair.took_b[used]]
    if names.size < 2 or min(int(t.sum()) for t in taken) < gates.MIN_EVENTS:
        return None
    binary = problem.events[0]
    mu_b = ridge(x[taken[1]], y[used][taken[1], None], x)[:, 0]
    mu = np.column_stack([mu_b + pair.tau[used, 0], mu_b])
    if binary:
        mu = np.clip(mu, _EDGE, 1 - _EDGE)
    residual = [y[used][t] - mu[t, k] for k, t in enumerate(taken)]
    spread = np.array([r.std() or 1.0 for r in residual])
    noise = np.concatenate([(r - r.mean()) / s for r, s in zip(residual, spread, strict=True)])
    icc = _icc(noise, np.concatenate([cluster[t] for t in taken]))
    return Ground(
        x=np.column_stack([np.ones(used.size), x]),
        folds=folds,
        cluster=cluster,
        e=np.column_stack([pair.e_a[used], pair.e_b[used]]),
        mu=mu,
        binary=binary,
        spread=spread,
        residuals=noise,
        icc=float(np.sin(np.pi / 2 * icc)) if binary else icc,
        refit_e="estimated" in pair.method,
    )


def _columns(x: Array) -> Array:
    """The context, standardised; beyond _MAX_COLUMNS columns its principal components."""
    x = x - x.mean(axis=0)
    if x.shape[1] > _MAX_COLUMNS:
        _, vectors = np.linalg.eigh(x.T @ x)
        x = x @ vectors[:, -_MAX_COLUMNS:]
    scale = x.std(axis=0)
    return x[:, scale > 0] / scale[scale > 0]


def _icc(noise: Array, cluster: Ints) -> float:
    """Correlation of standardised noise within clusters, by pairs (moments), kept in [0, 0.9]."""
    sums, squares = np.bincount(cluster, weights=noise), np.bincount(cluster, weights=noise**2)
    count = np.bincount(cluster)
    pairs = float((count * (count - 1)).sum())
    return float(np.clip((sums**2 - squares).sum() / pairs, 0.0, 0.9)) if pairs else 0.0
