"""Agents whose verification lowers risk up to a point, and agents whose verification finds nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from scipy import stats

from .world import Array, Flags, Ints

VERIFY_USD: Final = 0.6
TASK_VALUE: Final = 1.0
"""V in USD per task; verification changes no quality here."""
RISK_USD: Final = 30.0
"""What one incident costs, in USD per event."""
ROUNDS: Final = 3
"""Times that an agent is asked in a task whether to verify."""
_INCIDENT: Final = 0.2
"""Probability of an incident in an unverified task of average hazard."""
_KEPT: Final = 0.4
"""Share of the hazard that a verification leaves, among the first PAYING of them."""
_LARGEST: Final = 0.6
"""Most probable incident of any task."""
PAYING: Final = 2
"""Verifications in a task beyond which another one finds nothing, in the world where they find something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierTruth:
    """risk: (ROUNDS,) change of the probability of an incident by one more verification after none, one and
    more, later ones as logged, among decisions that could go either way. stop: how many pay."""

    risk: Array
    stop: int


def verifier_world(
    tasks: int, *, seed: int, holds: bool = True, clusters: int = 60
) -> tuple[pl.DataFrame, VerifierTruth]:
    """Agents that decide ROUNDS times a task whether to verify, with logged propensities.

    Where the prediction holds, the first PAYING verifications of a task each remove 1 - _KEPT of its hazard
    and the others none; where it does not, none removes any. Hazardous tasks are verified more often, so that
    a naive comparison finds risk and verification together.
    """
    rng = np.random.default_rng(seed)
    hazard = np.clip(rng.lognormal(0.0, 0.5, tasks), 0.2, 4.0)
    session = rng.integers(clusters, size=tasks)
    share = np.round(1 / (1 + np.exp(0.7 - 0.5 * np.log(hazard))), 6)
    taken = rng.random((tasks, ROUNDS)) < share[:, None]
    done = taken.sum(axis=1)
    incident = rng.random(tasks) < np.minimum(_INCIDENT * hazard, _LARGEST) * _left(done, holds=holds)
    quality = rng.random(tasks) < 0.7
    rows = np.repeat(np.arange(tasks), ROUNDS)
    chosen = taken.ravel()
    e = np.where(chosen, share[rows], 1 - share[rows])
    frame = pl.DataFrame(
        {
            "decision_id": [f"v{i:07d}" for i in range(rows.size)],
            "layer": "agent",
            "decision_point": "verify",
            "request_id": [f"task-{i:06d}" for i in rows],
            "session_id": [f"s{g:03d}" for g in session[rows]],
            "step": np.tile(np.arange(1, ROUNDS + 1), tasks),
            "action": np.where(chosen, "verify", "skip"),
            "candidates": [["skip", "verify"]] * rows.size,
            "propensities": np.column_stack([1 - share[rows], share[rows]]).round(6).tolist(),
            "propensity": e.round(6),
            "propensity_source": "logged",
            "x_hazard": np.log(hazard)[rows],
            "quality": quality[rows].astype(float),
            "cost_usd": np.where(chosen, VERIFY_USD, 0.0),
            "latency_s": np.where(chosen, 6.0, 0.0),
            "incident": incident[rows],
        }
    )
    return frame, _truth(hazard, share, taken, holds=holds)


def _truth(hazard: Array, share: Array, taken: Flags, *, holds: bool) -> VerifierTruth:
    """Exact effects of each decision with the later ones as logged, averaged by e (1 - e)."""
    before = np.cumsum(taken, axis=1) - taken
    later = ROUNDS - 1 - np.arange(ROUNDS)
    effect = np.zeros(taken.shape)
    for more in range(ROUNDS):
        chance = stats.binom.pmf(more, later, share[:, None])
        effect += chance * (_left(before + 1 + more, holds=holds) - _left(before + more, holds=holds))
    effect *= np.minimum(_INCIDENT * hazard, _LARGEST)[:, None]
    h = np.broadcast_to((share * (1 - share))[:, None], taken.shape)
    risk = np.array([np.average(effect[before == k], weights=h[before == k]) for k in range(ROUNDS)])
    return VerifierTruth(risk=risk, stop=int((-risk * RISK_USD > VERIFY_USD).sum()))


def _left(done: Ints, *, holds: bool) -> Array:
    """Share of a task's hazard that `done` verifications leave."""
    return _KEPT ** np.minimum(done, PAYING) if holds else np.ones(done.shape)
