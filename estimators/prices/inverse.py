"""The prices under which a rule's choices are the best ones: a set, found by inverse optimisation.

A rule never shows how close a choice was, so it reveals ranges of prices and no value within them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from .attributes import ATTRIBUTES, COST, Offers

Array = NDArray[np.float64]

MATERIAL: Final = 0.01
"""Share of the mean cost of a decision by which prices may explain the choices worse than the best ones and
still count as explaining them (materiality of METHODS H)."""
_TOLD_APART: Final = 2.0
"""Times the smallest mean loss that prices may leave: what the best ones leave is the size of what the
predictions get wrong, so a loss of the same size again does not speak against others."""
_MAX_ROWS: Final = 2_000
"""Decisions in the programme at most, drawn with the seed: it has one variable for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSet:
    """The range of one price over the feasible set; `upper` None when nothing limits it. In USD per unit."""

    lower: float
    upper: float | None
    method: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Programme:
    """Constraints A (m, p + n) z <= b on z = (p prices, n losses). weight: (n,) of losses, adding up to 1."""

    matrix: Any
    limits: Array
    weight: Array
    prices: int


def feasible_prices(found: Offers, *, seed: int) -> dict[int, PriceSet] | str:
    """Attribute -> range of its price (USD per unit of V times quality, second, unit of risk), or a reason.

    min over prices p >= 0 and losses e >= 0 of mean e with u_i(taken) >= u_i(a) - e_i for every open a, where
    u = V_i q - c - lambda l - rho r; then the smallest and largest value of each price with mean e at most
    twice that minimum and MATERIAL of the mean cost. The range is what the choices allow given predictions,
    not a confidence interval: those for actions that the rule never took are extrapolated.

    Source: Mohajerin Esfahani, Shafieezadeh-Abadeh, Hanasusanto & Kuhn 2018; Chan, Mahmood & Zhu 2023.
    """
    if not found.known[COST]:
        return "cost is not known for every action"
    data = found.choices
    priced = [j for j in range(4) if j != COST and found.known[j] and bool(np.ptp(data.x[:, :, j]) > 0.0)]
    if not priced:
        return "no attribute besides cost differs between actions"
    rows = np.arange(data.n)
    note = ""
    if data.n > _MAX_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(data.n, _MAX_ROWS, replace=False))
        note = f", {_MAX_ROWS} of {data.n} choices drawn with seed {seed}"
    unit = np.array([float(np.abs(data.x[rows][:, :, j]).mean()) or 1.0 for j in range(4)])
    programme = _programme(found, rows, priced, unit)
    best = _solve(programme, np.concatenate([np.zeros(len(priced)), programme.weight]), None)
    if best is None:
        return "the solver found no prices that explain the choices"
    allowed = _TOLD_APART * best[0] + MATERIAL
    fit = _fit(best[0], unit[COST], programme, best[1])
    out: dict[int, PriceSet] = {}
    for position, j in enumerate(priced):
        goal = np.zeros(len(programme.weight) + len(priced))
        goal[position] = 1.0
        low, high = (_solve(programme, sign * goal, allowed) for sign in (1.0, -1.0))
        scale = unit[COST] / unit[j]
        upper = None if high is None else float(-high[0] * scale)
        out[j] = PriceSet(
            lower=float(max(0.0 if low is None else low[0] * scale, 0.0)),
            upper=upper,
            method=f"inverse optimisation, prices that lose at most {_TOLD_APART:g} times what the best do "
            f"and {MATERIAL:.0%} of the mean cost{note}",
            reason=_reading(ATTRIBUTES[j], upper, fit),
        )
    return out


def _programme(found: Offers, rows: NDArray[np.intp], priced: list[int], unit: Array) -> _Programme:
    """One constraint for each open action that was not taken, in units of the mean cost."""
    data, n = found.choices, rows.size
    x, chosen, open_ = data.x[rows] / unit, data.chosen[rows], data.open[rows].copy()
    mine = np.arange(n)
    gap = x - x[mine, chosen][:, None, :]
    open_[mine, chosen] = False
    owner, action = np.nonzero(open_)
    losses = sparse.csr_matrix((-np.ones(owner.size), (np.arange(owner.size), owner)), shape=(owner.size, n))
    weight = data.weight[rows] / data.weight[rows].sum()
    better = gap[owner, action]
    return _Programme(
        matrix=sparse.hstack([sparse.csr_matrix(better[:, priced]), losses], format="csr"),
        limits=-better[:, COST],
        weight=weight,
        prices=len(priced),
    )


def _solve(programme: _Programme, goal: Array, allowed: float | None) -> tuple[float, Array] | None:
    """Smallest goal over the constraints, with mean loss at most `allowed`; None when it has no end."""
    matrix, limits = programme.matrix, programme.limits
    if allowed is not None:
        mean = np.concatenate([np.zeros(programme.prices), programme.weight])
        matrix = sparse.vstack([matrix, sparse.csr_matrix(mean)], format="csr")
        limits = np.append(limits, allowed)
    found: Any = linprog(goal, A_ub=matrix, b_ub=limits, bounds=(0.0, None), method="highs")
    return (float(found.fun), np.asarray(found.x)) if found.status == 0 else None


def _fit(least: float, cost: float, programme: _Programme, best: Array) -> str:
    losses = best[programme.prices :]
    explained = float(programme.weight @ (losses <= 1e-9))
    return f"the best ones explain {explained:.0%} of the choices and leave {least * cost:.3g} USD a decision"


def _reading(attribute: str, upper: float | None, fit: str) -> str:
    end = "" if upper is not None else f"; however much {attribute} counted, the choices would stay best"
    return (
        f"a rule fixed every choice, so it reveals a set of prices and no value in it: {fit}{end}; "
        "actions that were not taken are predicted by extrapolation"
    )
