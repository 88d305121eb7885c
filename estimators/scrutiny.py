"""What could overturn a contrast of two actions: hidden causes, placebos and the exploration slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from ..schemas.config import Config
from ..schemas.store import Store
from .adaptive import adaptive_contrast, policy_changed
from .choices import valuation
from .contrasts import estimate_segment
from .controls import Placebo, placebo_effects
from .controls_anchor import anchor_of
from .cutoff_rule import find_rule
from .effect_calibration import CALIBRATION
from .identification import no_contrast, repeats_contexts
from .ledger import calibrated_groups, calibration_rows
from .pairs import NET, pair
from .problem import Problem, check_taken, only_problem
from .scores import MIN_ARM, Scores, score
from .sensitivity_arm import arm_models
from .sensitivity_observed import observed_strengths
from .sensitivity_summary import BOUNDS, SUMMARY, bounds_frame, sensitivities, summary_frame

Decisions = pl.DataFrame | pl.LazyFrame | Store
Key = tuple[str, str, str, str]

PLACEBOS: Final = pl.DataFrame(
    schema={
        "feature": pl.String,
        **dict.fromkeys(("value", "se", "lower", "upper", "level"), pl.Float64),
        "reason": pl.String,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrutiny:
    """What could overturn a contrast.

    bounds: per quantity and odds ratio Lambda the interval of effects that a hidden cause of that strength
    allows. summary: per quantity Lambda* at which the finding flips, the robustness value, and the strongest
    logged feature to compare with. placebos: 'effects' on features that were known before the choice.
    anchor: whether unrandomised decisions agree with the exploration slice (z, p, agrees). calibration:
    whether the effects predicted per decision hold on decisions that they were not learned from. learned: the
    effect where the policy learned from this very log, with a sequence that holds however often it is read.
    reason: why there is none of these.
    """

    bounds: pl.DataFrame
    summary: pl.DataFrame
    placebos: pl.DataFrame
    anchor: dict[str, object]
    calibration: pl.DataFrame
    learned: dict[str, object]
    reason: str | None = None

    def __str__(self) -> str:
        if self.reason is not None:
            return f"no contrast to scrutinise: {self.reason}"
        lines = []
        for row in self.summary.iter_rows(named=True):
            star = row["lambda_star"]
            flips = f"flips at Lambda {star:.2f}" if star is not None else str(row["reason"])
            beside = (
                f"; strongest feature {row['strongest_feature']} has {row['strongest_lambda']:.2f}"
                if row["strongest_feature"]
                else ""
            )
            lines.append(f"{row['action']} vs {row['baseline']}, {row['quantity']}: {flips}{beside}")
        return "\n".join(lines)


def scrutiny(
    decisions: Decisions, action: str, baseline: str, *, config: Config | None = None, seed: int = 0
) -> Scrutiny:
    """What could overturn the contrast of `action` against `baseline` at one decision point.

    Raises: SchemaError for several decision points, or an action that no decision took.
    Source: METHODS C1 (marginal sensitivity), C2 (omitted variables), A6 (negative controls, anchor), A3
    (calibration), A4 step 6 (adaptive logs).
    """
    config = config or Config()
    problem = only_problem(decisions, config)
    for name in (action, baseline):
        check_taken(problem, name)
    blocked = _blocked(problem, action, baseline)
    if blocked is not None:
        return _nothing(blocked)
    with threadpool_limits(limits=1):
        scores = score(problem, seed=seed)
        value = valuation(problem, config)
        contrast = pair(scores, action, baseline, value)
        result = estimate_segment(contrast, "all", np.ones(problem.n, dtype=bool))
        if result.mean is None:
            return _nothing(result.reason or "not identified")
        known = [j for j in range(NET + 1) if not np.isnan(contrast.d[result.rows, j]).any()]
        found = sensitivities(
            arm_models(scores, contrast, tuple(known), seed=seed),
            contrast,
            "all",
            result.rows,
            dict.fromkeys(known, 0.0),
            source=scores.propensities.source,
            observed=observed_strengths(problem, action, baseline, seed=seed),
        )
        groups = calibrated_groups(contrast, result, seed=seed)
        return Scrutiny(
            bounds=bounds_frame(found),
            summary=summary_frame(found),
            placebos=_placebo_frame(placebo_effects(problem, action, baseline, seed=seed)),
            anchor=asdict(anchor_of(problem, action, baseline, value, column=known[0], seed=seed)),
            calibration=calibration_rows(contrast, groups, seed=seed),
            learned=_learned(scores, action, baseline),
        )


def scrutinies(
    store: Store,
    contrasts: Iterable[Key],
    *,
    config: Config | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[Key, Scrutiny]:
    """What could overturn each contrast (layer, decision point, action, baseline), each looked at once."""
    asked = list(dict.fromkeys(contrasts))
    found: dict[Key, Scrutiny] = {}
    for done, (layer, point, action, baseline) in enumerate(asked):
        if progress is not None:
            progress(done, len(asked), f"{layer}.{point}")
        rows = store.decisions().filter(pl.col("layer") == layer, pl.col("decision_point") == point)
        found[layer, point, action, baseline] = scrutiny(rows, action, baseline, config=config, seed=seed)
    return found


def _blocked(problem: Problem, action: str, baseline: str) -> str | None:
    blocked = no_contrast(problem)
    if blocked is not None:
        return blocked
    for name in (action, baseline):
        if (problem.arm == problem.arm_index(name)).sum() < MIN_ARM:
            return f"fewer than {MIN_ARM} decisions took {name}"
    if find_rule(problem) is not None:
        return "a rule fixed every choice; its effect at the border rests on no scores that could be moved"
    if repeats_contexts(problem):
        return "contexts repeat, so trials are compared within them and no propensity could be moved"
    return None


def _nothing(reason: str) -> Scrutiny:
    none: dict[str, object] = {"reason": reason}
    return Scrutiny(
        bounds=BOUNDS,
        summary=SUMMARY,
        placebos=PLACEBOS,
        anchor=none,
        calibration=pl.DataFrame(schema=CALIBRATION),
        learned=none,
        reason=reason,
    )


def _learned(scores: Scores, action: str, baseline: str) -> dict[str, object]:
    """The contrast in quality of an adaptive log, or why the log is none."""
    p = scores.propensities
    if p.source != "logged":
        return {"reason": "no logged propensities that pass their test"}
    if not policy_changed(scores.problem, p.matrix):
        return {"reason": "the policy did not change while it logged"}
    return asdict(adaptive_contrast(scores.problem, p.matrix, action, baseline))


def _placebo_frame(placebos: Sequence[Placebo]) -> pl.DataFrame:
    return pl.DataFrame([asdict(p) for p in placebos], schema=PLACEBOS.schema)
