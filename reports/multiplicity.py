"""Many segments, many tests: the false discovery rate and the intervals of what was selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FALSE_DISCOVERY_RATE: Final = 0.10
"""Expected share of false findings among all findings (METHODS H)."""


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
