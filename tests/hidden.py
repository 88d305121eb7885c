"""Contrasts under hidden causes, made from a regime with known truth or from plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shadowprice.estimators.pairs import Pair, Valuation, pair
from shadowprice.estimators.problem import Problem, problems
from shadowprice.estimators.scores import Scores, score
from shadowprice.estimators.sensitivity import HiddenContrast
from shadowprice.estimators.sensitivity_arm import arm_models
from shadowprice.ingest.simulator.regime import KnownWorld, Regime, draw
from shadowprice.schemas.config import Config
from threadpoolctl import threadpool_limits

VALUE_USD = 2.0
"""Task value of every decision, so that the net value is known too."""


def scored(frame: Any, action: str = "a1", baseline: str = "a0") -> tuple[Problem, Scores, Pair]:
    """The only decision point of `frame` with its scores and one contrast."""
    (problem,) = problems(frame, Config())
    with threadpool_limits(limits=1):
        scores = score(problem, seed=0)
    value = Valuation(task_value=np.full(problem.n, VALUE_USD), latency_price=0.0, risk_price=0.0)
    return problem, scores, pair(scores, action, baseline, value)


def hidden_contrast(frame: Any, column: int = 0, **arms: str) -> HiddenContrast:
    """One quantity of the contrast of `frame`."""
    _, scores, contrast = scored(frame, **arms)
    action, baseline = arm_models(scores, contrast, (column,), seed=0)[column]
    return HiddenContrast(pair=contrast, column=column, action=action, baseline=baseline)


def confounded(seed: int, **knobs: Any) -> KnownWorld:
    """A log of class O: a hidden binary cause moves the odds of choice by exactly `hidden`, and success."""
    return draw(Regime(identification="O", **knobs), seed=seed)


def everyone(contrast: HiddenContrast) -> NDArray[np.bool_]:
    """All decisions."""
    return np.ones(contrast.pair.problem.n, dtype=bool)
