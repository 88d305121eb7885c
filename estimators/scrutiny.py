"""What could overturn a contrast of two actions: hidden causes, placebos and the exploration slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from ..errors import SchemaError
from ..schemas.config import Config
from ..schemas.store import Store
from .choices import valuation
from .controls import Placebo, placebo_effects
from .controls_anchor import anchor_of
from .identification import no_contrast
from .pairs import NET, pair
from .problem import Problem, check_frame, problems
from .risk import risk_estimates
from .risk_records import RiskSettings, risk_frame
from .scores import MIN_ARM, score
from .sensitivity_arm import arm_models
from .sensitivity_observed import observed_strengths
from .sensitivity_summary import BOUNDS, SUMMARY, bounds_frame, sensitivities, summary_frame

Decisions = pl.DataFrame | pl.LazyFrame | Store

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
    anchor: whether unrandomised decisions agree with the exploration slice (z, p, agrees). reason: why
    there is none of these.
    """

    bounds: pl.DataFrame
    summary: pl.DataFrame
    placebos: pl.DataFrame
    anchor: dict[str, object]
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
    Source: METHODS C1 (marginal sensitivity), C2 (omitted variables), A6 (negative controls, anchor).
    """
    config = config or Config()
    problem = _only_problem(decisions, config)
    for name in (action, baseline):
        _check_taken(problem, name)
    blocked = no_contrast(problem)
    scarce = [n for n in (action, baseline) if (problem.arm == problem.arm_index(n)).sum() < MIN_ARM]
    if blocked is None and scarce:
        blocked = f"fewer than {MIN_ARM} decisions took {scarce[0]}"
    if blocked is not None:
        none = {"z": None, "p": None, "agrees": None, "reason": blocked}
        return Scrutiny(bounds=BOUNDS, summary=SUMMARY, placebos=PLACEBOS, anchor=dict(none), reason=blocked)
    with threadpool_limits(limits=1):
        scores = score(problem, seed=seed)
        value = valuation(problem, config)
        contrast = pair(scores, action, baseline, value)
        rows = contrast.feasible
        known = [j for j in range(NET + 1) if not np.isnan(contrast.d[rows, j]).any()]
        found = sensitivities(
            arm_models(scores, contrast, tuple(known), seed=seed),
            contrast,
            "all",
            rows,
            dict.fromkeys(known, 0.0),
            source=scores.propensities.source,
            observed=observed_strengths(problem, action, baseline, seed=seed),
        )
        placebos = placebo_effects(problem, action, baseline, seed=seed)
        anchor = anchor_of(problem, action, baseline, value, column=known[0] if known else 0, seed=seed)
    return Scrutiny(
        bounds=bounds_frame(found),
        summary=summary_frame(found),
        placebos=_placebo_frame(placebos),
        anchor=asdict(anchor),
    )


def risk(
    decisions: Decisions,
    baseline: str | None = None,
    *,
    settings: RiskSettings | None = None,
    config: Config | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Expected loss, CVaR, worst case and irreversible load at one decision point, in USD per decision.

    One row per measure for all logged decisions, each action class, each action, and each action against
    `baseline`; a measure that cannot be had has a reason. settings: the level of CVaR, the largest possible
    loss, the strength of a hidden cause that the worst case allows for.

    Raises: SchemaError for several decision points; ConfigError where a logged loss exceeds the cap.
    """
    problem = _only_problem(decisions, config or Config())
    if baseline is not None:
        _check_taken(problem, baseline)
    with threadpool_limits(limits=1):
        propensities = score(problem, seed=seed).propensities
        found = risk_estimates(
            problem, propensities, settings=settings or RiskSettings(), baseline=baseline, seed=seed
        )
    return risk_frame(found)


def _only_problem(decisions: Decisions, config: Config) -> Problem:
    lazy = decisions.decisions() if isinstance(decisions, Store) else decisions.lazy()
    frame = lazy.collect()
    check_frame(frame)
    found = list(problems(frame, config))
    if len(found) != 1:
        names = ", ".join(f"{p.layer}.{p.decision_point}" for p in found)
        raise SchemaError(
            f"{len(found)} decision points ({names})",
            where="decisions",
            expected="one",
            cure="Filter the frame by decision_point.",
        )
    return found[0]


def _check_taken(problem: Problem, name: str) -> None:
    if name not in problem.arms:
        raise SchemaError(
            f"no decision took '{name}'", where="decisions.action", expected=" or ".join(problem.arms)
        )


def _placebo_frame(placebos: Sequence[Placebo]) -> pl.DataFrame:
    return pl.DataFrame([asdict(p) for p in placebos], schema=PLACEBOS.schema)
