"""What can be learned at a decision point before anything is estimated, and what to log next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from ..schemas.columns import REPEATED_CONTEXT
from ..schemas.config import Config
from ..schemas.records import Grade
from .design import make_design
from .folds import cluster_folds
from .problem import Problem, problems
from .propensity import deterministic_rows, logged_fault
from .scores import MIN_ARM

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NO_ALTERNATIVE: Final = {
    "act": "tool steps have no logged alternative; verify, plan, delegate and defer are the questions asked",
    "admit": "every request was admitted; queue and load are read from these rows, not contrasts",
}
"""Decision points whose rows are kept for cost and load but pose no question of choice."""
_REPLAY: Final = 0.995
"""A rule that replays this share of held-out choices is the policy (METHODS C, class U)."""
_ERROR_CUT: Final = 0.1
"""... provided that always guessing the commonest action errs at least ten times as often."""
_DEPTH: Final = 4
_EXPLORE: Final = 0.02
"""Share of decisions that the advice proposes to randomise."""
_EFFECT: Final = 0.05
"""Quality difference that the advice wants to detect: 5 points."""
_VARIANCE: Final = 0.25
"""Largest variance of a quality in [0, 1]."""
_TWO_SIDED_PLUS_POWER: Final = 1.96 + 0.84


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """The best evidence grade that one decision point can reach from these logs, and why."""

    layer: str
    decision_point: str
    decisions: int
    actions: tuple[str, ...]
    grade: Grade
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A deterministic rule found in the log: features it uses, and the cut-off when it uses one number."""

    features: tuple[str, ...]
    cutoff: float | None
    replayed: float

    def __str__(self) -> str:
        if self.cutoff is not None:
            what = f"a threshold on {self.features[0]} near {self.cutoff:.3g}"
        else:
            what = f"a rule on {', '.join(self.features)}"
        return f"{what} replays {self.replayed:.1%} of choices"


def identify(frame: pl.DataFrame, config: Config | None = None) -> list[Identification]:
    """The identification of every decision point of `frame`, nothing estimated."""
    return [identification(problem) for problem in problems(frame, config or Config())]


def identification(problem: Problem) -> Identification:
    """The best grade that `problem` can reach: A logged, B reconstructed, C observational, N none."""
    grade, reason, advice = _judge(problem)
    return Identification(
        layer=problem.layer,
        decision_point=problem.decision_point,
        decisions=problem.n,
        actions=problem.arms,
        grade=grade,
        reason=reason,
        advice=advice,
    )


def _judge(problem: Problem) -> tuple[Grade, str, str]:
    blocked = no_contrast(problem)
    if blocked is not None:
        return "N", blocked, "" if problem.decision_point in NO_ALTERNATIVE else exploration_advice()
    quality = np.isfinite(problem.outcomes[:, 0]).any()
    outcome_advice = "" if quality else "Link an outcome (request_id, name, value) to learn quality."
    source = problem.frame["propensity_source"]
    has_logged = problem.frame["propensity"].is_not_null() & ~source.is_in(
        ["estimated", "unknown"]
    ).fill_null(value=False)
    usable = ~deterministic_rows(problem.frame)
    if usable.any() and bool(has_logged.to_numpy()[usable].all()):
        fault = logged_fault(problem)
        if fault is None:
            grade: Grade = "B" if (source == "reconstructed").any() else "A"
            fixed = int((~usable).sum())
            note = f"; a rule fixed {fixed} of {problem.n} choices, which stay N" if fixed else ""
            return (
                grade,
                f"{'reconstructed' if grade == 'B' else 'logged'} propensities pass their test{note}",
                (outcome_advice or (exploration_advice() if fixed else "")),
            )
        return "C", fault, "Log the probability that was used for the draw."
    if repeats_contexts(problem):
        return "C", "contexts repeat, so trials of the same situation are compared", outcome_advice
    return (
        "C",
        "choices are estimated from logged context; hidden causes cannot be excluded",
        (
            outcome_advice
            or "Log the probability of each choice, or randomise a small share, to reach grade A."
        ),
    )


def no_contrast(problem: Problem) -> str | None:
    """Why no contrast can be estimated at this decision point at all, or None."""
    if problem.decision_point in NO_ALTERNATIVE:
        return NO_ALTERNATIVE[problem.decision_point]
    if len(problem.arms) < 2:
        return f"only one action was taken ({''.join(problem.arms)})"
    counts = np.sort(np.bincount(problem.arm))[::-1]
    if counts[1] < MIN_ARM:
        return f"one action has {counts[0]} decisions, the next {counts[1]}; {MIN_ARM} are needed"
    fixed = deterministic_rows(problem.frame)
    rule = find_rule(problem)
    if rule is not None:
        return f"deterministic: {rule}, so no decision away from the cut-off could have gone either way"
    if fixed.all():
        return "deterministic: the log says that a rule fixed every choice"
    if repeats_contexts(problem):
        return None
    if make_design(problem.frame, problem.features).raw.shape[1] == 0:
        fault = logged_fault(problem)
        if fault is not None:
            return f"no x_* context, and {fault}: a difference of means would be confounded"
    return None


def repeats_contexts(problem: Problem) -> bool:
    """Whether contexts repeat and no propensity is logged, so that trials are compared within contexts."""
    if REPEATED_CONTEXT not in problem.frame.columns or problem.frame["propensity"].is_not_null().any():
        return False
    contexts = problem.frame[REPEATED_CONTEXT].drop_nulls()
    return contexts.len() > problem.n / 2 and contexts.n_unique() * 2 <= contexts.len()


def find_rule(problem: Problem) -> Rule | None:
    """The shallow tree that replays held-out choices, or None when the choices are not a rule of x_*."""
    if (
        not problem.features
        or problem.frame["propensity"].cast(pl.Float64).is_between(0, 1, closed="none").any()
    ):
        return None
    design = make_design(problem.frame, problem.features)
    if design.raw.shape[1] == 0:
        return None
    names = [f for f in problem.features if f not in design.dropped]
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    hits = np.zeros(problem.n, dtype=bool)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        if not train.any():
            return None
        tree: Any = DecisionTreeClassifier(max_depth=_DEPTH, random_state=0)
        hits[test] = (
            tree.fit(design.raw[train], problem.arm[train]).predict(design.raw[test]) == problem.arm[test]
        )
    replayed = float(hits.mean())
    common = float(np.bincount(problem.arm).max() / problem.n)
    if replayed < _REPLAY or (1 - replayed) > _ERROR_CUT * (1 - common):
        return None
    whole: Any = DecisionTreeClassifier(max_depth=_DEPTH, random_state=0).fit(design.raw, problem.arm)
    used = sorted({names[i] for i in whole.tree_.feature if i >= 0})
    single = len(used) == 1 and len(problem.arms) == 2
    return Rule(
        features=tuple(used),
        cutoff=float(whole.tree_.threshold[0])
        if single and not design.categorical[names.index(used[0])]
        else None,
        replayed=replayed,
    )


def exploration_advice() -> str:
    """What to randomise and log, with the decisions needed to see 5 points of quality (80 % power).

    n = (1.96 + 0.84)^2 s^2 (1 / e_a + 1 / e_b) / delta^2, before the design effect of clusters.
    """
    other = 1.0 - _EXPLORE
    needed = _TWO_SIDED_PLUS_POWER**2 * _VARIANCE * (1 / _EXPLORE + 1 / other) / _EFFECT**2
    return (
        f"Randomise {_EXPLORE:.0%} of these choices and log candidates, propensity and the score that the "
        f"rule used: about {needed:,.0f} decisions then show a difference of {_EFFECT * 100:.0f} points."
    )
