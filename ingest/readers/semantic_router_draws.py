"""The chance that the semantic router's sampler proposes each candidate, from the posteriors it drew from.

Each candidate's score is a draw from its Beta posterior plus what was fixed before the draw. The highest
wins, but it has to beat the base model by a margin, else the base model stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..convert import as_real, section
from .semantic_router_fields import text
from .semantic_router_history import Belief

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAX_CANDIDATES: Final = 50
_POINTS: Final = 2001
_SPREADS: Final = 9.0
"""Standard deviations of a posterior that its points span; beyond lies less than rounding can tell."""
_MARGINS: Final = {"tier": 0.03, "global": 0.08}
"""By which a proposal has to win when candidates come from beyond the decision."""
_SCORE_SLACK: Final = 2e-4
"""Scores are logged with four digits."""
_COLD_START: Final = "cold_start"


@dataclass(frozen=True, slots=True)
class _Arm:
    """One candidate: its posterior, what is added to its draw, by how much it has to beat the base model."""

    alpha: float
    beta: float
    shift: float
    margin: float
    base: bool


def draw_shares(adaptation: dict[str, Any], beliefs: Mapping[str, Belief]) -> dict[str, float] | None:
    """The probability of each candidate; None when the rule does not replay to what was proposed.

    beliefs: of all candidates. Not known when the proposal was a model without any experience, which wins
    whatever is drawn, or when the logged draws lead elsewhere by this rule (another version of the router).

    Raises: ValueError when the record is malformed.
    Source: vllm-project/semantic-router, router_learning_adaptation.go.
    """
    scores = section(adaptation, "scores")
    base, proposal = text(adaptation, "base_model"), text(adaptation, "proposal_model")
    if adaptation.get("reason") == _COLD_START or not 1 <= len(scores) <= MAX_CANDIDATES:
        return None
    margin = _MARGINS.get(text(adaptation, "candidate_set") or "", 0.0)
    base_cost = _number(section(scores, base or ""), "cost_penalty")
    arms: dict[str, _Arm] = {}
    logged: dict[str, float] = {}
    for model in sorted(scores):
        told = section(scores, model)
        logged[model] = _number(told, "score")
        extra = max(0.0, _number(told, "cost_penalty") - base_cost)
        arms[model] = _Arm(
            alpha=beliefs[model].alpha,
            beta=beliefs[model].beta,
            shift=round(logged[model] - _number(told, "predicted_quality"), 4),
            margin=margin + extra if base in scores and model != base else 0.0,
            base=model == base,
        )
    if not _leads_to(proposal, base, logged, arms):
        return None
    shares = _shares(tuple(arms.values()))
    found = dict(zip(arms, shares, strict=True))
    return found if found.get(proposal or "", 0.0) > 0.0 else None


def _leads_to(
    proposal: str | None, base: str | None, logged: Mapping[str, float], arms: Mapping[str, _Arm]
) -> bool:
    """Whether the logged scores can have made `proposal` the winner."""
    highest = max(logged.values())
    for model in (model for model, score in logged.items() if score >= highest - _SCORE_SLACK):
        lead = np.inf if base not in logged or model == base else logged[model] - logged[str(base)]
        if proposal == model and lead >= arms[model].margin - _SCORE_SLACK:
            return True
        if proposal == base and lead < arms[model].margin + _SCORE_SLACK:
            return True
    return False


def _shares(arms: tuple[_Arm, ...]) -> tuple[float, ...]:
    """The probability that each arm wins, in order.

    An arm other than the base wins where it is highest and beats the base by its margin, else the base wins.
    """
    won: list[float] = []
    for arm in arms:
        if arm.base:
            won.append(0.0)
            continue
        at, mass, _ = _posterior(arm.alpha, arm.beta)
        below = np.ones_like(at)
        for rival in arms:
            if rival is not arm:
                limit = at + arm.shift - rival.shift - (arm.margin if rival.base else 0.0)
                points, _, cdf = _posterior(rival.alpha, rival.beta)
                below *= np.interp(limit, points, cdf, left=0.0, right=1.0)
        won.append(float(mass @ below))
    rest = max(0.0, 1.0 - sum(won))
    if any(arm.base for arm in arms):
        return tuple(rest if arm.base else share for arm, share in zip(arms, won, strict=True))
    total = sum(won)
    return tuple(share / total for share in won)


@lru_cache(maxsize=1024)
def _posterior(alpha: float, beta: float) -> tuple[Array, Array, Array]:
    """(n,) points over the Beta distribution, the mass at each by the trapezoidal rule, and the CDF there."""
    mean = alpha / (alpha + beta)
    spread = _SPREADS * np.sqrt(mean * (1 - mean) / (alpha + beta + 1))
    at = np.linspace(max(0.0, mean - spread), min(1.0, mean + spread), _POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise, fall = (alpha - 1) * np.log(at), (beta - 1) * np.log1p(-at)
    log_density = np.where(alpha == 1.0, 0.0, rise) + np.where(beta == 1.0, 0.0, fall)
    density = np.exp(log_density - log_density.max())
    steps = np.concatenate(([0.0], (density[1:] + density[:-1]) / 2))
    cdf = np.cumsum(steps)
    mass = density.copy()
    mass[[0, -1]] /= 2
    return at, mass / mass.sum(), cdf / cdf[-1]


def _number(holder: dict[str, Any], name: str) -> float:
    """The number in field `name`; 0 when it is absent, as the writer leaves out what is 0."""
    return as_real(holder.get(name), name) or 0.0
