"""Multipliers of caps: the linear programme over mixtures of open actions, solved through its small dual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_GAP: Final = 1e-7
"""Gap between the bounds of the optimum, in spreads of the worth, at which it is taken to be found."""
_MAX_CUTS: Final = 200
_STEEPEST: Final = 1e4
"""Largest multiplier looked for, in spreads of the worth per mean load: only caps out of reach cost more."""
_SMOOTH_STEPS: Final = 40
"""Quasi-Newton steps before the cuts so far are solved for the lowest point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Multipliers:
    """mu: (J,) gain in worth of one more unit of each mean load, 0 for a slack cap. optimum: mean worth of
    the best mixture that keeps the caps."""

    mu: Array
    optimum: float


def multipliers(
    worth: Array,
    load: Array,
    weight: Array,
    caps: Array,
    *,
    names: Sequence[str],
    start: Array | None = None,
) -> Multipliers | str:
    """The multipliers of caps on mean loads, or in words why no mixture of open actions keeps the caps.

    min over mu >= 0 of mu . caps + sum_i w_i max_a (worth_ia - mu . load_iaj) / sum w, the dual of: maximise
    mean worth over mixtures with mean load_j <= cap_j. It is convex and piecewise linear in J variables;
    each evaluation gives a cut, and a small programme in (mu, level) gives the next point (Kelley 1960).

    worth: (n, K), -inf where an action was not open. load: (n, K, J), any sign. weight: (n,). caps: (J,),
    infinite for a load that is free. names: of the loads. start: (J,) a guess of the
    multipliers.
    """
    bound = np.isfinite(caps)
    share = weight / weight.sum()
    unit = np.maximum(share @ np.abs(np.where(np.isfinite(worth)[:, :, None], load, 0.0)).mean(axis=1), 1e-12)
    k, b = load[:, :, bound] / unit[bound], caps[bound] / unit[bound]
    fault = _out_of_reach(worth, load, share, caps, names)
    if fault is not None:
        return fault
    if not bound.any():
        return Multipliers(mu=np.zeros(caps.size), optimum=float(share @ worth.max(axis=1)))
    spread = float(np.ptp(worth[np.isfinite(worth)])) + 1e-12
    first = np.zeros(b.size) if start is None else start[bound] * unit[bound]
    found = _search(worth / spread, k, share, b, first / spread)
    if found is None:
        return "each cap alone can be kept, but no mixture of the open actions keeps all of them at once"
    mu = np.zeros(caps.size)
    mu[bound] = found[0] * spread / unit[bound]
    return Multipliers(mu=mu, optimum=found[1] * spread)


def best_actions(worth: Array, load: Array, mu: Array) -> Ints:
    """The action (n,) that pays most at the multipliers `mu`, the first of equals."""
    return np.asarray((worth - load @ mu).argmax(axis=1), dtype=np.int64)


def _out_of_reach(worth: Array, load: Array, share: Array, caps: Array, names: Sequence[str]) -> str | None:
    least = share @ np.where(np.isfinite(worth)[:, :, None], load, np.inf).min(axis=1)
    for j in np.flatnonzero(np.isfinite(caps)).tolist():
        if least[j] > caps[j] + 1e-9 * max(abs(caps[j]), 1e-12):
            return (
                f"the cap on mean {names[j]} cannot be kept: it allows {caps[j]:.4g} per decision that has "
                f"a choice, and the open actions that use least come to {least[j]:.4g}"
            )
    return None


def _search(worth: Array, load: Array, share: Array, caps: Array, first: Array) -> tuple[Array, float] | None:
    """Multipliers (J,) and the optimum in scaled units, None where the multipliers grow without end."""
    rows = np.arange(len(worth))
    points: list[Array] = []
    heights: list[float] = []
    slopes: list[Array] = []

    def height(mu: Array) -> tuple[float, Array]:
        reduced = worth - load @ mu
        chosen = reduced.argmax(axis=1)
        points.append(np.array(mu))
        slopes.append(caps - share @ load[rows, chosen])
        heights.append(float(mu @ caps + share @ reduced[rows, chosen]))
        return heights[-1], slopes[-1]

    # Thousands of pieces look smooth from afar: a quasi-Newton search makes most of the cuts, cheaply.
    box = [(0.0, _STEEPEST)] * caps.size
    minimize(height, first, jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": _SMOOTH_STEPS})
    for _ in range(_MAX_CUTS):
        levels = np.array(heights) - np.einsum("cj,cj->c", np.array(slopes), np.array(points))
        mu, below = _lowest(np.array(slopes), levels)
        if min(heights) - below <= _GAP:
            break
        height(mu)
    best = points[int(np.argmin(heights))]
    return None if (best >= _STEEPEST * (1 - 1e-9)).any() else (best, min(heights))


def _lowest(slopes: Array, levels: Array) -> tuple[Array, float]:
    """The lowest point (mu, height) above all cuts height >= level + slope . mu."""
    free = slopes.shape[1]
    found = linprog(
        np.append(np.zeros(free), 1.0),
        A_ub=np.column_stack([slopes, -np.ones(len(levels))]),
        b_ub=-levels,
        bounds=[(0.0, _STEEPEST)] * free + [(None, None)],
        method="highs",
    )
    return np.asarray(found.x[:-1], dtype=float), float(found.x[-1])
