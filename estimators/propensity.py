"""The probability of each action in each context: logged and tested, or else estimated and calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from ..schemas.records import Grade
from .calibration import calibrated
from .cutoff_aps import smallest_radius, undecided
from .cutoff_border import usable_border
from .cutoff_rule import Rule, find_rule, values
from .design import Design, make_design
from .folds import cluster_folds
from .learners import cross_fit_probabilities
from .problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_TEST_LEVEL: Final = 0.01
"""False-discovery rate of the test of logged propensities: a valid log is doubted once in a hundred."""
_MIN_TEST_ESS: Final = 100.0
"""Effective rows of an arm below which the mean of its weights is too skewed to be tested."""
_MIN_CELL_VARIANCE: Final = 5.0
"""Expected variance of a cell's count below which the normal approximation is not used."""
_DECILES: Final = 10
_DIGITS: Final = 9
"""Propensities are binned after rounding: 1 - (1 - e) differs from e in the last bit, by arm."""
_FLOOR: Final = 0.5
"""Estimated propensities are kept above _FLOOR / sqrt(n) (thresholded AIPW, Dorn 2025)."""
_UNUSED_LISTS: Final = (
    "the logged lists of probabilities are incomplete or disagree with the propensity of the chosen action, "
    "so they are not used"
)

