"""Many segments, many tests: the false discovery rate and the level of intervals for what was selected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy import stats

FALSE_DISCOVERY_RATE: Final = 0.10
"""Expected share of false findings among all findings (METHODS H)."""
_USUAL_EFFECT: Final = 0.1
"""Effects that an e-value looks for, in standard deviations of one observation; others cost it a little."""


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the order given; those at most q are the discoveries at rate q.

    Source: Benjamini & Hochberg 1995. Valid under positive regression dependence.
    """
    m = len(p_values)
    adjusted = [1.0] * m
    smallest = 1.0
    for rank, i in sorted(enumerate(sorted(range(m), key=lambda j: p_values[j]), start=1), reverse=True):
        smallest = min(smallest, p_values[i] * m / rank)
        adjusted[i] = smallest
    return tuple(adjusted)


def dependence_factor(tests: int) -> float:
    """1 + 1/2 + ... + 1/tests, by which adjusted p-values grow so that they hold under any dependence.

    Source: Benjamini & Yekutieli 2001.
    """
    return sum(1.0 / k for k in range(1, tests + 1))


@dataclass(frozen=True, slots=True)
class Families:
    """adjusted: p-values in the order given, family by family. share: of the families that were tested, those
    with a discovery, counted as one where there is none."""

    adjusted: tuple[tuple[float, ...], ...]
    share: float


def adjusted_in_families(
    families: Sequence[Sequence[float]], *, rate: float = FALSE_DISCOVERY_RATE
) -> Families:
    """Adjusted p-values over families of tests; those at most `rate` are the discoveries.

    A family is selected by its Simes p-value among all families, and tested within at `rate` times the share
    of families that were selected. Where no family holds an effect, the chance of any discovery is `rate`;
    elsewhere `rate` bounds the mean over selected families of the expected share of false discoveries.

    Source: Benjamini & Bogomolov 2014. Families without a test are left out of the count.
    """
    own = [benjamini_hochberg(p_values) for p_values in families]
    tested = [min(adjusted) for adjusted in own if adjusted]
    selected = sum(p <= rate for p in benjamini_hochberg(tested))
    share = max(selected, 1) / max(len(tested), 1)
    return Families(tuple(tuple(min(1.0, p / share) for p in adjusted) for adjusted in own), share)


def selected_level(selected: int, tests: int, *, level: float, rate: float = FALSE_DISCOVERY_RATE) -> float:
    """Nominal level for the intervals of `selected` findings out of `tests`, never below `level`.

    1 - rate * R / m bounds the share of selected intervals that miss by `rate`.
    Source: Benjamini & Yekutieli 2005 (false coverage rate).
    """
    if tests == 0 or selected == 0:
        return level
    return max(level, 1.0 - rate * selected / tests)


def e_value(z: float, n: float) -> float:
    """Evidence against a mean of at most 0 that holds however often one has looked, from its z after n terms.

    The likelihood ratio averaged over gains of any size: 2 / sqrt(1 + s) exp(z^2 s / (2 (1 + s)))
    Phi(z sqrt(s / (1 + s))) with s = n tau^2. Its expectation is at most 1 at every look, and its chance of
    ever reaching 1 / a is at most a.

    Source: Robbins 1970; asymptotic as Waudby-Smith et al. 2024. n must grow as the log does.
    """
    if z == -math.inf:
        return 0.0
    s = n * _USUAL_EFFECT**2
    shrunk = s / (1.0 + s)
    log = math.log(2.0) - 0.5 * math.log1p(s) + z * z * shrunk / 2.0
    return math.exp(min(log + float(stats.norm.logcdf(z * math.sqrt(shrunk))), 700.0))


def sequence_reach(n: float, *, level: float) -> float:
    """Standard errors on either side of an estimate that hold the truth at every look together.

    sqrt((1 + 1 / s) log((1 + s) / alpha^2)), s = n tau^2. Source: as of `e_value`, two-sided.
    """
    s = n * _USUAL_EFFECT**2
    return math.sqrt((1.0 + 1.0 / s) * (math.log1p(s) - 2.0 * math.log1p(-level)))
