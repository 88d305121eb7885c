"""Many segments, many tests: the false discovery rate and the intervals of what was selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FALSE_DISCOVERY_RATE: Final = 0.10
"""Expected share of false findings among the findings of one mode (METHODS H)."""


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


def selected_level(selected: int, tests: int, *, level: float, rate: float = FALSE_DISCOVERY_RATE) -> float:
    """Nominal level for the intervals of `selected` findings out of `tests`, never below `level`.

    1 - rate * R / m bounds the share of selected intervals that miss by `rate`.
    Source: Benjamini & Yekutieli 2005 (false coverage rate).
    """
    if tests == 0 or selected == 0:
        return level
    return max(level, 1.0 - rate * selected / tests)
