"""Whether a contrast is the same in all periods: in its break-even value, its quality and its net value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, stats

from ..schemas.trends import DRIFT
from .confidence import LEVEL
from .pairs import NET, Pair
from .simultaneous import holm
from .trend import Stack, contrast_names

Array = NDArray[np.float64]

_WALD: Final = "Wald test over the covariance of the periods by cluster, against F"
_COMMON: Final = f"{_WALD}, at the common V* that fits best"
_DIRECTIONS: Final = 360
"""Directions tried for the common V* before the best is refined: half a degree apart."""
_RIDGE: Final = 1e-10
"""Relative to each variance: a cost that never varies still has a covariance to invert."""


def drift(pair: Pair, stack: Stack | str) -> pl.DataFrame:
    """The tests of one contrast, rows of DRIFT: V* and quality, and net where a V is set.

    Nothing is tested that fewer than two periods know. Clusters that periods share, as tenants, are in the
    covariance of the periods, so that what they have in common does not pass for noise.
    """
    names = ("break_even", "quality", *(("net",) if np.isfinite(pair.value.task_value).any() else ()))
    rows = [
        {**contrast_names(pair), "quantity": name, "level": LEVEL, **_test(pair, stack, name)}
        for name in names
    ]
    return pl.DataFrame([{**dict.fromkeys(DRIFT), **row} for row in rows], schema=DRIFT)


def adjusted(tests: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All tests of a log under each other, with p_adjusted over the contrasts of each quantity."""
    if not tests:
        return pl.DataFrame(schema=DRIFT)
    whole = pl.concat(tests).with_row_index("at")
    by_row: dict[int, float] = {}
    for _, rows in whole.drop_nulls("p_value").group_by("quantity", maintain_order=True):
        by_row |= dict(zip(rows["at"], holm(rows["p_value"].to_list()), strict=True))
    values = [by_row.get(at) for at in range(whole.height)]
    return whole.drop("at").with_columns(pl.Series("p_adjusted", values, dtype=pl.Float64))


def _test(pair: Pair, stack: Stack | str, name: str) -> dict[str, Any]:
    if isinstance(stack, str):
        return {"reason": stack}
    loads = _loads(pair, name)
    used = np.abs(loads).sum(axis=0) > 0
    known = np.flatnonzero(np.isfinite(stack.theta[:, used]).all(axis=1))
    if known.size < 2:
        what = {"break_even": "V*", "quality": "a quality gain", "net": "a net value"}[name]
        return {"periods": known.size, "reason": f"{known.size} periods have {what}; 2 are needed"}
    rest = stack.df - (known.size - 1) + 1.0
    if rest <= 1.0:
        reason = f"{stack.df + 1.0:.1f} effective clusters are too few to compare {known.size} periods"
        return {"periods": known.size, "reason": reason}
    theta = np.nan_to_num(stack.theta[known]) @ loads.T
    joint = np.nan_to_num(stack.cov[known][:, :, known])
    cov = np.einsum("ai,kilj,bj->kalb", loads, joint, loads)
    freedom = known.size - 1
    least = equal_ratio(theta, cov) if name == "break_even" else equal_mean(theta[:, 0], cov[:, 0, :, 0])
    statistic = least / freedom * rest / stack.df
    return {
        "periods": known.size,
        "statistic": statistic,
        "df": float(freedom),
        "df_rest": rest,
        "p_value": float(stats.f.sf(statistic, freedom, rest)),
        "method": _COMMON if name == "break_even" else _WALD,
    }


def _loads(pair: Pair, name: str) -> Array:
    """(1 or 2, 5) the combinations of quality, cost, latency, risk and net that are compared."""
    if name == "quality":
        return np.eye(NET + 1)[[0]]
    if name == "net":
        return np.eye(NET + 1)[[NET]]
    spent = [0.0, 1.0, pair.value.latency_price, pair.value.risk_price, 0.0]
    return np.array([[1.0, 0.0, 0.0, 0.0, 0.0], spent])


def equal_mean(theta: Array, cov: Array) -> float:
    """T^2 of K equal means: the least distance of theta (K,) from a common value under cov (K, K)."""
    inverse = np.linalg.inv(_firm(cov))
    common = float(inverse.sum(axis=0) @ theta) / float(inverse.sum())
    gap = theta - common
    return max(float(gap @ inverse @ gap), 0.0)


def equal_ratio(theta: Array, cov: Array) -> float:
    """T^2 of K equal ratios spent / gained; theta: (K, 2) gained and spent, cov: (K, 2, K, 2).

    H0 cos(t) spent_k = sin(t) gained_k for one direction t is tested at the t that fits best, with the
    covariance at that t. It needs no ratio to be well determined, nor finite: a period without a gain in
    quality is compared all the same. Source: Anderson & Rubin 1949; Hansen, Heaton & Yaron 1996.
    """
    size = np.sqrt((theta**2).mean(axis=0) + np.einsum("kaka->a", cov) / theta.shape[0])
    size[size == 0.0] = 1.0
    gained, spent = (theta / size).T
    scaled = cov / np.outer(size, size)[None, :, None, :]

    def distance(t: Array) -> Array:
        """At each direction t (m,)."""
        turn = np.column_stack([-np.sin(t), np.cos(t)])
        gap = np.outer(np.cos(t), spent) - np.outer(np.sin(t), gained)
        spread = np.einsum("ma,kalb,mb->mkl", turn, scaled, turn)
        return np.einsum("mk,mk->m", gap, np.linalg.solve(_firm(spread), gap[:, :, None])[:, :, 0])

    return _least(distance, np.arctan2(spent, gained))


def _least(distance: Callable[[Array], Array], own: Array) -> float:
    """The least distance over all directions, from the best of a grid and of the periods' `own` ones."""
    grid = np.linspace(0.0, np.pi, _DIRECTIONS, endpoint=False)
    tried = np.concatenate([grid, own])
    values = distance(tried)
    best, step = int(np.argmin(values)), np.pi / _DIRECTIONS
    found: Any = optimize.minimize_scalar(
        lambda t: float(distance(np.array([t]))[0]),
        bounds=(tried[best] - step, tried[best] + step),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return max(min(float(found.fun), float(values[best])), 0.0)


def _firm(cov: Array) -> Array:
    """`cov` (..., K, K) that can be inverted; a variance of 0 is a value known exactly."""
    variance = np.diagonal(cov, axis1=-2, axis2=-1)
    least = np.maximum(variance.max(axis=-1, keepdims=True) * _RIDGE, 1e-300)
    return cov + np.eye(cov.shape[-1]) * np.where(variance > 0.0, _RIDGE * variance, least)[..., None, :]