Source = Literal["logged", "reconstructed", "estimated", "deterministic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Propensities:
    """matrix: (n, K) probability of each arm. chosen: (n,) probability used to weight the taken action.

    usable: rows where the choice was not fixed by a rule. grade N means that nothing can be weighted.
    """

    matrix: Array
    chosen: Array
    usable: Mask
    source: Source
    grade: Grade
    notes: tuple[str, ...] = ()


def deterministic_rows(frame: pl.DataFrame) -> Mask:
    """Rows whose action a rule fixed: flagged so, or logged with probability 1."""
    flagged = (frame["propensity_source"] == "deterministic").fill_null(value=False)
    sure = (frame["propensity"].cast(pl.Float64) == 1.0).fill_null(value=False)
    return (flagged | sure).to_numpy()


def find_propensities(problem: Problem, design: Design, folds: Ints) -> Propensities:
    """The propensities of `problem`: logged ones that pass their test, else those of a rule near its
    border, else estimated ones."""
    usable = ~deterministic_rows(problem.frame)
    logged = _logged(problem, usable)
    notes: list[str] = []
    if isinstance(logged, str):
        notes.append(logged)
    elif logged is not None:
        chosen, matrix, unused = logged
        fault = _fault(problem, chosen, matrix, usable)
        if fault is None:
            reconstructed = (problem.frame["propensity_source"] == "reconstructed").any()
            if matrix is None:
                matrix = _estimate(problem, design, folds, usable)[0]
                notes.append("only the chosen action's probability is used; overlap weights are estimated")
            return Propensities(
                matrix=matrix,
                chosen=chosen,
                usable=usable,
                source="reconstructed" if reconstructed else "logged",
                grade="B" if reconstructed or problem.declared == "U" else "A",
                notes=(*unused, *notes),
            )
        notes.append(fault)
    rule = find_rule(problem)
    if rule is not None or not usable.any():
        return _of_rule(problem, rule)
    matrix, note = _estimate(problem, design, folds, usable)
    doubt = _refit_doubt(problem, matrix, usable) if problem.declared == "U" else None
    rows = np.arange(problem.n)
    return Propensities(
        matrix=matrix,
        chosen=matrix[rows, problem.arm],
        usable=usable,
        source="estimated",
        grade="B" if problem.declared == "U" and doubt is None else "C",
        notes=(*notes, *note, *([doubt] if doubt else [])),
    )


def logged_choice(problem: Problem) -> Array | str:
    """The logged probability of each taken action (n,), untested, or why there is none."""
    logged = _logged(problem, ~deterministic_rows(problem.frame))
    return logged or "no propensity is logged" if logged is None or isinstance(logged, str) else logged[0]


def logged_fault(problem: Problem) -> str | None:
    """What is wrong with the logged propensities, or None when they are complete and pass their test."""
    usable = ~deterministic_rows(problem.frame)
    logged = _logged(problem, usable)
    if logged is None or isinstance(logged, str):
        return logged or "no propensity is logged"
    chosen, matrix, _ = logged
    return _fault(problem, chosen, matrix, usable)


def refit_fault(problem: Problem) -> str | None:
    """Why choices that are declared a function of logged features do not look like one, or None.

    Propensities refitted from the features out of fold must fit the choices of every arm, policy version
    and decile. The test sees features that miss and policies that changed; it cannot see a cause that moves
    choices and leaves no trace in the log.
    """
    usable = ~deterministic_rows(problem.frame)
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    return _refit_doubt(problem, _estimate(problem, design, folds, usable)[0], usable)


def _refit_doubt(problem: Problem, matrix: Array, usable: Mask) -> str | None:
    worst = _worst_cell(_count_cells(problem, matrix, usable))
    return None if worst is None else f"propensities refitted from logged features miss the choices {worst}"


def _of_rule(problem: Problem, rule: Rule | None) -> Propensities:
    """Approximate propensities near a usable border of the rule; nothing to weigh without one."""
    if rule is None or usable_border(problem, rule) is not None:
        return _all_deterministic(problem)
    near = smallest_radius(rule, values(problem, rule), problem.arm, len(problem.arms))
    if near is None:
        return _all_deterministic(problem)
    radius, matrix = near
    inside = undecided(matrix)
    chosen = matrix[np.arange(problem.n), problem.arm]
    inside &= chosen > 0  # a row that went against the rule has no weight
    matrix = np.where(inside[:, None], matrix, 0.0)
    matrix[~inside, problem.arm[~inside]] = 1.0
    return Propensities(
        matrix=matrix,
        chosen=np.where(inside, chosen, 1.0),
        usable=inside,
        source="deterministic",
        grade="B",
        notes=(
            f"{rule}; approximate propensities within {radius:.2g} sd of its border, "
            f"{int(inside.sum())} of {problem.n} decisions",
        ),
    )


def _all_deterministic(problem: Problem) -> Propensities:
    matrix = np.zeros((problem.n, len(problem.arms)))
    matrix[np.arange(problem.n), problem.arm] = 1.0
    return Propensities(
        matrix=matrix,
        chosen=np.ones(problem.n),
        usable=np.zeros(problem.n, dtype=bool),
        source="deterministic",
        grade="N",
        notes=("a rule fixed every choice",),
    )


def _logged(problem: Problem, usable: Mask) -> tuple[Array, Array | None, tuple[str, ...]] | str | None:
    """Logged (chosen, matrix or None, what was not used), a sentence when the propensities are incomplete,
    None when there are none."""
    frame = problem.frame
    chosen = frame["propensity"].cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    stated = frame["propensity_source"].is_in(["unknown", "estimated"]).fill_null(value=False).to_numpy()
    chosen[stated] = np.nan
    present = ~np.isnan(chosen) & usable
    if not present.any():
        return None
    if problem.declared == "O":
        return "declared O: the logged propensities are not used"
    missing = int((usable & ~present).sum())
    if missing:
        return f"{missing} of {int(usable.sum())} rows lack a logged propensity, so it is estimated for all"
    chosen[~usable] = 1.0
    matrix = _matrix(problem, chosen)
    listed = problem.frame["propensities"].is_not_null().any()
    unused = (_UNUSED_LISTS,) if listed and matrix is None else ()
    if matrix is None and len(problem.arms) == 2:
        matrix = np.repeat((1.0 - chosen)[:, None], 2, axis=1)
        matrix[np.arange(problem.n), problem.arm] = chosen
    return chosen, matrix, unused


def _matrix(problem: Problem, chosen: Array) -> Array | None:
    """The full matrix from the candidate lists, or None when a usable row has none."""
    lists = problem.frame.select("candidates", "propensities", index=pl.int_range(pl.len()))
    if lists["propensities"].dtype == pl.Null or lists["candidates"].dtype == pl.Null:
        return None
    held = lists.drop_nulls()
    fixed = chosen == 1.0
    if held.height < int((~fixed).sum()):
        return None
    long = held.explode("candidates", "propensities", empty_as_null=True, keep_nulls=True)
    codes = {name: i for i, name in enumerate(problem.arms)}
    known = long.filter(pl.col("candidates").is_in(list(codes)))
    matrix = np.zeros((problem.n, len(problem.arms)))
    columns = known["candidates"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    matrix[known["index"].to_numpy(), columns] = known["propensities"].to_numpy()
    rows = np.flatnonzero(fixed)
    matrix[rows] = 0.0
    matrix[rows, problem.arm[rows]] = 1.0
    return matrix if np.allclose(matrix[np.arange(problem.n), problem.arm], chosen, atol=1e-3) else None


def _fault(problem: Problem, chosen: Array, matrix: Array | None, usable: Mask) -> str | None:
    """What is wrong with the logged propensities, tested cell by cell."""
    worst = _worst_cell(
        _mean_weight_cells(problem, chosen, usable)
        if matrix is None
        else _count_cells(problem, matrix, usable)
    )
    if worst is None:
        return None
    return f"the logged propensities do not fit the logged choices {worst}, so they are not used"


def _worst_cell(cells: list[tuple[float, str]]) -> str | None:
    """The cell that Benjamini-Hochberg rejects first, as text, or None when it rejects none."""
    if not cells:
        return None
    p = np.array([2 * stats.norm.sf(abs(z)) for z, _ in cells])
    adjusted = stats.false_discovery_control(p)
    worst = int(np.argmin(adjusted))
    if adjusted[worst] >= _TEST_LEVEL:
        return None
    z, where = cells[worst]
    return f"({where}, z = {z:+.1f})"


def _count_cells(problem: Problem, matrix: Array, usable: Mask) -> list[tuple[float, str]]:
    versions = problem.frame["policy_version"].cast(pl.String).fill_null("").to_numpy()
    cells: list[tuple[float, str]] = []
    for version in np.unique(versions):
        rows = usable & (versions == version)
        for k, name in enumerate(problem.arms):
            e, taken = matrix[rows, k].round(_DIGITS), problem.arm[rows] == k
            edges = (
                np.unique(np.quantile(e, np.linspace(0, 1, _DECILES + 1)[1:-1])) if e.size else np.empty(0)
            )
            bins = np.searchsorted(edges, e, side="left")
            w = problem.weight[rows]
            sampled = bool((w != 1.0).any())
            for b in np.unique(bins):
                cell = bins == b
                expected = e[cell] * (1 - e[cell])
                if expected.sum() >= _MIN_CELL_VARIANCE:
                    surplus = float((w[cell] * (taken[cell] - e[cell])).sum())
                    # A log that keeps rows by their outcome keeps actions unevenly: only weighted rows fit e.
                    square = (taken[cell] - e[cell]) ** 2 if sampled else expected
                    variance = float((w[cell] ** 2 * square).sum())
                    label = f"action {name}, propensity near {e[cell].mean():.2f}"
                    cells.append((surplus / np.sqrt(variance), label))
    return cells


def _mean_weight_cells(problem: Problem, chosen: Array, usable: Mask) -> list[tuple[float, str]]:
    """Weights 1 / e of each arm must add up to the number of rows on which it was available."""
    cells: list[tuple[float, str]] = []
    n = float(problem.weight[usable].sum())
    for k, name in enumerate(problem.arms):
        rows = usable & (problem.arm == k)
        e, w = chosen[rows], problem.weight[rows]
        variance = float((w**2 * (1 - e) / e**2).sum())
        size = float((w / e).sum() ** 2 / ((w / e) ** 2).sum()) if e.size else 0.0
        if size >= _MIN_TEST_ESS and variance > 0:
            total = float((w / e).sum())
            if total < n:  # the weights that are missing are the largest: leave room for one more of them
                variance += float((w / e).max() ** 2)
            cells.append(
                ((total - n) / np.sqrt(variance), f"action {name}, weights add up to {total:.0f} of {n:.0f}")
            )
    return cells


def _estimate(problem: Problem, design: Design, folds: Ints, usable: Mask) -> tuple[Array, tuple[str, ...]]:
    k = len(problem.arms)
    sub = Design(
        linear=design.linear[usable],
        raw=design.raw[usable],
        categorical=design.categorical,
        dropped=design.dropped,
    )
    labels, weight = problem.arm[usable], problem.weight[usable]
    fitted = cross_fit_probabilities(sub, labels, k, folds[usable], weight)
    if design.raw.shape[1] > 0:
        fitted = calibrated(fitted, labels, folds[usable], weight)
    floor = _FLOOR / np.sqrt(labels.size)
    low = fitted < floor
    fitted = np.where(low, floor, fitted)
    fitted = fitted / fitted.sum(axis=1, keepdims=True)
    matrix = np.zeros((problem.n, k))
    matrix[np.arange(problem.n), problem.arm] = 1.0
    matrix[usable] = fitted
    share = float(low.any(axis=1).mean())
    note = (f"{share:.1%} of rows have an estimated propensity at the floor {floor:.3f}",) if share else ()
    return matrix, note
