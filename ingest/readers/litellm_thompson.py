"""The odds of LiteLLM's adaptive router: Thompson draws from Beta posteriors, weighed with costs.

By quadrature, not by drawing: the same state gives the same odds. Exact for one proxy process and the
posterior as given; several processes learn apart from each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_PANELS: Final = 24
_NODES: Final = 16
"""Panels of Gauss-Legendre nodes: right to 5e-5 in 300 random states of up to 5 arms and 200 samples."""
MAX_ARMS: Final = 64
_LEAST: Final = 1e-3
_MOST: Final = 1e5
"""The writer's cells hold 10 to 200 samples; far outside, quadrature on quantiles is not accurate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A model: Beta(alpha, beta) of its quality in [0, 1], and its price in USD per 1000 tokens."""

    name: str
    alpha: float
    beta: float
    cost: float

    def __post_init__(self) -> None:
        sane = all(_LEAST <= part <= _MOST for part in (self.alpha, self.beta))
        if not (sane and 0 <= self.cost < math.inf):
            raise ValueError(
                f"posterior Beta({self.alpha}, {self.beta}) at cost {self.cost}, expected parts in "
                f"[{_LEAST:g}, {_MOST:g}] and a cost >= 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How quality and cheapness weigh, and how often the router draws instead of taking the best mean."""

    quality: float
    cost: float
    exploration_rate: float = 1.0

    def __post_init__(self) -> None:
        if not (
            0 < self.quality < math.inf and 0 <= self.cost < math.inf and 0 <= self.exploration_rate <= 1
        ):
            raise ValueError(
                f"weights quality {self.quality} and cost {self.cost} at exploration rate "
                f"{self.exploration_rate}, expected a quality weight > 0 and a rate in [0, 1]"
            )


@lru_cache(maxsize=4096)
def choice_odds(arms: tuple[Arm, ...], rule: Rule) -> tuple[float, ...]:
    """The probability with which each of `arms` is chosen, in their order; they sum to 1.

    The score of an arm is quality weight * draw + cost weight * cheapness, cheapness being 1 for the cheapest
    arm, 0 for the dearest and 1/2 where all cost the same. With probability 1 - exploration rate the draw is
    the posterior mean, and the first of equals wins.
    Source: the writer's bandit (pick_best); Thompson 1933 for the draw.
    """
    bonus = rule.cost * _cheapness(arms) / rule.quality
    means = np.array([arm.alpha / (arm.alpha + arm.beta) for arm in arms])
    best = np.zeros(len(arms))
    best[int(np.argmax(means + bonus))] = 1.0
    odds = rule.exploration_rate * _drawn(arms, bonus) + (1 - rule.exploration_rate) * best
    return tuple(float(share) for share in odds)


def _cheapness(arms: tuple[Arm, ...]) -> NDArray[np.float64]:
    costs = np.array([arm.cost for arm in arms])
    spread = costs.max() - costs.min()
    return np.full(len(arms), 0.5) if spread == 0 else 1 - (costs - costs.min()) / spread


def _drawn(arms: tuple[Arm, ...], bonus: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(arm k has the largest draw + bonus): over its quantiles, the mean chance of all others below."""
    from scipy.special import betainc, betaincinv  # heavy, and needed for this one format only

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.arange(_PANELS)[:, None]
    at = ((edges + (nodes + 1) / 2) / _PANELS).ravel()
    weight = np.tile(weights / 2 / _PANELS, _PANELS)
    odds = np.empty(len(arms))
    for k, arm in enumerate(arms):
        score = betaincinv(arm.alpha, arm.beta, at) + bonus[k]
        below = np.ones_like(score)
        for j, other in enumerate(arms):
            if j != k:
                below *= betainc(other.alpha, other.beta, np.clip(score - bonus[j], 0.0, 1.0))
        odds[k] = weight @ below
    return odds / odds.sum()
