"""One arm's scores when a hidden cause moved the choice: the sharp ends of the marginal sensitivity model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .design import make_design
from .folds import cluster_folds
from .labels import find_labels
from .pairs import NET, Pair
from .scores import Scores

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BIN_ROWS: Final = 50
"""Rows from which a quantile of residuals is read."""
_MAX_BINS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualBin:
    """Residuals of the rows with similar fitted means, sorted; share: (m,) cumulative weight up to 1."""

    residual: Array
    share: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmModel:
    """An arm's outcome, score and model on the n decisions of a problem.

    took: (n,). y: (n,) outcome, 0 where unseen. seen: (n,) 1 / P(seen) where the arm was taken and its
    outcome seen, else 0. odds: (n,) (1 - e) / e where the arm was taken, else 0. mu: (n,) fitted mean.
    psi: (n,) score under no hidden cause. event: y is 0 or 1. bins: residuals by fitted mean; bin: (n,).
    """

    took: Mask
    y: Array
    seen: Array
    odds: Array
    mu: Array
    psi: Array
    event: bool
    bins: tuple[ResidualBin, ...]
    bin: Ints


def extreme_scores(arm: ArmModel, strength: float, *, upper: bool) -> Array:
    """Scores (n,) of the arm's largest (or smallest) mean under a hidden cause of odds ratio `strength`.

    The odds of the arm given the hidden cause are within a factor Lambda of its odds given the context.
    With A = 1{arm taken}, R / pi its label weight, Q the Lambda / (1 + Lambda) quantile of Y | x, A = 1 and
    rho = E[Q + Lambda^sign(Y - Q) (Y - Q) | x, A = 1], the largest mean that the untaken rows could have:
      phi = psi + (1 - A) (rho - mu) + A R / pi (1 - e) / e [(Lambda^sign(Y - Q) - 1) (Y - Q) - (rho - mu)].
    Lambda = 1 gives psi. A wrong Q only widens the bounds; a wrong e or rho alone moves nothing. For the
    smallest mean the same is applied to -Y.

    Source: Dorn & Guo 2023; Dorn, Guo & Kallus (doubly valid, doubly sharp).
    """
    sign = 1.0 if upper else -1.0
    quantile, shift = (_event_extreme if arm.event else _binned_extreme)(arm, strength, sign)
    gap = sign * arm.y - quantile
    tilt = np.where(gap > 0, strength, 1.0 / strength) - 1.0
    phi = sign * arm.psi + np.where(arm.took, 0.0, shift) + arm.seen * arm.odds * (tilt * gap - shift)
    return sign * phi


def _event_extreme(arm: ArmModel, strength: float, sign: float) -> tuple[Array, Array]:
    """Q and rho - mu of sign * Y for events: rho = min(Lambda m, 1 - (1 - m) / Lambda) in closed form."""
    m = arm.mu if sign > 0 else 1.0 - arm.mu
    quantile = (m > 1.0 / (1.0 + strength)).astype(float)
    shift = np.minimum(strength * m, 1.0 - (1.0 - m) / strength) - m
    return quantile if sign > 0 else quantile - 1.0, shift


def _binned_extreme(arm: ArmModel, strength: float, sign: float) -> tuple[Array, Array]:
    """Q and rho - mu of sign * Y from the residuals of rows with similar fitted means."""
    level = strength / (1.0 + strength)
    ends = [_bin_extreme(b, strength, level, sign) for b in arm.bins]
    quantile, shift = np.array(ends).T
    return sign * arm.mu + quantile[arm.bin], shift[arm.bin]


def _bin_extreme(rows: ResidualBin, strength: float, level: float, sign: float) -> tuple[float, float]:
    weight = np.diff(rows.share, prepend=0.0)
    at = level if sign > 0 else 1.0 - level
    q = sign * float(rows.residual[min(int(np.searchsorted(rows.share, at)), rows.share.size - 1)])
    gap = sign * rows.residual - q
    tilted = q + float((weight * np.where(gap > 0, strength, 1.0 / strength) * gap).sum())
    return q, tilted - sign * float((weight * rows.residual).sum())


def arm_models(
    scores: Scores, pair: Pair, columns: tuple[int, ...], *, seed: int
) -> dict[int, tuple[ArmModel, ArmModel]]:
    """For each column (a quantity, or NET) the models of the action's and the baseline's arm."""
    problem = scores.problem
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    label = find_labels(problem, design, folds).probability
    arms = (problem.arm_index(pair.action), problem.arm_index(pair.baseline))
    out: dict[int, tuple[ArmModel, ArmModel]] = {}
    for column in columns:
        first, second = (_arm_model(scores, pair, k, label[k], column) for k in arms)
        out[column] = (first, second)
    return out


def _arm_model(scores: Scores, pair: Pair, k: int, label_prob: Array, column: int) -> ArmModel:
    problem, e = scores.problem, scores.propensities.chosen
    took = problem.arm == k
    outcomes = np.column_stack([problem.outcomes, pair.value.net(problem.outcomes)])
    y = outcomes[:, column]
    mu, psi = (np.column_stack([s[k], pair.value.net(s[k])])[:, column] for s in (scores.mu, scores.psi))
    counts = pair.value.weights() != 0.0 if column == NET else np.arange(4) == column
    prob = np.where(counts, label_prob, 1.0).prod(axis=1)
    known = took & ~np.isnan(y)
    seen = np.where(known, 1.0 / prob, 0.0)
    y = np.where(known, y, 0.0)
    event = column != NET and bool(np.isin(y[known], (0.0, 1.0)).all())
    bins, code = _residual_bins(y - mu, mu, seen * problem.weight)
    return ArmModel(
        took=took,
        y=y,
        seen=seen,
        odds=np.where(took, (1.0 - e) / e, 0.0),
        mu=mu,
        psi=psi,
        event=event,
        bins=bins,
        bin=code,
    )


def _residual_bins(residual: Array, mu: Array, weight: Array) -> tuple[tuple[ResidualBin, ...], Ints]:
    """Bins of equal counts of the fitted mean over the rows with weight, and the bin of every row."""
    rows = np.flatnonzero((weight > 0) & ~np.isnan(mu))
    if rows.size == 0:
        return (), np.zeros(mu.size, dtype=np.int64)
    count = int(np.clip(rows.size // _BIN_ROWS, 1, _MAX_BINS))
    edges = np.unique(np.quantile(mu[rows], np.linspace(0, 1, count + 1)[1:-1]))
    code = np.searchsorted(edges, mu, side="left")
    bins: list[ResidualBin] = []
    held = np.unique(code[rows])
    for b in held:
        own = rows[code[rows] == b]
        own = own[np.argsort(residual[own], kind="stable")]
        share = weight[own].cumsum()
        bins.append(ResidualBin(residual=residual[own], share=share / share[-1]))
    return tuple(bins), np.minimum(np.searchsorted(held, code), held.size - 1).astype(np.int64)
