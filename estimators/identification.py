"""What can be learned at a decision point before anything is estimated, and what to log next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from ..schemas.columns import REPEATED_CONTEXT
from ..schemas.config import Config, Identified
from ..schemas.records import Grade
from .cutoff_border import usable_border
from .cutoff_rule import Rule, find_rule
from .design import make_design
from .exploration import exploration_advice
from .problem import Problem, problems
from .propensity import deterministic_rows, logged_fault, refit_fault
from .scores import MIN_ARM

NO_ALTERNATIVE: Final = {
    "act": "tool steps have no logged alternative; verify, plan, delegate and defer are the questions asked",
    "admit": "every request was admitted; queue and load are read from these rows, not contrasts",
}
"""Decision points whose rows are kept for cost and load but pose no question of choice."""
_OUTCOME: Final = "Link an outcome (request_id, name, value) to learn quality."
_NOT_LOGGED: Final = "no propensity is logged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """The best evidence grade that one decision point can reach from these logs, and why.

    identification: how the choices came about, declared and tested or else detected: R randomised with
    logged propensities, U made from logged features alone, O possibly from other causes, D by a fixed rule;
    None where there was no choice to make.
    """

    layer: str
    decision_point: str
    decisions: int
    actions: tuple[str, ...]
    identification: Identified | None
    grade: Grade
    reason: str
    advice: str


def identify(frame: pl.DataFrame, config: Config | None = None) -> list[Identification]:
    """The identification of every decision point of `frame`, nothing estimated."""
    return [identification(problem) for problem in problems(frame, config or Config())]


def identification(problem: Problem) -> Identification:
    """The class and the best grade that `problem` can reach: A logged, B by design or at a cut-off,
    C observational, N none. A declared class that fails its test is named in the reason and not used."""
    letter, grade, reason, advice = _judge(problem)
    denied = "" if grade == "N" and letter != "D" else _denied(problem, letter)
    return Identification(
        layer=problem.layer,
        decision_point=problem.decision_point,
        decisions=problem.n,
        actions=problem.arms,
        identification=letter,
        grade=grade,
        reason=f"{denied}{reason}" + (f" (class {letter})" if letter else ""),
        advice=advice,
    )


def _denied(problem: Problem, letter: Identified | None) -> str:
    """What is said first when the log does not bear out the declared class."""
    stated = problem.declared
    if (
        stated is None
        or letter is None
        or stated == letter
        or stated == "O"
        or (stated, letter) == ("U", "D")
    ):
        return ""
    if stated == "R":
        why = logged_fault(problem) or "the propensities are reconstructed"
    elif stated == "U":
        why = refit_fault(problem) or "contexts repeat, which decides how they are compared"
    else:
        why = "no rule of logged features replays 99.5% of the choices"
    return f"declared {stated}, but {why}: "


def _judge(problem: Problem) -> tuple[Identified | None, Grade, str, str]:
    rule = _rule(problem)
    blocked = _blocked(problem, rule)
    if blocked is not None:
        advice = "" if problem.decision_point in NO_ALTERNATIVE else exploration_advice(problem)
        letter: Identified | None = "D" if rule or deterministic_rows(problem.frame).all() else "O"
        return (letter if _chosen(problem) else None), "N", blocked, advice
    advice = "" if np.isfinite(problem.outcomes[:, 0]).any() else _OUTCOME
    if rule is not None:
        reason = f"deterministic: {rule}; decisions near the cut-off are compared, the others stay bounds"
        return "D", "B", reason, advice or exploration_advice(problem)
    fault = logged_fault(problem)
    if fault is None:
        return _logged(problem, advice)
    if repeats_contexts(problem):
        return "O", "C", "contexts repeat, so trials of the same situation are compared", advice
    if problem.declared == "U" and refit_fault(problem) is None:
        return (
            "U",
            "B",
            "declared a function of logged features, and refitted choices pass their test",
            advice,
        )
    if fault != _NOT_LOGGED:
        return "O", "C", fault, "Log the probability that was used for the draw."
    reason = "choices are estimated from logged context; hidden causes cannot be excluded"
    reach = "Log the probability of each choice, or randomise a small share, to reach grade A."
    return "O", "C", reason, advice or reach


def _logged(problem: Problem, advice: str) -> tuple[Identified, Grade, str, str]:
    reconstructed = bool((problem.frame["propensity_source"] == "reconstructed").any())
    by_design = reconstructed or problem.declared == "U"
    fixed = int(deterministic_rows(problem.frame).sum())
    note = f"; a rule fixed {fixed} of {problem.n} choices, which stay N" if fixed else ""
    return (
        "U" if by_design else "R",
        "B" if by_design else "A",
        f"{'reconstructed' if reconstructed else 'logged'} propensities pass their test{note}",
        advice or (exploration_advice(problem) if fixed else ""),
    )


def no_contrast(problem: Problem) -> str | None:
    """Why no contrast can be estimated at this decision point at all, or None."""
    return _blocked(problem, _rule(problem))


def _rule(problem: Problem) -> Rule | None:
    return find_rule(problem) if _chosen(problem) else None


def _chosen(problem: Problem) -> bool:
    """Whether there was a choice between two actions that were taken often enough to be looked at."""
    counts = np.sort(np.bincount(problem.arm))[::-1]
    return problem.decision_point not in NO_ALTERNATIVE and counts.size > 1 and bool(counts[1] >= MIN_ARM)


def _blocked(problem: Problem, rule: Rule | None) -> str | None:
    if problem.decision_point in NO_ALTERNATIVE:
        return NO_ALTERNATIVE[problem.decision_point]
    if len(problem.arms) < 2:
        return f"only one action was taken ({''.join(problem.arms)})"
    if not _chosen(problem):
        counts = np.sort(np.bincount(problem.arm))[::-1]
        return f"one action has {counts[0]} decisions, the next {counts[1]}; {MIN_ARM} are needed"
    if rule is not None:
        fault = usable_border(problem, rule)
        away = f"deterministic: {rule}, so no decision away from the cut-off could have gone either way"
        return None if fault is None else f"{away}, and {fault}"
    if deterministic_rows(problem.frame).all():
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
