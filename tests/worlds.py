"""Simple logs whose truth is known because the world was built with it, never read off an estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALL: Final = "small"
LARGE: Final = "large"
COST_GAP: Final = 0.02
LATENCY_GAP: Final = 0.5
"""What `large` costs and waits more than `small`, in USD and seconds, for every decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A log with what only its maker knows: e, the probability of `large`, and the mean outcomes."""

    frame: pl.DataFrame
    e: Array
    small: Array
    large: Array

    @property
    def tau(self) -> Array:
        """The true quality gain of `large` at each decision."""
        return self.large - self.small

    @property
    def ato(self) -> float:
        """The true gain where the choice was open: weights e (1 - e)."""
        return float(np.average(self.tau, weights=self.e * (1 - self.e)))

    @property
    def ate(self) -> float:
        """The true mean gain over all decisions."""
        return float(self.tau.mean())

    @property
    def naive(self) -> float:
        """The difference of means that a dashboard shows."""
        means = dict(self.frame.group_by("action").agg(pl.col("quality").mean()).iter_rows())
        return means[LARGE] - means[SMALL]


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return 0.5 * (1.0 + np.tanh(x / 2.0))


def router_world(
    seed: int = 0,
    *,
    n: int = 800,
    slope: float = 1.5,
    gain: float = 0.1,
    spread: float = 0.0,
    smooth: bool = False,
    clusters: int | None = None,
    cluster_effect: float = 0.0,
    logged: bool = True,
    clip: float = 0.05,
) -> World:
    """A router that sends hard prompts to `large`: hardness x lowers quality, so naive means mislead.

    P(large) = sigmoid(slope x); quality of small 0.55 - 0.25 tanh(x), of large `gain` + `spread` tanh(x)
    more; an event, or with `smooth` that mean plus uniform noise. clusters: sessions that share a shift
    of size `cluster_effect` and part of x; None gives every decision its own.
    """
    rng = np.random.default_rng(seed)
    session = np.arange(n) if clusters is None else np.arange(n) % clusters
    x = rng.normal(size=n)
    if clusters is not None:
        x = 0.6 * rng.normal(size=clusters)[session] + 0.8 * x
    e = np.clip(sigmoid(slope * x), clip, 1 - clip)
    shift = rng.uniform(-cluster_effect, cluster_effect, size=int(session.max()) + 1)[session]
    small = 0.55 - 0.25 * np.tanh(x)
    large = small + gain + spread * np.tanh(x)
    took = rng.random(n) < e
    mean = np.where(took, large, small) + shift
    quality = mean + rng.uniform(-0.1, 0.1, size=n) if smooth else (rng.random(n) < mean).astype(float)
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "session_id": [f"s{g:05d}" for g in session],
            "action": np.where(took, LARGE, SMALL),
            "propensity": np.where(took, e, 1 - e),
            "quality": quality,
            "cost_usd": 0.01 + COST_GAP * took + 0.002 * np.abs(x) + rng.uniform(0, 0.002, size=n),
            "latency_s": 1.0 + LATENCY_GAP * took + 0.3 * np.tanh(x) + rng.uniform(0, 0.2, size=n),
            "incident": rng.random(n) < np.where(took, 0.12, 0.08),
            "x_hardness": x,
        }
    )
    return World(frame=frame if logged else frame.drop("propensity"), e=e, small=small, large=large)


def threshold_world(seed: int = 0, *, n: int = 400, cutoff: float = 0.3) -> pl.DataFrame:
    """A router that takes `large` exactly when x_score exceeds `cutoff`; nothing was randomised."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(-1, 1, size=n)
    took = score > cutoff
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "action": np.where(took, LARGE, SMALL),
            "quality": (rng.random(n) < 0.5 + 0.1 * took).astype(float),
            "cost_usd": 0.01 + COST_GAP * took,
            "x_score": score,
            "x_length": rng.normal(size=n),
        }
    )


def repeated_contexts_world(
    seed: int = 0, *, tasks: int = 40, trials: int = 6, gain: float = 0.05
) -> pl.DataFrame:
    """Tasks tried several times: hard tasks make the agent think more, thinking itself adds `gain`."""
    rng = np.random.default_rng(seed)
    ease = rng.uniform(0.2, 0.7, size=tasks)
    task = np.repeat(np.arange(tasks), trials)
    thought = rng.random(task.size) < 0.9 - ease[task]
    quality = np.clip(ease[task] + gain * thought + rng.uniform(-0.1, 0.1, size=task.size), 0, 1)
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(task.size)],
            "layer": "agent",
            "decision_point": "plan",
            "request_id": [f"r{i:06d}" for i in range(task.size)],
            "session_id": [f"t{t:03d}" for t in task],
            "action": np.where(thought, "plan", "skip"),
            "quality": quality,
            "cost_usd": 0.01 + 0.01 * thought + rng.uniform(0, 0.001, size=task.size),
            "x_context_id": [f"t{t:03d}" for t in task],
        }
    )


def decisions(n: int, **columns: Any) -> pl.DataFrame:
    """A frame with the required columns and whatever else the test is about."""
    base: dict[str, Any] = {
        "decision_id": [f"d{i:06d}" for i in range(n)],
        "layer": "router",
        "decision_point": "model",
        "action": [LARGE if i % 2 else SMALL for i in range(n)],
    }
    return pl.DataFrame({**base, **columns})
