"""Which of all tests of a run are findings, and the interval that is told with each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from scipy import stats

from ..estimators.confidence import interval, upper_tail_p
from ..schemas.config import Control
from .multiplicity import (
    FALSE_DISCOVERY_RATE,
    adjusted_in_families,
    benjamini_hochberg,
    dependence_factor,
    e_value,
    selected_level,
    sequence_reach,
)

_FALSE_COVERAGE_RATE: Final = 0.8 * FALSE_DISCOVERY_RATE
"""Of intervals under `bh`: a margin, since its guarantee needs tests that are nearly independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A gain in USD that is tested one-sided against a materiality in USD.

    decisions: how many it is the sum of. doubted: it is no finding however large, for what the dollars mean
    is in doubt.
    """

    usd: float
    se: float
    df: float
    decisions: float
    materiality_usd: float = 0.0
    doubted: bool = False

    @property
    def p_value(self) -> float:
        """One-sided p-value against a gain of at most the materiality."""
        return upper_tail_p(self.usd, self.se, self.df, null=self.materiality_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """p_adjusted: at most FALSE_DISCOVERY_RATE for a discovery. lower, upper: USD, at `level`."""

    p_adjusted: float
    found: bool
    level: float
    lower: float
    upper: float


Reach = Callable[[Hypothesis, float], tuple[float, float]]
"""The interval of a gain at a level."""


def verdicts(
    families: Sequence[Sequence[Hypothesis]], *, level: float, control: Control = "bh"
) -> tuple[tuple[Verdict, ...], ...]:
    """The verdict of each test, family by family, in the order given; one family for each failure mode.

    The false discovery rate is held at 10 % over what is found, and where nothing is misallocated the chance
    of any finding is 10 %. Intervals are told at `level` or at the false-coverage level, whichever is higher,
    and those of findings lie above 0.

    bh: families in two stages, for a log that is looked at once. by: one family, under any dependence of the
    tests. e-bh: one family, under any dependence and however often the growing log is looked at.
    """
    if control == "bh":
        return _in_families(families, level=level)
    flat = list(chain.from_iterable(families))
    judged = iter((_by if control == "by" else _e_bh)(flat, level=level))
    return tuple(tuple(next(judged) for _ in family) for family in families)


def _in_families(
    families: Sequence[Sequence[Hypothesis]], *, level: float
) -> tuple[tuple[Verdict, ...], ...]:
    """A gain that does not exceed its materiality is no candidate; the others are tested two-sided.

    Where there is nothing to gain, the sign of an estimate says nothing about its size, so that leaving out
    the negative ones does not select among the others. A move whose loss is plain then costs them no power.

    Source: Zhao, Small & Su 2019 (conditional testing, here at 1/2); families as `adjusted_in_families`.
    """
    ahead = [[t for t in family if t.p_value <= 0.5] for family in families]
    judged = adjusted_in_families([[2.0 * t.p_value for t in family] for family in ahead])
    rate = _FALSE_COVERAGE_RATE * judged.share
    out: list[tuple[Verdict, ...]] = []
    for family, adjusted in zip(families, judged.adjusted, strict=True):
        p = iter(adjusted)
        given = [next(p) if t.p_value <= 0.5 else 1.0 for t in family]
        out.append(_settled(family, given, _t_interval, level=level, tests=len(adjusted), rate=rate))
    return tuple(out)


def _by(tests: Sequence[Hypothesis], *, level: float) -> tuple[Verdict, ...]:
    """Benjamini & Yekutieli 2001, and the false-coverage level of 2005 under any dependence."""
    factor = dependence_factor(len(tests))
    adjusted = [min(1.0, p * factor) for p in benjamini_hochberg([t.p_value for t in tests])]
    rate = FALSE_DISCOVERY_RATE / max(factor, 1.0)
    return _settled(tests, adjusted, _t_interval, level=level, tests=len(tests), rate=rate)


def _e_bh(tests: Sequence[Hypothesis], *, level: float) -> tuple[Verdict, ...]:
    """Wang & Ramdas 2022: Benjamini-Hochberg on inverted e-values; intervals of Xu, Wang & Ramdas 2024."""
    inverted = [min(1.0, 1.0 / e_value(float(stats.norm.isf(t.p_value)), t.decisions)) for t in tests]
    adjusted = benjamini_hochberg(inverted)
    rate = FALSE_DISCOVERY_RATE
    return _settled(tests, adjusted, _sequence, level=level, tests=len(tests), rate=rate)


def _settled(
    tests_given: Sequence[Hypothesis],
    adjusted: Sequence[float],
    reach: Reach,
    *,
    level: float,
    tests: int,
    rate: float,
) -> tuple[Verdict, ...]:
    """Findings and their level; fewer findings raise the level, so it is settled from the top down."""
    chosen = [p <= FALSE_DISCOVERY_RATE and not t.doubted for p, t in zip(adjusted, tests_given, strict=True)]
    while True:
        told = selected_level(sum(chosen), tests, level=level, rate=rate)
        kept = [was and reach(t, told)[0] > 0 for was, t in zip(chosen, tests_given, strict=True)]
        if kept == chosen:
            break
        chosen = kept
    out: list[Verdict] = []
    for t, p, found in zip(tests_given, adjusted, chosen, strict=True):
        lower, upper = reach(t, told if found else level)
        out.append(
            Verdict(p_adjusted=p, found=found, level=told if found else level, lower=lower, upper=upper)
        )
    return tuple(out)


def _t_interval(t: Hypothesis, level: float) -> tuple[float, float]:
    return interval(t.usd, t.se, t.df, level=level)


def _sequence(t: Hypothesis, level: float) -> tuple[float, float]:
    """A normal confidence sequence, as much wider as Student's t is at its error."""
    error = 2.0 * float(stats.norm.sf(sequence_reach(t.decisions, level=level)))
    return interval(t.usd, t.se, t.df, level=1.0 - error)
