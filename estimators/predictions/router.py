"""Prediction 2: a router that minimises cost loses most on the rare requests of high value."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Prediction, Reading, Verdict
from ..confidence import LEVEL, interval
from ..gates import MIN_CLUSTERS, effective_clusters
from ..jackknife import cluster_sums, weighted_mean
from ..problem import problems
from ..scores import MIN_ARM
from .router_regret import Regret, regret
from .slopes import Slopes, slopes

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NAME: Final = "router"
STATEMENT: Final = "A router that minimises cost loses more, the more a request is worth."
POINT: Final = "model"
MATERIAL: Final = 0.01
"""Quality that regret must gain with each doubling of V to matter: one point."""
TAIL: Final = 0.95
"""Quantile of V above which a request is one of the rare valuable ones (METHODS I2)."""
PLACEBO_P: Final = 0.1
"""A smaller p-value says that regret is left where choices were random (METHODS F2)."""
_BINS: Final = 10
_MIN_SPREAD: Final = 0.1
"""Standard deviation of log V below which its slope would speak of values that hardly occur."""


def router_prediction(frame: pl.DataFrame, config: Config, *, seed: int) -> Prediction:
    """The test of prediction 2 on the router decisions in `frame`, see `regret`.

    effect: USD of regret that a request worth twice as much adds: the slope on log V times log 2, over
    decisions with overlap. As dollars grow with V even where the same quality is lost at every V, support
    also needs the quality that is lost to rise with V, and no rise of what re-optimising leaves among
    randomised decisions (placebo). Contradicted: a rise of one point of quality per doubling is excluded.
    Not identified: V unknown or the same everywhere, no overlap, or few clusters.

    Source: METHODS I2; Robins, Rotnitzky & Zhao 1994 (scores).
    """
    found = _regret_of(frame, config, seed)
    if isinstance(found, str):
        return _unknown(found)
    fault = _fault(found)
    if fault is not None:
        return _unknown(fault, n=found.n)
    both = np.column_stack([found.usd, found.quality])
    fit = slopes(both, np.log(found.value)[:, None], found.weight, found.cluster)
    return _unknown(fit, n=found.n) if isinstance(fit, str) else _judged(found, fit)


def _regret_of(frame: pl.DataFrame, config: Config, seed: int) -> Regret | str:
    router = frame.filter((pl.col("layer") == "router") & (pl.col("decision_point") == POINT))
    if router.is_empty():
        return "no model choices are logged (router, decision point 'model')"
    return regret(next(problems(router, config)), config, seed=seed)


def _unknown(reason: str, n: int = 0) -> Prediction:
    return Prediction(
        name=NAME, statement=STATEMENT, verdict="not_identified", reason=reason, layer="router", n=n
    )


def _fault(found: Regret) -> str | None:
    if np.std(np.log(found.value)) < _MIN_SPREAD:
        return "the task value hardly varies between requests: set task_value_by_class, or log value_usd"
    groups = effective_clusters(found.cluster, np.ones(found.n, dtype=bool))
    if groups < MIN_CLUSTERS:
        return f"{groups:.1f} effective clusters with a task value; {MIN_CLUSTERS:.0f} are needed"
    return None


def _judged(found: Regret, fit: Slopes) -> Prediction:
    doubling = math.log(2.0)
    usd = fit.reading("regret", "USD", row=0, column=0, scale=doubling, n=found.n)
    quality = fit.reading(
        "quality lost, per doubling of V", "quality", row=0, column=1, scale=doubling, n=found.n
    )
    placebo = _placebo(found)
    verdict, reason = _verdict(usd, quality, placebo)
    return Prediction(
        name=NAME,
        statement=STATEMENT,
        verdict=verdict,
        reason="; ".join((reason, *found.notes)),
        layer="router",
        effect=usd.value,
        lower=usd.lower,
        upper=usd.upper,
        unit="USD per doubling of V",
        level=LEVEL,
        p_value=usd.p_value,
        placebo_p=placebo,
        n=found.n,
        clusters=fit.clusters,
        grade=found.grade,
        method=found.method,
        further=(quality, *_tail(found)),
        curve=_curve(found),
    )


def _placebo(found: Regret) -> float | None:
    """One-sided p-value of a rise with V of the regret that re-optimising leaves; None without a slice."""
    drawn = found.randomised
    if not drawn.any():
        return None
    x = np.log(found.value[drawn])[:, None]
    if np.std(x) < _MIN_SPREAD:
        return None
    fit = slopes(found.left[drawn, None], x, found.weight[drawn], found.cluster[drawn])
    if isinstance(fit, str):
        return None
    return fit.reading("left", "USD", row=0, column=0, scale=1.0, n=int(drawn.sum())).p_value


def _verdict(usd: Reading, quality: Reading, placebo: float | None) -> tuple[Verdict, str]:
    assert usd.lower is not None
    assert quality.lower is not None
    assert quality.upper is not None
    if quality.upper < MATERIAL:
        scaled = "; dollars rise only because V does" if usd.lower > 0 else ""
        return "contradicted", f"one more point of quality lost per doubling of V is excluded{scaled}"
    if usd.lower <= 0 or quality.lower <= 0:
        what = "dollars" if usd.lower <= 0 else "quality"
        return (
            "inconclusive",
            f"the interval of regret in {what} holds both no rise with V and one that matters",
        )
    if placebo is None:
        return "inconclusive", "regret rises with V, but there is no randomised slice for the placebo"
    if placebo <= PLACEBO_P:
        return (
            "inconclusive",
            "regret is left and rises with V where choices were random: the fit is at fault",
        )
    return "supported", "regret rises with V in dollars and in quality, and re-optimising leaves no rise"


def _tail(found: Regret) -> tuple[Reading, ...]:
    """USD of regret above the TAIL of V beyond what the slope says; none where V has no tail."""
    high = found.value > np.quantile(found.value, TAIL)
    if high.sum() < MIN_ARM or effective_clusters(found.cluster, high) < MIN_CLUSTERS:
        return ()
    x = np.column_stack([high, np.log(found.value)]).astype(float)
    fit = slopes(found.usd[:, None], x, found.weight, found.cluster)
    if isinstance(fit, str):
        return ()
    label = "regret of the top 5 % of V beyond the slope"
    return (fit.reading(label, "USD", row=0, column=0, scale=1.0, n=int(high.sum())),)


def _curve(found: Regret) -> tuple[Reading, ...]:
    """Mean regret in USD by decile of V, or by its values where they are few."""
    out: list[Reading] = []
    for label, rows in _bins(found.value):
        if rows.sum() < MIN_ARM or effective_clusters(found.cluster, rows) < MIN_CLUSTERS:
            out.append(Reading(label=label, unit="USD", value=None, n=int(rows.sum())))
            continue
        clusters = int(found.cluster.max()) + 1
        mean = weighted_mean(
            cluster_sums(found.usd[rows, None], found.weight[rows], found.cluster[rows], clusters)
        )
        value = float(mean.theta[0])
        lower, upper = interval(value, math.sqrt(float(mean.cov[0, 0])), mean.df)
        out.append(Reading(label=label, unit="USD", value=value, lower=lower, upper=upper, n=int(rows.sum())))
    return tuple(out)


def _bins(value: Array) -> list[tuple[str, Mask]]:
    levels = np.unique(value)
    if levels.size <= _BINS:
        return [(f"${v:,.3g}", value == v) for v in levels]
    edges = np.unique(np.quantile(value, np.linspace(0, 1, _BINS + 1)))
    at = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, edges.size - 2)
    return [(f"${edges[b]:,.3g} to {edges[b + 1]:,.3g}", at == b) for b in range(edges.size - 1)]
