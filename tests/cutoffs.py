"""Logs of a deterministic rule whose effect at the cut-off is known because the log was built with it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shadowprice.estimators.problem import Problem, problems
from shadowprice.ingest.simulator.regime import Regime
from shadowprice.schemas.config import Config, parse_config

Array = NDArray[np.float64]
_POINTS = 400_000


def problem_of(frame: pl.DataFrame, **declared: str) -> Problem:
    """The single decision point of `frame`, with its class declared if asked."""
    points = [{"name": name, "identification": letter} for name, letter in declared.items()]
    config = parse_config({"points": points}) if points else Config()
    (problem,) = problems(frame, config)
    return problem


def effect_at_cut(regime: Regime) -> float:
    """E[quality of a1 - quality of a0 | score = cut] in a two-arm class D regime without cluster luck.

    The score is tanh((x_difficulty + x_budget / 2) / 2) of standard normals, so that given the score the
    difficulty is normal around s / 1.25 with variance 0.2, s = 2 artanh(cut); the rest is averaged over.
    """
    rng = np.random.default_rng(5)
    s = 2.0 * np.arctanh(regime.cut)
    difficulty = s / 1.25 + np.sqrt(0.2) * rng.normal(size=_POINTS)
    length = np.tanh(rng.normal(size=_POINTS))
    base = np.log(regime.event_rate / (1 - regime.event_rate)) - 0.8 * difficulty + 0.4 * length
    success = [1 / (1 + np.exp(-z)) for z in (base, base + regime.effect + regime.spread * length)]
    return float((success[1] - success[0]).mean())


def curved_log(seed: int = 0, *, n: int = 1200, jump: float = 0.25) -> tuple[Array, Array]:
    """A score in (-1, 1) and an outcome with slopes and curvature that differ by side, jumping at 0."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=n)
    y = 0.3 + 0.8 * x - 0.6 * x**2 + np.where(x > 0, jump + 0.4 * x, 0.0) + rng.normal(0, 0.3, size=n)
    return x, y


def box_log(seed: int = 0, *, n: int = 3000, jump: float = 0.2) -> pl.DataFrame:
    """A rule on two numbers: 'large' where both x_a and x_b are positive; quality jumps by `jump` there."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), 3.0 * rng.normal(size=n)
    took = (a > 0) & (b > 0)
    mean = 0.4 + 0.05 * a + 0.02 * b + jump * took
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "action": np.where(took, "large", "small"),
            "quality": np.clip(mean + rng.uniform(-0.1, 0.1, size=n), 0, 1),
            "cost_usd": 0.01 + 0.02 * took + rng.uniform(0, 0.002, size=n),
            "x_a": a,
            "x_b": b,
            "x_noise": rng.normal(size=n),
        }
    )
