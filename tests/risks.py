"""Logs with incidents of known law, and the parts of the risk estimators that tests look at one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shadowprice.estimators.design import make_design
from shadowprice.estimators.folds import cluster_folds
from shadowprice.estimators.losses import ArmLosses, arm_losses, read_losses
from shadowprice.estimators.problem import Problem, problems
from shadowprice.estimators.propensity import Propensities, find_propensities
from shadowprice.estimators.risk import risk_estimates
from shadowprice.estimators.risk_records import Measure, RiskEstimate, RiskSettings
from shadowprice.schemas.config import Config
from threadpoolctl import threadpool_limits
from worlds import LARGE, SMALL, decisions, sigmoid

Array = NDArray[np.float64]


def loss_world(
    seed: int = 0,
    *,
    n: int = 2000,
    small: float = 0.1,
    large: float = 0.05,
    tail: float | None = 2.5,
    slope: float = 0.0,
    clusters: int | None = None,
) -> pl.DataFrame:
    """Incidents with probability `small` and `large`, losses Pareto(tail) from 1 USD or 1 USD each.

    slope: log-odds of choosing `large` per unit of x_a; x_a then scales incidents by exp(x_a / 2) / 1.13.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    e = np.clip(sigmoid(slope * x), 0.05, 0.95)
    took = rng.random(n) < e
    lift = np.exp(x / 2) / np.exp(1 / 8) if slope else np.ones(n)
    hurt = rng.random(n) < np.minimum(np.where(took, large, small) * lift, 1.0)
    size = (1 - rng.random(n)) ** (-1 / tail) if tail else np.ones(n)
    session = np.arange(n) if clusters is None else np.arange(n) % clusters
    return decisions(
        n,
        action=np.where(took, LARGE, SMALL),
        session_id=[f"s{g:05d}" for g in session],
        propensity=np.where(took, e, 1 - e),
        incident=hurt,
        loss_usd=np.where(hurt, size, 0.0),
        x_a=x,
    )


def prepared(frame: pl.DataFrame) -> tuple[Problem, Propensities]:
    """The only decision point of the frame, and its propensities."""
    problem = next(problems(frame, Config()))
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    with threadpool_limits(limits=1):
        return problem, find_propensities(problem, make_design(problem.frame, problem.features), folds)


def arms_of(frame: pl.DataFrame) -> dict[str, ArmLosses]:
    """The losses under the logged choices ('logged') and under each arm."""
    problem, propensities = prepared(frame)
    losses = read_losses(problem.frame)
    assert not isinstance(losses, str), losses
    with threadpool_limits(limits=1):
        parts = arm_losses(problem, propensities, losses, problem.arms, seed=0)
    return {part.arm or "logged": part for part in parts}


def risks(
    frame: pl.DataFrame, settings: RiskSettings | None = None, baseline: str | None = SMALL
) -> tuple[RiskEstimate, ...]:
    """Every estimate of risk."""
    problem, propensities = prepared(frame)
    stated = settings or RiskSettings()
    with threadpool_limits(limits=1):
        return risk_estimates(problem, propensities, settings=stated, baseline=baseline, seed=0)


def the(
    estimates: tuple[RiskEstimate, ...],
    measure: Measure,
    action: str | None = None,
    *,
    baseline: str | None = None,
    action_class: str | None = None,
) -> RiskEstimate:
    """The one estimate that is asked for."""
    rows = [
        e
        for e in estimates
        if (e.measure, e.action, e.baseline) == (measure, action, baseline)
        and (action_class is None or e.action_class == action_class)
    ]
    assert rows, (measure, action, baseline)
    return rows[0]
