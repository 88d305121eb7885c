"""Prediction 1: more verification lowers realised risk until another one costs more than it brings."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade, Prediction, Reading, Verdict
from ..confidence import LEVEL, interval, one_sided, upper_tail_p
from ..gates import MIN_CLUSTERS, effective_clusters
from ..jackknife import ClusterSums, WeightedMean, cluster_sums, merge, weighted_mean
from ..pairs import NET, Pair
from ..problem import RISK
from ..scores import MIN_ARM
from ..simultaneous import sup_t
from .doses import Step, dose_steps, tested
from .slopes import slopes

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NAME: Final = "verifier"
STATEMENT: Final = (
    "More verification in a task lowers its realised risk, until one more costs more than it brings."
)
MATERIAL: Final = 0.01
"""Share of the mean risk below which a fall does not matter, where its cost has no price (METHODS H)."""
_COST, _LATENCY = 1, 2


def verifier_prediction(frame: pl.DataFrame, config: Config, *, seed: int) -> Prediction:
    """The test of prediction 1 on the router and agent decisions in `frame`, see `dose_steps`.

    The stop k* is the largest dose whose last verification has lower95(V dQ - dC - lambda dL - rho dR) > 0.
    Tested are the changes of risk up to k*, the first at least. Supported: their overlap-weighted mean is
    below 0 and none rises by its one-sided simultaneous limit. Contradicted: one rises, or a fall that would
    pay for a verification (at rho; else one per cent of the risk) is excluded. A second test asks whether
    verification below k* gains more where the predicted risk is above its median; where it gains less, a
    support is inconclusive. Not identified: no choice to verify, no overlap, or no events.

    Source: METHODS I1; Chernozhukov, Chetverikov & Kato 2013 (simultaneous limits).
    """
    steps = dose_steps(frame, config, seed=seed)
    if isinstance(steps, str):
        return _unknown(steps)
    known = list(tested(steps))
    if not known:
        return _unknown(f"risk after no verification: {steps[0].fault}", n=steps[0].pair.problem.n)
    return _judged(known, stop_point(known), seed)


def stop_point(steps: list[Step]) -> int | None:
    """k*, 0 where not even the first verification is shown to pay; None where net value is not known."""
    lower = [_lower(step) for step in steps]
    if all(np.isnan(lower)):
        return None
    return max((step.done + 1 for step, low in zip(steps, lower, strict=True) if low > 0), default=0)


def _lower(step: Step) -> float:
    mean = step.result.mean
    assert mean is not None
    if np.isnan(mean.theta[NET]):
        return float("nan")
    return interval(float(mean.theta[NET]), float(np.sqrt(mean.cov[NET, NET])), mean.df)[0]


def _unknown(reason: str, n: int = 0) -> Prediction:
    return Prediction(
        name=NAME, statement=STATEMENT, verdict="not_identified", reason=reason, layer="agent", n=n
    )


def _judged(steps: list[Step], stop: int | None, seed: int) -> Prediction:
    below = [s for s in steps if s.done < max(stop or 0, 1)]
    mean = _pooled(below)
    effect, se = float(mean.theta[RISK]), float(np.sqrt(mean.cov[RISK, RISK]))
    lower, upper = interval(effect, se, mean.df)
    limits = _simultaneous(below, seed, level=one_sided(LEVEL))
    rising = [s.label for s, (low, _) in zip(below, limits, strict=True) if low > 0]
    second = _on_risky_tasks(steps, stop)
    verdict, reason = _verdict(rising, lower, upper, material(below, mean), second, _unit(steps))
    contrast = steps[0].pair
    untold = (f"on risky tasks it is not tested: {second}",) if isinstance(second, str) else ()
    grades: tuple[Grade, ...] = tuple(s.pair.grades[RISK] for s in below)
    return Prediction(
        name=NAME,
        statement=STATEMENT,
        verdict=verdict,
        reason="; ".join((reason, _stop_said(stop), *untold)),
        layer="agent",
        effect=effect,
        lower=lower,
        upper=upper,
        unit=f"{_unit(steps)} per verification",
        level=LEVEL,
        p_value=upper_tail_p(-effect, se, mean.df),
        stop=stop,
        n=sum(int(s.result.rows.sum()) for s in below),
        clusters=mean.clusters,
        grade=max(grades),
        method=f"{contrast.method}; one more verification after each number of them, overlap-weighted",
        further=(second,) if isinstance(second, Reading) else (),
        curve=_curve(steps, seed),
    )


def _unit(steps: list[Step]) -> str:
    return "USD" if steps[0].pair.problem.risk_in_dollars else "incidents"


def _stop_said(stop: int | None) -> str:
    if stop is None:
        return "no net value is known, nor with it the stop, so only the first verification is tested"
    if stop == 0:
        return "not even the first verification is shown to pay"
    return f"up to {stop} verifications in a task are shown to pay"


def _pooled(steps: list[Step]) -> WeightedMean:
    """The overlap-weighted mean effects of all `steps`, with the floor of METHODS A4 under their errors."""
    parts = [(s.pair, s.result.rows) for s in steps]
    clusters = len(steps[0].pair.problem.cluster_ids)
    mean = weighted_mean(reduce(merge, (_sums(p, rows, clusters) for p, rows in parts)))
    seen = sum((_squares(p.h[r], p.d[r] - mean.theta) for p, r in parts), np.zeros(NET + 1))
    model = sum(
        ((p.h[r][:, None] ** 2 * (p.noise[r] + (p.tau[r] - mean.theta) ** 2)).sum(axis=0) for p, r in parts),
        np.zeros(NET + 1),
    )
    ratio = np.divide(model, seen, out=np.ones_like(model), where=seen > 0)
    scale = np.sqrt(np.maximum(1.0, np.nan_to_num(ratio, nan=1.0)))
    return replace(mean, cov=mean.cov * np.outer(scale, scale))


def _sums(contrast: Pair, rows: Mask, clusters: int) -> ClusterSums:
    return cluster_sums(contrast.d[rows], contrast.h[rows], contrast.problem.cluster[rows], clusters)


def _squares(h: Array, rest: Array) -> Array:
    return (h[:, None] ** 2 * rest**2).sum(axis=0)


def material(steps: list[Step], mean: WeightedMean) -> float:
    """The fall of risk that matters: what pays for a verification at rho, else MATERIAL of the mean risk."""
    value = steps[0].pair.value
    load = float(mean.theta[_COST])
    if value.latency_price:
        load += value.latency_price * float(mean.theta[_LATENCY])
    if value.risk_price > 0 and load > 0:
        return load / value.risk_price
    return MATERIAL * float(np.mean([s.predicted[s.result.rows].mean() for s in steps]))


def _simultaneous(steps: list[Step], seed: int, *, level: float) -> list[tuple[float, float]]:
    """Limits of the change of risk at every step that hold together."""
    columns: list[Array] = []
    means: list[WeightedMean] = []
    for s in steps:
        assert s.result.mean is not None
        rows, contrast = s.result.rows, s.pair
        rest = contrast.h[rows] * (contrast.d[rows, RISK] - s.result.mean.theta[RISK])
        size = len(contrast.problem.cluster_ids)
        columns.append(
            np.bincount(contrast.problem.cluster[rows], weights=rest, minlength=size).astype(float)
        )
        means.append(s.result.mean)
    rng = np.random.default_rng(seed)
    c = sup_t(np.column_stack(columns), min(m.df for m in means), rng=rng, level=level)
    pairs = [(float(m.theta[RISK]), float(np.sqrt(m.cov[RISK, RISK]))) for m in means]
    return [(value - c * se, value + c * se) for value, se in pairs]


def _curve(steps: list[Step], seed: int) -> tuple[Reading, ...]:
    unit, out = _unit(steps), list[Reading]()
    for s, (low, high) in zip(steps, _simultaneous(steps, seed, level=LEVEL), strict=True):
        assert s.result.mean is not None
        value, n = float(s.result.mean.theta[RISK]), int(s.result.rows.sum())
        out.append(Reading(label=s.label, unit=unit, value=value, lower=low, upper=high, n=n))
    return tuple(out)


def _on_risky_tasks(steps: list[Step], stop: int | None) -> Reading | str | None:
    """USD that a verification below k* nets more where the predicted risk is above its median at that dose;
    why it is not known; or None without a stop that pays. Where some verified beyond k*, in excess of what
    the same nets more there.
    """
    if not stop:
        return None
    parts = [(s, np.flatnonzero(s.result.rows)) for s in steps]
    net = np.concatenate([s.pair.d[rows, NET] for s, rows in parts])
    if np.isnan(net).any():
        return "net value is not known at every dose"
    h = np.concatenate([s.pair.h[rows] for s, rows in parts])
    cluster = np.concatenate([s.pair.problem.cluster[rows] for s, rows in parts])
    low = np.concatenate([np.full(rows.size, s.done < stop) for s, rows in parts])
    risky = np.concatenate([s.predicted[rows] > np.median(s.predicted[rows]) for s, rows in parts])
    cells = [low & risky, low & ~risky] + ([~low & risky, ~low & ~risky] if not low.all() else [])
    if any(c.sum() < 2 * MIN_ARM or effective_clusters(cluster, c) < MIN_CLUSTERS for c in cells):
        return f"fewer than {2 * MIN_ARM} decisions or {MIN_CLUSTERS:.0f} clusters with high or low risk"
    x = np.column_stack([risky] if low.all() else [low & risky, low, risky]).astype(float)
    found = slopes(net[:, None], x, h, cluster)
    if isinstance(found, str):
        return found
    label = "gain of one more verification on risky tasks over others, below the stop"
    return found.reading(label, "USD", row=0, column=0, scale=1.0, n=int(low.sum()))


def _verdict(
    rising: list[str], lower: float, upper: float, least: float, second: Reading | str | None, unit: str
) -> tuple[Verdict, str]:
    if rising:
        return "contradicted", f"risk rises with the verification from {' and '.join(rising)}"
    if upper < 0:
        if isinstance(second, Reading) and second.upper is not None and second.upper < 0:
            return "inconclusive", "risk falls, but verification gains less where the risk is high"
        return "supported", "risk falls with a further verification, and rises with none of those tested"
    if lower > -least:
        return "contradicted", f"a fall of {least:.3g} {unit} or more per verification is excluded"
    return "inconclusive", "the interval holds both no fall of risk and one that matters"
