"""What a dollar of rollouts, verification or updates adds to capability, and whether the last dollars add
alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from ...errors import SchemaError
from ...schemas.records import Grade
from .leave_out import LeftOut, Span, of_refits, per_group

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_RUNS: Final = 12
"""Runs below which neither exponents nor the equimarginal test are reported (METHODS G4)."""
_STILL: Final = 1e-6
"""Root mean square movement of a log budget within its run that is rounding, not movement."""
_ASSOCIATION: Final = (
    "budgets were not randomised or scheduled: they may react to progress (Marschak & Andrews 1944), so this "
    "is an association and the equimarginal test is not made"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """log gain = run + sum_j a_j log X_j. exponents: a_j by budget. marginal: capability per USD, the mean of
    a_j gain / X_j over updates. equal_p: p-value of the test that all marginal products are equal, None for
    an association. best: the budget whose last dollar adds most. grade A for randomised budgets, C
    otherwise."""

    exponents: dict[str, Span]
    marginal: dict[str, Span]
    equal_p: float | None
    best: str
    runs: int
    n: int
    grade: Grade
    reason: str | None


def production(updates: pl.DataFrame, *, budgets: tuple[str, ...], randomised: bool) -> Production | str:
    """The production function of a training loop, or in words why the log has none.

    updates: one row per update with `run`, `gain` (capability, any unit) and the columns `budgets` (USD). The
    runs have levels of their own and are left out in turn for the errors (CR3). randomised: budgets were
    drawn or scheduled, whatever the progress; only then are marginal products causal and tested for equality
    (METHODS G4: at the best split MP_j is the same for every budget). Refused below MIN_RUNS runs, and where
    a gain is not positive, because it has no log.

    Raises: SchemaError for missing columns, or budgets that are not positive.
    Source: Cobb & Douglas 1928; Marschak & Andrews 1944; Ackerberg, Caves & Frazer 2015.
    """
    rows = _checked(updates, budgets)
    names, run = np.unique(rows["run"].to_numpy().astype(str), return_inverse=True)
    if names.size < MIN_RUNS:
        return f"{names.size} runs; {MIN_RUNS} are needed"
    gain = rows["gain"].cast(pl.Float64).to_numpy()
    if (gain <= 0.0).any():
        lost = int((gain <= 0.0).sum())
        return (
            f"{lost} of {gain.size} updates gained nothing, and have no log: sum up gains over more updates"
        )
    spent = rows.select(pl.col(budgets).cast(pl.Float64)).to_numpy()
    found = _fit(np.log(gain), np.log(spent), gain[:, None] / spent, run.astype(np.int64), names.size)
    if found is None:
        return "within their runs the budgets do not move on their own, so their effects cannot be told apart"
    if found.fault:
        return found.fault
    k = len(budgets)
    marginal = {name: found.span(k + j) for j, name in enumerate(budgets)}
    return Production(
        exponents={name: found.span(j) for j, name in enumerate(budgets)},
        marginal=marginal,
        equal_p=_equal(found, k) if randomised and k > 1 else None,
        best=max(marginal, key=lambda name: marginal[name].value),
        runs=names.size,
        n=gain.size,
        grade="A" if randomised else "C",
        reason=None if randomised else _ASSOCIATION,
    )


def _checked(updates: pl.DataFrame, budgets: tuple[str, ...]) -> pl.DataFrame:
    for name in ("run", "gain", *budgets):
        if name not in updates.columns:
            raise SchemaError(
                f"column '{name}' is missing", where="updates", expected=", ".join(("run", "gain", *budgets))
            )
    rows = updates.drop_nulls(["run", "gain", *budgets])
    for name in budgets:
        bad = rows.filter(~(pl.col(name).cast(pl.Float64) > 0.0) | ~pl.col(name).cast(pl.Float64).is_finite())
        if bad.height:
            raise SchemaError(f"{name} is {bad[name][0]}", where="updates", expected="positive USD")
    return rows


def _fit(y: Array, x: Array, per_usd: Array, run: Ints, runs: int) -> LeftOut | None:
    """(2 k,) exponents and marginal products, with every run left out in turn."""
    k, count = x.shape[1], np.bincount(run, minlength=runs)[:, None]
    both = np.column_stack([x, y])
    around = both - (per_group(both, run, runs) / count)[run]
    outer = (around[:, :, None] * around[:, None, :]).reshape(-1, (k + 1) ** 2)
    cross = per_group(outer, run, runs).reshape(-1, k + 1, k + 1)
    rates = per_group(per_usd, run, runs)
    whole = cross.sum(axis=0)
    scale = np.sqrt(np.diag(whole)[:k])
    if not (scale > _STILL * np.sqrt(y.size)).all():
        return None
    if np.linalg.eigvalsh(whole[:k, :k] / np.outer(scale, scale)).min() < 1e-8:
        return None

    def of(moments: Array, rate: Array) -> Array:
        slopes: Array = np.linalg.solve(moments[:, :k, :k], moments[:, :k, k:])[:, :, 0].astype(float)
        return np.column_stack([slopes, slopes * rate])

    theta = of(whole[None], rates.sum(axis=0)[None] / y.size)[0]
    rest = (rates.sum(axis=0) - rates) / (y.size - count)
    return of_refits(theta, of(whole - cross, rest), weight=count[:, 0].astype(float))


def _equal(found: LeftOut, k: int) -> float:
    """p-value of equal marginal products: a Wald test of the differences to the first, as Hotelling's T^2.

    Source: Pustejovsky & Tipton 2018, J. Business & Economic Statistics 36 (F for few clusters).
    """
    contrast = np.column_stack([-np.ones(k - 1), np.eye(k - 1)])
    d = contrast @ found.theta[k:]
    cov = contrast @ found.cov[k:, k:] @ contrast.T
    rest = max(found.df - (k - 1) + 1.0, 1.0)
    scaled = float(d @ np.linalg.solve(cov, d)) / (k - 1) * rest / found.df
    return float(stats.f.sf(scaled, k - 1, rest))
