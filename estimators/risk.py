"""Risk at one decision point: how often incidents happen, what they cost, the tail, the worst case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError
from ..schemas.records import Grade
from .confidence import LEVEL
from .losses import ArmLosses, Losses, arm_losses, read_losses
from .problem import Problem
from .propensity import Propensities
from .risk_records import RiskEstimate, RiskSettings
from .risk_rows import Cell, Measured, arm_measures, contrast_measures
from .scores import MIN_ARM

Mask = NDArray[np.bool_]


def risk_estimates(
    problem: Problem,
    propensities: Propensities,
    *,
    settings: RiskSettings,
    baseline: str | None = None,
    seed: int,
    level: float = LEVEL,
) -> tuple[RiskEstimate, ...]:
    """Every measure for all logged decisions, each action class, each arm, and each arm against `baseline`.

    Arms are causal: doubly robust under `propensities` and refused where a rule fixed every choice. Logged
    decisions and classes describe what happened. Rare incidents get exact bounds, never a rate of 0.

    Raises: ConfigError where a logged loss exceeds the cap.
    Source: METHODS D1 to D4.
    """
    losses = read_losses(problem.frame)
    if isinstance(losses, str):
        return (_no_losses(problem, losses, level),)
    _check_cap(losses, settings)
    causal = propensities.grade != "N"
    names = tuple(n for k, n in enumerate(problem.arms) if causal and (problem.arm == k).sum() >= MIN_ARM)
    irreversible = read_losses(problem.frame, irreversible=True)
    cells = _cells(problem, propensities, losses, names, seed)
    undone = (
        [irreversible] * len(cells)
        if isinstance(irreversible, str)
        else [c.arm for c in _cells(problem, propensities, irreversible, names, seed)]
    )
    out: list[RiskEstimate] = []
    peers = {c.arm.arm: c for c in cells if c.arm.arm is not None}
    for cell, part in zip(cells, undone, strict=True):
        group = [p for p in peers.values() if p.action_class == cell.action_class]
        found = arm_measures(cell, part, group, settings, seed=seed, level=level)
        out += (_row(problem, cell, None, m, level) for m in found)
    for name in problem.arms:
        if name not in names:
            out.append(_untried(problem, name, causal=causal, level=level))
    if baseline in peers:
        whole = cells[0].arm
        for name in names:
            if name != baseline:
                found = contrast_measures(peers[name], peers[baseline], whole, settings, level=level)
                out += (_row(problem, peers[name], baseline, m, level) for m in found)
    return tuple(out)


def _cells(
    problem: Problem, propensities: Propensities, losses: Losses, names: tuple[str, ...], seed: int
) -> list[Cell]:
    """All logged decisions, each action class, each arm."""
    logged, *arms = arm_losses(problem, propensities, losses, names, seed=seed)
    classes = problem.frame["action_class"].cast(pl.String)
    grade: Grade = "A" if not np.isnan(losses.loss).any() else "C"
    cells = [Cell(arm=logged, action_class=None, grade=grade)]
    for name in classes.drop_nulls().unique().sort().to_list():
        member = (classes == name).fill_null(value=False).to_numpy()
        cells.append(Cell(arm=restricted(logged, member), action_class=name, grade=grade))
    causal: Grade = propensities.grade if grade == "A" or propensities.grade not in ("A", "B") else "C"
    cells += (Cell(arm=arm, action_class=_own_class(classes, arm.took), grade=causal) for arm in arms)
    return cells


def restricted(logged: ArmLosses, member: Mask) -> ArmLosses:
    """The logged losses of some rows only."""
    return replace(
        logged,
        rows=member,
        took=logged.took & member,
        own=logged.own * member,
        w=logged.w * member,
        w_incident=logged.w_incident * member,
        h=logged.h * member,
    )


def _own_class(classes: pl.Series, took: Mask) -> str | None:
    """The class that an arm is of, None if its rows disagree."""
    seen = classes.filter(pl.Series(took)).drop_nulls().unique().to_list()
    return seen[0] if len(seen) == 1 else None


def _check_cap(losses: Losses, settings: RiskSettings) -> None:
    top = float(np.nanmax(losses.loss)) if not np.isnan(losses.loss).all() else 0.0
    if settings.cap_usd is not None and top > settings.cap_usd:
        raise ConfigError(
            f"a loss of {top:g} USD exceeds the cap of {settings.cap_usd:g} USD",
            where="decisions.loss_usd",
            expected="a cap that no logged loss exceeds",
            cure="Raise cap_usd or leave it out.",
        )


def _row(problem: Problem, cell: Cell, baseline: str | None, m: Measured, level: float) -> RiskEstimate:
    return RiskEstimate(
        layer=problem.layer,
        decision_point=problem.decision_point,
        action_class=cell.action_class,
        action=cell.arm.arm,
        baseline=baseline,
        measure=m.measure,
        value=m.value,
        lower=m.lower,
        upper=m.upper,
        level=level,
        n=cell.n,
        events=cell.events,
        clusters=cell.clusters,
        ess=cell.ess,
        grade="N" if m.upper is None else "D" if m.value is None else cell.grade,
        method=m.method,
        reason=m.reason,
    )


def _untried(problem: Problem, name: str, *, causal: bool, level: float) -> RiskEstimate:
    taken = int((problem.arm == problem.arm_index(name)).sum())
    reason = f"{taken} decisions took {name}; {MIN_ARM} are needed" if causal else "a rule fixed every choice"
    return _refused(problem, name, reason, taken, level)


def _no_losses(problem: Problem, reason: str, level: float) -> RiskEstimate:
    return _refused(problem, None, reason, problem.n, level)


def _refused(problem: Problem, name: str | None, reason: str, n: int, level: float) -> RiskEstimate:
    return RiskEstimate(
        layer=problem.layer,
        decision_point=problem.decision_point,
        action_class=None,
        action=name,
        baseline=None,
        measure="expected",
        value=None,
        lower=None,
        upper=None,
        level=level,
        n=n,
        events=0,
        clusters=0,
        ess=0.0,
        grade="N",
        method="none",
        reason=reason,
    )
