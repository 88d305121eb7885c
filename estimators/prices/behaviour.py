"""Which weights on quality, dollars, seconds and risk a policy's choices reveal.

Noise of predictions is corrected. Weights have no unit of their own: their ratios are the prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade
from ..scores import Scores
from .attenuation import corrected, strengths, varying
from .attributes import ATTRIBUTES, COST, Offers, offers
from .clogit import ChoiceFit, Choices, covariance, fit_choices

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_STRENGTH: Final = 4.0
"""Squared t of the slope of scores on predictions from which an attribute counts as predicted. Stricter
limits leave out attributes that did move the choices, and bias the prices of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the choices at one decision point reveal.

    weight: (4,) of V times quality, USD, seconds, risk; NaN where an attribute has none, for the reason in
    `absent`. influence: (G, 4) what each cluster of cluster_ids moves them by. constants: whether each action
    also has a constant, so that only differences within actions count.
    """

    layer: str
    decision_point: str
    weight: Array
    influence: Array
    absent: tuple[str | None, ...]
    mean_value: float
    risk_unit: str
    cluster_key: str
    cluster_ids: tuple[str, ...]
    df: float
    n: int
    grade: Grade
    constants: bool
    notes: tuple[str, ...]

    @property
    def cov(self) -> Array:
        """(4, 4) cluster covariance of the weights, NaN where they are."""
        return covariance(self.influence)

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return len(self.cluster_ids)


def behaviour(scores: Scores, *, config: Config, seed: int) -> Behaviour | str:
    """The weights that a randomised or varying policy's choices reveal, or in words why they do not.

    P(a | i) proportional to exp(b_Q V_i q_ia - b_C c_ia - b_L l_ia - b_R r_ia + alpha_a), with attributes
    predicted before the decision and their noise corrected. alpha_a is left out, and the notes say so, where
    cost does not verifiably vary within actions. Not identified when a rule fixed the choices.

    Source: McFadden 1974; METHODS E3.
    """
    found = offers(scores, config=config, seed=seed)
    if isinstance(found, str):
        return found
    return "a rule fixed every choice" if found.fixed else behaviour_of(found)


def behaviour_of(found: Offers) -> Behaviour | str:
    """As `behaviour`, from the offers themselves."""
    if not found.known[COST]:
        return "cost is not known for every action"
    within = _weights(found, constants=True)
    if isinstance(within, Behaviour) and within.absent[COST] is None:
        return within
    across = _weights(found, constants=False)
    if isinstance(across, str):
        return across if isinstance(within, str) else f"{within.absent[COST]}; without constants, {across}"
    return across


def _weights(found: Offers, *, constants: bool) -> Behaviour | str:
    """The corrected weights of every attribute that can have one."""
    chosen = _selected(found, constants=constants)
    if isinstance(chosen, str):
        return chosen
    kept, absent, design, fit = chosen
    weight, influence = np.full(4, np.nan), np.full((len(found.cluster_ids), 4), np.nan)
    weight[kept], influence[:, kept] = corrected(fit, design, found.target[:, :, kept])
    flag = () if constants else ("no constant per action: other reasons to prefer one are in the prices",)
    missing = [ATTRIBUTES[j] for j in range(4) if j not in kept]
    left = (f"without {' and '.join(missing)}: what moves with it is in the prices",) if missing else ()
    return Behaviour(
        layer=found.layer,
        decision_point=found.decision_point,
        weight=weight,
        influence=influence,
        absent=tuple(absent),
        mean_value=found.mean_value,
        risk_unit=found.risk_unit,
        cluster_key=found.cluster_key,
        cluster_ids=found.cluster_ids,
        df=fit.df,
        n=found.choices.n,
        grade=found.grade,
        constants=constants,
        notes=(*found.notes, *flag, *left),
    )


def _selected(
    found: Offers, *, constants: bool
) -> tuple[list[int], list[str | None], Choices, ChoiceFit] | str:
    """The fit with every attribute that is known, varies and is predicted, and why the others are absent.

    The one that is predicted worst is left out first, and the rest is judged again without it.
    """
    absent: list[str | None] = [
        None if known else f"{name} is not known for every action"
        for name, known in zip(ATTRIBUTES, found.known, strict=True)
    ]
    where = "within actions" if constants else "between actions"
    while True:
        kept = [j for j in range(4) if absent[j] is None]
        if not kept:
            return "no attribute of the actions is predicted well enough to explain a choice"
        design = _design(found, kept, constants=constants)
        flat = [j for j, varies in zip(kept, varying(design, len(kept)), strict=True) if not varies]
        if flat:
            absent[flat[0]] = f"{ATTRIBUTES[flat[0]]} does not differ {where}"
            continue
        fit = fit_choices(design)
        if isinstance(fit, str):
            return fit
        strength = strengths(fit, design, found.target[:, :, kept])
        weakest = int(np.argmin(strength))
        if strength[weakest] >= MIN_STRENGTH:
            return kept, absent, design, fit
        absent[kept[weakest]] = f"the log does not verify that {ATTRIBUTES[kept[weakest]]} differs {where}"


def _design(found: Offers, kept: list[int], *, constants: bool) -> Choices:
    """The kept attributes, then one constant for every action but the first."""
    data = found.choices
    x = data.x[:, :, kept]
    if not constants:
        return replace(data, x=x)
    arms = data.open.shape[1]
    dummies = np.broadcast_to(np.eye(arms)[:, 1:], (data.n, arms, arms - 1)) * data.open[:, :, None]
    return replace(data, x=np.concatenate([x, dummies], axis=2))
