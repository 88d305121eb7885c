"""What a policy could choose from, as it could know it: predicted attributes of every open action.

Beside the predictions stand unbiased scores of the same attributes, by which the predictions' noise is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade
from ..problem import Problem
from ..scores import Scores
from .clogit import Choices
from .values import task_values

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ATTRIBUTES: Final = ("quality", "cost", "latency", "risk")
"""In the order of the outcomes; a choice likes quality and dislikes the rest."""
COST: Final = 1
MAX_CHOICES: Final = 20_000
"""Choices used at most, drawn with the seed: prices of behaviour are then known to a per cent."""
_SIGN: Final = np.array([1.0, -1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The choices of one decision point.

    choices: attributes x (n, K, 4), V times quality, minus cost (USD), minus latency (s), minus risk. target:
    (n, K, 4) doubly robust scores of the same. known: (4,) attributes that every action has, others are 0.
    mean_value: mean V in USD per task, 1 where V is unknown and quality itself is traded. fixed: a rule
    made the choices.
    """

    layer: str
    decision_point: str
    arms: tuple[str, ...]
    choices: Choices
    target: Array
    known: Mask
    mean_value: float
    risk_unit: str
    cluster_key: str
    cluster_ids: tuple[str, ...]
    grade: Grade
    fixed: bool
    notes: tuple[str, ...]


def offers(scores: Scores, *, config: Config, seed: int) -> Offers | str:
    """The choices that `scores` describe, or in words why there are none to learn from.

    Left out, and noted: explorations, whose action nobody chose; actions too rare to have scores; decisions
    with one open action, or of unknown V where others have one.
    """
    problem, fixed = scores.problem, scores.propensities.source == "deterministic"
    arms = sorted(scores.psi)
    if len(arms) < 2:
        return "fewer than two actions were taken often enough to be described"
    took = problem.arm[:, None] == np.array(arms)[None, :]
    possible = np.ones_like(took) if fixed else scores.propensities.matrix[:, arms] > 0.0
    open_ = (possible & _listed(problem, arms)) | took
    value, value_note = _values(scores, config, seed)
    used, notes = _used(scores, took, open_, value, fixed=fixed, seed=seed)
    if used.size == 0:
        return "no decision with a choice is left: every one was explored, forced or of unknown task value"
    mu = np.stack([scores.mu[k][used] for k in arms], axis=1)
    psi = np.stack([scores.psi[k][used] for k in arms], axis=1)
    known = np.array([bool(np.isfinite([mu[:, :, j], psi[:, :, j]]).all()) for j in range(4)])
    worth = np.where([True, False, False, False], value[used][:, None, None], 1.0) * _SIGN
    closed = ~open_[used]
    codes, cluster = np.unique(problem.cluster[used], return_inverse=True)
    return Offers(
        layer=problem.layer,
        decision_point=problem.decision_point,
        arms=tuple(problem.arms[k] for k in arms),
        choices=Choices(
            x=_filled(mu * worth, known, closed),
            open=~closed,
            chosen=took[used].argmax(axis=1).astype(np.int64),
            weight=problem.weight[used],
            cluster=cluster.astype(np.int64),
        ),
        target=_filled(psi * worth, known, closed),
        known=known,
        mean_value=float(np.average(value[used], weights=problem.weight[used])),
        risk_unit="USD/USD" if problem.risk_in_dollars else "USD/event",
        cluster_key=problem.cluster_key,
        cluster_ids=tuple(problem.cluster_ids[c] for c in codes),
        grade="N" if fixed else max("C", scores.propensities.grade),
        fixed=fixed,
        notes=(value_note, *notes),
    )


def _used(
    scores: Scores, took: Mask, open_: Mask, value: Array, *, fixed: bool, seed: int
) -> tuple[NDArray[np.intp], list[str]]:
    """The decisions that say something, at most MAX_CHOICES of them, and what was left out."""
    explored = scores.problem.frame["exploration"].fill_null(value=False).to_numpy().astype(bool)
    decided = took.any(axis=1) & (open_.sum(axis=1) > 1) & ~explored & np.isfinite(value)
    if not fixed:
        decided &= scores.propensities.usable
    used = np.flatnonzero(decided)
    notes: list[str] = []
    if dropped := scores.problem.n - used.size:
        drawn = int(explored.sum())
        notes.append(f"{dropped} decisions left out" + (f", {drawn} of them explorations" if drawn else ""))
    if used.size > MAX_CHOICES:
        notes.append(f"{MAX_CHOICES} of {used.size} choices, drawn with seed {seed}")
        used = np.sort(np.random.default_rng(seed).choice(used, MAX_CHOICES, replace=False))
    return used, notes


def _listed(problem: Problem, arms: list[int]) -> Mask:
    """(n, K) whether the log names an action among the candidates; all where it names none."""
    lists = problem.frame["candidates"]
    if lists.dtype == pl.Null:
        return np.ones((problem.n, len(arms)), dtype=bool)
    columns = [lists.list.contains(problem.arms[k]).fill_null(value=True).to_numpy() for k in arms]
    return np.column_stack(columns)


def _values(scores: Scores, config: Config, seed: int) -> tuple[Array, str]:
    """(n,) V, 1 everywhere when none is known, and a note which."""
    found = task_values(scores.problem, config, seed=seed)
    if found.origin == "none":
        return np.ones(scores.problem.n), "V unknown: every task counts alike"
    return found.value, f"V of each task from {found.origin}"


def _filled(x: Array, known: Mask, closed: Mask) -> Array:
    """x (n, K, 4) with 0 for unknown attributes and closed actions."""
    return np.where(known[None, None, :] & ~closed[:, :, None], x, 0.0)
