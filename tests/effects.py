"""Contrasts whose scores are drawn around a known effect, so that what learns from them can be checked."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from shadowprice.estimators.pairs import Pair, Valuation, pair
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import score
from shadowprice.schemas.config import Config
from worlds import LARGE, SMALL, router_world

Array = NDArray[np.float64]


@lru_cache(maxsize=8)
def contrast(n: int, clusters: int | None = None) -> tuple[Pair, Array]:
    """A contrast of n decisions and their context x, standard normal."""
    frame = router_world(n=n, slope=0.5, clusters=clusters).frame
    (problem,) = problems(frame, Config())
    value = Valuation(task_value=np.full(n, np.nan), latency_price=0.0, risk_price=0.0)
    made = pair(score(problem, seed=0), LARGE, SMALL, value)
    return made, problem.frame["x_hardness"].to_numpy()


def with_scores(made: Pair, quality: Array, tau: Array | None = None) -> Pair:
    """The contrast with other scores of quality, whose variance is what they show."""
    d, fitted = made.d.copy(), made.tau.copy()
    d[:, 0] = quality
    fitted[:, 0] = quality.mean() if tau is None else tau
    return replace(made, d=d, tau=fitted, noise=np.zeros_like(made.noise))
