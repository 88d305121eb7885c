"""Effects by econml's learners, as a second opinion on ours; nothing else here knows econml."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from ..errors import ConfigError
from ..schemas.config import Config
from ..schemas.store import Store
from .confidence import LEVEL
from .design import make_design
from .folds import cluster_folds
from .problem import Problem, check_taken, only_problem
from .scores import MIN_ARM

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

Learner = Literal["linear-dr", "forest-dr", "causal-forest"]

_CLASSES: Final[dict[str, tuple[str, str]]] = {
    "linear-dr": ("econml.dr", "LinearDRLearner"),
    "forest-dr": ("econml.dr", "ForestDRLearner"),
    "causal-forest": ("econml.dml", "CausalForestDML"),
}
_TREES: Final = 200
"""Trees of a forest, a multiple of econml's subforests of four."""
_QUALITY: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EconmlEffects:
    """Effects on quality by an econml learner. tau, lower, upper: (n,) with pointwise intervals, NaN at
    decisions that took another action or have no quality. ate, ate_lower, ate_upper: their average.

    econml assumes independent rows: none of its intervals here knows clusters.
    """

    tau: Array
    lower: Array
    upper: Array
    ate: float
    ate_lower: float
    ate_upper: float


def second_opinion(
    decisions: pl.DataFrame | pl.LazyFrame | Store,
    action: str,
    baseline: str,
    learner: Learner = "linear-dr",
    *,
    config: Config | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Effects of `action` over `baseline` on quality by an econml learner, per decision that took either.

    decision_id, effect, lower, upper, reason: with econml's own pointwise interval, which knows neither
    clusters nor logged propensities; reason says why a decision has none. Needs the extra `econml`.

    Raises: SchemaError for several decision points or an unknown action; as `econml_effects`.
    """
    problem = only_problem(decisions, config or Config())
    for name in (action, baseline):
        check_taken(problem, name)
    took = np.isin(problem.arm, [problem.arm_index(name) for name in (action, baseline)])
    blocked = _scarce(problem, action, baseline)
    columns = ("effect", "lower", "upper")
    numbers: tuple[Array, ...] = (np.full(problem.n, np.nan),) * len(columns)
    if blocked is None:
        found = econml_effects(problem, action, baseline, learner, seed=seed)
        numbers = (found.tau, found.lower, found.upper)
    frame = pl.DataFrame({"decision_id": problem.frame["decision_id"]}).with_columns(
        pl.Series(name, values) for name, values in zip(columns, numbers, strict=True)
    )
    missing = pl.lit(blocked or "no quality was observed")
    return (
        frame.filter(took)
        .with_columns(pl.col(columns).fill_nan(None))
        .with_columns(reason=pl.when(pl.col("effect").is_null()).then(missing))
    )


def _scarce(problem: Problem, action: str, baseline: str) -> str | None:
    """Why econml cannot learn the contrast: too few decisions with a quality took one of the two actions."""
    seen = ~np.isnan(problem.outcomes[:, _QUALITY])
    for name in (action, baseline):
        n = int((seen & (problem.arm == problem.arm_index(name))).sum())
        if n < MIN_ARM:
            return f"{n} decisions with a quality took {name}, expected at least {MIN_ARM}"
    return None


def econml_effects(
    problem: Problem, action: str, baseline: str, learner: Learner, *, seed: int
) -> EconmlEffects:
    """The effect of `action` over `baseline` on quality, with estimated propensities.

    econml takes no logged propensities; here they are a logit on the spline basis, means are boosted
    trees, and both are cross-fitted on our folds of clusters. Rows weigh 1 / keep_prob.

    Raises: ConfigError without econml, for another learner, for an action that was never taken, or
    without context.
    """
    model = _model(learner, seed)
    rows, arm = _rows(problem, action, baseline)
    x = make_design(problem.frame, problem.features).linear[rows]
    if x.shape[1] == 0:
        raise ConfigError("no context features", where="econml_effects", expected="columns named x_*")
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster[rows]]
    model.cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in np.unique(folds)]
    weight = problem.weight[rows]
    y = problem.outcomes[rows, _QUALITY]
    model.fit(y, arm, X=x, sample_weight=weight if np.ptp(weight) > 0 else None)
    tau = np.ravel(model.effect(x, T0=0, T1=1))
    lower, upper = (np.ravel(end) for end in model.effect_interval(x, T0=0, T1=1, alpha=1 - LEVEL))
    average = model.ate_inference(x, T0=0, T1=1)
    ends = average.conf_int_mean(alpha=1 - LEVEL)
    return EconmlEffects(
        tau=_full(problem.n, rows, tau),
        lower=_full(problem.n, rows, lower),
        upper=_full(problem.n, rows, upper),
        ate=_number(average.mean_point),
        ate_lower=_number(ends[0]),
        ate_upper=_number(ends[1]),
    )


def _model(learner: Learner, seed: int) -> Any:
    """An econml learner that is not fitted yet."""
    if learner not in _CLASSES:
        raise ConfigError(f"learner {learner!r}", where="econml_effects", expected=", ".join(_CLASSES))
    module, name = _CLASSES[learner]
    try:
        kind: Any = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            "econml is not installed", where="econml_effects", cure="Run `pip install econml`."
        ) from error
    means = HistGradientBoostingRegressor(min_samples_leaf=30, random_state=seed)
    choice = LogisticRegression(max_iter=500)
    if learner == "causal-forest":
        return kind(
            model_y=means,
            model_t=choice,
            discrete_treatment=True,
            n_estimators=_TREES,
            n_jobs=1,
            random_state=seed,
        )
    forest = {"n_estimators": _TREES, "n_jobs": 1} if learner == "forest-dr" else {}
    return kind(model_regression=means, model_propensity=choice, random_state=seed, **forest)


def _rows(problem: Problem, action: str, baseline: str) -> tuple[Ints, Ints]:
    """The decisions that took one of the two actions and have a quality, and whether it was `action`."""
    for name in (action, baseline):
        if name not in problem.arms:
            raise ConfigError(
                f"action {name!r} was never taken", where="econml_effects", expected=", ".join(problem.arms)
            )
    a, b = problem.arm_index(action), problem.arm_index(baseline)
    seen = ~np.isnan(problem.outcomes[:, _QUALITY])
    rows = np.flatnonzero(seen & np.isin(problem.arm, (a, b))).astype(np.int64)
    return rows, (problem.arm[rows] == a).astype(np.int64)


def _full(n: int, rows: Ints, values: Array) -> Array:
    out = np.full(n, np.nan)
    out[rows] = values
    return out


def _number(x: Any) -> float:
    return float(np.ravel(x)[0])
